"""zephctl rooms: list, show, say."""

from __future__ import annotations

import click

from zephctl.app import App, common_options
from zephctl.commands.say import send
from zephctl.exits import ExitStatus


@click.group()
def cli() -> None:
    """Look at the rooms and who is in them.

    \b
      zephctl rooms list
      zephctl rooms show lobby
      zephctl rooms say lobby chat '{"text": "hello"}'
    """


@cli.command("list")
@common_options
def list_(app: App) -> int:
    """The rooms that somebody is in.

    \b
      zephctl rooms list
    """
    app.output.rows("rooms", app.call("rooms.list"), ["name", "users", "connections"])
    return ExitStatus.DONE


@cli.command()
@click.argument("name")
@common_options
def show(app: App, name: str) -> int:
    """Who is in a room, and the place of its newest message when it keeps a history.

    \b
      zephctl rooms show lobby
    """
    room = app.call("rooms.show", name=name)
    if not app.output.is_json:
        room |= {"users": ", ".join(room["users"]), "cids": ", ".join(room["cids"])}
    app.output.record(room)
    return ExitStatus.DONE


@cli.command()
@click.argument("name")
@click.argument("task")
@click.argument("data", default="null")
@common_options
def say(app: App, name: str, task: str, data: str) -> int:
    """Send a message to a room; browsers get it as one of TASK. DATA is JSON.

    \b
      zephctl rooms say lobby chat '{"text": "back soon"}'
    """
    return send(app, task, data, room=name)
