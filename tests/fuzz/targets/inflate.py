"""Inflating a compressed message: never beyond the limit, and what zlib makes of the bytes that RFC 7692 says.

The first byte of an input chooses the limit.
"""

from __future__ import annotations

import tracemalloc
import zlib

from tests.fuzz.engine import Target, promise
from zephserver.engines.deflate import InflateError, TooLarge, compress, inflate

LIMITS = (1, 100, 1_000, 65_536)
TAIL = b"\x00\x00\xff\xff"
_SLACK = 400_000  # bytes: the inflater, its window, and copies of the input


def one_input(data: bytes) -> str:
    """Inflate, compare, and compress again."""
    limit, payload = LIMITS[data[0] & 3 if data else 0], data[1:]
    tracemalloc.start()
    try:
        message = inflate(payload, limit)
        outcome = "inflated"
    except (InflateError, TooLarge) as error:
        message, outcome = b"", _kind(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    promise(peak <= 4 * limit + _SLACK, "more memory than the limit allows", peak, limit)
    if outcome == "a message has at most":
        promise(len(_reference(payload, limit + 1) or b"") > limit, "too large, but it is not", limit)
    elif outcome == "inflated":
        promise(len(message) <= limit, "a message beyond the limit", len(message))
        promise(message == _reference(payload, limit), "another message", message, _reference(payload, limit))
        for bits in (9, 12, 15):
            promise(inflate(compress(message, bits), limit) == message, "a message that does not come back", bits)
    return outcome


def _kind(error: Exception) -> str:
    words = str(error)
    return words[: words.index("most") + 4] if isinstance(error, TooLarge) else words


def _reference(payload: bytes, most: int) -> bytes | None:
    """RFC 7692, 7.2.2, to the letter: append four bytes, inflate; one block after the other."""
    inflater = zlib.decompressobj(-15)
    try:
        return inflater.decompress(payload + TAIL, most)
    except zlib.error:
        return None


def _deflated(*pieces: bytes, last: bool = False, strategy: int = zlib.Z_DEFAULT_STRATEGY, level: int = 6) -> bytes:
    deflater = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
    data = b"".join(deflater.compress(piece) + deflater.flush(zlib.Z_SYNC_FLUSH) for piece in pieces)
    return data + deflater.flush() if last else data[:-4]


TARGET = Target(
    "inflate",
    one_input,
    frozenset(
        {"inflated", "a message has at most", "the message ends inside a block", "there is data after the last block"}
    ),
    (
        *(b"\x00", b"\x01\x00\x00\xff\xff", TAIL, b"\x00" + TAIL, b"\x03\x00", b"\x02\x00", b"\x04", b"\x05"),
        *(b"\x01\x09\x00\xf6\xff", b"\x00\x04\x00\xfb\xff", b"\x01\x04\x00\xfb\xff", b"\x00\x01\x00\xfe\xffa"),
        *(_deflated(b"Hello"), _deflated(b"Hello", last=True), _deflated(b"He", b"llo"), _deflated(b"a" * 60_000)),
        *(_deflated(b"Hello" * 9, strategy=zlib.Z_FIXED), _deflated(bytes(range(256)), strategy=zlib.Z_HUFFMAN_ONLY)),
        _deflated(b"stored", level=0),
    ),
)
