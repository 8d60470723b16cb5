"""The files of the log read from their end, rotated ones too, and the place where what the server remembers begins."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import chain, takewhile
from types import TracebackType
from typing import IO, Any

from zephserver.core.files import open_plain

BLOCK = 65_536  # bytes read at once
ATTEMPTS = 50  # to open the files between two rotations
SLACK = 1.0  # seconds by which lines of several threads may stand in another order than their times

Row = dict[str, Any]

_TEXT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) ([A-Z]+) +(?:\[([^\]]+)\] )?")
_LOST = re.compile(r"(\d+) lines of this log are lost: ")


class LogFiles:
    """The log at *path* and its older files, as they stood at one moment: rotation does not disturb a reader.

    Raises OSError when the log itself cannot be opened, or one of them is no plain file.
    """

    def __init__(self, path: str) -> None:
        self._stack = ExitStack()
        self._files: list[IO[bytes]] = []
        for _ in range(ATTEMPTS):
            self.close()
            self._files = list(self._open(path))
            # Files are renamed from the oldest on: what was opened first is the newest, or it all moved meanwhile.
            if _is_at(self._files[0], path):
                break

    def _open(self, path: str) -> Iterator[IO[bytes]]:
        yield self._stack.enter_context(open(open_plain(path), "rb"))  # noqa: SIM115 - the stack closes it
        number = 1
        while True:
            try:
                yield self._stack.enter_context(open(open_plain(f"{path}.{number}"), "rb"))  # noqa: SIM115
            except FileNotFoundError:
                return
            number += 1

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def __enter__(self) -> LogFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def rows(self) -> Iterator[Row]:
        """Every line, the newest first."""
        return (as_row(line) for file in self._files for line in _backwards(file))

    def rows_before(self, first: Sequence[Row]) -> Iterator[Row] | None:
        """Every line that stands before the lines *first* of the server, the newest first.

        None when the files do not have those lines yet: the writer is behind.
        """
        newer: list[Row] = []
        best = (0, False, 0)
        rest = self.rows()
        for row in rest:
            newer.append(row)
            if _is(row, first[0]):
                best = max(best, _likeness(newer, first))
            elif _is_older(row, first[0]):
                break
        if best[0]:
            return chain(newer[best[2] :], rest)
        if not newer or _is_older(newer[0], first[0], slack=0.0):
            return None
        # They are rotated away, or a full disk swallowed them: whatever is clearly older is before them.
        return chain([row for row in newer if _is_older(row, first[0])], rest)


def numbered(rows: Iterator[Row], boot: str, seq: int) -> Iterator[Row]:
    """The lines before line *seq* of a run with their cursors; lines of earlier runs have none."""
    for row in rows:
        lost = _LOST.match(row["text"])
        if lost is not None:  # the writer's confession has no number of its own
            seq -= int(lost[1])
        elif seq > 1:
            seq -= 1
            row = {**row, "seq": seq, "cursor": f"{boot}:{seq}"}
        else:
            row = {name: value for name, value in row.items() if name != "seq"}
        yield row


def as_row(line: str) -> Row:
    """A line of a text log or of a JSON log as the server would tell it, as far as it can be read."""
    if line.startswith('{"seq":'):
        try:
            return _json_row(json.loads(line))
        except (ValueError, KeyError, TypeError):
            return {"text": line}
    found = _TEXT.match(line)
    if found is None:
        return {"text": line}
    row: Row = {"at": _seconds(found[1]), "level": found[2], "text": line}
    if found[3]:
        row["service"] = found[3]
    _, bar, trace = line.partition(" | Traceback ")
    if bar:
        row["trace"] = "Traceback " + trace.replace("\\n", "\n")
    return row


def after_last_seen(rows: Iterator[Row], seen: Sequence[Row]) -> list[Row]:
    """Of lines of files, the newest first: those after the last of *seen*, which a server told; the oldest first."""
    found: list[Row] = []
    for row in rows:
        found.append(row)
        if _is_older(row, seen[0]):
            break
    best = (0, False, 0)
    for number, row in enumerate(found):
        if _is(row, seen[-1]):
            alike = _common(found[number:], reversed(seen))
            best = max(best, (alike, alike == len(seen), -number))
    if best[0]:
        return found[: -best[2]][::-1] if best[2] else []
    return [row for row in reversed(found) if not _is_older(row, seen[-1], slack=0.0)]


def _likeness(newer: list[Row], first: Sequence[Row]) -> tuple[int, bool, int]:
    """How many lines from the last of *newer* on are those of *first*; whether nothing spoke against it; where."""
    alike = _common(reversed(newer), first)
    return alike, alike == min(len(first), len(newer)), len(newer)


def _common(rows: Iterable[Row], known: Iterable[Row]) -> int:
    """How many rows of files are the known ones, until one is not."""
    return sum(1 for _ in takewhile(lambda pair: _is(*pair), zip(rows, known, strict=False)))


def _is(row: Row, known: Row) -> bool:
    """Whether a row of a file is the line that a server told: same number and time, or text where it has no number."""
    if "seq" in row:
        return (row["seq"], row["at"]) == (known["seq"], known["at"])
    return bool(row["text"] == known["text"])


def _is_older(row: Row, known: Row, slack: float = SLACK) -> bool:
    """Whether a row of a file is older than a line of the server, by more than *slack* seconds.

    A text log has the local time of the server, which may not be ours; so has the text that the server tells.
    """
    if "at" not in row:
        return False
    stamp = None if "seq" in row else _TEXT.match(known["text"])
    return bool(row["at"] < (_seconds(stamp[1]) if stamp is not None else known["at"]) - slack)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _json_row(values: Row) -> Row:
    from zephserver.core.logs import Line

    names = ("seq", "at", "level", "text", "service", "trace", "fields", "worker")
    known = {"service": ""} | {name: values[name] for name in names if name in values}
    return {**values, "text": Line(**known).as_text()}


def _is_at(file: IO[bytes], path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def _backwards(file: IO[bytes]) -> Iterator[str]:
    """The lines of a file from its end."""
    place = file.seek(0, os.SEEK_END)
    begun = b""
    while place:
        size = min(BLOCK, place)
        place = file.seek(place - size)
        begun, *lines = (file.read(size) + begun).split(b"\n")
        yield from (line.decode("utf-8", "backslashreplace") for line in reversed(lines) if line)
    if begun:
        yield begun.decode("utf-8", "backslashreplace")
