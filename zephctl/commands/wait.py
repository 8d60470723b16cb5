"""zephctl wait."""

from __future__ import annotations

import time

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephserver.core.errors import ControlUnreachable, NoAnswer

PAUSE = 0.05  # seconds between two looks for a server that is not there yet


@click.command()
@click.option(
    "--for",
    "state",
    type=click.Choice(["ready", "stopped", "drained"]),
    default="ready",
    show_default=True,
    help="What to wait for.",
)
@common_options
def cli(app: App, state: str) -> int:
    """Wait until the server is ready, stopped, or without a client. Exit status 8 when --timeout (30 s) is over.

    \b
      zephctl wait
      zephctl wait --for stopped --timeout 60
    """
    end = time.monotonic() + (app.timeout or 30.0)
    while (left := end - time.monotonic()) > 0:
        try:
            if state == "ready":
                app.client.call("wait", timeout=left + 5, within=left)
                return ExitStatus.DONE
            if state == "drained" and not app.call("status").get("connections"):
                return ExitStatus.DONE
            app.call("ping")
        except ControlUnreachable as error:
            if state != "ready" and app.explained(error) is error:
                return ExitStatus.DONE
        app.client.close()
        time.sleep(min(PAUSE, max(0.0, left)))
    raise NoAnswer(f"the server on {app.interface} is not {state} after {app.timeout or 30.0:g} s")
