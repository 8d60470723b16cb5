"""zephctl reload."""

from __future__ import annotations

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus


@click.command()
@click.option("--dry-run", is_flag=True, help="Try it, and go on with the old code.")
@click.option("--rollback", is_flag=True, help="Go back to the code from before the last reload.")
@common_options
def cli(app: App, dry_run: bool, rollback: bool) -> int:
    """Load the code of the tasks that has changed. Running tasks end on the old code; nobody is disconnected.

    Code that does not work is not used: the old one goes on, and the command says where the fault is.

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
    done = app.call("tasks.reload", dry_run=dry_run)
    if app.output.is_json:
        app.output.record(done)
    elif not done["modules"]:
        app.output.say("nothing has changed")
    else:
        verb = "would reload" if dry_run else "reloaded"
        app.output.say(f"{verb} {', '.join(done['modules'])} in {done['seconds'] * 1000:.0f} ms")
    if done["keep_old"]:
        app.output.say(f"services that go on with the old code: {', '.join(done['keep_old'])}; restart them")
    return ExitStatus.DONE
