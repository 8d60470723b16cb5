"""zephctl stop."""

from __future__ import annotations

import click

from zephctl.app import TIMEOUT, App, common_options
from zephctl.exits import ExitStatus
from zephserver.core.errors import ZephError


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
    """Stop the server. Raises ZephError when it did not stop cleanly."""
    words = list(app.client.stream("stop", timeout=app.timeout or TIMEOUT))
    app.client.close()
    if words[-1:] != ["stopped"]:
        raise ZephError("the server ended without stopping cleanly; its log says why: zephctl tail-log")
    app.output.say("stopped")
    return ExitStatus.DONE
