"""The bytes of a peer become messages, each frame refused from its head on. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from zephserver.engines.assembler import Assembler, Close, Opcode
from zephserver.engines.threaded.package import (
    FIN,
    MASKED,
    OPCODE,
    PAYLOAD_LEN,
    PAYLOAD_LEN_EXT16,
    PAYLOAD_LEN_EXT64,
)

LONGEST_CONTROL = 125  # bytes; RFC 6455, 5.5
_RSV1, _RSV23 = 0x40, 0x30
_KNOWN = frozenset(Opcode)
_WIDTHS = {PAYLOAD_LEN_EXT16: 2, PAYLOAD_LEN_EXT64: 8}  # bytes of the length that follows
_PIECE = 65_536  # unmasked at once: the numbers in between stay small


@dataclass(frozen=True, slots=True)
class Control:
    """A close frame, a ping or a pong."""

    opcode: int
    payload: bytes


Fact = str | Control | Close  # a message, a control frame, or why we hang up


class _Broken(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.close = Close(code, reason)


class FrameReader:
    """Bytes in, facts out. After a Close, or a close frame of the peer's, nothing more is heard (RFC 6455, 7.1.7).

    A length is checked when it is read, before anything behind it is: what is kept of a peer is at most one message.
    """

    __slots__ = ("_assembler", "_buffer", "_max_bytes", "_under_way", "is_over")

    def __init__(self, max_bytes: int, max_fragments: int) -> None:
        self._assembler = Assembler(max_bytes, max_fragments)
        self._buffer = bytearray()
        self._max_bytes = max_bytes
        self._under_way = 0  # bytes of the message whose last fragment has not come
        self.is_over = False

    def feed(self, data: bytes) -> list[Fact]:
        """What these bytes complete."""
        facts: list[Fact] = []
        if self.is_over:
            return facts
        self._buffer += data
        at = 0
        try:
            while not self.is_over and (place := self._payload_of(at)) is not None:
                start, end = place
                fact = self._fact(self._buffer[at], self._unmasked(start, end))
                if fact is not None:
                    facts.append(fact)
                at = end
        except _Broken as broken:
            facts.append(broken.close)
            self.is_over = True
        if self.is_over:
            at = len(self._buffer)
        del self._buffer[:at]
        return facts

    def _payload_of(self, at: int) -> tuple[int, int] | None:
        """Start and end of the payload of the frame at *at*; None when more is needed. Raises _Broken."""
        buffer = self._buffer
        here = len(buffer) - at
        if here < 2:
            return None
        opcode, length = buffer[at] & OPCODE, buffer[at + 1] & PAYLOAD_LEN
        if opcode not in _KNOWN:
            raise _Broken(1002, "an opcode without a meaning")
        if not buffer[at + 1] & MASKED:
            raise _Broken(1002, "a frame that is not masked")  # RFC 6455, 5.1
        if opcode >= Opcode.CLOSE:
            _check_control(buffer[at], length)
        width = _WIDTHS.get(length, 0)
        if here < 2 + width:
            return None
        if width:
            length = int.from_bytes(buffer[at + 2 : at + 2 + width], "big")
            if length < (126 if width == 2 else 65_536) or length >> 63:  # RFC 6455, 5.2
                raise _Broken(1002, "a length that is not written as it should be")
        if opcode < Opcode.CLOSE and self._under_way + length > self._max_bytes:
            raise _Broken(1009, f"a message has at most {self._max_bytes} bytes")
        start = at + 2 + width + 4
        return (start, start + length) if len(buffer) >= start + length else None

    def _unmasked(self, start: int, end: int) -> bytes:
        with memoryview(self._buffer) as view:
            return unmask(view[start:end], bytes(view[start - 4 : start]))

    def _fact(self, first: int, payload: bytes) -> Fact | None:
        opcode, fin = first & OPCODE, bool(first & FIN)
        if opcode >= Opcode.CLOSE:
            self.is_over = opcode == Opcode.CLOSE
            return Control(opcode, payload)
        self._under_way = 0 if fin else self._under_way + len(payload)
        fact = self._assembler.receive(opcode, payload, fin=fin, rsv1=bool(first & _RSV1), rsv23=bool(first & _RSV23))
        assert not isinstance(fact, bytes)  # binary messages are refused by the assembler
        self.is_over = isinstance(fact, Close)
        return fact


def unmask(payload: bytes | memoryview, mask: bytes) -> bytes:
    """The payload without its mask (RFC 6455, 5.3): one XOR of two long numbers, not one a byte."""
    size = len(payload)
    if size > _PIECE:
        return b"".join([unmask(payload[at : at + _PIECE], mask) for at in range(0, size, _PIECE)])
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(payload, "little") ^ key).to_bytes(size, "little")


def _check_control(first: int, length: int) -> None:
    """RFC 6455, 5.5: short, in one piece; and no extension has a meaning for its reserved bits. Raises _Broken."""
    if first & (_RSV1 | _RSV23):
        raise _Broken(1002, "a reserved bit without an extension")
    if not first & FIN or length > LONGEST_CONTROL:
        raise _Broken(1002, "a control frame that is long, or in fragments")
