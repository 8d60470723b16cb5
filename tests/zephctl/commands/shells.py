"""A real shell on a pseudo-terminal, as a person has it: types, presses Tab, and reads what is shown."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

from tests.requirements import program

BIN = Path(sys.executable).parent
PATIENCE = 60.0  # seconds; a machine may be busy
AGAIN = 2.0  # seconds
PROMPT = "READY>"
# Colours, movements, titles, and the words by which a shell asks a terminal what it is.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-9;?>=<]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>78M])|[\r\x07\x0e\x0f]"
)
ARGUMENTS = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
BEGIN = {
    "bash": "PS1='{prompt}'; bind 'set enable-bracketed-paste off'; bind 'set completion-query-items 0'; . {script}\n",
    "zsh": "PS1='{prompt}'; unsetopt zle_bracketed_paste prompt_sp; autoload -Uz compinit; compinit -u -d {home}/dump; "
    "source {script}\n",
    "fish": "function fish_prompt; echo -n '{prompt}'; end; function fish_greeting; end; source {script}\n",
}


class Shell:
    """One interactive shell with our completion loaded."""

    def __init__(self, name: str, script: Path, home: Path, folder: Path) -> None:
        shell = program(name)
        self._seen = ""
        environment = {
            "HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "xterm", "LANG": "C.UTF-8",
            "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execve(shell, [shell, *ARGUMENTS[name]], environment)
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.send(BEGIN[name].format(prompt=PROMPT[:3] + "''" + PROMPT[3:], script=script, home=home))
        self.wait(PROMPT)

    def send(self, text: str) -> None:
        """Type."""
        os.write(self._terminal, text.encode())

    def wait(self, text: str, *, press_again: str = "") -> str:
        """Read until *text* was shown; all that was shown since the last wait. Raises AssertionError.

        What is to be pressed again is pressed whenever nothing is shown for a while: a Tab gives up early.
        """
        end = time.monotonic() + PATIENCE
        while text not in (shown := _ESCAPES.sub("", self._seen)):
            pause = min(AGAIN, end - time.monotonic()) if press_again else end - time.monotonic()
            if not select.select([self._terminal], [], [], max(0.0, pause))[0]:
                if time.monotonic() >= end:
                    raise AssertionError(f"{text!r} was not shown, but {shown!r}")
                self.send(press_again)
                continue
            try:
                data = os.read(self._terminal, 65_536)
            except OSError:
                raise AssertionError(f"the shell ended after {shown!r}") from None
            self._answer_queries(data)
            self._seen += data.decode("utf-8", "replace")
        self._seen = ""
        return shown

    def drop(self) -> None:
        """Give up the line that was typed."""
        self.send("\x15\n")
        self.wait(PROMPT)

    def close(self) -> None:
        """End the shell and all that it started."""
        os.kill(self._pid, signal.SIGKILL)
        os.close(self._terminal)
        os.waitpid(self._pid, 0)

    def _answer_queries(self, data: bytes) -> None:
        """Be a terminal: some shells wait for it to say what and where it is."""
        if b"\x1b[c" in data or b"\x1b[0c" in data:
            self.send("\x1b[?62c")
        if b"\x1b[6n" in data:
            self.send("\x1b[1;1R")
