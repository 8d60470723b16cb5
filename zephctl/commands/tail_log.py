"""zephctl tail-log."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephserver.core.errors import ControlUnreachable, ZephError

PAUSE = 0.25  # seconds between two attempts to reach a server that went away


@click.command()
@click.option("-n", "--lines", default=10, show_default=True, type=click.IntRange(min=0), help="Lines to begin with.")
@click.option("-f", "--follow", is_flag=True, help="Show new lines as they come, over restarts of the server too.")
@click.option("--level", default="DEBUG", help="Leave out lines that are less severe.")
@click.option("--service", default="", help="Only lines of this service.")
@click.option("--after", "cursor", default="", metavar="CURSOR", help="Resume after the cursor of a JSON line.")
@common_options
def cli(app: App, lines: int, follow: bool, level: str, service: str, cursor: str) -> int:
    """Show the last lines of the log. They come from the server, so rotation loses none; without it, from the file.

    \b
      zephctl tail-log
      zephctl tail-log -f --level warning
      zephctl tail-log -f --service Router -o jsonl
    """
    wish: dict[str, Any] = {"lines": lines, "follow": follow, "level": level, "service": service}
    is_first = True
    while True:
        try:
            for line in app.client.stream("log.tail", cursor=cursor, **wish):
                cursor = line.get("cursor", cursor)
                _show(app, line)
            is_first = False
        except ControlUnreachable:
            if is_first and not follow:
                return _from_file(app, lines)
            if is_first:
                raise
        if not follow:
            return ExitStatus.DONE
        app.client.close()
        time.sleep(PAUSE)  # the server went away; it may come back


def _show(app: App, line: dict[str, Any]) -> None:
    if "cursor" not in line:
        app.output.say(line["text"])
        return
    text = line["text"]
    if app.output.mode == "table" and line.get("trace"):  # on a terminal a traceback is easier to read on its own lines
        text = text.partition(" | ")[0] + "\n    " + line["trace"].replace("\n", "\n    ")
    app.output.item(line, text, line.get("level", ""))


def _from_file(app: App, lines: int) -> int:
    """The end of the file, when no server runs."""
    path = app.load_settings().log_path
    if path == "-":
        raise ZephError("no server runs, and LOG_PATH is '-' (stderr): there is no file to read")
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            found = deque(file, maxlen=lines)
    except OSError as error:
        raise ZephError(f"{path} cannot be read: {error.strerror}") from None
    app.output.say(f"no server runs; these are the last lines of {path}")
    for line in found:
        app.output.item({"text": line.rstrip("\n")}, line.rstrip("\n"))
    return ExitStatus.DONE
