"""From frames to messages, as RFC 6455 has it. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from zephserver.engines.deflate import InflateError, TooLarge, inflate


class Opcode(IntEnum):
    """RFC 6455, 11.8."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


@dataclass(frozen=True, slots=True)
class Close:
    """Why the connection ends: a code of RFC 6455, 7.4, and a few words. Code 1005 is a close frame without a code."""

    code: int
    reason: str = ""


# RFC 6455, 7.4.1 and the registry: 1004, 1005, 1006 and 1015 are never on the wire.
_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
NO_CODE = 1005
ABNORMAL = 1006


class Assembler:
    """Turns the data frames of one peer into whole messages, without its socket.

    *deflate* says that compressed messages were agreed on, *binary* that binary ones are taken too.
    """

    __slots__ = ("_binary", "_compressed", "_deflate", "_max_bytes", "_max_fragments", "_opcode", "_parts", "_size")

    def __init__(self, max_bytes: int, max_fragments: int, *, deflate: bool = False, binary: bool = False) -> None:
        self._max_bytes, self._max_fragments = max_bytes, max_fragments
        self._deflate, self._binary = deflate, binary
        self._parts: list[bytes] | None = None  # of the message under way
        self._size = 0
        self._opcode = 0
        self._compressed = False

    @property
    def is_idle(self) -> bool:
        """Whether no message is under way."""
        return self._parts is None

    def receive(self, opcode: int, payload: bytes, *, fin: bool, rsv1: bool, rsv23: bool) -> str | bytes | Close | None:
        """What a data frame completes: a message, a reason to close, or nothing yet."""
        continues = opcode == Opcode.CONTINUATION
        if rsv23 or (rsv1 and (continues or not self._deflate)):  # RFC 6455, 5.2; RFC 7692, 6.1
            return Close(1002, "a reserved bit without an extension")
        if continues == (self._parts is None):  # RFC 6455, 5.4
            return Close(1002, "a continuation without a start" if continues else "a message inside a message")
        if opcode == Opcode.BINARY and not self._binary:
            return Close(1003, "this server speaks text messages only")
        if self._parts is None:
            self._parts, self._size, self._opcode, self._compressed = [], 0, opcode, rsv1
        self._size += len(payload)
        self._parts.append(payload)
        if self._size > self._max_bytes:
            return Close(1009, f"a message has at most {self._max_bytes} bytes")
        if len(self._parts) > self._max_fragments:
            return Close(1009, f"a message has at most {self._max_fragments} fragments")
        return self._whole() if fin else None

    def _whole(self) -> str | bytes | Close:
        whole = b"".join(self._parts or ())
        self._parts = None
        try:
            if self._compressed:
                whole = inflate(whole, self._max_bytes)
            return whole.decode() if self._opcode == Opcode.TEXT else whole
        except UnicodeDecodeError:
            return Close(1007, "text that is not UTF-8")  # RFC 6455, 8.1
        except InflateError:
            return Close(1007, "a compressed message that cannot be inflated")
        except TooLarge as error:
            return Close(1009, str(error))


def read_close(payload: bytes) -> Close:
    """What a close frame of the peer says; code 1002 or 1007 when it says it wrongly (RFC 6455, 5.5.1)."""
    if not payload:
        return Close(NO_CODE)
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _CLOSE_CODES or 3000 <= code <= 4999):
        return Close(1002, "invalid close code")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        return Close(1007, "close reason that is not UTF-8")


def write_close(code: int, reason: str = "") -> bytes:
    """The payload of a close frame; the reason is cut to what a control frame carries (RFC 6455, 5.5)."""
    if code in (NO_CODE, ABNORMAL):
        return b""
    return code.to_bytes(2, "big") + reason.encode()[:123].decode("utf-8", "ignore").encode()
