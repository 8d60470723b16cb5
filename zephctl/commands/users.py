"""zephctl users: list."""

from __future__ import annotations

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus


@click.group()
def cli() -> None:
    """Look at the users who are connected.

    \b
      zephctl users list
    """


@cli.command("list")
@common_options
def list_(app: App) -> int:
    """Every user, with the number of connections and the rooms.

    \b
      zephctl users list
    """
    rows = app.call("users.list")
    if not app.output.is_json:
        rows = [row | {"rooms": ", ".join(row["rooms"])} for row in rows]
    app.output.rows("users", rows, ["name", "id", "connections", "rooms"])
    return ExitStatus.DONE
