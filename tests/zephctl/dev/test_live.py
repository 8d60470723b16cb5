"""The view of the development mode on a terminal: what is written, and when it ends."""

from __future__ import annotations

import queue
import sys

import pytest

from tests.zephctl.conftest import Terminal
from zephctl.dev.live import AT_ONCE, LiveView
from zephctl.output import Output
from zephserver.core.events import Event
from zephserver.events import TaskFinished

CALLED = TaskFinished(task="word", cid="c", seconds=0.002, outcome="done")


class Paper(Terminal):
    """A terminal that keeps each write for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        """Write, and keep it."""
        self.writes.append(text)
        return super().write(text)


def view(terminal: Terminal, *events: Event) -> None:
    """Show these events, to the end."""
    queued: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    for event in (*events, None):
        queued.put(event)
    LiveView(Output(stdout=terminal, stderr=terminal), lambda: "").run(queued)


def test_a_line_and_the_table_below_it_come_in_one_write() -> None:
    paper = Paper()

    view(paper, CALLED)

    written = [write for write in paper.writes if "task word of c" in write]
    assert [("TASK" in write, "ready" in write) for write in written] == [(True, True)]


def test_what_happened_meanwhile_is_drawn_together() -> None:
    paper = Paper()

    view(paper, *[CALLED] * AT_ONCE)

    assert sum("task word of c" in write for write in paper.writes) == 1
    assert paper.getvalue().count("task word of c") == AT_ONCE


def test_print_is_given_back_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.stdout, sys.stderr

    view(Terminal(), CALLED)

    assert (sys.stdout, sys.stderr) == before


def test_a_terminal_that_goes_away_ends_the_view_only() -> None:
    def vanish() -> None:
        raise OSError(5, "Input/output error")

    before = sys.stdout, sys.stderr
    terminal = Terminal()
    terminal.when("task word", vanish)

    view(terminal, CALLED)

    assert (sys.stdout, sys.stderr) == before
