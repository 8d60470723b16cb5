"""Text that comes from elsewhere, made harmless. Pure: no I/O, no clock."""

from __future__ import annotations

# What could end a line, hide it, turn its direction, or speak to a terminal is written as \x1b, \u2028 and so on.
_UNPRINTABLE = {
    code: (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
    for code in [*range(32), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
} | {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}


def escape(text: str) -> str:
    """The text on one line, harmless to a terminal; half a surrogate pair is written as \\udXXX."""
    return text.translate(_UNPRINTABLE).encode("utf-8", "backslashreplace").decode()
