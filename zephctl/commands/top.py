"""zephctl top."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict
from typing import Any

import click

from zephctl.app import App, Seconds, common_options
from zephctl.drawing import glyphs_for
from zephctl.exits import ExitStatus
from zephctl.output import SCHEMA
from zephctl.top.numbers import ALL, Numbers, Task
from zephctl.top.source import Source
from zephserver.core.errors import ControlUnreachable, NoAnswer

NO_TASKS = Task(ALL, None, None, None, None, 0)  # of a server that runs none
WITHIN = 5.0  # seconds that the server has for an answer, unless --timeout says otherwise
COLUMNS = (
    "time", "ready", "services", "cpu", "memory", "connections", "rooms", "in", "out", "tasks", "p50", "p99",
    "running", "waiting", "failed",
)  # fmt: skip


@click.command()
@click.option("--interval", default=1.0, show_default=True, type=Seconds(0.05), metavar="S", help="Seconds to a tick.")
@click.option("-n", "--count", type=click.IntRange(min=1), metavar="COUNT", help="End after so many ticks.")
@common_options
def cli(app: App, interval: float, count: int | None) -> int:
    """Watch the server: services, tasks, connections and messages. In a pipe: a line a tick, rates per second.

    \b
      zephctl top
      zephctl top -n 5 --interval 2 | cut -f 4,8
      zephctl top -o json | jq '.services[] | {name, cpu}'

    Keys: arrows select a service, r restarts it, l shows its log, ? shows all keys, q quits.
    """
    if app.output.can_draw and sys.stdin is not None and sys.stdin.isatty():
        return asyncio.run(_live(app, interval, count))
    return asyncio.run(_lines(app, interval, count))


async def _live(app: App, interval: float, count: int | None) -> int:
    first = Source(app.interface, app.timeout or WITHIN)
    try:
        await first.numbers()  # a server that does not run is told without a picture
    finally:
        first.close()
    from zephctl.top.live import LiveTop
    from zephctl.top.screen import Screen

    stdout = app.output.stdout
    with Screen(sys.stdin.fileno(), stdout, colored=app.output.is_colored(stdout)) as screen:
        glyphs = glyphs_for(getattr(stdout, "encoding", None))
        within = app.timeout or WITHIN
        await LiveTop(app.interface, screen, glyphs, interval=interval, count=count, within=within).run()
    return ExitStatus.DONE


async def _lines(app: App, interval: float, count: int | None) -> int:
    """A line a tick. The first comes after the first interval, so that all have their rates."""
    loop = asyncio.get_running_loop()
    source = Source(app.interface, app.timeout or WITHIN)
    try:
        await source.numbers()
        if not app.output.is_json:
            app.output.say("\t".join(COLUMNS).expandtabs(1))
        next_at, ticks, was_away = loop.time(), 0, False
        while ticks != count:
            next_at = max(next_at + interval, loop.time())
            await asyncio.sleep(next_at - loop.time())
            try:
                numbers = await source.numbers()
                was_away = False
            except (ControlUnreachable, NoAnswer) as error:
                if not was_away:
                    app.output.say(f"{error}; waiting until it is back")
                numbers, was_away = Numbers(running=False), True
            app.output.item(_as_json(numbers), _as_line(numbers))
            ticks += 1
    finally:
        source.close()
    return ExitStatus.DONE


def _as_json(numbers: Numbers) -> dict[str, Any]:
    """Everything, as it was measured."""
    return {"schema": SCHEMA, "at": round(time.time(), 3), **_rounded(asdict(numbers))}


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return round(value, 6)
        case dict():
            return {name: _rounded(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_rounded(inner) for inner in value]
    return value


def _as_line(numbers: Numbers) -> str:
    """The COLUMNS, bare numbers: percent of a core, bytes, and milliseconds."""
    tasks = numbers.all_tasks or NO_TASKS
    ready = sum(service.state == "ready" for service in numbers.services)
    cells = [
        time.strftime("%H:%M:%S"),
        ("ready" if numbers.ready else "not-ready") if numbers.running else "down",
        f"{ready}/{len(numbers.services)}" if numbers.running else "-",
        _number(numbers.cpu, 1, 100.0),
        _number(numbers.memory),
        _number(numbers.connections),
        _number(numbers.rooms),
        _number(numbers.received, 1),
        _number(numbers.sent, 1),
        _number(tasks.rate, 1),
        _number(tasks.p50, 3, 1000.0),
        _number(tasks.p99, 3, 1000.0),
        _number(tasks.running),
        _number(numbers.waiting),
        _number(tasks.failed if numbers.all_tasks else None),
    ]
    return "\t".join(cells)


def _number(value: float | None, decimals: int = 0, factor: float = 1.0) -> str:
    return "-" if value is None else f"{value * factor:.{decimals}f}"
