"""zephctl events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephctl.wishes import Moment, Pattern
from zephserver.core.errors import ControlUnreachable

LAST = "ServerStopped"  # the last event of a run


@click.command()
@click.option("--after", type=int, metavar="N", help="Begin after event number N, as far as events are kept.")
@click.option("--since", type=Moment(), metavar="TIME", help="Begin at 10m ago, 2h, or 2026-11-22T15:00.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only of this kind; may be given several times.")
@click.option("--grep", type=Pattern(), metavar="PATTERN", help="Only those with this regular expression.")
@click.option("--follow/--no-follow", "-f", default=True, help="Wait for more, until Ctrl-C.")
@common_options
def cli(
    app: App,
    after: int | None,
    since: float | None,
    kinds: tuple[str, ...],
    grep: re.Pattern[str] | None,
    follow: bool,
) -> int:
    """Show what happens in the server, as it happens.

    \b
      zephctl events
      zephctl events --since 10m --kind ServiceChanged --kind ServiceDied
      zephctl events --after 0 --no-follow -o jsonl
    """
    begins_now = after is None and since is None and follow
    first = after if after is not None else (-1 if begins_now else 0)
    wanted_kinds = {kind.lower() for kind in kinds}
    for event in _events(app, first, follow=follow):
        if since is not None and event.get("at", since) < since:
            continue
        is_lost = "seq" not in event  # events that are not kept any more, which no wish leaves out
        if not is_lost and wanted_kinds and event["kind"].lower() not in wanted_kinds:
            continue
        if not is_lost and grep is not None and not grep.search(event["text"]):
            continue
        if is_lost and since is not None:
            continue
        app.output.item(event, f"{event.get('seq', '')}\t{event['text']}".lstrip())
    return ExitStatus.DONE


def _events(app: App, after: int, *, follow: bool) -> Iterator[dict[str, Any]]:
    """The events after a number. A connection that breaks while the server goes on is made anew, and none is lost."""
    pid = app.client.call("status")["pid"] if follow else None
    while True:
        kind = ""
        for event in app.client.stream("events", after=after, follow=follow):
            after, kind = event.get("seq", after), event["kind"]
            yield event
        if not follow or kind == LAST:
            return
        app.client.close()
        try:
            if app.client.call("status")["pid"] != pid:
                raise ControlUnreachable("the server was started anew; its events are numbered anew")
        except ControlUnreachable as error:
            raise ControlUnreachable(f"the server went away: {error}") from None
