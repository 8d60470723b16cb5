"""A real pseudo-terminal with a person at it: what a program draws is read back as a screen, keys are typed."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import pyte

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PATIENCE = 20.0  # seconds; never waited for when all is well
# The first terminal that the leader of a session opens is its own: Ctrl-C and the size of the window reach it.
LAUNCH = """\
import os, sys
terminal = os.open(sys.argv[1], os.O_RDWR)
for descriptor in (0, 1, 2):
    os.dup2(terminal, descriptor)
os.close(terminal)
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[2:]])
"""
ZEPHCTL = "from zephctl.cli import program; program()"


class PseudoTerminal:
    """zephctl, or other Python *code*, on a terminal of its own."""

    def __init__(
        self, *words: str, columns: int = 80, lines: int = 24, code: str = ZEPHCTL, **environment: str
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.raw = b""
        self._stream = pyte.ByteStream(self.screen)
        self._master, self._slave = os.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self._slave)
        unwanted = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES", "ZEPHSETTINGS")
        values = {name: value for name, value in os.environ.items() if name not in unwanted}
        values |= {"TERM": "xterm-256color", "PYTHONPATH": ROOT} | environment
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, os.ttyname(self._slave), code, *words], env=values, start_new_session=True
        )

    def __enter__(self) -> PseudoTerminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    @property
    def text(self) -> str:
        """What is on the screen, without the spaces at the ends of lines."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, fact: str | Callable[[], Any], what: str = "") -> None:
        """Read until a text is on the screen, or something is true of it."""
        holds = (lambda: fact in self.text) if isinstance(fact, str) else fact
        end = time.monotonic() + PATIENCE
        while not holds():
            left = end - time.monotonic()
            assert left > 0, f"not on the screen: {what or fact}\n{self.text}"
            self._read(left)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Make the window another size; the program is told by a signal."""
        self.screen.resize(lines, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def show(self, text: str) -> None:
        """Put a text on the screen that the program has not written."""
        self._stream.feed(text.encode())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Read to the end of the program; its exit status."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end\n{self.text}"
            self._read(0.05)
        while self._read(0.0):
            pass
        return self.process.returncode

    def is_as_before(self) -> bool:
        """Whether the terminal was given back: its modes, the cursor, the first screen."""
        modes = termios.tcgetattr(self._slave) == self.before
        left, entered = self.raw.rfind(b"\x1b[?1049l"), self.raw.rfind(b"\x1b[?1049h")
        shown, hidden = self.raw.rfind(b"\x1b[?25h"), self.raw.rfind(b"\x1b[?25l")
        wraps, cuts = self.raw.rfind(b"\x1b[?7h"), self.raw.rfind(b"\x1b[?7l")
        return modes and left >= entered and shown >= hidden and wraps >= cuts

    def colours(self) -> set[str]:
        """The colours that are on the screen."""
        cells = [cell for row in self.screen.buffer.values() for cell in row.values()]
        return {cell.fg for cell in cells} | {cell.bg for cell in cells}

    def style_of(self, text: str) -> Any:
        """The cell at the first letter of a text on the screen."""
        for row, line in enumerate(self.screen.display):
            if text in line:
                return self.screen.buffer[row][line.index(text)]
        raise AssertionError(f"{text!r} is not on the screen\n{self.text}")

    def _read(self, within: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], min(within, 0.5))
        if not ready:
            return False
        data = os.read(self._master, 65_536)
        self.raw += data
        self._stream.feed(data)
        return True
