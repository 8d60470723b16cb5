"""permessage-deflate (RFC 7692), without context takeover on either side. Pure: no I/O, no clock.

Without context takeover a connection keeps no window between two messages (12 to 300 KiB each way), and a broadcast is
compressed once for everybody.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

NAME = "permessage-deflate"
# A window of 4 KiB and the memory level that fits it: messages of a chat compress as well as with 32 KiB, in 1/8 of the
# memory and half the time. The peer's inflater takes any window up to the one agreed on.
WINDOW_BITS = 12
MEMORY_LEVEL = 5
SMALLEST = 512  # bytes; shorter messages cost more to compress than they save
_TAIL = b"\x00\x00\xff\xff"  # RFC 7692, 7.2.1: every message would end so, so nobody sends it
# Put behind a message, a last and empty block: the inflater comes to an end if the message ended where a block does.
_LAST = b"\x01\x00\x00\xff\xff"
# RFC 7692, 7.2.3.4: the peer may have marked its own last block, and then adds an empty one, or nothing.
_BEHIND = (b"", _TAIL, b"\x00" + _TAIL)

_PARAMETER = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:=(?:"([^"]*)"|([!#$%&\'*+.^_`|~0-9A-Za-z-]+)))?')


class InflateError(Exception):
    """The data of a compressed message is not deflate data."""


class TooLarge(Exception):
    """A compressed message is longer than the limit."""


@dataclass(frozen=True, slots=True)
class Deflate:
    """What was agreed on in the handshake."""

    window_bits: int  # of what the server compresses
    response: str  # the Sec-WebSocket-Extensions header of the answer


def negotiate(offers: str) -> Deflate | None:
    """The first offer of permessage-deflate in the header that can be accepted, None without one (RFC 7692, 5 and 7.1).

    The answer never says more than the offer allows: `client_max_window_bits` is not asked of a client that did not
    offer it, and `server_max_window_bits` is there if and only if the client asked for it.
    """
    for offer in _split(offers, ","):
        name, *parameters = _split(offer, ";") or [""]
        if name.lower() == NAME and (accepted := _accept(parameters)) is not None:
            return accepted
    return None


def compress(payload: bytes, window_bits: int) -> bytes:
    """The payload as the frame of a message with RSV1 carries it (RFC 7692, 7.2.1)."""
    deflater = zlib.compressobj(1, zlib.DEFLATED, -window_bits, MEMORY_LEVEL)
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]


def inflate(payload: bytes, max_bytes: int) -> bytes:
    """The message in a compressed payload. Raises InflateError, or TooLarge before more than *max_bytes* exist."""
    inflater = zlib.decompressobj(-15)
    try:
        message = inflater.decompress(payload + _TAIL, max_bytes + 1)
        rest = inflater.unused_data
        if not inflater.eof and len(message) <= max_bytes and inflater.decompress(inflater.unconsumed_tail + _LAST, 1):
            raise InflateError("the message ends inside a block")
    except zlib.error as error:
        raise InflateError(str(error)) from None
    if len(message) > max_bytes:
        raise TooLarge(f"a message has at most {max_bytes} bytes")
    if not inflater.eof:
        raise InflateError("the message ends inside a block")
    if rest not in _BEHIND:
        raise InflateError("there is data after the last block")
    return message


def _split(text: str, separator: str) -> list[str]:
    """The parts of a header between separators that are not quoted; [] when a quote has no end."""
    parts, begin, quoted, escaped = [], 0, False, False
    for at, character in enumerate(text):
        if character == separator and not quoted:
            parts.append(text[begin:at])
            begin = at + 1
            continue
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
    parts.append(text[begin:])
    return [] if quoted else [part.strip(" \t") for part in parts]


def _accept(parameters: list[str]) -> Deflate | None:
    """The answer to one offer; None declines it, as RFC 7692, 7 demands of an offer with a wrong parameter."""
    seen: dict[str, str | None] = {}
    for parameter in parameters:
        found = _PARAMETER.fullmatch(parameter)
        if found is None or found[1] in seen:
            return None
        seen[found[1]] = found[2] if found[2] is not None else found[3]
    bits = WINDOW_BITS
    words = [NAME, "server_no_context_takeover", "client_no_context_takeover"]
    for name, value in seen.items():
        match name:
            case "server_no_context_takeover" | "client_no_context_takeover":
                if value is not None:
                    return None
            case "server_max_window_bits":
                # zlib makes no raw deflate with a window of 256 bytes (8), so that one is declined.
                if value is None or _bits(value) is None or value == "8":
                    return None
                bits = min(bits, int(value))
                words.append(f"server_max_window_bits={value}")
            case "client_max_window_bits":
                if value is not None and _bits(value) is None:
                    return None
            case _:
                return None
    return Deflate(bits, "; ".join(words))


def _bits(value: str) -> int | None:
    """A window size of RFC 7692, 7.1.2: 8 to 15, without a leading zero."""
    return int(value) if value in ("8", "9", "10", "11", "12", "13", "14", "15") else None
