"""zephctl token."""

from __future__ import annotations

import click

from zephctl.app import App, Seconds, common_options
from zephctl.exits import ExitStatus


@click.command()
@click.argument("user")
@click.option("--name", metavar="NAME", help="The name that others see; the id without.")
@click.option("--number", is_flag=True, help="The id is a number: 7 and '7' are two users.")
@click.option("--lifetime", default=60.0, metavar="S", type=Seconds(1.0), help="Seconds it is good for.")
@common_options
def cli(app: App, user: str, name: str | None, number: bool, lifetime: float) -> int:
    """Have the server sign a token with which USER can connect. It must run TokenSessionManager.

    \b
      zephctl token ann
      zephctl token 7 --number --name Ann --lifetime 3600
    """
    token = app.call("token", user=user, name=name or "", lifetime=lifetime, number=number)
    if app.output.is_json:
        app.output.record({"token": token, "lifetime": lifetime})
    else:
        app.output.text(token)
    return ExitStatus.DONE
