"""What a terminal sends when keys are pressed. Pure: no I/O, no clock."""

from __future__ import annotations

import codecs
import re

# Behind ESC [ or ESC O; terminals differ, and modifiers (1;5) make no difference here.
_NAMES = {
    "A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end",
    "1~": "home", "7~": "home", "4~": "end", "8~": "end", "5~": "page up", "6~": "page down", "3~": "delete",
}  # fmt: skip
_PLAIN = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\t": "tab", "\x15": "clear"}
_SEQUENCE = re.compile(r"\x1b(?:\[([0-9;<=>?]*)([ -/]*[@-~])|O(.))", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-9;<=>?]*[ -/]*|O)?\Z")


class Keys:
    """Bytes in, names of keys out: 'up', 'enter', 'escape', or the character itself."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""

    @property
    def waits(self) -> bool:
        """Whether an escape key was pressed or a longer sequence has begun: only time can tell."""
        return bool(self._text)

    def feed(self, data: bytes) -> list[str]:
        """The keys that are complete."""
        self._text += self._decoder.decode(data)
        keys = []
        while self._text and not _UNFINISHED.match(self._text):
            keys.append(self._next())
        return [key for key in keys if key]

    def flush(self) -> list[str]:
        """Nothing came for a while: what looked like the beginning of a sequence was the escape key."""
        text, self._text = self._text, ""
        return ["escape"] if text else []

    def _next(self) -> str:
        """The first key of the text; '' for one that nobody knows."""
        text = self._text
        sequence = _SEQUENCE.match(text)
        if sequence is not None:
            self._text = text[sequence.end() :]
            numbers, final, letter = sequence.groups()
            if final is None:
                return _NAMES.get(letter, "")
            return _NAMES.get(f"{numbers.partition(';')[0]}~" if final == "~" else final, "")
        self._text = text[1:]
        if text[0] == "\x1b":
            return "escape"
        return _PLAIN.get(text[0], text[0] if text[0].isprintable() else "")
