"""One WebSocket client of a load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from zephserver.load import frames
from zephserver.load.plan import Plan


class Stage(Enum):
    """How far a client is."""

    HANDSHAKE = auto()
    IDENTIFYING = auto()
    READY = auto()
    CLOSED = auto()


class LoadClient(asyncio.Protocol):
    """A connection from its handshake on. *ready* ends with True, or False when the server did not want it."""

    def __init__(
        self,
        plan: Plan,
        number: int,
        heard: Callable[[LoadClient, bytes], None],
        closed: Callable[[LoadClient, str], None],
    ) -> None:
        self._plan, self._number, self._heard, self._closed = plan, number, heard, closed
        self._awaited = b'"joined"' if plan.room else b'"welcome"'
        self._stage = Stage.HANDSHAKE
        self._head = b""
        self._reader = frames.Reader()
        self._transport: asyncio.Transport
        self.in_flight = 0
        self.why = ""  # it was closed
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_ready(self) -> bool:
        """Whether messages can be sent."""
        return self._stage is Stage.READY

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._plan.handshake())

    def data_received(self, data: bytes) -> None:
        """Go on with what came."""
        if self._stage is Stage.HANDSHAKE:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            status = head.split(b" ", 2)[1:2]
            if status != [b"101"]:
                self._end(f"HTTP {status[0].decode('ascii', 'replace')[:3]}" if status else "no HTTP")
                return
            self._stage = Stage.IDENTIFYING
            self.send(frames.write(frames.TEXT, self._plan.first_message(self._number)))
        for opcode, payload in self._reader.feed(data):
            if opcode == frames.TEXT:
                if self._stage is Stage.READY:
                    self._heard(self, payload)
                else:
                    self._identify(payload)
            elif opcode == frames.PING:
                self.send(frames.write(frames.PONG, payload))
            elif opcode == frames.CLOSE:
                self._end(f"close {int.from_bytes(payload[:2], 'big')}" if payload else "close 1005")

    def connection_lost(self, error: Exception | None) -> None:
        """It is over, expected or not."""
        self._end("connection lost")
        if not self.gone.done():
            self.gone.set_result(None)

    def send(self, frame: bytes) -> None:
        """Send a frame as it is."""
        self._transport.write(frame)

    def close(self) -> None:
        """Say good-bye."""
        if self._stage is not Stage.CLOSED:
            self._stage = Stage.CLOSED
            self._settle(False)
            self.send(frames.write(frames.CLOSE, (1000).to_bytes(2, "big")))

    def abort(self) -> None:
        """Hang up without a word."""
        self._stage = Stage.CLOSED
        self._settle(False)
        self._transport.abort()

    def _identify(self, payload: bytes) -> None:
        if self._awaited in payload:
            self._stage = Stage.READY
            self._settle(True)
        elif b'"error":' in payload:
            self._end("room refused")

    def _end(self, why: str) -> None:
        """The server ended it."""
        if self._stage is not Stage.CLOSED:
            self._stage, self.why = Stage.CLOSED, why
            self._closed(self, why)
        self._settle(False)
        self._transport.close()

    def _settle(self, is_ready: bool) -> None:
        if not self.ready.done():
            self.ready.set_result(is_ready)
