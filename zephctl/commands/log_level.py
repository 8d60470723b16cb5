"""zephctl log-level."""

from __future__ import annotations

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus


@click.command()
@click.argument("level", required=False, default="")
@click.option("--service", default="", help="Only for this service.")
@common_options
def cli(app: App, level: str, service: str) -> int:
    """Show the log levels of the running server, or change one until it stops.

    \b
      zephctl log-level
      zephctl log-level DEBUG
      zephctl log-level DEBUG --service Router
    """
    levels = app.call("log.level", level=level, service=service)
    app.output.rows("levels", [{"name": name, "level": level} for name, level in levels.items()], ["name", "level"])
    return ExitStatus.DONE
