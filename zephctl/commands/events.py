"""zephctl events."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephctl.wishes import Level, LineFilter, Moment, Pattern, check_service
from zephserver.core.errors import ControlUnreachable

LAST = "ServerStopped"  # the last event of a run
PAUSE = 0.25  # seconds between two attempts to reach a server that went away


@click.command()
@click.option("--after", type=int, metavar="N", help="Begin after event number N, as far as events are kept.")
@click.option("--since", type=Moment(), metavar="TIME", help="Begin at 10m ago, 2h, or 2026-11-22T15:00.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only of this kind; may be given several times.")
@click.option("--level", type=Level(), default="DEBUG", metavar="LEVEL", help="Leave out those that are less severe.")
@click.option("--service", default="", metavar="NAME", help="Only those about this service.")
@click.option("--grep", type=Pattern(), metavar="PATTERN", help="Only those with this regular expression.")
@click.option("--follow/--no-follow", "-f", default=True, help="Wait for more, over restarts too.")
@common_options
def cli(
    app: App,
    after: int | None,
    since: float | None,
    kinds: tuple[str, ...],
    level: str,
    service: str,
    grep: re.Pattern[str] | None,
    follow: bool,
) -> int:
    """Show what happens in the server, as it happens.

    \b
      zephctl events --level warning
      zephctl events --after 0 --no-follow -o jsonl
    """
    begins_now = after is None and since is None and follow
    first = after if after is not None else (-1 if begins_now else 0)
    if service:
        check_service(app, service)
    wanted, wanted_kinds = LineFilter(level, service, grep, since), _known(app, kinds)
    for event in _events(app, first, follow=follow):
        if "seq" not in event:  # events that are not kept any more, which no wish leaves out
            if since is None:
                app.output.item(event, event["text"])
        elif wanted_kinds and event["kind"] not in wanted_kinds:
            continue
        elif wanted.takes({**event, "service": event.get("name", "")}):
            _show(app, event)
    return ExitStatus.DONE


def _known(app: App, kinds: tuple[str, ...]) -> set[str]:
    """The kinds as the server writes them. Raises UsageError for one that there is not."""
    known = {kind.lower(): kind for kind in app.call("events.kinds")} if kinds else {}
    for kind in kinds:
        if kind.lower() not in known:
            raise click.UsageError(f"No event is of the kind {kind!r}; there are: {', '.join(known.values())}.")
    return {known[kind.lower()] for kind in kinds}


def _show(app: App, event: dict[str, Any]) -> None:
    if app.output.mode == "table":
        moment = datetime.fromtimestamp(event["at"]).isoformat(" ", "milliseconds")
        app.output.item(event, f"{moment} {event['seq']:>5} {event['text']}", event["level"])
    else:
        app.output.item(event, f"{event['seq']}\t{event['text']}")


def _events(app: App, after: int, *, follow: bool) -> Iterator[dict[str, Any]]:
    """The events after a number. A connection that breaks is made anew, and no event of the same run is lost."""
    pid = app.client.call("status")["pid"] if follow else None
    while True:
        is_over = False
        try:
            for event in app.client.stream("events", after=after, follow=follow):
                after, is_over = event.get("seq", after), event["kind"] == LAST and "worker" not in event
                yield event
        except ControlUnreachable:
            if not follow:
                raise
        if not follow:
            return
        new = _server_there(app, is_over=is_over)
        if is_over or new != pid:
            app.output.say("the server was started anew; its events are numbered anew")
            pid, after = new, 0


def _server_there(app: App, *, is_over: bool) -> int:
    """The pid of the server, as soon as one is there again; not of the one whose last event was seen."""
    while True:
        app.client.close()
        try:
            status = app.client.call("status")
            if not (is_over and status["stopping"]):
                return int(status["pid"])
        except ControlUnreachable:
            pass
        time.sleep(PAUSE)
