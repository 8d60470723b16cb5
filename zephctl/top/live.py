"""`zephctl top` on a terminal: keys in, numbers in, pictures out. One event loop, no threads."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from zephctl.drawing import Glyphs
from zephctl.top.async_client import AsyncControlClient
from zephctl.top.keys import Keys
from zephctl.top.numbers import Numbers
from zephctl.top.scene import Scene
from zephctl.top.screen import Screen
from zephctl.top.source import Source
from zephctl.top.state import Action, Pane, class_of
from zephctl.top.view import lines
from zephserver.core.errors import ZephError

FRAME = 0.03  # seconds between two pictures, however much happens
ESCAPE_TIME = 0.05  # seconds after which the escape key was just that
NOTICE_TIME = 6.0  # seconds for which the outcome of a key is shown
LOG_LINES = 500
BACK = 0.25  # seconds between two attempts to follow the log of a server that went away


class LiveTop:
    """The live view of one server, from the first picture to `q`."""

    def __init__(
        self, path: str, screen: Screen, glyphs: Glyphs, *, interval: float, count: int | None, within: float
    ) -> None:
        self._path, self._screen, self._interval, self._count, self._within = path, screen, interval, count, within
        self._scene = Scene(glyphs)
        self._newest = self._scene.numbers  # what is shown, too, unless the view is paused
        self._keys = Keys()
        self._source = Source(path, within)
        self._jobs: set[asyncio.Task[None]] = set()
        self._following: asyncio.Task[None] | None = None
        self._is_drawing = False
        self._waiting_escape: asyncio.TimerHandle | None = None
        self._notice_end: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[None]

    async def run(self) -> None:
        """Show the server until somebody quits. Raises what went wrong within."""
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        loop.add_reader(self._screen.keyboard, self._read_keys)
        handlers = {signal.SIGWINCH: self._draw_soon, signal.SIGTSTP: self._suspend, signal.SIGTERM: self._quit}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            self._start(self._poll())
            await self._over
        finally:
            loop.remove_reader(self._screen.keyboard)
            for number in handlers:
                loop.remove_signal_handler(number)
            for timer in (self._waiting_escape, self._notice_end):
                if timer is not None:
                    timer.cancel()
            jobs = list(self._jobs)
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            self._source.close()

    # -- the server -----------------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        """One moment after the other."""
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        ticks = 0
        while True:
            try:
                self._newest = await self._source.numbers()
                self._scene.away = ""
            except ZephError as error:
                if not self._scene.away:
                    since = time.strftime("%H:%M:%S")
                    self._scene.away = f"no answer since {since}; it is shown again when it is back ({error})"
                self._newest = Numbers(running=False)
            self._scene.history.add(self._newest)
            if self._newest.running and not self._scene.state.is_paused:
                self._scene.numbers = self._newest
            self._draw_soon()
            ticks += 1
            if ticks == self._count:
                await asyncio.sleep(2 * FRAME)  # until it was drawn
                self._quit()
            next_at = max(next_at + self._interval, loop.time())
            await asyncio.sleep(next_at - loop.time())

    async def _act(self, action: Action) -> None:
        """Restart, enable or disable a service, and say what came of it."""
        name = class_of(action.service)
        self._say(f"{name}: {action.verb} ...", "yellow", keep=True)
        client = AsyncControlClient(self._path)
        try:
            answer = await client.call(f"services.{action.verb}", 60.0, name=action.service)
            done = {"restart": "restarted", "enable": "enabled", "disable": "disabled"}[action.verb]
            nothing = "" if answer["changed"] else "nothing to do, "
            self._say(f"{name}: {nothing or done + ', '}{answer['state']}", "green")
        except ZephError as error:
            self._say(f"{name}: {error}", "red")
        finally:
            client.close()

    async def _follow(self, name: str) -> None:
        """The log of one service, over restarts of the server, too."""
        log: deque[tuple[str, str]] = deque(maxlen=LOG_LINES)
        self._scene.log, self._scene.log_of = log, name
        cursor = ""
        client = AsyncControlClient(self._path)
        try:
            while True:
                try:
                    wish = {"service": name, "lines": 200, "follow": True, "cursor": cursor}
                    async for line in client.stream("log.tail", **wish):
                        cursor = line.get("cursor", cursor)
                        text = line["text"]
                        if "cursor" in line:  # a line of the log: without its day, and the name that stands above
                            text = text.partition(" ")[2].replace(f"[{name}] ", "", 1)
                        log.append((text, line.get("level", "")))
                        self._draw_soon()
                except ZephError:
                    pass
                client.close()
                await asyncio.sleep(BACK)
        finally:
            client.close()

    # -- the person -----------------------------------------------------------------------------------------------

    def _read_keys(self) -> None:
        try:
            data = os.read(self._screen.keyboard, 4_096)
        except OSError:
            data = b""
        if not data:  # the terminal is gone
            self._quit()
            return
        if self._waiting_escape is not None:
            self._waiting_escape.cancel()
            self._waiting_escape = None
        self._press(self._keys.feed(data))
        if self._keys.waits:
            later = asyncio.get_running_loop().call_later
            self._waiting_escape = later(ESCAPE_TIME, lambda: self._press(self._keys.flush()))

    def _press(self, keys: list[str]) -> None:
        state = self._scene.state
        for key in keys:
            was_paused = state.is_paused
            action = state.press(key, self._scene.numbers)
            self._scene.notice = ""
            if was_paused and not state.is_paused and self._newest.running:
                self._scene.numbers = self._newest
            if action is None:
                continue
            if action.verb == "quit":
                self._quit()
            elif action.verb == "follow":
                self._end_following()
                self._following = self._start(self._follow(action.service))
            else:
                self._start(self._act(action))
        if state.pane is not Pane.LOG:
            self._end_following()
        self._draw_soon()

    def _end_following(self) -> None:
        if self._following is not None:
            self._following.cancel()
            self._following = None
            self._scene.log = ()

    def _say(self, text: str, style: str, *, keep: bool = False) -> None:
        if self._notice_end is not None:
            self._notice_end.cancel()
        self._scene.notice, self._scene.notice_style = text, style
        if not keep:
            self._notice_end = asyncio.get_running_loop().call_later(NOTICE_TIME, self._unsay)
        self._draw_soon()

    def _unsay(self) -> None:
        self._scene.notice = ""
        self._draw_soon()

    # -- the terminal ---------------------------------------------------------------------------------------------

    def _draw_soon(self) -> None:
        """Draw what has changed, together with what changes in the next moment."""
        if not self._is_drawing:
            self._is_drawing = True
            asyncio.get_running_loop().call_later(FRAME, self._guarded(self._draw))

    def _draw(self) -> None:
        self._is_drawing = False
        self._scene.now = time.time()
        self._scene.time = time.strftime("%H:%M:%S")
        size = self._screen.size()
        self._screen.draw(lines(self._scene, *size), size)

    def _suspend(self) -> None:
        """Ctrl-Z: the shell gets its terminal back until `fg`."""
        self._screen.give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._screen.take()
        self._draw_soon()

    def _quit(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _start(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(job)
        self._jobs.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._jobs.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _guarded(self, function: Callable[[], None]) -> Callable[[], None]:
        """A call-back whose error ends the view instead of standing in a log that nobody sees."""

        def call() -> None:
            try:
                function()
            except Exception as error:
                self._fail(error)

        return call

    def _fail(self, error: BaseException) -> None:
        if not self._over.done():
            self._over.set_exception(error)
