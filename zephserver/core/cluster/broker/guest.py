"""A program that is no server on the bus, and gives commands to one of them."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from zephserver.core.cluster.broker import frames
from zephserver.core.cluster.broker.transport import BusLost, Message, Transport, Where
from zephserver.core.cluster.engine import CALL
from zephserver.core.errors import ClusterError, CommandFailed, NoAnswer

CLOSE = 2.0  # seconds to hang up
CANCEL = 0.1  # seconds until a cancel is repeated


class BrokerGuest:
    """Calls for a server, and asks the one as before, or the first that answers.

    Two servers may take different times to have something said; one keeps the order. Any thread, one at a time. The
    connection lives in a thread of its own, from the first ask() on.
    """

    def __init__(self, make_transport: Callable[[], Transport]) -> None:
        self._make_transport = make_transport
        self._transport: Transport  # of the present thread
        self._me = f"guest {secrets.token_hex(8)}"
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_open = False
        self._numbers = itertools.count(1)
        self._number = 0  # of what is asked now
        self._answers: asyncio.Queue[dict[str, Any]]
        self._server = ""  # that was asked last

    def ask(self, command: str, args: bytes, timeout: float) -> None:
        """Have one server do it; see Guest."""
        until = time.monotonic() + timeout
        if not self._lock.acquire(timeout=timeout):
            raise NoAnswer("the cluster is slow: others still wait for an answer")
        try:
            asking = self._ask(command, args, until - time.monotonic())
            asyncio.run_coroutine_threadsafe(asking, self._running()).result()
        finally:
            self._lock.release()

    def close(self) -> None:
        """Hang up; the next ask() connects again."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
            if loop is not None and thread is not None:
                asyncio.run_coroutine_threadsafe(self._hang_up(), loop).result(CLOSE)
                loop.call_soon_threadsafe(loop.stop)
                thread.join(CLOSE)
                loop.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop, self._transport = asyncio.new_event_loop(), self._make_transport()
            self._thread = threading.Thread(target=self._loop.run_forever, name="cluster guest", daemon=True)
            self._thread.start()
        return self._loop

    # -- its own thread ---------------------------------------------------------------------------------------------

    async def _ask(self, command: str, args: bytes, timeout: float) -> None:
        self._number, self._answers = next(self._numbers), asyncio.Queue()
        unready = {""}
        try:
            why = await _within(timeout, self._ask_some(command, args, unready))
        except TimeoutError:
            await self._hang_up()  # the broker may have stopped, or something been cut off in the middle
            if len(unready) > 1:
                raise CommandFailed("unknown-command", f"no server of the cluster is ready to do {command!r}") from None
            raise NoAnswer("no server of the cluster gave an answer in time") from None
        except BusLost as error:
            await self._hang_up()
            raise ClusterError(f"the cluster cannot be reached: {error}") from None
        if why:
            raise CommandFailed("refused", why)

    async def _ask_some(self, command: str, args: bytes, unready: set[str]) -> str:
        """What the first one says that is ready; the others are noted."""
        if not self._is_open:
            await self._transport.close()  # of a connection that was lost
            await self._transport.open(self._me, self._heard, self._failed, is_guest=True)
            self._is_open = True
        while (why := await self._ask_one(await self._find(unready), command, args)) is None:
            unready.add(self._server)
        return why

    async def _find(self, unready: set[str]) -> str:
        """A server that is there, and is none of these."""
        while True:
            found: list[str] = []
            await self._send(Where.ALL, "", {"t": "find"})
            try:
                async with asyncio.timeout(CALL):
                    while self._server not in found and not (found and self._server in unready):
                        answer = await self._answers.get()
                        if answer["t"] == "found" and answer["f"] not in unready:
                            found.append(answer["f"])
            except TimeoutError:
                pass
            if found:
                self._server = found[-1]
                return self._server

    async def _ask_one(self, server: str, command: str, args: bytes) -> str | None:
        """What the server says to that command."""
        await self._send(Where.NODE, server, {"t": "ask", "c": command}, args)
        while True:
            answer = await self._answers.get()
            if answer["t"] == "done" and answer["f"] == server:
                why: str | None = answer["why"]
                return why

    async def _send(self, where: Where, name: str, head: dict[str, Any], body: bytes = b"") -> None:
        data = frames.pack({"f": self._me, "l": self._me, "i": self._number, **head}, [body])
        if len(data) > self._transport.limit:
            raise BusLost(f"its broker takes {self._transport.limit} bytes at a time, and not {len(data)}")
        await self._transport.send([Message(where, name, data)])

    def _heard(self, data: bytes) -> None:
        try:
            head, _ = frames.unpack(data)
            if head["i"] == self._number and head["t"] in ("found", "done"):
                self._answers.put_nowait(head)
        except (KeyError, ValueError):
            pass  # none of ours

    def _failed(self, why: str) -> None:
        self._is_open = False

    async def _hang_up(self) -> None:
        self._is_open = False
        await self._transport.close()


async def _within(seconds: float, asking: Coroutine[Any, Any, str]) -> str:
    """What it comes to. Raises TimeoutError when it takes longer, and then it has ended.

    It is cancelled until it ends: asyncio.wait_for() of Python 3.11, which the clients of NATS and Redis use, may
    swallow a cancel, and asyncio.timeout() gives no second one.
    """
    task = asyncio.ensure_future(asking)
    await asyncio.wait([task], timeout=seconds)
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL)
    if task.cancelled():
        raise TimeoutError
    return task.result()
