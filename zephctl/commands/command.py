"""zephctl command."""

from __future__ import annotations

import click

from zephctl.app import TIMEOUT, App, common_options
from zephctl.exits import ExitStatus
from zephctl.scripts import talk
from zephserver.core.errors import CommandFailed


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
@common_options
def cli(app: App, words: tuple[str, ...]) -> int:
    """Send any command to the server and print its answer as text. `help` lists what it answers.

    \b
      zephctl command help
      zephctl command mine.flush
      zephctl command services show Router
    """
    for line in talk(app.interface, list(words), app.timeout or TIMEOUT, "zephctl start"):
        if line.startswith("error: "):
            _, code, message = line.split(": ", 2)
            raise CommandFailed(code, message)
        app.output.item({"text": line}, line)
    return ExitStatus.DONE
