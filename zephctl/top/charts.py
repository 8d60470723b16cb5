"""The pictures and single numbers of `zephctl top`. Pure: no I/O, no clock."""

from __future__ import annotations

from rich.text import Text

from zephctl.drawing import amount, chart, per_second, percent, resample, size
from zephctl.top.numbers import Numbers
from zephctl.top.scene import MOMENTS, Scene
from zephserver.core.text import escape

LABEL, NUMBER = 12, 11  # cells before and behind a picture of one line

LATE = 0.5  # seconds that an event may wait for another server before it is worth a word


def charts(scene: Scene, width: int, height: int) -> list[Text]:
    """Processor, connections and messages over the last minutes: two beside each other, as high as there is room."""
    numbers = scene.numbers
    wanted = [
        ("cpu", "cpu", percent(numbers.cpu), 0.1, "yellow"),
        ("messages in", "received", f"{per_second(numbers.received)}/s", 1.0, "green"),
        ("connections", "connections", amount(numbers.connections), 1.0, "cyan"),
        ("messages out", "sent", f"{per_second(numbers.sent)}/s", 1.0, "green"),
    ]
    if numbers.connections is None:
        wanted = wanted[:1]
    rows = 1 if height < 24 else 2 if height < 40 else 4
    if height < 14:
        short = Text()
        for label, _, value, _, style in wanted:
            word = label.removeprefix("messages ").replace("connections", "clients")
            said = Text.assemble((f" {word} ", "dim"), (value, f"bold {style}"))
            if short.cell_len + said.cell_len <= width:
                short.append_text(said)
        return [short]
    pairs = [wanted[:2], wanted[2:]] if width >= 60 else [[one] for one in wanted]
    found: list[Text] = []
    for pair in pairs:
        if not pair:
            continue
        if rows > 2:
            found.append(Text())
        each = (width - 1) // len(pair)
        drawn = [_chart(scene, each - 1, rows, *one) for one in pair]
        found += [Text.assemble(*(part for piece in row for part in (" ", piece))) for row in zip(*drawn, strict=True)]
    return found


def _chart(
    scene: Scene, width: int, rows: int, label: str, line: str, value: str, least: float, style: str
) -> list[Text]:
    """One picture with its label and its number: both on the left of a high one, around a low one."""
    side = LABEL + 1 if rows > 1 else LABEL + 1 + NUMBER
    cells = max(0, width - side)
    past = resample(scene.history.line(line), cells, MOMENTS, scene.history.count)
    pictures = chart(past, rows, scene.glyphs, least=least)
    found = []
    for row, picture in enumerate(pictures):
        text = Text()
        if rows == 1:
            text.append(label.ljust(LABEL), style="dim")
            text.append(picture, style=style)
            text.append(value.rjust(NUMBER), style="bold")
        else:
            head = {0: (label, "dim"), 1: (value, "bold")}.get(row, ("", ""))
            text.append(head[0].ljust(LABEL + 1), style=head[1])
            text.append(picture, style=style)
        text.truncate(width, overflow="crop", pad=True)
        found.append(text)
    return found


def facts(scene: Scene, width: int, height: int) -> list[Text]:
    """What is one number only: rooms, memory, queues; and a second line when something is refused or lost."""
    if height < 12:
        return []
    numbers = scene.numbers
    known = []
    if numbers.rooms is not None:
        known += [f"rooms {amount(numbers.rooms)}", f"users {amount(numbers.users)}"]
    if numbers.waiting is not None:
        known += [f"tasks waiting {amount(numbers.waiting)}"]
    known += [f"memory {size(numbers.memory)}", _cluster(numbers), f"threads {numbers.threads}"]
    said = " " + known[0]
    for fact in known[1:]:  # as many as there is room for
        if len(said) + 3 + len(fact) < width:
            said += scene.gap + fact
    found = [Text(said, style="dim")]
    found += [Text(f" {escape(line)}", style="yellow") for line in [scene.gap.join(_bad_links(numbers))] if line]
    losses = [f"{name} {per_second(rate)}/s" for name, rate in sorted(numbers.refused.items())]
    if losses:
        losses = ["refused or held up: " + ", ".join(losses)]
    if numbers.log_dropped:
        losses.append(f"log lines dropped: {numbers.log_dropped:,}")
    if losses:
        found.append(Text(" " + escape(scene.gap.join(losses)), style="yellow"))
    return [*([Text()] if height >= 30 else []), *found]


def _cluster(numbers: Numbers) -> str:
    """As in `cluster 3 of 4 links up`."""
    if not numbers.links:
        return "cluster single node"
    return f"cluster {sum(link.up for link in numbers.links)} of {len(numbers.links)} links up"


def _bad_links(numbers: Numbers) -> list[str]:
    """What is wrong with the links to other servers."""
    found = []
    for link in numbers.links:
        wrong = [] if link.up else ["down"]
        if link.queued_bytes:
            since = f" since {link.lag:.1f} s" if link.lag >= LATE else ""
            wrong.append(f"{size(link.queued_bytes)} wait{since}")
        if link.dropped or link.lost:
            wrong.append(f"{amount(link.dropped + link.lost)} events lost")
        if wrong:
            found.append(f"{link.name}: {', '.join(wrong)}")
    return found
