"""The whole of a terminal, taken and given back: the alternate screen, single keys, and lines that have changed."""

from __future__ import annotations

import io
import os
import termios
import tty
from collections.abc import Sequence
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.text import Text

# The alternate screen, no cursor, no wrapping of what is too long; and back.
ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"
LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"


class Screen:
    """A terminal that is ours within a `with` block; afterwards it is as it was, whatever happened."""

    def __init__(self, keyboard: int, stdout: IO[str], *, colored: bool) -> None:
        self.keyboard = keyboard  # its descriptor
        self._stdout = stdout
        self._before: list[int | list[bytes | int]] | None = None
        self._drawn: list[str] = []
        self._size = (0, 0)
        self._console = Console(
            file=io.StringIO(), force_terminal=True, no_color=not colored, highlight=False, emoji=False, markup=False
        )

    def __enter__(self) -> Screen:
        self.take()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.give_back()

    def take(self) -> None:
        """Keys come one by one and are not shown; Ctrl-C and Ctrl-Z go on to work."""
        if self._before is None:
            self._before = termios.tcgetattr(self.keyboard)
            tty.setcbreak(self.keyboard)
            self._write(ENTER)
        self._drawn = []

    def give_back(self) -> None:
        """Nothing is left of what was drawn. Keys that nobody read are thrown away: they are not for the shell."""
        if self._before is not None:
            before, self._before = self._before, None
            try:
                self._write(LEAVE)
            finally:
                termios.tcsetattr(self.keyboard, termios.TCSAFLUSH, before)

    def size(self) -> tuple[int, int]:
        """Columns and lines, at this moment."""
        columns, lines = os.get_terminal_size(self._stdout.fileno())
        return columns or 80, lines or 24

    def draw(self, lines: Sequence[Text], size: tuple[int, int]) -> None:
        """Show these lines; only those that have changed are sent."""
        if self._before is None:
            return
        news = []
        if size != self._size:
            self._size, self._drawn = size, []
        if not self._drawn:
            news.append("\x1b[0m\x1b[2J")
        drawn = [self._written(line, size[0]) for line in lines]
        for row, line in enumerate(drawn):
            if row >= len(self._drawn) or self._drawn[row] != line:
                news.append(f"\x1b[{row + 1};1H{line}")
        self._drawn = drawn
        if news:
            self._write("".join(news))

    def _written(self, line: Text, width: int) -> str:
        """The line with its colours as a terminal reads them."""
        self._console.width = width + 1
        with self._console.capture() as captured:
            self._console.print(line, end="", no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)
        return captured.get()

    def _write(self, text: str) -> None:
        encoding = getattr(self._stdout, "encoding", None) or "utf-8"
        self._stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stdout.flush()
