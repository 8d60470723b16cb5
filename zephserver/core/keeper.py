"""The thread that looks after a server."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from zephserver.core import runtime
from zephserver.core.errors import ZephError
from zephserver.core.events import Recovered
from zephserver.core.notify import Notify

if TYPE_CHECKING:
    from zephserver.core.server import Server

GUARD = 2.0  # seconds between two looks at the lock and the socket, in case somebody deleted them
JOIN = 1.0  # seconds for the thread to end

_log = logging.getLogger("zephserver.core.server")


class Keeper:
    """Sees to time-outs and late readiness of services, to lock and control socket, and to systemd's watchdog."""

    def __init__(self, server: Server, notify: Notify) -> None:
        self._server, self._notify = server, notify
        self._kick = threading.Event()
        self._troubles: set[str] = set()  # what could not be put back, told once
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; the thread ends when the server has stopped."""
        self._thread = runtime.spawn("keeper", self._run, self._server)

    def wake(self) -> None:
        """There is a new time-out, or the server has stopped. Any thread."""
        self._kick.set()

    def join(self) -> None:
        """Wait for the end of the thread."""
        if self._thread is not None:
            self._thread.join(JOIN)

    def _run(self) -> None:
        """Body of the thread."""
        server = self._server
        pause = min(GUARD, self._notify.watchdog or GUARD)
        next_guard = server.clock.monotonic() + GUARD
        while not server.stopped.is_set():
            self._kick.clear()
            now = server.clock.monotonic()
            try:
                deadline = server.services.tick(now)
            except Exception:  # without this thread nothing would ever be restarted or found stuck again
                _log.exception("a time-out could not be handled")
                deadline = None
            if now >= next_guard and not server.is_stopping:
                next_guard = now + GUARD
                self._guard()
            server.look_ready()
            if self._notify.watchdog:
                self._notify.send("WATCHDOG=1")
            self._kick.wait(pause if deadline is None else max(0.0, min(pause, deadline - now)))

    def _guard(self) -> None:
        """Put back what somebody deleted."""
        server = self._server
        for part, what in ((server.lock, "lock"), (server.control, "control socket")):
            try:
                if part.heal():
                    server.bus.publish(Recovered(what=f"the {what} {part.path} had been deleted and is there again"))
                self._troubles.discard(what)
            except (ZephError, OSError) as error:
                if what not in self._troubles:
                    self._troubles.add(what)
                    server.log.write("ERROR", f"the {what} {part.path} is gone and cannot be put back: {error}")
