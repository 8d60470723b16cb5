"""zephctl start."""

from __future__ import annotations

import os

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus


@click.command()
@click.option("--foreground", is_flag=True, help="Stay in the foreground; Ctrl-C stops the server.")
@click.option("--workers", type=click.IntRange(1, 999), metavar="N", help="Processes that share the port: WORKERS.")
@common_options
def cli(app: App, foreground: bool, workers: int | None) -> int:
    """Start the server in the background and return when it is ready.

    Exit status 8, and no server, when it is not ready within --timeout.

    \b
      zephctl start
      zephctl start --folder /srv/chat
      zephctl start --foreground
      zephctl start --workers 4
    """
    from zephctl import scripts

    settings = app.load_settings()
    if workers is not None:
        settings = settings.with_workers(workers)
    if foreground and app.timeout is not None:
        raise click.UsageError("--timeout is for a start in the background.")
    if foreground:
        os._exit(scripts.run_foreground(settings))
    app.output.say(scripts.start_daemon(settings, app.timeout))
    return ExitStatus.DONE
