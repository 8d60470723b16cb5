"""zephctl reload."""

from __future__ import annotations

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephctl.marks import marked
from zephserver.core.errors import CommandFailed, SettingsError


@click.command()
@click.option("--dry-run", is_flag=True, help="Try it, and go on with the old code.")
@click.option("--rollback", is_flag=True, help="Go back to the code from before the last reload.")
@common_options
def cli(app: App, dry_run: bool, rollback: bool) -> int:
    """Load the code of the tasks that has changed. Running tasks end on the old code; nobody is disconnected.

    Code that does not work is not used: the old one goes on, and the command says where the fault is. Changed services
    and settings, which a reload does not load, are named.

    \b
      zephctl reload
      zephctl reload --dry-run
      zephctl reload --rollback
    """
    if dry_run and rollback:
        raise click.UsageError("Choose one of --dry-run and --rollback.")
    if rollback:
        app.call("tasks.rollback")
        app.output.say("the tasks run the code from before the last reload; the files are as they were")
        return ExitStatus.DONE
    try:
        done = app.call("tasks.reload", dry_run=dry_run)
    except CommandFailed as error:
        if app.output.is_json or not error.facts:
            raise
        raise CommandFailed(error.code, marked(str(error), error.facts)) from None
    if app.output.is_json:
        app.output.record(done)
    elif not done["modules"]:
        app.output.say("no code of the tasks has changed" if any(done["stale"].values()) else "nothing has changed")
    else:
        verb = "would reload" if dry_run else "reloaded"
        app.output.say(f"{verb} {', '.join(done['modules'])} in {done['seconds'] * 1000:.0f} ms")
    if done["keep_old"]:
        app.output.say(f"services that go on with the old code until zephctl restart: {', '.join(done['keep_old'])}")
    _tell_stale(app, **done["stale"])
    return ExitStatus.DONE


def _tell_stale(app: App, files: list[str], services: list[str], settings: str | None) -> None:
    """What has changed that a reload does not load."""
    if files:
        where = f" in {', '.join(services)}" if services else ""
        app.output.say(f"{', '.join(files)} changed; to use that{where}: zephctl restart")
    if settings is None:
        return
    from zephserver.core.settings import load_settings

    try:
        load_settings(settings)
        app.output.say(f"{settings} changed; to use that: zephctl restart")
    except SettingsError as error:
        app.output.say(f"{settings} changed, and the server would not start with that: {'; '.join(error.faults)}")
