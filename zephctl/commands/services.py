"""zephctl services: list, show, enable, disable, restart, reset, stack, wait."""

from __future__ import annotations

import time
from typing import Any

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephctl.output import span, worker_column


@click.group()
def cli() -> None:
    """Look at the services and act on them. A service is named in full or by its class, as in Router.

    \b
      zephctl services list
      zephctl services show Router
      zephctl services restart Router
    """


@cli.command("list")
@common_options
def list_(app: App) -> int:
    """Name and state of every service.

    \b
      zephctl services list
      zephctl services list -o json
    """
    rows = app.call("services.list")
    shown = [_for_people(row) for row in rows] if app.output.mode == "table" else rows
    columns = ["name", "state", "for", "restarts", "error"] if app.output.mode == "table" else _PLAIN
    app.output.rows("services", shown, [*columns, *worker_column(rows)])
    return ExitStatus.DONE


@cli.command()
@click.argument("name")
@common_options
def show(app: App, name: str) -> int:
    """Everything about one service. Exit status 3 when its thread does not run.

    \b
      zephctl services show Router
    """
    details = app.call("services.show", name=name)
    _show(app, details)
    return ExitStatus.DONE if details["enabled"] else ExitStatus.NOT_RUNNING


@cli.command()
@click.argument("name")
@click.option("--wait/--no-wait", default=True, help="Return when it is ready.")
@common_options
def enable(app: App, name: str, wait: bool) -> int:
    """Start a service that was disabled.

    \b
      zephctl services enable Router
    """
    return _act(app, "enable", "enabled", "was enabled already", name=name, wait=wait)


@cli.command()
@click.argument("name")
@common_options
def disable(app: App, name: str) -> int:
    """Stop a service; it is not resurrected until it is enabled again.

    \b
      zephctl services disable Router
    """
    return _act(app, "disable", "disabled", "was not running", name=name)


@cli.command()
@click.argument("name")
@click.option("--wait/--no-wait", default=True, help="Return when it is ready.")
@common_options
def restart(app: App, name: str, wait: bool) -> int:
    """Stop a service and start it again, with a clean record.

    It has the code that it had: new code needs zephctl restart.

    \b
      zephctl services restart Router
    """
    return _act(app, "restart", "restarted", "", name=name, wait=wait)


@cli.command()
@click.argument("name")
@click.option("--wait/--no-wait", default=True, help="Return when it is ready.")
@common_options
def reset(app: App, name: str, wait: bool) -> int:
    """Forget the deaths of a failed service and try it again.

    \b
      zephctl services reset Router
    """
    return _act(app, "reset", "reset and enabled", "had not failed", name=name, wait=wait)


@cli.command()
@click.argument("name")
@common_options
def stack(app: App, name: str) -> int:
    """Where the thread of a service is right now.

    \b
      zephctl services stack Router
    """
    text = app.call("services.stack", name=name)
    if app.output.is_json:
        app.output.record({"name": app.call("services.show", name=name)["name"], "stack": text})
    else:
        app.output.text(text.rstrip())
    return ExitStatus.DONE


@cli.command()
@click.argument("name")
@common_options
def wait(app: App, name: str) -> int:
    """Wait until a service is ready. Exit status 8 when it is not within --timeout (30 s).

    \b
      zephctl services wait Router --timeout 10
    """
    within = app.timeout or 30.0
    app.client.call("services.wait", timeout=within + 5, name=name, within=within)
    return ExitStatus.DONE


_PLAIN = ["name", "state", "enabled", "restarts", "error"]


def _act(app: App, verb: str, done: str, nothing: str, **args: Any) -> int:
    details = app.call(f"services.{verb}", **args)
    if app.output.is_json:
        app.output.record(details)
    else:
        app.output.say(f"{details['name']}: {done if details['changed'] else nothing}, {details['state']}")
    return ExitStatus.DONE


def _show(app: App, details: dict[str, Any]) -> None:
    shown = details if app.output.mode != "table" else _for_people(details)
    app.output.record(shown)


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the time in its state instead of the moment it came there."""
    shown = {"name": row["name"], "state": row["state"], "for": span(time.time() - row["since"])}
    return shown | {name: value for name, value in row.items() if name not in ("since", "available", "enabled")}
