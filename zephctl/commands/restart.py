"""zephctl restart."""

from __future__ import annotations

import click

from zephctl.app import App, common_options
from zephctl.commands.stop import stop
from zephctl.exits import ExitStatus
from zephserver.core.errors import ControlUnreachable, SettingsError


@click.command()
@common_options
def cli(app: App) -> int:
    """Stop the server if it runs, start it, and return when it is ready.

    What zephctl check finds, in the settings or in the code of services and tasks, leaves the old one running.

    \b
      zephctl restart
    """
    from zephctl import scripts
    from zephserver.core.checks import check_aside

    settings = app.load_settings()
    faults = check_aside(settings)
    if faults:
        raise SettingsError(faults)
    try:
        workers = app.call("status").get("workers")
        if workers is not None and "WORKERS" not in settings.lines:  # it was started with --workers
            settings = settings.with_workers(workers["total"])
        stop(app)
    except ControlUnreachable:
        app.output.say("it was not running")
    app.output.say(scripts.start_daemon(settings, app.timeout))
    return ExitStatus.DONE
