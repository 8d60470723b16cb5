"""What a command shows: tables for people, lines and JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

from zephserver.core.text import escape

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

SCHEMA = 1
JSON = ("json", "jsonl")
MODES = ("table", "plain", *JSON, "name")
# How a state is shown: the word stays readable without the colour.
STYLES = {
    "ready": "green", "running": "green", "available": "dim", "declared": "dim", "dead": "red", "failed": "bold red",
    "stuck": "bold red", "not answering": "bold red", "back-off": "yellow", "starting": "yellow", "stopping": "yellow",
    "constructing": "yellow", "ERROR": "red", "CRITICAL": "bold red", "WARNING": "yellow", "DEBUG": "dim",
}  # fmt: skip


class Output:
    """Knows the terminal, the colour wish and the mode; commands hand it data.

    Data goes to stdout and words to stderr. Without a mode it is a table on a terminal and plain lines elsewhere.
    """

    def __init__(
        self,
        mode: str | None = None,
        color: str = "auto",
        *,
        quiet: bool = False,
        stdout: IO[str] | None = None,
        stderr: IO[str] | None = None,
    ) -> None:
        self.stdout = stdout or sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - None: whoever called us closed it
        self.stderr = stderr or sys.stderr or self.stdout
        self.mode = mode or ("table" if self.stdout.isatty() else "plain")
        self.quiet = quiet
        self.is_silent = quiet and mode is None  # an answer that is also told by the exit status may be left out
        self._color = color

    @property
    def is_json(self) -> bool:
        """Whether stdout is for programs that read JSON."""
        return self.mode in JSON

    def rows(self, key: str, rows: Sequence[dict[str, Any]], columns: Sequence[str], name: str = "name") -> None:
        """A list of records. JSON has every field under *key*; a table and plain lines have the *columns*."""
        if self.mode == "json":
            self._json({"schema": SCHEMA, key: list(rows)})
        elif self.mode == "jsonl":
            for row in rows:
                self._json(row)
        elif self.mode == "name":
            for row in rows:
                self._line(escape(str(row[name])))
        elif self.mode == "plain":
            for row in rows:
                self._line("\t".join(_cell(row.get(column)) for column in columns))
        elif rows:
            self._table(rows, columns)
        else:
            self.say(f"no {key}")

    def record(self, record: dict[str, Any], columns: Sequence[str] | None = None, name: str = "name") -> None:
        """One record. JSON has every field beside the schema; people get the *columns*, one a line."""
        if self.mode == "json":
            self._json({"schema": SCHEMA, **record})
        elif self.mode == "jsonl":
            self._json(record)
        elif self.mode == "name":
            self._line(_cell(record.get(name)))
        else:
            shown = {column: record.get(column) for column in columns or record}
            if self.mode == "plain":
                for key, value in shown.items():
                    self._line(f"{key}\t{_cell(value)}")
            else:
                self._grid(shown)

    def item(self, item: dict[str, Any], text: str, level: str = "") -> None:
        """One item of a stream, written at once: a JSON line in both JSON modes, its text otherwise."""
        if self.is_json:
            self._json(item)
        elif level and self.is_colored(self.stdout):
            self.render(self.styled(text, level), soft_wrap=True)
        else:
            self.text(text)
        self.stdout.flush()

    def json_text(self, value: object) -> str:
        """The value as JSON that stays JSON when text() escapes what a terminal could not bear."""
        return _dump(value, self.stdout)

    def text(self, text: str) -> None:
        """Text that is the answer itself; its lines and tabs stay, other control characters are escaped."""
        for line in text.split("\n"):
            self._line("\t".join(map(escape, line.split("\t"))))

    def say(self, text: str) -> None:
        """A word to the person, on stderr; not with --quiet."""
        if not self.quiet:
            print(_writable(escape(text), self.stderr), file=self.stderr)

    def error(self, code: str, message: str) -> None:
        """What went wrong: on stderr, and in JSON where JSON was asked for."""
        if self.is_json:
            error = {"schema": SCHEMA, "error": {"code": code, "message": message}}
            print(_dump(error, self.stderr), file=self.stderr)
            return
        for line in message.split("\n") if message else [code]:
            print(_writable(f"zephctl: {escape(line)}", self.stderr), file=self.stderr)

    def _line(self, line: str) -> None:
        print(_writable(line, self.stdout), file=self.stdout)

    def _json(self, value: object) -> None:
        print(_dump(value, self.stdout), file=self.stdout)

    def is_colored(self, stream: IO[str]) -> bool:
        """Whether colours go to *stream*: as --color, NO_COLOR and the terminal say."""
        if self._color != "auto":
            return self._color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")

    @property
    def can_draw(self) -> bool:
        """Whether people look at a terminal on which one can draw."""
        return self.mode == "table" and self.stdout.isatty() and os.environ.get("TERM") != "dumb"

    def styled(self, text: str, level: str) -> Text:
        """The text, harmless to a terminal, in the colour of a level or state."""
        from rich.text import Text

        return Text("\n".join(map(escape, text.split("\n"))), style=STYLES.get(level, ""))

    def console(self) -> Console:
        """What rich draws with, on stdout, in colours if they are wanted."""
        from rich.console import Console

        colored = self.is_colored(self.stdout)
        return Console(
            file=self.stdout,
            force_terminal=colored or None,
            no_color=not colored,
            color_system="auto" if colored else None,
            highlight=False,
            emoji=False,
            markup=False,
        )

    def render(self, what: Any, *, soft_wrap: bool = False) -> None:
        """Draw with rich, as wide as the terminal, and write it as far as the encoding can."""
        console = self.console()
        with console.capture() as drawn:
            console.print(what, soft_wrap=soft_wrap)
        for line in drawn.get().splitlines():
            self._line(line.rstrip())

    def _table(self, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
        from rich.box import SIMPLE_HEAD, Box
        from rich.table import Table
        from rich.text import Text

        box: Box = SIMPLE_HEAD
        table = Table(box=box, pad_edge=False, header_style="bold", show_edge=False)
        for column in columns:
            table.add_column(column.upper(), overflow="fold", justify="right" if _is_number(rows, column) else "left")
        for row in rows:
            cells = [_writable(_cell(row.get(column)), self.stdout) for column in columns]
            table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
        self.render(table)

    def _grid(self, record: dict[str, Any]) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for key, value in record.items():
            is_long = isinstance(value, str) and "\n" in value
            text = "\n".join(map(escape, value.rstrip().split("\n"))) if is_long else _cell(value)
            text = _writable(text, self.stdout)
            table.add_row(key.replace("_", " "), Text(text, style=STYLES.get(text, "")))
        self.render(table)


def closed_pipe() -> None:
    """Whoever read stdout has gone (`zephctl events | head`): end without a word."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def worker_column(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The column, the last one, that rows have where several processes are one server."""
    return ["worker"] if any("worker" in row for row in rows) else []


def span(seconds: float) -> str:
    """A time for people, as in 3 s, 12 min, 5 h, 9 d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _cell(value: Any) -> str:
    """The value on one line, harmless to a terminal."""
    if value is None or (not value and isinstance(value, (str, list, tuple, dict))):
        return "-"
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case dict() if all(isinstance(number, int) for number in value.values()):
            return ", ".join(f"{number} {escape(str(name))}" for name, number in value.items())
        case dict():
            return escape(json.dumps(value, default=str, ensure_ascii=False))
        case list() | tuple():
            return ", ".join(_cell(part) for part in value)
    return escape(str(value).replace("\t", " ").replace("\n", " "))


def _is_number(rows: Iterable[dict[str, Any]], column: str) -> bool:
    values = [row.get(column) for row in rows]
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _dump(value: object, stream: IO[str]) -> str:
    """JSON on one line, as it stands or, where the encoding or a terminal could not bear that, in ASCII."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    if _writable(text, stream) == text == escape(text):
        return text
    return json.dumps(value, default=str)


def _writable(text: str, stream: IO[str]) -> str:
    """The text with what the stream's encoding does not have written as \\xNN."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
