"""zephctl status."""

from __future__ import annotations

from typing import Any

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephctl.output import span
from zephserver.core.control_socket import is_socket
from zephserver.core.errors import ControlUnreachable

# What stands in every answer, also when no service tells it: docs/reference/json.md.
DEFAULTS: dict[str, Any] = {"port": None, "connections": 0, "rooms": 0}
TROUBLES = ("dead", "back-off", "failed", "stuck", "starting", "stopping", "constructing")


@click.command()
@common_options
def cli(app: App) -> int:
    """Show whether the server runs and how it is. Exit status 3 when it does not run, 4 when that is unknown.

    \b
      zephctl status
      zephctl status -o json | jq .services
      zephctl status -q && echo up
    """
    try:
        status = app.call("status")
    except ControlUnreachable as error:
        unheard = app.explained(error)
        if unheard is not error:
            app.output.error("status-unknown", f"status unknown: {unheard}")
            return ExitStatus.UNKNOWN
        stale = is_socket(app.interface)
        status = {"running": False, "ready": False, "stale": stale, "interface": app.interface}
        if app.output.is_json:
            app.output.record(status)
        else:
            app.output.say(f"not running: no server listens on {app.interface}; start one with: zephctl start")
            if stale:
                app.output.say("a server ended without stopping; the next start recovers by itself")
        return ExitStatus.NOT_RUNNING
    if app.output.is_silent:
        return ExitStatus.DONE
    status = {**DEFAULTS, **status}
    first = ["running", "ready", "pid", "uptime", "version", "port", "workers", "services", "connections", "rooms"]
    first = [name for name in first if name in status]
    order = first + [name for name in status if name not in first]
    status = {name: status[name] for name in order}
    why = str(status.get("not_ready", ""))
    if not app.output.is_json:
        status = {name: status[name] for name in (*first, "tasks") if name in status}
        status["services"] = _in_words(status["services"])
        if "workers" in status:
            status["workers"] = f"{status['workers']['ready']} of {status['workers']['total']} ready"
        status["uptime"] = span(status["uptime"])
    app.output.record(status, name="pid")
    if not status["ready"] and not app.output.is_json:
        look = "cluster status" if why.startswith("the cluster") else "services list"
        app.output.say(f"the server is not ready{': ' * bool(why)}{why}; see: zephctl {look}")
    return ExitStatus.DONE


def _in_words(services: dict[str, int]) -> str:
    """As in '4 of 5 enabled, 1 failed'."""
    troubles = [f", {count} {state}" for state, count in services.items() if state in TROUBLES]
    return f"{services['enabled']} of {services['total']} enabled" + "".join(troubles)
