"""The files of the log: lines from the end, and the seam to what the server remembers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zephctl import log_files
from zephctl.log_files import LogFiles, after_last_seen, as_row, numbered

Row = dict[str, Any]


def line(number: int, text: str | None = None, second: int | None = None) -> str:
    """A line of a text log; each second has one."""
    second = number if second is None else second
    return f"2026-11-22 12:{second // 60:02d}:{second % 60:02d}.000 INFO     {text or f'line {number}'}"


def told(number: int, text: str | None = None, second: int | None = None) -> Row:
    """The same line as the server tells it."""
    row = as_row(line(number, text, second))
    return {**row, "seq": number, "cursor": f"boot:{number}"}


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., LogFiles]:
    """Open a log with these lines; each further list is an older file."""

    def make(*parts: list[str]) -> LogFiles:
        for number, part in enumerate(parts):
            path = tmp_path / ("x.log" + (f".{number}" if number else ""))
            path.write_text("".join(f"{one}\n" for one in part))
        return LogFiles(str(tmp_path / "x.log"))

    return make


def texts(rows: Any) -> list[str]:
    return [row["text"] for row in rows]


def test_lines_come_from_the_end_of_all_files(files: Callable[..., LogFiles]) -> None:
    with files([line(5), line(6)], [line(3), line(4)], [line(1), line(2)]) as log:
        assert texts(log.rows()) == [line(number) for number in range(6, 0, -1)]


@pytest.mark.parametrize("block", [1, 2, 7, 100, 65_536])
def test_blocks_of_any_size_tear_no_line(
    files: Callable[..., LogFiles], monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(log_files, "BLOCK", block)

    with files([line(1, "ä\u20ac"), line(2), "", line(3)]) as log:
        assert texts(log.rows()) == [line(3), line(2), line(1, "ä\u20ac")]


def test_a_last_line_without_its_end_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("one\ntwo")

    with LogFiles(str(tmp_path / "x.log")) as log:
        assert texts(log.rows()) == ["two", "one"]


def test_a_reader_is_not_disturbed_by_rotation(files: Callable[..., LogFiles], tmp_path: Path) -> None:
    with files([line(2)], [line(1)]) as log:
        (tmp_path / "x.log.1").unlink()
        (tmp_path / "x.log").rename(tmp_path / "x.log.1")

        assert texts(log.rows()) == [line(2), line(1)]


def test_without_a_log_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LogFiles(str(tmp_path / "none.log"))


# -- the seam -------------------------------------------------------------------------------------------------------


def test_what_the_server_remembers_is_not_read_from_the_file(files: Callable[..., LogFiles]) -> None:
    with files([line(number) for number in range(4, 9)], [line(number) for number in range(1, 4)]) as log:
        rows = log.rows_before([told(6), told(7)])
        assert rows is not None

        assert texts(rows) == [line(number) for number in (5, 4, 3, 2, 1)]


@pytest.mark.parametrize("unwritten", [0, 1, 2])
def test_lines_that_are_alike_do_not_move_the_seam(files: Callable[..., LogFiles], unwritten: int) -> None:
    """Five times the same words within a second: the server remembers the last three, and what came then."""
    same = [line(number, "same", 7) for number in range(5)]
    written = [line(1), *same, line(8), line(9)]
    first = [told(3, "same", 7), told(4, "same", 7), told(5, "same", 7), told(8), told(9)]

    with files(written[: len(written) - unwritten]) as log:
        rows = log.rows_before(first)
        assert rows is not None

        assert texts(rows) == [same[1], same[0], line(1)]


def test_a_file_that_does_not_have_the_lines_yet_is_not_read(files: Callable[..., LogFiles]) -> None:
    with files([line(1), line(2)]) as log:
        assert log.rows_before([told(5)]) is None


def test_lines_that_were_rotated_away_have_nothing_before_them(files: Callable[..., LogFiles]) -> None:
    with files([line(20), line(21)]) as log:
        rows = log.rows_before([told(5), told(6)])
        assert rows is not None

        assert texts(rows) == []


def test_a_line_that_a_full_disk_swallowed_does_not_hide_the_older_ones(files: Callable[..., LogFiles]) -> None:
    with files([line(1), line(2), "1 lines of this log are lost: the disk was full or too slow", line(9)]) as log:
        rows = log.rows_before([told(5), told(9)])
        assert rows is not None

        assert [text for text in texts(rows) if "lost" not in text] == [line(2), line(1)]


def test_lines_of_the_same_run_get_their_cursors(files: Callable[..., LogFiles]) -> None:
    note = "2 lines of this log are lost: the disk was full or too slow"
    with files([line(100), line(1), note, line(4), line(5)]) as log:
        rows = log.rows_before([told(5)])
        assert rows is not None

        assert [row.get("cursor") for row in numbered(rows, "boot", 5)] == ["boot:4", None, "boot:1", None]


def test_the_lines_after_the_last_that_was_seen(files: Callable[..., LogFiles]) -> None:
    with files([line(number) for number in range(1, 9)]) as log:
        assert texts(after_last_seen(log.rows(), [told(3), told(4)])) == [line(number) for number in (5, 6, 7, 8)]
        assert after_last_seen(log.rows(), [told(7), told(8)]) == []


def test_lines_that_are_alike_are_counted_from_what_was_seen_before(files: Callable[..., LogFiles]) -> None:
    same = [line(number, "same", 7) for number in range(4)]
    with files([line(6), *same]) as log:
        found = after_last_seen(log.rows(), [told(6), told(7, "same", 7), told(8, "same", 7)])

    assert len(found) == 2


def test_a_last_line_that_never_reached_the_file_does_not_bring_old_ones_back(files: Callable[..., LogFiles]) -> None:
    with files([line(1), line(2), line(9)]) as log:
        assert texts(after_last_seen(log.rows(), [told(5)])) == [line(9)]


# -- one line -------------------------------------------------------------------------------------------------------


def test_a_text_line_is_taken_apart() -> None:
    row = as_row(line(1, "[a.b/C] oh: x | Traceback (most recent call last):\\n  y"))

    assert (row["level"], row["service"]) == ("INFO", "a.b/C")
    assert row["trace"] == "Traceback (most recent call last):\n  y"


def test_a_json_line_becomes_what_the_server_would_tell() -> None:
    values = {"seq": 7, "at": 1_795_359_600.25, "level": "ERROR", "text": "oh", "service": "a.b/C", "fields": {"x": 1}}

    row = as_row(json.dumps(values))

    assert row["text"].endswith(".250 ERROR    [a.b/C] oh")
    assert {**row, "text": "oh"} == values


@pytest.mark.parametrize("text", ["what a library printed", '{"seq": 1', '{"seq": 1}', "", "2026-11-22"])
def test_a_line_of_somebody_else_is_its_text(text: str) -> None:
    assert as_row(text) == {"text": text}
