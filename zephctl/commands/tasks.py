"""zephctl tasks: list, running, call, reload."""

from __future__ import annotations

import copy
import sys

import click

from zephctl.app import TIMEOUT, App, common_options
from zephctl.commands import reload
from zephctl.exits import ExitStatus
from zephctl.output import worker_column
from zephserver.core.errors import TaskFailed, TaskTimeout


@click.group()
def cli() -> None:
    """Look at the tasks, and call one as a browser would.

    \b
      zephctl tasks list
      zephctl tasks call echo '{"x": 1}'
      zephctl tasks running
      zephctl tasks reload
    """


_reload = copy.copy(reload.cli)  # the same as `zephctl reload`
_reload.help = (_reload.help or "").replace("zephctl reload", "zephctl tasks reload")
cli.add_command(_reload, "reload")


@cli.command("list")
@common_options
def list_(app: App) -> int:
    """The tasks that browsers can call, and the classes that do the work.

    \b
      zephctl tasks list
    """
    app.output.rows("tasks", app.call("tasks.list"), ["name", "class", "kind"])
    return ExitStatus.DONE


@cli.command()
@common_options
def running(app: App) -> int:
    """The tasks that run or wait right now, the oldest first.

    \b
      zephctl tasks running
    """
    rows = app.call("tasks.running")
    app.output.rows("tasks", rows, ["task", "cid", "seconds", *worker_column(rows)], name="task")
    return ExitStatus.DONE


@cli.command()
@click.argument("name")
@click.argument("data", default="null")
@click.option("--user", default="zephctl", metavar="ID", help="Whom the task takes you for.")
@click.option("--room", default="", metavar="ROOM", help="The room that the task is told.")
@common_options
def call(app: App, name: str, data: str, user: str, room: str) -> int:
    """Run a task in the server and print what it answers, one JSON value a line. DATA is JSON; - reads it from stdin.

    What the task says to rooms and users really goes there. An error of the task gives exit status 1.

    \b
      zephctl tasks call echo '{"x": 1}'
      zephctl tasks call report --user 7 --room lobby
      jq -n '{x: 1}' | zephctl tasks call echo -
    """
    if data == "-":
        data = _stdin()
    within = app.timeout or TIMEOUT
    app.timeout = within + 5.0  # the server knows better when it is too late
    answer = app.call("tasks.call", name=name, data=data, user=user, room=room, within=within)
    error = answer.get("error")
    if app.output.mode != "json":
        for value in answer["answers"]:
            app.output.item({"data": value}, app.output.json_text(value))
    elif error is None:
        app.output.record(answer)
    if error is not None:  # its code is the task's own and means nothing here, but for a time that is over
        hint = "; the log has the traceback: zephctl tail-log" if error["code"] == TaskFailed.code else ""
        app.output.error(error["code"], error["message"] + hint)
        return ExitStatus.TIMED_OUT if error["code"] == TaskTimeout.code else ExitStatus.FAILED
    if not answer["answers"]:
        app.output.say("the task ended without an answer")
    return ExitStatus.DONE


def _stdin() -> str:
    try:
        if sys.stdin is not None:
            return sys.stdin.read()
    except UnicodeDecodeError:
        raise click.UsageError("What stdin has is not UTF-8.") from None
    raise click.UsageError("There is no stdin to read DATA from.")
