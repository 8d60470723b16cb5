"""`zephctl dev` on a terminal: lines that scroll, and below them a board that stays."""

from __future__ import annotations

import io
import queue
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Group
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from zephctl.dev.board import Board
from zephctl.dev.lines import shown
from zephctl.output import Output

if TYPE_CHECKING:
    from zephserver.core.events import Event

TICK = 0.25  # seconds between two looks at the server and at the size of the window
AT_ONCE = 200  # events that are drawn together
_UP = Control((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))


class LiveView:
    """The events of a server on a terminal. Nothing of the terminal is changed that would have to be put back."""

    def __init__(self, output: Output, why_not_ready: Callable[[], str]) -> None:
        self._output, self._why_not_ready = output, why_not_ready
        if isinstance(output.stdout, io.TextIOWrapper):
            output.stdout.reconfigure(errors="backslashreplace")  # its encoding may not have every sign
        self._board = Board()
        self._console = output.console()
        self._drawn: list[Text] = []
        self._size = self._console.size
        # What tasks print goes above the board, too.
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stderr=output.stderr.isatty(), vertical_overflow="crop"
        )

    def run(self, events: queue.SimpleQueue[Event | None]) -> None:
        """Body of the view's thread: until None comes, or the terminal has gone."""
        with suppress(OSError), self._live:
            self._console.show_cursor()
            news: list[Event | None] = []
            while None not in news:
                self._draw(news)
                news = _next(events)
            self._draw(news)
            self._live.update(Group(*self._table()))

    def _draw(self, news: Sequence[Event | None]) -> None:
        """Write the news and draw the board below them, if anything is new."""
        lines = []
        for event in filter(None, news):
            facts = event.as_dict()
            at = time.strftime("%H:%M:%S", time.localtime(event.at))
            text, level = shown(facts)
            if text:
                self._board.note(facts, at)
                lines.append(self._output.styled(f"{at} {text}", level))
        size = self._console.size
        board = [*self._table(), self._board.state(self._why_not_ready(), size.width), Text()]
        if not lines and size == self._size and board == self._drawn:
            return
        with self._console:  # one write, so that nothing flickers
            self._console.control(*[_UP] * self._wrapped(size.width))
            if lines:
                self._console.print(Text("\n").join(lines), soft_wrap=True)
            self._live.update(Group(*board), refresh=True)
        self._drawn, self._size = board, size

    def _wrapped(self, width: int) -> int:
        """How many lines more the board has because the window became narrower: terminals wrap what they show."""
        return sum(max(0, line.cell_len - 1) // width for line in self._drawn)

    def _table(self) -> list[Text]:
        """The table, with a gap above it, in half of the window at most."""
        size = self._console.size
        table = self._board.table(size.width, size.height // 2 - 3)
        return [Text(), *table] if table else []


def _next(events: queue.SimpleQueue[Event | None]) -> list[Event | None]:
    """What happens within a tick; what has happened meanwhile comes together."""
    news: list[Event | None] = []
    with suppress(queue.Empty):
        news.append(events.get(timeout=TICK))
        while news[-1] is not None and len(news) < AT_ONCE:
            news.append(events.get_nowait())
    return news
