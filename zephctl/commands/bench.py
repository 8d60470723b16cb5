"""zephctl bench."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import Any

import click

from zephctl.app import App, Seconds, common_options
from zephctl.bench import report, target
from zephctl.drawing import Glyphs, glyphs_for, per_second, progress
from zephctl.exits import ExitStatus
from zephctl.prometheus import Metrics
from zephserver.core.errors import CommandFailed, ControlError, UnknownTask

CLIENTS = {"echo": 100, "fanout": 100, "connect": 1_000}
LONGEST = 3_600.0  # seconds
TASK, EVERYWHERE = "echo", "TaskPing"  # what is called: the first one where there is such a task
ROOM = "zephbench"


@click.command()
@click.argument("kind", type=click.Choice(["echo", "fanout", "connect"]), metavar="echo|fanout|connect")
@click.option("--clients", type=click.IntRange(min=1), metavar="N", help="Connections; 100, or 1000 for connect.")
@click.option("--seconds", type=Seconds(more=True), default=5.0, show_default=True, metavar="S", help="How long.")
@click.option("--rate", type=click.FloatRange(0, 1e6, min_open=True), metavar="R", help="Messages a second in all.")
@click.option("--size", type=click.IntRange(0, 1_000_000), default=32, metavar="N", help="Letters of a message.")
@click.option("--task", metavar="NAME", help="The task to call; fanout: one that speaks to its room.")
@click.option("--room", metavar="ROOM", help="The room that all clients join.")
@click.option("--token", metavar="TOKEN", help="What the clients identify with.")
@click.option("--url", metavar="URL", help="Another server, as in ws://127.0.0.1:8080/ws.")
@click.option("--yes", is_flag=True, hidden=True)  # another machine is refused with a word about it
@common_options
def cli(app: App, kind: str, url: str | None, yes: bool, **wish: Any) -> int:
    """Put load on the server and measure it: echo, fanout or connect.

    \b
      zephctl bench echo --clients 500 --rate 2000 --task report
      zephctl bench fanout -o json | jq .latency
    """
    if wish["seconds"] > LONGEST:
        raise click.UsageError(f"A load lasts {LONGEST:g} seconds at most.")
    plan = _plan(app, kind, url, yes, wish)
    watch = _Watch(app, plan, is_ours=url is None)
    watch.look()
    from zephctl.bench.process import run_load

    try:
        result = run_load(plan, watch.hear)
    finally:
        watch.end_progress()
    result |= {name: plan[name] for name in ("mode", "clients", "size")}
    result |= {"url": target.url_of(plan), "task": plan.get("task") or None, "room": plan.get("room") or None}
    result |= {"wanted_rate": plan["rate"], **watch.findings(result)}
    result["warnings"] = report.warnings(result)
    _show(app, result)
    return ExitStatus.INTERRUPTED if result["interrupted"] else ExitStatus.DONE


def _plan(app: App, mode: str, url: str | None, yes: bool, wish: dict[str, Any]) -> dict[str, Any]:
    """Everything that the load generator has to know."""
    most = target.most_clients()
    clients = wish["clients"] or min(CLIENTS[mode], most)
    if clients > most:
        raise click.UsageError(f"This shell lets a process open {most} connections; for more: ulimit -n {clients + 64}")
    plan = wish | {"mode": mode, "clients": clients, "task": wish["task"] or "", "room": wish["room"] or ""}
    if mode == "fanout":
        plan["room"] = plan["room"] or ROOM
    if url is not None:
        if mode == "fanout" and not plan["task"]:
            raise click.UsageError("With --url, fanout needs a --task that speaks to its room.")
        plan["task"] = plan["task"] or EVERYWHERE
        return plan | target.of_url(url, is_meant=yes)
    status = app.call("status")
    settings = {row["name"]: row["value"] for row in app.call("settings.show")}
    plan |= target.of_server(app, status.get("port"), settings)
    plan["control"] = app.interface
    if plan["token"] is None:
        plan["token"] = target.token_for(app, plan["seconds"])
    if mode != "connect" and (plan["task"] or mode == "echo"):
        plan["task"] = _known_task(app, plan["task"])
    return plan


def _known_task(app: App, name: str) -> str:
    names = {row["name"] for row in app.call("tasks.list")}
    if not name:
        return TASK if TASK in names else EVERYWHERE
    if name not in names:
        raise CommandFailed(UnknownTask.code, f"no task named {name!r}; see: zephctl tasks list")
    return name


@dataclass
class _Watch:
    """Shows how far the load is, and looks at the server when it begins and ends."""

    app: App
    plan: dict[str, Any]
    is_ours: bool
    others: int = 0
    before: Metrics | None = None
    after: Metrics | None = None
    message_rate: Any = None
    _glyphs: Glyphs = field(init=False)
    _is_shown: bool = field(init=False)

    def __post_init__(self) -> None:
        stderr = self.app.output.stderr
        self._glyphs = glyphs_for(getattr(stderr, "encoding", None))
        self._is_shown = stderr.isatty() and not self.app.output.quiet and os.environ.get("TERM") != "dumb"

    def look(self) -> None:
        """Before anything: who is there already?"""
        metrics = self._metrics()
        if metrics is not None:
            self.others = int(metrics.value("zephserver_connections") or 0)
            rows = {row["name"]: row["value"] for row in self.app.call("settings.show")}
            self.message_rate = rows.get("MESSAGE_RATE")

    def hear(self, said: dict[str, Any]) -> None:
        """A word of the load generator."""
        match said["phase"]:
            case "load":
                self.before = self._metrics()
            case "done":
                self.after = self._metrics()
            case "progress" if self._is_shown:
                self._draw(said)

    def end_progress(self) -> None:
        """Take the progress off the screen."""
        if self._is_shown:
            print("\r\x1b[K", end="", file=self.app.output.stderr, flush=True)

    def findings(self, result: dict[str, Any]) -> dict[str, Any]:
        """What the server counted meanwhile; None where it is not ours to ask."""
        found: dict[str, Any] = {"server_cpu": None, "cpu_per_message": None, "rate_limited": 0, "others": self.others}
        found["message_rate"] = self.message_rate
        if self.before is None or self.after is None:
            return found
        cpu = [metrics.value("process_cpu_seconds_total") for metrics in (self.before, self.after)]
        if cpu[0] is not None and cpu[1] is not None and result["seconds"]:
            found["server_cpu"] = (cpu[1] - cpu[0]) / result["seconds"]
            found["cpu_per_message"] = (cpu[1] - cpu[0]) / result["received"] if result["received"] else None
        held = [
            metrics.by("zephserver_refusals_total", "reason").get("rate", 0) for metrics in (self.before, self.after)
        ]
        found["rate_limited"] = int(held[1] - held[0])
        return found

    def _metrics(self) -> Metrics | None:
        if not self.is_ours:
            return None
        try:
            return Metrics(self.app.call("metrics"))
        except ControlError:  # a server under load may take its time; the load goes on
            return None
        except KeyboardInterrupt:  # its answer must not be taken for that to the next question
            self.app.client.close()
            raise

    def _draw(self, said: dict[str, Any]) -> None:
        clients, seconds = self.plan["clients"], self.plan["seconds"]
        if said["loading"] and self.plan["mode"] != "connect":
            share = said["seconds"] / seconds
            rate = said["received"] / said["seconds"] if said["seconds"] else 0.0
            text = f"{said['seconds']:.0f} of {seconds:g} s, {per_second(rate)}/s"
        else:
            share = said["connected"] / clients
            text = f"{said['connected']:,} of {clients:,} clients"
        width = shutil.get_terminal_size().columns
        line = f"{progress(min(1.0, share), min(30, max(0, width - 40)), self._glyphs)} {text}"[: width - 1]
        print(f"\r\x1b[K{line}", end="", file=self.app.output.stderr, flush=True)


def _show(app: App, result: dict[str, Any]) -> None:
    output = app.output
    if output.is_json:
        rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in result.items()}
        rounded["latency"] = {name: value and round(value, 6) for name, value in result["latency"].items()}
        rounded["histogram"] = [{"up_to": round(limit, 6), "count": count} for limit, count in result["histogram"]]
        output.record(rounded)
    elif output.mode == "table":
        _draw(app, result)
    else:
        facts = {name: result[name] for name in ("mode", "url", "connected", "seconds", "received", "per_second")}
        facts |= {f"{name}_ms": value and value * 1000 for name, value in result["latency"].items()}
        output.record(facts | {"server_cpu": result["server_cpu"], "client_cpu": result["client_cpu"]})
    if not output.is_json:
        for warning in result["warnings"]:
            output.say(f"note: {warning}")


def _draw(app: App, result: dict[str, Any]) -> None:
    from rich.text import Text

    output = app.output
    glyphs = glyphs_for(getattr(output.stdout, "encoding", None))
    where = " to ".join(part for part in (result["task"], result["room"]) if part)
    title = f"{result['mode']} {where}".strip() + f", {result['connected']:,} clients, {result['url']}"
    text = Text(title + "\n\n", style="")
    text.stylize("bold", 0, len(result["mode"]))
    for label, fact in report.summary(result):
        text.append(f"  {label:<9}", style="dim")
        text.append(f"{fact}\n", style="bold" if label == "rate" else "")
    rows = report.draw_histogram(result["histogram"], shutil.get_terminal_size().columns, glyphs)
    if rows:
        text.append("\n")
    for limit, drawn, count in rows:
        text.append(limit, style="dim")
        text.append(drawn, style="cyan")
        text.append(f"{count}\n", style="dim")
    output.render(text, soft_wrap=True)
