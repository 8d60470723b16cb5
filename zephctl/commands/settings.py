"""zephctl settings: show."""

from __future__ import annotations

import difflib

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephctl.output import Output
from zephserver.core.errors import CommandFailed


@click.group()
def cli() -> None:
    """Show the settings and where each comes from.

    \b
      zephctl settings show
      zephctl settings show PORT_ZEPH
    """


@cli.command()
@click.argument("names", nargs=-1)
@common_options
def show(app: App, names: tuple[str, ...]) -> int:
    """Name, value and origin of every setting, or of those named. Secrets are starred.

    \b
      zephctl settings show
      zephctl settings show PORT_ZEPH -o json
    """
    settings = app.load_settings()
    rows = settings.rows()
    known = {row["name"] for row in rows}
    unknown = [name for name in names if name.upper() not in known]
    if unknown:
        raise CommandFailed("unknown-setting", "\n".join(_no_setting(name, known) for name in unknown))
    wanted = {name.upper() for name in names} or known
    app.output.rows("settings", [row for row in rows if row["name"] in wanted], ["name", "value", "from"])
    _tell_warnings(app.output, settings.warnings)
    return ExitStatus.DONE


def _no_setting(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name.upper(), known, n=1)
    return f"there is no setting {name}; " + (f"did you mean {near[0]}?" if near else "see: zephctl settings show")


def _tell_warnings(output: Output, warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        output.say(f"warning: {warning}")
