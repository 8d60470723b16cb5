"""zephctl doctor."""

from __future__ import annotations

from collections.abc import Iterator

import click

from zephctl.app import App, common_options
from zephctl.doctor.finding import Finding, Level
from zephctl.exits import ExitStatus
from zephserver.core.errors import SettingsError


@click.command()
@common_options
def cli(app: App) -> int:
    """Look for trouble in a folder and on this machine, and say what to mend. Exit status 1 when something is bad.

    \b
      zephctl doctor
      zephctl doctor --folder /srv/chat
      zephctl doctor -o json | jq '.findings[] | select(.level == "bad")'
    """
    found = list(_findings(app))
    rows = [finding.row() for finding in found]
    if app.output.mode == "table":
        for one in found:
            advice = f"; {one.advice}" if one.advice else ""
            app.output.item(one.row(), f"{one.level:<5}{one.what:<10}{one.finding}{advice}", _COLOURS[one.level])
    else:
        app.output.rows("findings", rows, ["level", "what", "finding", "advice"], name="what")
    counts = {level: sum(finding.level is level for finding in found) for level in Level}
    app.output.say(f"{counts[Level.BAD]} bad, {counts[Level.WARN]} to think about, {counts[Level.OK]} fine")
    return ExitStatus.FAILED if counts[Level.BAD] else ExitStatus.DONE


_COLOURS = {Level.OK: "ready", Level.WARN: "WARNING", Level.BAD: "ERROR"}


def _findings(app: App) -> Iterator[Finding]:
    from zephctl.doctor import folder, machine, server, web
    from zephctl.doctor.finding import bad, ok, warn
    from zephserver.core.checks import check
    from zephserver.core.lock import lock_state

    try:
        settings = app.load_settings()
    except SettingsError as error:
        yield from (bad("settings", fault, "mend it, then: zephctl check") for fault in error.faults)
        yield from machine.look(None)
        return
    yield ok("settings", f"{settings.file} can be read")
    yield from (warn("settings", text, "the server runs; change it when you can") for text in settings.warnings)
    faults = check(settings)
    yield from (bad("services", fault, "mend it, then: zephctl check") for fault in faults)
    if not faults:
        yield ok("services", f"{len(settings.service_list)} services and {len(settings.tasks_path)} tasks are found")
    status, answer = server.ask(app)
    yield from answer
    if status is not None:
        yield from server.look(app, settings, status)
    is_held, _ = lock_state(settings.lock_file)
    is_running = status is not None or is_held
    yield from folder.look(settings, is_running=is_running)
    yield from web.look(settings, status, is_running=is_running)
    yield from machine.look(settings)
