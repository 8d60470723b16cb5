"""zephctl restart."""

from __future__ import annotations

import click

from zephctl.app import App, common_options
from zephctl.commands.stop import stop
from zephctl.exits import ExitStatus
from zephserver.core.errors import ControlUnreachable


@click.command()
@common_options
def cli(app: App) -> int:
    """Stop the server if it runs, start it, and return when it is ready. Bad settings leave the old one running.

    \b
      zephctl restart
    """
    from zephctl import scripts

    settings = app.load_settings()
    try:
        workers = app.call("status").get("workers")
        if workers is not None and "WORKERS" not in settings.lines:  # it was started with --workers
            settings = settings.with_workers(workers["total"])
        stop(app)
    except ControlUnreachable:
        app.output.say("it was not running")
    app.output.say(scripts.start_daemon(settings, app.timeout))
    return ExitStatus.DONE
