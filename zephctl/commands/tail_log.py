"""zephctl tail-log."""

from __future__ import annotations

import contextlib
import re
import time
from typing import Any

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephctl.wishes import Level, LineFilter, Moment, Pattern, check_service
from zephserver.core.errors import ControlUnreachable
from zephserver.core.text import escape

PAUSE = 0.25  # seconds between two attempts to reach a server that went away


@click.command()
@click.option(
    "-n", "--lines", type=click.IntRange(0), metavar="N", help="Lines to begin with: 10, all with --since and --after."
)
@click.option("-f", "--follow", is_flag=True, help="Show new lines as they come, over restarts too.")
@click.option("--level", type=Level(), default="DEBUG", metavar="LEVEL", help="Leave out lines that are less severe.")
@click.option("--service", default="", metavar="NAME", help="Only lines of this service, or logger.")
@click.option("--since", type=Moment(), metavar="TIME", help="Only lines since 10m, 2h, 2026-11-22T15:00.")
@click.option("--grep", type=Pattern(), metavar="PATTERN", help="Only lines with this regular expression.")
@click.option("--after", "cursor", default="", metavar="CURSOR", help="Resume after the cursor of a JSON line.")
@common_options
def cli(
    app: App,
    lines: int | None,
    follow: bool,
    level: str,
    service: str,
    since: float | None,
    grep: re.Pattern[str] | None,
    cursor: str,
) -> int:
    """Show the last lines of the log; what is older comes from its files.

    \b
      zephctl tail-log -f --level warning
      zephctl tail-log --since 10m --grep 'died|failed'
    """
    from zephctl.log_reader import LogReader, from_files

    wanted = LineFilter(level, service, grep, since)
    count = lines if lines is not None or cursor or since is not None else 10
    reader = LogReader(app, wanted, cursor)
    try:
        if service:
            check_service(app, service)
        for line in reader.begin(count, follow=follow):
            _show(app, line)
    except ControlUnreachable as error:
        if follow or cursor:
            raise
        path, found = from_files(app, wanted, count)
        why = app.explained(error)
        app.output.say(f"{'no server runs' if why is error else why}; these are the last lines of {path}")
        for line in found:
            _show(app, line)
    while follow:
        with contextlib.suppress(ControlUnreachable):
            for line in reader.news(follow=True):
                _show(app, line)
        app.client.close()
        time.sleep(PAUSE)  # the server went away; it may come back
    return ExitStatus.DONE


def _show(app: App, line: dict[str, Any]) -> None:
    if "note" in line:
        app.output.say(line["note"])
        return
    text = line["text"]
    if app.output.mode == "table" and line.get("trace"):  # on a terminal a traceback is easier to read on its own lines
        head = text.removesuffix(f" | {escape(line['trace'])}")
        text = head + "\n    " + line["trace"].replace("\n", "\n    ")
    app.output.item(line, text, line.get("level", ""))
