"""The lines of a log for one reader: what was, from memory and files without a seam, and what comes."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice, takewhile
from typing import Any

from zephctl.app import TIMEOUT, App
from zephctl.log_files import LogFiles, Row, after_last_seen, numbered
from zephctl.wishes import LineFilter
from zephserver.core.errors import ZephError

ALL = 1_000_000_000  # lines; more than any server remembers
KNOWN = 64  # lines kept to find again in a file where we were
PATIENCE = 2.0  # seconds that the writer of the log may be behind
ON_STDERR = "no server runs, and LOG_PATH is '-' (stderr): there is no file to read"


class LogReader:
    """Reads the log of the server of *app*, and remembers where it is: `cursor`, and the last lines it was told."""

    def __init__(self, app: App, wanted: LineFilter, cursor: str = "") -> None:
        self.cursor = cursor
        self._app, self._wanted = app, wanted
        self._seen: deque[Row] = deque(maxlen=KNOWN)
        self._opened: Iterator[Row] | None = None

    def begin(self, count: int | None, *, follow: bool = False) -> Iterable[Row]:
        """The last *count* lines or all of them, of what came after the cursor if there is one. Notes do not count."""
        if not self.cursor:
            return self.past(count, follow=follow)
        if count is None:
            return self.news(follow=False)
        notes: list[Row] = []
        last: deque[Row] = deque(maxlen=count)
        for row in self.news(follow=False):
            (notes if "note" in row else last).append(row)
        return [*notes, *last]

    def past(self, count: int | None, *, follow: bool = False) -> list[Row]:
        """The last *count* lines that are wanted, or all of them. Raises ControlUnreachable.

        With *follow* the server is already told to go on from there, so that it can go down meanwhile.
        """
        wanted = self._wanted
        found: list[Row] = []
        if count and wanted.since is None and wanted.pattern is None:
            found = self._ask(lines=count, level=wanted.level, service=wanted.service)
            self._note(found)
        if not count or len(found) < count:  # the files have more
            kept = self._ask(lines=ALL)
            self._note(kept)
            here = [row for row in kept if wanted.takes(row)]
            found = here if count is None else here[max(0, len(here) - count) :]
            missing = ALL if count is None else count - len(here)
            if missing > 0 and (wanted.since is None or not kept or kept[0]["at"] >= wanted.since):
                found = self._older(kept, missing) + found
        if follow:
            self._opened = self._open()
        return found

    def news(self, *, follow: bool) -> Iterator[Row]:
        """What comes after the cursor, until the server goes away. Lines that it has forgotten come from the files."""
        again = True
        while again:
            again = False
            stream = self._opened or self._app.client.stream("log.tail", cursor=self.cursor, follow=follow)
            self._opened = None
            for row in stream:
                if "lost" in row:
                    self._app.client.close()
                    yield from self._catch_up(row)
                    again = True
                    break
                self._note([row])
                if self._wanted.takes(row):
                    yield row

    def _open(self) -> Iterator[Row]:
        """The stream after the cursor, which has begun: it repeats the line of the cursor, or has none to repeat."""
        boot, _, number = self.cursor.partition(":")
        if not number:
            return self._app.client.stream("log.tail", lines=0, follow=True)
        stream = self._app.client.stream("log.tail", cursor=f"{boot}:{int(number) - 1}", follow=True)
        first = next(stream, None)
        return stream if first is None or first.get("cursor") == self.cursor else chain([first], stream)

    def _catch_up(self, notice: Row) -> Iterator[Row]:
        """Lines between the last that was seen and those that the server remembers, and these."""
        boot, _, number = self.cursor.partition(":")
        kept = self._ask(lines=ALL)
        is_new = not kept or kept[0]["cursor"].partition(":")[0] != boot
        if is_new:
            yield {"note": notice["text"] if notice["lost"] is None else "the server was started anew since"}
        seen = 0 if is_new else int(number)
        missing = self._between(kept, seen, is_new=is_new) if kept else []
        lost = 0 if is_new or not kept else kept[0]["seq"] - seen - 1 - sum("seq" in row for row in missing)
        if lost > 0:
            yield {"note": f"{lost} lines are lost: neither the server nor its files have them any more"}
        yield from filter(self._wanted.takes, missing)
        for row in kept:
            if row["seq"] > seen:
                self._note([row])
                if self._wanted.takes(row):
                    yield row

    def _between(self, kept: list[Row], seen: int, *, is_new: bool) -> list[Row]:
        """The lines of the files after the last that was seen and before those that the server remembers."""
        with self._rows_before(kept) as older:
            if is_new and self._seen:
                return after_last_seen(older, list(self._seen))
            mine = takewhile(lambda row: row.get("seq", 0) > seen or "at" not in row, _with_cursors(older, kept))
            return list(mine)[::-1]

    def _older(self, kept: list[Row], count: int) -> list[Row]:
        """At most *count* wanted lines of the files that are older than what the server remembers."""
        with self._rows_before(kept) as older:
            return wanted_of(_with_cursors(older, kept), self._wanted, count)

    @contextmanager
    def _rows_before(self, kept: list[Row]) -> Iterator[Iterator[Row]]:
        """The lines of the files before those that the server remembers, the newest first; none without files."""
        path = self._path()
        end = time.monotonic() + PATIENCE
        while path != "-":
            try:
                files = LogFiles(path)
            except OSError as error:
                self._app.output.say(f"{path} cannot be read: {error.strerror}; older lines are left out")
                break
            with files:
                rows = files.rows_before(kept) if kept else files.rows()
                if rows is not None:
                    yield rows
                    return
            if time.monotonic() > end:
                break
            time.sleep(0.02)  # the writer has not come so far
        yield iter(())

    def _path(self) -> str:
        """Where the server writes its log."""
        values = {row["name"]: row["value"] for row in self._app.call("settings.show")}
        return str(values["LOG_PATH"])

    def _ask(self, **wish: Any) -> list[Row]:
        """Lines that the server remembers."""
        within = self._app.timeout or TIMEOUT  # this stream is not silent while there is something to tell
        return [row for row in self._app.client.stream("log.tail", timeout=within, **wish) if "cursor" in row]

    def _note(self, rows: list[Row]) -> None:
        """Remember how far we are."""
        if rows:
            self.cursor = rows[-1]["cursor"]
            self._seen.extend(rows[-KNOWN:])


def _with_cursors(rows: Iterator[Row], kept: list[Row]) -> Iterator[Row]:
    """The rows before *kept*, numbered as far as they are of the same run."""
    return numbered(rows, kept[0]["cursor"].partition(":")[0], kept[0]["seq"]) if kept else rows


def wanted_of(rows: Iterator[Row], wanted: LineFilter, count: int) -> list[Row]:
    """The last *count* wanted lines of those that come newest first; the oldest first."""
    if wanted.since is not None:
        first = wanted.since - 1.0  # lines of several threads may stand in another order than their times
        rows = takewhile(lambda row: row.get("at", first) >= first, rows)
    return list(islice(filter(wanted.takes, rows), count))[::-1]


def from_files(app: App, wanted: LineFilter, count: int | None) -> tuple[str, list[Row]]:
    """The path of the log and its last lines, when no server runs. Raises ZephError."""
    path = app.load_settings().log_path
    if path == "-":
        raise ZephError(ON_STDERR)
    try:
        with LogFiles(os.fspath(path)) as files:
            return str(path), wanted_of(files.rows(), wanted, ALL if count is None else count)
    except OSError as error:
        raise ZephError(f"{path} cannot be read: {error.strerror}") from None
