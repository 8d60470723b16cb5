"""zephctl say."""

from __future__ import annotations

import re
from typing import Any

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus


@click.command()
@click.argument("task")
@click.argument("data", default="null")
@click.option("--room", metavar="ROOM", help="To everybody in this room.")
@click.option("--user", "users", multiple=True, metavar="ID", help="To this user; may be given several times.")
@click.option("--number", is_flag=True, help="The ids of the users are numbers.")
@click.option("--everyone", is_flag=True, help="To every connection.")
@common_options
def cli(app: App, task: str, data: str, room: str | None, users: tuple[str, ...], number: bool, everyone: bool) -> int:
    """Send a message to browsers, which get it as one of TASK. DATA is JSON.

    \b
      zephctl say notice '"the server restarts at noon"' --everyone
      zephctl say chat '{"text": "hello"}' --room lobby
      zephctl say mail '{"unread": 3}' --user ann --user bob
    """
    if (room is not None) + bool(users) + everyone != 1:
        raise click.UsageError("Name one of --room, --user and --everyone.")
    if number and not all(re.fullmatch("-?[0-9]{1,18}", user) for user in users):
        raise click.UsageError("With --number every --user is a number.")
    if room is not None:
        return send(app, task, data, room=room)
    if everyone:
        return send(app, task, data, everyone=True)
    return send(app, task, data, users=[int(user) for user in users] if number else list(users))


def send(app: App, task: str, data: str, **target: Any) -> int:
    """Have the server send a message; say how many connections get it."""
    reached = app.call("say", task=task, data=data, **target)
    app.output.say(f"sent to {reached} connection{'' if reached == 1 else 's'}")
    if app.output.is_json:
        app.output.record({"sent": reached})
    return ExitStatus.DONE
