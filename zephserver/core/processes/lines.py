"""Bytes in pieces become whole lines. Pure: no I/O, no clock."""

from __future__ import annotations

LONGEST = 4_194_304  # bytes; what has no newline for so long is handed on as it is


class Lines:
    """What was fed, as lines without their newlines. One thread."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._begun = b""
        self._longest = longest

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that *data* ends."""
        *lines, self._begun = (self._begun + data).split(b"\n")
        if len(self._begun) > self._longest:
            lines.append(self.rest())
        return lines

    def rest(self) -> bytes:
        """What came after the last newline; it is forgotten then."""
        rest, self._begun = self._begun, b""
        return rest
