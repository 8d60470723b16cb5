"""What the process above the workers answers itself; everything else is asked of them (rules.py)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from zephserver.core import core_commands
from zephserver.core import metrics as own_metrics
from zephserver.core.command_table import command
from zephserver.core.core_commands import ping, reopen_log, status, stop, tail_log
from zephserver.core.errors import BadRequest, NoAnswer
from zephserver.core.events import kinds
from zephserver.core.processes import merge
from zephserver.core.processes.rules import LOOK, Rule, Whom

if TYPE_CHECKING:
    from zephserver.core.processes.supervisor import Supervisor

__all__ = ["ping", "reopen_log", "status", "stop", "tail_log"]  # as in any server


@command("wait")
def wait(server: Supervisor, within: float = 30.0) -> dict[str, Any]:
    """Wait until every worker is ready; an error when one is not WITHIN seconds, or cannot become so any more."""
    end = time.monotonic() + within
    late = server.services.wait_ready(timeout=within)
    if late:
        raise NoAnswer("not ready: " + "; ".join(f"{name}: {why}" for name, why in late.items()))
    left = max(0.0, end - time.monotonic())
    request = {"command": "wait", "args": {"within": left}}
    server.crew.answer(Rule(Whom.ALL, within=left + LOOK), request)
    return core_commands.wait(server, max(0.0, end - time.monotonic()))


@command("services.list")
def list_services(server: Supervisor) -> list[dict[str, Any]]:
    """Name and state of every service in every worker; of a worker that is not there or hangs, its own state."""
    asked = server.crew.paths
    answers = server.crew.ask_all("services.list", LOOK)
    rows = {row["name"]: row for row in server.services.rows()}
    for number, name in enumerate(server.services.names, 1):
        if number not in answers:
            hangs = {"state": "not answering", "error": merge.SILENT} if number in asked else {}
            answers[number] = [rows[name] | hangs]
    return merge.together(dict(sorted(answers.items())))


@command("metrics")
def metrics(server: Supervisor) -> str:
    """Everything that is counted, in the text format of Prometheus; what a worker counts has its number as a label."""
    return merge.metrics(own_metrics.write(server), server.crew.ask_all("metrics", LOOK))


@command("top")
def top(server: Supervisor) -> dict[str, Any]:
    """What a live view needs, of all workers together."""
    answers = server.crew.ask_all("top", LOOK)
    rows = merge.together({number: answer["services"] for number, answer in answers.items()})
    return {
        "clock": round(server.clock.monotonic(), 6),
        "status": server.status(),
        "services": merge.service_by_service(rows),
        "metrics": merge.metrics_added(
            [own_metrics.write(server), *(answer["metrics"] for answer in answers.values())]
        ),
        "threads": merge.summed(answer["threads"] for answer in answers.values()),
    }


@command("events")
def events(server: Supervisor, after: int = -1, follow: bool = True) -> Iterator[dict[str, Any] | None]:
    """Every event of all workers from now on, or from those that are kept after number AFTER."""
    with server.crew.watched():
        yield from core_commands.events(server, after, follow)


@command("events.kinds")
def event_kinds(server: Supervisor) -> list[str]:
    """The kinds of events that there are, also those of the services."""
    return sorted({*kinds(), *chain.from_iterable(server.crew.ask_all("events.kinds", LOOK).values())})


@command("log.level")
def log_level(server: Supervisor, level: str = "", service: str = "") -> dict[str, str]:
    """Show the log levels, or set one: of the server, or of one service, in every worker."""
    request = {"command": "log.level", "args": {"level": level, "service": service}}
    levels: dict[str, str] = server.crew.answer(Rule(Whom.ALL), request)
    if level:
        for name, one in levels.items():
            server.set_log_level(one, "" if name == "server" else name)
    return levels


@command("cluster.drain")
def drain(server: Supervisor) -> dict[str, Any]:
    """Send every client of all workers to the other servers, where a broker joins these with those."""
    if server.whole.cluster_engine == "mesh":
        raise BadRequest("these workers have no other server that could take their clients; to end them: zephctl stop")
    answers: dict[str, Any] = server.crew.answer(Rule(Whom.ALL, merge.total), {"command": "cluster.drain"})
    return {name: answers[name] for name in ("clients", "servers")}


@command("settings.show")
def show_settings(server: Supervisor) -> list[dict[str, Any]]:
    """The settings that the server runs with, and where each came from."""
    return server.whole.rows()
