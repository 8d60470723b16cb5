"""Frames to messages: ours beside the protocol of websockets, fed with the same frames.

The first byte of an input chooses what was agreed on and the limits; the rest are frames as on the wire, without masks.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from websockets.exceptions import ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close as OtherClose
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from tests.fuzz.engine import Target, promise
from zephserver.engines.assembler import Assembler, Close, read_close, write_close

DATA = (Opcode.CONT, Opcode.TEXT, Opcode.BINARY)
LIMITS = (16, 125, 1_024, 65_536)
FRAGMENTS = (1, 2, 8, 4_096)
_silent = logging.Logger("websockets", logging.CRITICAL + 1)


@dataclass(frozen=True)
class Part:
    """A frame of the input."""

    head: int
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.head & 0x0F

    @property
    def fin(self) -> bool:
        return bool(self.head & 0x80)

    @property
    def rsv1(self) -> bool:
        return bool(self.head & 0x40)

    @property
    def rsv23(self) -> bool:
        return bool(self.head & 0x30)

    def encode(self) -> bytes:
        """As a server sends it: websockets plays the client, which needs no masks."""
        size = len(self.payload)
        length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
        return bytes([self.head]) + length + self.payload


def parts(data: bytes) -> Iterator[Part]:
    """The frames of an input, the last one perhaps shorter than it says."""
    at = 0
    while at + 2 <= len(data):
        head, size = data[at], data[at + 1] & 0x7F
        at += 2
        if size >= 126:
            wide = 2 if size == 126 else 8
            size = int.from_bytes(data[at : at + wide], "big")
            at += wide
        yield Part(head, data[at : at + size])
        at += size


class Reference:
    """What websockets makes of the frames."""

    def __init__(self, *, deflate: bool) -> None:
        self._protocol = Protocol(CLIENT, state=OPEN, max_size=None, logger=_silent)
        if deflate:
            self._protocol.extensions = [PerMessageDeflate(True, True, 15, 15)]
        self._parts: list[Frame] = []

    def receive(self, part: Part) -> str | bytes | Exception | None:
        """The message that the frame completes, None, or why the connection fails."""
        self._protocol.receive_data(part.encode())
        if self._protocol.parser_exc is not None:
            return self._protocol.parser_exc
        self._parts += [event for event in self._protocol.events_received() if isinstance(event, Frame)]
        if not self._parts or not self._parts[-1].fin:
            return None
        whole, opcode = b"".join(bytes(frame.data) for frame in self._parts), self._parts[0].opcode
        self._parts.clear()
        try:
            return whole.decode() if opcode is Opcode.TEXT else whole
        except UnicodeDecodeError as error:
            return error


def one_input(data: bytes) -> str:
    """Feed the frames to both until one of them gives up."""
    flags = data[0] if data else 0
    deflate, binary = bool(flags & 1), bool(flags & 2)
    most_bytes, most_fragments = LIMITS[flags >> 2 & 3], FRAGMENTS[flags >> 4 & 3]
    ours, theirs = Assembler(most_bytes, most_fragments, deflate=deflate, binary=binary), Reference(deflate=deflate)
    message: list[Part] = []
    said = set()
    for part in parts(data[1:]):
        if part.opcode == Opcode.CLOSE:
            said.add(_check_close(part.payload))
        if part.opcode not in DATA:
            continue  # the engine sees to control frames
        outcome = ours.receive(part.opcode, part.payload, fin=part.fin, rsv1=part.rsv1, rsv23=part.rsv23)
        expected = theirs.receive(part)
        message.append(part)
        if isinstance(outcome, Close):
            _check_refusal(outcome, expected, message, most_bytes, most_fragments, binary=binary)
            said.add(f"closed {outcome.code} {outcome.reason}")
            break
        if outcome is None and part.rsv1 | message[0].rsv1 and not part.fin and isinstance(expected, ProtocolError):
            continue  # websockets inflates each frame as it comes, we the whole message
        promise(outcome == expected, "another message", outcome, expected)
        promise(ours.is_idle == (outcome is not None), "idle inside a message", message)
        if outcome is not None:
            size = len(outcome if isinstance(outcome, bytes) else outcome.encode())
            promise(size <= most_bytes, "a message beyond the limit", size)
            promise(len(message) <= most_fragments, "more fragments than the limit", len(message))
            said.add(f"{type(outcome).__name__}{' deflated' * message[0].rsv1}{' in parts' * (len(message) > 1)}")
            message.clear()
    return " | ".join(sorted(said)) or "nothing yet"


def _check_refusal(
    close: Close, expected: object, message: list[Part], most_bytes: int, most_fragments: int, *, binary: bool
) -> None:
    """Whether the reference refuses too, or our limits explain it."""
    payload = b"".join(part.payload for part in message)
    match close.code:
        case 1002:
            promise(isinstance(expected, ProtocolError), "refused as a fault, which websockets does not see", expected)
        case 1003:
            promise(message[-1].opcode == Opcode.BINARY and not binary, "refused as binary", message)
        case 1007 if close.reason == "text that is not UTF-8":
            promise(isinstance(expected, UnicodeDecodeError), "refused as text", expected)
        case 1007:
            promise(isinstance(expected, Exception) or not _ends_well(payload), "refused as deflate", payload)
        case 1009:
            size = len(expected.encode() if isinstance(expected, str) else expected) if _is_data(expected) else 0
            beyond = max(size, len(payload)) > most_bytes or len(message) > most_fragments
            promise(beyond or isinstance(expected, Exception), "refused as too long", size, len(message))
        case _:
            promise(False, "an undocumented close code", close)


def _is_data(outcome: object) -> bool:
    return isinstance(outcome, (str, bytes))


def _ends_well(payload: bytes) -> bool:
    """Whether another message could follow in the stream, as RFC 7692, 7.2.3 has it, or the peer ended it itself."""
    inflater = zlib.decompressobj(-15)
    deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
    following = deflater.compress(b"following") + deflater.flush()
    out = inflater.decompress(payload + b"\x00\x00\xff\xff")
    if inflater.eof:
        return inflater.unused_data in (b"\x00\x00\xff\xff", b"\x00\x00\x00\xff\xff")
    try:
        return inflater.decompress(following) == b"following" and inflater.eof and out is not None
    except zlib.error:
        return False


def _check_close(payload: bytes) -> str:
    """What a close frame says, beside websockets; and that ours can be written back."""
    close = read_close(payload)
    promise(len(write_close(close.code, close.reason)) <= 125, "a close frame that is too long", close)
    if len(payload) > 125:
        return "close too long"  # no engine hands it on
    try:
        other = OtherClose.parse(payload)
    except ProtocolError:
        promise(close == Close(1002, "invalid close code"), "a close that websockets refuses", close)
        return "close refused"
    except UnicodeDecodeError:
        promise(close.code in (1002, 1007), "a close whose reason is no text", close)
        return "close without text"
    promise((close.code, close.reason) == (other.code, other.reason), "another close", close, other)
    promise(
        close.code == 1005 or write_close(close.code, close.reason) == payload, "a close not written as read", close
    )
    return "close"


TARGET = Target(
    "assembler",
    one_input,
    frozenset(
        {
            "str",
            "bytes",
            "str deflated",
            "str | str in parts",
            "str deflated in parts",
            "bytes deflated",
            "close",
            "close refused",
            "close without text",
            "closed 1002 a reserved bit without an extension",
            "closed 1002 a continuation without a start",
            "closed 1002 a message inside a message",
            "closed 1003 this server speaks text messages only",
            "closed 1007 text that is not UTF-8",
            "closed 1007 a compressed message that cannot be inflated",
            "closed 1009 a message has at most 16 bytes",
            "closed 1009 a message has at most 1 fragments",
            "nothing yet",
        }
    ),
    (
        *(
            b"\x81\x00",
            b"\x01\x00",
            b"\x00\x00",
            b"\x80\x00",
            b"\x82\x00",
            b"\x02\x00",
            b"\x88\x00",
            b"\x88\x02\x03\xe8",
        ),
        *(
            b"\xc1\x05",
            b"\x41\x05",
            b"\xc2\x07",
            b"\xa1\x01a",
            b"\x89\x00",
            b"\x81\x7e\x00\x80",
            b"\x81\x7f" + bytes(8),
        ),
        *(
            b"\xf2H\xcd\xc9\xc9\x07\x00",
            b"\x03\x00",
            b"\x02\x00",
            b"\x00",
            b"\x01\x00\x00\xff\xff",
            b"\x00\x00\xff\xff",
        ),
        *(b"\xce\xba\xe1\xbd\xb9", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x99\x82", b"a" * 130),
    ),
)
