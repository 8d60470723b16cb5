"""zephctl events."""

from __future__ import annotations

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus


@click.command()
@click.option("--after", type=int, metavar="N", help="Begin after event number N, as far as events are kept.")
@click.option("--follow/--no-follow", "-f", default=True, help="Wait for more, until Ctrl-C.")
@common_options
def cli(app: App, after: int | None, follow: bool) -> int:
    """Show what happens in the server, as it happens.

    \b
      zephctl events
      zephctl events -o jsonl | jq 'select(.kind == "ServiceChanged")'
      zephctl events --after 0 --no-follow
    """
    first = after if after is not None else (-1 if follow else 0)
    for event in app.client.stream("events", after=first, follow=follow):
        app.output.item(event, f"{event.get('seq', '')}\t{event['text']}".lstrip())
    return ExitStatus.DONE
