"""The tables of `zephctl top`: services, and below them tasks or a log. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from zephctl.drawing import amount, per_second, percent, resample, short_time, sparkline
from zephctl.output import STYLES, span
from zephctl.top.numbers import ALL, Service, Task
from zephctl.top.scene import MOMENTS, Scene
from zephctl.top.state import Pane, Sort, class_of
from zephserver.core.metrics import SECONDS
from zephserver.core.text import escape

WIDE = 120  # cells from which on services have their whole names


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, its width, and from which width of the terminal on it is shown."""

    title: str
    width: int
    since: int = 0


_SERVICE = (
    Column("STATE", 12), Column("FOR", 8, 64), Column("RESTARTS", 9, 56), Column("CPU", 9),
)  # fmt: skip
_TASK = (
    Column("CALLS/S", 9), Column("P50", 9, 52), Column("P99", 9, 52), Column("RUNNING", 8, 64), Column("FAILED", 8),
)  # fmt: skip


def tables(scene: Scene, width: int, room: int) -> list[Text]:
    """The services, and below them the tasks or a log, in *room* lines."""
    services = scene.state.services(scene.numbers)
    is_log = scene.state.pane is Pane.LOG
    below = _log(scene, width) if is_log else _tasks(scene, width)
    gap = 1 if room >= 12 else 0
    wanted = len(services) + 1 + gap
    # Services come first, but leave a third to what is below; a log takes whatever they do not need.
    share = room - min(len(below) + gap, max(room // 3, room - wanted - gap)) if below else room
    share = max(min(share, room), min(room, 2))
    found = [Text()] * gap + _services(scene, services, width, share - gap)
    left = room - len(found)
    if below and left >= 2 + gap:
        found += [Text()] * gap
        title, *rows = below
        left -= gap + 1
        found += [title, *(rows[-left:] if is_log else rows[:left])]
    return found


def _services(scene: Scene, services: Sequence[Service], width: int, room: int) -> list[Text]:
    """The table of services, scrolled to the selected one."""
    place = scene.state.selection(services)
    shown = max(0, room - 1)
    start = max(0, min((place or 0) - shown // 2, len(services) - shown))
    title = "SERVICE"
    if len(services) > shown:
        title += f" {start + 1}-{min(start + shown, len(services))} of {len(services)}"
    if scene.state.sort is not Sort.LISTED:
        title += f" ({scene.state.sort})"
    names = _shown_names([service.name for service in services], width)
    table = _Table(scene, width, title, _SERVICE, names)
    found = [table.header()]
    for index, service in enumerate(services[start : start + shown], start):
        cells = [
            (service.state, STYLES.get(service.state, "")),
            (span(max(0.0, scene.now - service.since)), ""),
            (amount(service.restarts), "yellow" if service.restarts else "dim"),
            (percent(service.cpu), ""),
        ]
        row = table.row(names[index], cells, f"service {service.name}", 0.1, "yellow")
        if index == place:
            row.stylize("reverse")
        found.append(row)
    return found[: max(0, room)]


def _tasks(scene: Scene, width: int) -> list[Text]:
    """The table of tasks, its title first; nothing when no service runs tasks."""
    if scene.numbers.all_tasks is None:
        return []
    tasks = scene.state.tasks(scene.numbers)
    names = ["all tasks", *(escape(task.name) for task in tasks)]
    table = _Table(scene, width, "TASK", _TASK, names)
    found = [table.header()]
    for name, task in zip(names, [scene.numbers.all_tasks, *tasks], strict=True):
        row = table.row(name, _cells_of(task), f"task {task.name}", 1.0, "green")
        if task.name == ALL:
            row.stylize("bold")
        found.append(row)
    return found


def _cells_of(task: Task) -> list[tuple[str, str]]:
    return [
        (per_second(task.rate), ""),
        (_latency(task.p50), ""),
        (_latency(task.p99), ""),
        (amount(task.running), ""),
        (amount(task.failed), "red" if task.failed else "dim"),
    ]


def _latency(seconds: float | None) -> str:
    """As in 1.24 ms; what the server cannot tell apart is <0.10 ms."""
    finest = SECONDS[0]
    return f"<{short_time(finest)}" if seconds is not None and seconds <= finest else short_time(seconds)


class _Table:
    """Rows of a name, some columns, and a picture that takes what room is left."""

    def __init__(self, scene: Scene, width: int, title: str, columns: Sequence[Column], names: Sequence[str]) -> None:
        self._scene, self._title = scene, title
        self._columns = [(place, column) for place, column in enumerate(columns) if width >= column.since]
        fixed = sum(column.width for _, column in self._columns)
        longest = max([len(title), *(len(name) for name in names)], default=0)
        self._name = max(8, min(longest + 2, width - fixed - 2))
        rest = width - 1 - self._name - fixed
        self._picture = rest - 3 if rest >= 12 else 0

    def header(self) -> Text:
        """The titles."""
        return self._line(self._title, [(column.title, "") for _, column in self._columns], style="dim")

    def row(self, name: str, cells: Sequence[tuple[str, str]], line: str, least: float, style: str) -> Text:
        """One row; *line* is the history of its picture."""
        text = self._line(name, [cells[place] for place, _ in self._columns])
        if self._picture:
            history = self._scene.history
            past = resample(history.line(line), self._picture, MOMENTS, history.count)
            text.append("  ")
            text.append(sparkline(past, self._scene.glyphs, least=least), style=style)
            text.append(" ")
        return text

    def _line(self, name: str, cells: Sequence[tuple[str, str]], style: str = "") -> Text:
        fitting = Text(" " + name, style=style)
        fitting.truncate(self._name, overflow="ellipsis" if self._scene.glyphs.more == "…" else "crop", pad=True)
        for (value, cell_style), (place, column) in zip(cells, self._columns, strict=True):
            is_word = place == 0 and column.title == "STATE"
            said = " " + value.ljust(column.width - 1) if is_word else value.rjust(column.width)
            fitting.append(said, style=cell_style or None)
        return fitting


def _log(scene: Scene, width: int) -> list[Text]:
    """The log of a service, its title first, the newest line last."""
    title = Text(f" LOG of {class_of(escape(scene.log_of))} ", style="dim")
    title.append(scene.glyphs.rule * max(0, width - len(title) - 1), style="dim")
    if not scene.log:
        return [title, Text(" no lines yet", style="dim")]
    return [title, *(Text(f" {escape(line)}", style=STYLES.get(level, "")) for line, level in scene.log)]


def _shown_names(names: Sequence[str], width: int) -> list[str]:
    """Whole names on a wide terminal, else the classes, but for two of the same."""
    classes = [class_of(name) for name in names]
    return [
        escape(short if width < WIDE and classes.count(short) == 1 else name)
        for name, short in zip(names, classes, strict=True)
    ]
