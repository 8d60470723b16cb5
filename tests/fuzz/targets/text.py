"""Text from elsewhere in a log or on a terminal: one line, no control characters, and UTF-8 can carry it."""

from __future__ import annotations

import unicodedata

from tests.fuzz.engine import Target, promise
from zephserver.core.text import escape

_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def one_input(data: bytes) -> str:
    """Escape a text that may hold half surrogate pairs."""
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "surrogateescape")
    safe = escape(text)
    promise(len(safe.splitlines()) <= 1, "more than one line", safe)
    for character in safe:
        promise(unicodedata.category(character) not in _CONTROLS, "a control character", safe)
        promise(unicodedata.bidirectional(character) not in _TURNS, "text that turns its direction", safe)
    promise(safe.encode().decode() == safe, "not UTF-8", safe)
    promise(escape(safe) == safe, "what is escaped is escaped again", safe)
    kept = "".join(character for character in text if character.isprintable())
    promise(len(safe) >= len(text) and (safe == text or kept != text), "a harmless text was changed", text, safe)
    return "as it was" if safe == text else "half a pair" if _has_half(text) else "escaped"


def _has_half(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


TARGET = Target(
    "text",
    one_input,
    frozenset({"as it was", "escaped", "half a pair"}),
    (
        *(
            b"\x1b[31m",
            b"\x1b]0;title\x07",
            b"\r\n",
            b"\t",
            b"\x00",
            b"\x7f",
            b"\xc2\x85",
            b"\xc2\x9b",
            b"\xe2\x80\xa8",
        ),
        *(
            b"\xe2\x80\xae",
            b"\xe2\x81\xa6",
            b"\xed\xa0\x80",
            b"\xed\xbf\xbf",
            b"\xf0\x9f\x99\x82",
            b"\xef\xbb\xbf",
            b"\\x1b",
        ),
        *(b"\xe2\x80\x8f", b"\xd8\x9c", b"\xef\xbf\xbe", b"\xff"),
    ),
    longest=512,
)
