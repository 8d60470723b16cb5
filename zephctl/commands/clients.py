"""zephctl clients: list, show, kick."""

from __future__ import annotations

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephctl.output import worker_column
from zephserver.core.errors import UnknownClient, ZephError

COLUMNS = ["cid", "user", "address", "rooms", "tasks"]


@click.group()
def cli() -> None:
    """Look at the open connections, and end some.

    \b
      zephctl clients list
      zephctl clients kick ann --reason "good night"
    """


@cli.command("list")
@common_options
def list_(app: App) -> int:
    """Every connection whose user is known.

    \b
      zephctl clients list
      zephctl clients list -o jsonl | jq -r 'select(.user == "ann").cid'
    """
    rows = app.call("clients.list")
    if not app.output.is_json:
        rows = [row | {"rooms": ", ".join(row["rooms"])} for row in rows]
    app.output.rows("clients", rows, [*COLUMNS, *worker_column(rows)], name="cid")
    return ExitStatus.DONE


@cli.command()
@click.argument("who")
@common_options
def show(app: App, who: str) -> int:
    """Everything about one connection, named by its cid or as the only one of a user.

    \b
      zephctl clients show 9f0c2d7e1b3a4c55
      zephctl clients show ann
    """
    found = [row for row in app.call("clients.list") if who in (row["cid"], row["user"], str(row["user_id"]))]
    if not found:
        raise UnknownClient(who)
    if len(found) > 1:
        cids = ", ".join(row["cid"] for row in found)
        raise ZephError(f"{who!r} has several connections: {cids}; name one by its cid")
    app.output.record(found[0], name="cid")
    return ExitStatus.DONE


@cli.command()
@click.argument("who")
@click.option("--reason", default="disconnected", metavar="TEXT", help="What the browser is told.")
@common_options
def kick(app: App, who: str, reason: str) -> int:
    """Close a connection by its cid, or all of a user by id or name. The browsers do not come back by themselves.

    \b
      zephctl clients kick 9f0c2d7e1b3a4c55
      zephctl clients kick ann
    """
    closed = app.call("clients.kick", who=who, reason=reason)
    app.output.say(f"closed {closed} connection{'' if closed == 1 else 's'}")
    if app.output.is_json:
        app.output.record({"closed": closed})
    return ExitStatus.DONE
