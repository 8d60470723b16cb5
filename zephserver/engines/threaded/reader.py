"""The thread's half of a connection of the threaded engine: it reads, and hands over what it read."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

from zephserver.engines.handshake import RefusedRequest, find_end, read_opening
from zephserver.engines.threaded.frames import FrameReader
from zephserver.engines.threaded.package import WebSocketHandler

if TYPE_CHECKING:
    from zephserver.engines.threaded.connection import ThreadedConnection
    from zephserver.engines.threaded.engine import Listener

# A thread that waits holds a buffer of this size; when it is full, much more is asked for at once.
SMALL_READ, LARGE_READ = 2_048, 65_536

_log = logging.getLogger("zephserver.engine")


class Reader(WebSocketHandler):  # type: ignore[misc] # it has no types
    """The life of one connection: the opening request, then frames, then nothing that counts, until the end.

    Constructed in the thread of its own; the constructor returns when the connection has ended. It never writes, and it
    calls nothing of the server's: each step is handed to the loop, which gives the turn back when it has done with it.
    So at most one batch of a connection waits for the loop, and a peer that sends faster than that is held back by TCP.
    """

    def __init__(self, half: ThreadedConnection, listener: Listener) -> None:
        self.half = half
        self._frames = FrameReader(half.settings.max_message_bytes, half.settings.max_fragments)
        self._was_reset = False
        super().__init__(half.socket, half.address, listener)

    # what the package calls: setup(), then handshake() and read_next_message() while keep_alive, then finish()

    def setup(self) -> None:
        """No files around the socket: they would hold up its closing, and read without a limit."""
        self.connection: socket.socket = self.request
        self.keep_alive = True
        self.handshake_done = self.valid_client = False

    def handshake(self) -> None:
        """Read the opening request; whether it is accepted or not, the loop answers."""
        self.handshake_done = self.valid_client = True
        head = bytearray()
        try:
            while (end := find_end(head)) < 0:
                if self.half.is_deaf or not (data := self._receive()):
                    return
                head += data
            opening = read_opening(bytes(head[:end]), self.half.address)
        except RefusedRequest as refused:
            self._hand_over(self.half.refuse, refused.response, not head.startswith(b"HEAD "))
            return
        rest = bytes(head[end + 4 :])
        self._hand_over(self.half.decide, opening)
        if rest and not self.half.is_deaf:
            self._read(rest)

    def read_next_message(self) -> None:
        """Read what has come, and hand over the messages and control frames in it."""
        data = self._receive()
        if data and not self.half.is_deaf:
            self._read(data)

    def finish(self) -> None:
        """The connection has ended; the loop forgets it."""
        if not self.half.portal.call_soon(self.half.ended, self._was_reset):
            self.connection.close()  # there is no loop any more

    # within

    def _read(self, data: bytes) -> None:
        facts = self._frames.feed(data)
        if facts or self.half.is_paused:
            self._hand_over(self.half.take, facts)

    def _receive(self) -> bytes:
        """What has come, at least a byte; b'' at the end."""
        data = b""
        try:
            data = self.connection.recv(SMALL_READ)
            if len(data) == SMALL_READ:
                data += self.connection.recv(LARGE_READ, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except OSError:
            self._was_reset = not data  # what came before is still served; the next read fails again
        if not data or self.half.is_over:
            self.keep_alive = False
            return b""
        self.half.has_spoken = True
        return data

    def _hand_over(self, function: Any, *args: Any) -> None:
        if self.half.portal.call_soon(function, *args):
            self.half.turn.acquire()
        else:
            self.keep_alive = False
