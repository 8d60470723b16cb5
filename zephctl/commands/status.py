"""zephctl status."""

from __future__ import annotations

import os
from typing import Any

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephserver.core.errors import ControlUnreachable

# What stands in every answer, also when no service tells it: docs/reference/json.md.
DEFAULTS: dict[str, Any] = {"port": None, "connections": 0, "rooms": 0}


@click.command()
@common_options
def cli(app: App) -> int:
    """Show whether the server runs and how it is. Exit status 3 when it does not run.

    \b
      zephctl status
      zephctl status -o json | jq .services
      zephctl status -q && echo up
    """
    try:
        status = app.call("status")
    except ControlUnreachable:
        stale = os.path.exists(app.interface)
        status = {"running": False, "ready": False, "stale": stale, "interface": app.interface}
        if app.output.is_json:
            app.output.record(status)
        else:
            app.output.say(f"not running: no server listens on {app.interface}; start one with: zephctl start")
        if stale:
            app.output.say("a server ended without stopping; the next start recovers by itself")
        return ExitStatus.NOT_RUNNING
    status = {**DEFAULTS, **status}
    first = ["running", "ready", "pid", "uptime", "version", "port", "services", "connections", "rooms"]
    order = first + [name for name in status if name not in first]
    app.output.record({name: status[name] for name in order}, first + [n for n in ("tasks",) if n in status])
    if not status["ready"] and not app.output.is_json:
        what = "is stopping" if status["stopping"] else "is not ready; see: zephctl services list"
        app.output.say(f"the server {what}")
    return ExitStatus.DONE
