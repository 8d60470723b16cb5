"""zephctl check."""

from __future__ import annotations

from collections.abc import Sized

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephserver.core.errors import SettingsError


@click.command()
@common_options
def cli(app: App) -> int:
    """Check the settings, and that every service and task can be imported, without starting anything.

    \b
      zephctl check
      zephctl check --settings /srv/chat/zephsettings.py -o json
    """
    from zephserver.core.checks import check

    settings = app.load_settings()
    faults = check(settings)
    if faults:
        raise SettingsError(faults)
    for warning in settings.warnings:
        app.output.say(f"warning: {warning}")
    if app.output.is_json:
        app.output.record({"ok": True, "file": str(settings.file), "warnings": list(settings.warnings)})
    counts = f"{_count(settings.service_list, 'service')}, {_count(settings.tasks_path, 'task')}"
    app.output.say(f"{settings.file} is fine: {counts}")
    return ExitStatus.DONE


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
