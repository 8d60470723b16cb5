"""zephctl stop."""

from __future__ import annotations

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus


@click.command()
@common_options
def cli(app: App) -> int:
    """Stop the server and return when it is down.

    \b
      zephctl stop
      zephctl stop --folder /srv/chat
    """
    return stop(app)


def stop(app: App) -> int:
    """Stop the server; FAILED when it did not stop cleanly."""
    words = list(app.client.stream("stop"))
    app.client.close()
    if words[-1:] == ["stopped"]:
        app.output.say("stopped")
        return ExitStatus.DONE
    app.output.say("the server ended without stopping cleanly; its log says why: zephctl tail-log")
    return ExitStatus.FAILED
