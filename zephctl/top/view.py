"""How `zephctl top` looks: lines of text for a terminal of any size. Pure: no I/O, no clock."""

from __future__ import annotations

from rich.text import Text

from zephctl.output import span
from zephctl.top.charts import charts, facts
from zephctl.top.scene import Scene
from zephctl.top.state import Pane, class_of
from zephctl.top.tables import tables
from zephserver.core.text import escape

TITLE = "bold reverse"
KEYS = (
    ("↑ ↓", "select a service; j and k do, too"),
    ("s", "sort: as listed, by name, the busiest first, those with troubles first"),
    ("/", "show only what has this text in its name; Esc shows all again"),
    ("r", "restart the selected service"),
    ("e", "enable it"),
    ("d", "disable it"),
    ("l", "follow its log; l or Esc closes it"),
    ("p", "pause: the numbers stand still, the server does not"),
    ("?", "this page"),
    ("q", "quit"),
)
SHORT_KEYS = "q quit  ? help  s sort  / filter  r restart  e enable  d disable  l log  p pause"


def lines(scene: Scene, width: int, height: int) -> list[Text]:
    """The whole screen: *height* lines of *width* cells."""
    if scene.state.pane is Pane.HELP:
        body = _help(scene, width)
    else:
        body = [*charts(scene, width, height), *facts(scene, width, height)]
        room = height - 2 - len(body)
        body += tables(scene, width, max(0, room))
    shown = [_head(scene, width), *body[: max(0, height - 2)]]
    shown += [Text()] * (height - 1 - len(shown))
    shown = [*shown[: max(0, height - 1)], _foot(scene, width)]
    for line in shown:
        line.truncate(width, overflow="crop", pad=True)
    return shown


def _head(scene: Scene, width: int) -> Text:
    numbers = scene.numbers
    name = f" zephserver {numbers.version}"
    more = f"{scene.gap}pid {numbers.pid}{scene.gap}up {span(numbers.uptime)}"
    left = name + more if width >= 60 else name
    if scene.away:
        word, style = "no answer", "bold red"
    elif scene.state.is_paused:
        word, style = "paused", "yellow"
    elif numbers.stopping:
        word, style = "stopping", "yellow"
    else:
        word, style = ("ready", "green") if numbers.ready else ("not ready", "yellow")
    right = f" {word} " + (f" {scene.time} " if width >= 40 else "")
    head = Text(left.ljust(width - len(right))[: max(0, width - len(right))], style=TITLE)
    head.append(f" {word} ", style=f"{style} reverse")
    head.append(right[len(word) + 2 :], style=TITLE)
    return head


def _help(scene: Scene, width: int) -> list[Text]:
    found = [Text(), Text(" Keys", style="bold")]
    for key, meaning in KEYS:
        said = key if scene.glyphs.more == "…" else key.replace("↑ ↓", "arrows")
        found.append(Text.assemble((f"  {said:<7}", "bold cyan"), meaning))
    minutes = "A picture shows the last 180 ticks; it is scaled to the greatest of them."
    times = "P50 and P99 are of the last ten seconds, from a message to the end of its task."
    return [*found, Text(), Text(f" {minutes}", style="dim"), Text(f" {times}", style="dim")]


def _foot(scene: Scene, width: int) -> Text:
    """The question, the filter, the news, or the keys."""
    state = scene.state
    if state.question is not None:
        said = f" {state.question.verb} {class_of(escape(state.question.service))}? y/n "
        return Text(said, style="bold yellow")
    if state.is_typing:
        return Text.assemble((" filter: ", "bold"), state.filter, ("_", "blink"))
    if scene.away:
        return Text(f" {scene.away}", style="red")
    if scene.notice:
        return Text(f" {escape(scene.notice)}", style=scene.notice_style)
    if state.pane is Pane.HELP:
        return Text(" any key goes back", style="dim")
    foot = Text()
    if state.filter:
        foot.append(f" filter: {state.filter} ", style="reverse")
    error = _error_of_selected(scene)
    if error and not state.filter:
        return Text(f" {error}", style="red")
    keys, wide = SHORT_KEYS.split("  "), foot.cell_len
    for key in keys:  # as many as there is room for, whole words only
        if wide + len(key) + 2 > width:
            break
        letter, _, word = key.partition(" ")
        foot.append(f" {letter}", style="bold cyan")
        foot.append(f" {word}", style="dim")
        wide = foot.cell_len
    return foot


def _error_of_selected(scene: Scene) -> str:
    services = scene.state.services(scene.numbers)
    place = scene.state.selection(services)
    service = services[place] if place is not None else None
    if service is None or not service.error:
        return ""
    return escape(f"{class_of(service.name)}: {service.error}")
