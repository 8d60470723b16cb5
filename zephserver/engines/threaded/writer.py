"""Writing to a socket that a thread reads from, without ever waiting for it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

HIGH_WATER = 64 * 1024  # bytes; a longer queue is one that the peer leaves unread


class Writer:
    """Sends what the system takes at once and queues the rest. Loop only.

    The socket stays a blocking one, for its thread; each call here says MSG_DONTWAIT. *drained* is called when a queue
    has been sent, *failed* when nothing can be sent any more: what the peer said before may still be read.
    """

    def __init__(
        self, connection: socket.socket, high: int, drained: Callable[[], None], failed: Callable[[], None]
    ) -> None:
        self._socket, self._drained, self._failed = connection, drained, failed
        self._loop = asyncio.get_running_loop()
        self._high = min(HIGH_WATER, high)
        self._queue = bytearray()
        self._has_ended = False
        self.blocked_since: float | None = None  # since when the peer leaves much of the queue unread

    @property
    def queued(self) -> int:
        """Bytes that the system has not taken."""
        return len(self._queue)

    def write(self, data: bytes, now: float) -> None:
        """Send this behind what was sent before; nothing after end()."""
        if self._has_ended:
            return
        sent = 0
        if not self._queue:
            try:
                sent = self._socket.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
            except OSError:
                self._fail()
                return
            if sent == len(data):
                return
            self._loop.add_writer(self._socket.fileno(), self._flush)
        self._queue += memoryview(data)[sent:]
        if self.blocked_since is None and len(self._queue) > self._high:
            self.blocked_since = now

    def end(self) -> None:
        """Nothing more is to be sent: end our side of the connection behind the last byte."""
        if not self._has_ended:
            self._has_ended = True
            if not self._queue:
                self._shut()

    def drop(self) -> None:
        """Forget the queue, and send nothing more."""
        self._has_ended = True
        if self._queue:
            self._loop.remove_writer(self._socket.fileno())
            self._queue.clear()
        self.blocked_since = None

    def _flush(self) -> None:
        """The system takes more."""
        try:
            del self._queue[: self._socket.send(self._queue, socket.MSG_DONTWAIT)]
        except BlockingIOError:
            return
        except OSError:
            self._fail()
            return
        if len(self._queue) <= self._high // 4:
            self.blocked_since = None
        if not self._queue:
            self._loop.remove_writer(self._socket.fileno())
            if self._has_ended:
                self._shut()
            self._drained()

    def _fail(self) -> None:
        self.drop()
        self._failed()

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
