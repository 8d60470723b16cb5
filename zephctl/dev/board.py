"""What stays below the lines of `zephctl dev`: the tasks that were called, and how the code stands. Pure: no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from zephctl.drawing import amount, short_time
from zephctl.top.tables import Column
from zephserver.core.text import escape

REMEMBERED = 100  # calls of a task that its times are of: after a save they soon are those of the new code
COLUMNS = (
    Column("CALLS", 7, 30), Column("FAILED", 8, 38), Column("LAST", 9), Column("P50", 9, 47), Column("LONGEST", 9, 56),
)  # fmt: skip
HINT = "  Ctrl-C stops it"
LAST_RELOAD = {
    "TasksReloaded": ("reloaded at", "green"),
    "ReloadMended": ("mended at", "green"),
    "ReloadRefused": ("not reloaded since", "red"),
}


@dataclass(slots=True)
class _Calls:
    """The calls of one task."""

    count: int = 0
    failed: int = 0
    times: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class Board:
    """A table of tasks and a line of state, made of events. One thread."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Calls] = {}  # the one that was called last is last
        self._reload = Text()

    def note(self, event: Mapping[str, Any], time: str) -> None:
        """Count an event, which happened at this *time* of the day."""
        kind = event["kind"]
        if kind == "TaskFinished":
            calls = self._tasks.pop(event["task"], None) or _Calls()
            self._tasks[event["task"]] = calls
            calls.count += 1
            calls.failed += event["outcome"] != "done"
            calls.times.append(event["seconds"])
        elif kind in LAST_RELOAD:
            words, style = LAST_RELOAD[kind]
            self._reload = Text(f"{words} {time}", style=style)

    def table(self, width: int, height: int) -> list[Text]:
        """The tasks, in *height* lines at most: those that were called last, by name; nothing without any."""
        names = sorted([*self._tasks][max(0, len(self._tasks) - height + 1) :])
        if not names or height < 2:
            return []
        places = [place for place, column in enumerate(COLUMNS) if width >= column.since]
        room = width - sum(COLUMNS[place].width for place in places)
        title = "TASK" if len(names) == len(self._tasks) else f"TASK {len(names)} of {len(self._tasks)}"
        first = min(room, max(len(title), *(cell_len(escape(name)) for name in names)))
        rows = [(title, "dim", [(column.title, "") for column in COLUMNS])]
        rows += [(escape(name), "", _cells(self._tasks[name])) for name in names]
        found = []
        for name, style, cells in rows:
            line = Text(name, style)
            line.truncate(first, overflow="crop", pad=True)
            for place in places:
                line.append(cells[place][0].rjust(COLUMNS[place].width), style=cells[place][1])
            found.append(line)
        return found

    def state(self, why_not_ready: str, width: int) -> Text:
        """Whether the server is ready, and what came of the last save."""
        line = Text(f"not ready: {escape(why_not_ready)}", "yellow") if why_not_ready else Text("ready", "green")
        line = Text("  ").join(part for part in (line, self._reload) if part)
        if line.cell_len + len(HINT) <= width:
            line.append(HINT, style="dim")
        line.truncate(width, overflow="crop")
        return line


def _cells(calls: _Calls) -> list[tuple[str, str]]:
    """What stands in the COLUMNS."""
    return [
        (amount(calls.count), ""),
        (amount(calls.failed), "red" if calls.failed else "dim"),
        (short_time(calls.times[-1]), ""),
        (short_time(median(calls.times)), ""),
        (short_time(max(calls.times)), ""),
    ]
