"""zephctl metrics."""

from __future__ import annotations

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus


@click.command()
@common_options
def cli(app: App) -> int:
    """Print everything that is counted, in the text format of Prometheus: what /metrics answers.

    \b
      zephctl metrics
      zephctl metrics | grep zephserver_connections
    """
    text = app.call("metrics")
    if app.output.is_json:
        app.output.record({"metrics": text})
    else:
        app.output.text(text.rstrip("\n"))
    return ExitStatus.DONE
