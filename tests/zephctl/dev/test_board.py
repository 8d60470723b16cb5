"""What stays below the lines of the development mode: exact pictures, in terminals of all widths."""

from __future__ import annotations

import pytest
from rich.text import Text

from zephctl.dev.board import REMEMBERED, Board
from zephserver.core.events import Event
from zephserver.events import ReloadMended, ReloadRefused, TaskFinished, TasksReloaded

RELOADED = TasksReloaded(modules=("a",), seconds=0.01, running=0)
REFUSED = ReloadRefused(error="x", file="a.py", line=1, source="", column=None)
MENDED = ReloadMended(file="a.py")


def note(board: Board, *events: Event) -> None:
    """It happened at noon."""
    for event in events:
        board.note(event.as_dict(), "12:00:00")


def call(board: Board, task: str, *milliseconds: float, outcome: str = "done") -> None:
    """The task was called and took so long."""
    for time in milliseconds:
        note(board, TaskFinished(task=task, cid="c", seconds=time / 1000, outcome=outcome))


def picture(lines: list[Text]) -> str:
    """The lines as text."""
    return "".join(line.plain + "\n" for line in lines)


@pytest.fixture
def board() -> Board:
    """Three tasks were called."""
    board = Board()
    call(board, "word", 0.08, 1.25, 3)
    call(board, "a task with a long name", 1250)
    call(board, "trip", 40, 41, outcome="task-failed")
    return board


@pytest.mark.parametrize("width", [65, 80, 200])
def test_a_task_is_a_row(board: Board, width: int) -> None:
    assert (
        picture(board.table(width, 10))
        == """\
TASK                     CALLS  FAILED     LAST      P50  LONGEST
a task with a long name      1       0   1.25 s   1.25 s   1.25 s
trip                         2       2  41.0 ms  40.5 ms  41.0 ms
word                         3       0  3.00 ms  1.25 ms  3.00 ms
"""
    )


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (56, ["TASK            CALLS  FAILED     LAST      P50  LONGEST",
              "a task with a       1       0   1.25 s   1.25 s   1.25 s"]),
        (40, ["TASK              CALLS  FAILED     LAST", "a task with a lo      1       0   1.25 s"]),
        (30, ["TASK            CALLS     LAST", "a task with a       1   1.25 s"]),
        (20, ["TASK            LAST", "a task with   1.25 s"]),
    ],
)  # fmt: skip
def test_a_narrow_terminal_has_fewer_columns(board: Board, width: int, lines: list[str]) -> None:
    assert [line.plain for line in board.table(width, 10)[:2]] == lines


def test_without_room_for_all_those_that_were_called_last_are_shown(board: Board) -> None:
    call(board, "word", 3)

    lines = picture(board.table(80, 3)).splitlines()

    assert lines[0].startswith("TASK 2 of 3  CALLS")
    assert [line.split()[0] for line in lines[1:]] == ["trip", "word"]


@pytest.mark.parametrize("height", [-3, 0, 1])
def test_a_low_terminal_has_no_table(board: Board, height: int) -> None:
    assert board.table(80, height) == []


def test_before_the_first_call_there_is_no_table() -> None:
    assert Board().table(80, 10) == []


def test_times_are_those_of_the_last_calls() -> None:
    board = Board()
    call(board, "word", 1000, *[2] * REMEMBERED)

    assert picture(board.table(80, 10)).endswith("word    101       0  2.00 ms  2.00 ms  2.00 ms\n")


def test_failures_are_red(board: Board) -> None:
    trip = board.table(80, 10)[2]

    assert [trip.plain[span.start : span.end].strip() for span in trip.spans if span.style == "red"] == ["2"]


def test_a_name_cannot_harm_the_terminal() -> None:
    board = Board()
    call(board, "e\x1b[31mvil", 1)

    assert "\x1b" not in picture(board.table(80, 10))


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([], "ready  Ctrl-C stops it"),
        ([RELOADED], "ready  reloaded at 12:00:00  Ctrl-C stops it"),
        ([RELOADED, REFUSED], "ready  not reloaded since 12:00:00  Ctrl-C stops it"),
        ([REFUSED, MENDED], "ready  mended at 12:00:00  Ctrl-C stops it"),
    ],
)
def test_the_state_tells_what_came_of_the_last_save(events: list[Event], line: str) -> None:
    board = Board()
    note(board, *events)

    assert board.state("", 80).plain == line


def test_the_state_tells_why_the_server_is_not_ready() -> None:
    assert Board().state("3 of 4 services are ready", 80).plain == (
        "not ready: 3 of 4 services are ready  Ctrl-C stops it"
    )


@pytest.mark.parametrize(
    ("width", "line"), [(44, "ready  reloaded at 12:00:00  Ctrl-C stops it"), (43, "ready  reloaded at 12:00:00"),
                        (20, "ready  reloaded at 1")],
)  # fmt: skip
def test_a_narrow_terminal_has_as_much_of_the_state_as_fits(width: int, line: str) -> None:
    board = Board()
    note(board, RELOADED)

    assert board.state("", width).plain == line
