"""zephctl dev."""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import click

from zephctl.app import App, common_options

if TYPE_CHECKING:
    from zephserver.core.events import Event
    from zephserver.core.server import Server

QUIET_TASKS = frozenset({"TaskPing"})  # the heartbeat of old clients


@click.command()
@common_options
def cli(app: App) -> int:
    """Run the server in the foreground; save a task, and the next message runs the new code. Ctrl-C stops it.

    Browsers stay connected. Code that does not work is shown with its line, and the old one goes on. What a save of a
    service or of the settings needs is said.

    \b
      zephctl dev
      zephctl dev -o jsonl | jq -r .text
    """
    from zephctl import scripts

    def show(server: Server) -> None:
        # Printed by a thread of its own: a terminal that is held up must not hold up the server.
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        server.bus.subscribe(events.put)
        threading.Thread(target=_print, args=(app, events), name="view", daemon=True).start()

    settings = app.load_settings().with_workers(1).with_service(scripts.RELOADER)
    os._exit(scripts.run_foreground(settings, show))


def _print(app: App, events: queue.SimpleQueue[Event]) -> None:
    """Body of the view's thread. The server lives on when nobody reads any more (`zephctl dev | head`)."""
    while True:
        event = events.get().as_dict()
        text, level = _shown(event)
        if not text:
            continue
        try:
            app.output.item(event, f"{time.strftime('%H:%M:%S', time.localtime(event['at']))} {text}", level)
        except OSError:
            return


def _shown(event: dict[str, Any]) -> tuple[str, str]:
    """What a person sees of an event, and its colour; '' for what would only be noise."""
    match event["kind"]:
        case "TasksReloaded" | "ReloadMended":
            return event["text"], "ready"
        case "ReloadRefused":
            return _with_source(event), "ERROR"
        case "TaskFinished" if event["task"] not in QUIET_TASKS:
            return event["text"], "" if event["outcome"] == "done" else "WARNING"
        case "TaskRaised":
            return f"{event['text']}\n{event['traceback'].rstrip()}", "ERROR"
        case "ClientConnected" | "ClientClosed":
            return event["text"], "DEBUG"
        case "RestartNeeded" | "ClientRefused" | "ServiceDied" | "ServiceOverran":
            return event["text"], "WARNING"
    return "", ""


def _with_source(event: dict[str, Any]) -> str:
    """The sentence, then the line of the fault with a mark below it."""
    text: str = event["text"]
    line = event["source"].replace("\t", " ")  # a tab is one column of the mark, too
    source = line.strip()
    if source:
        text += f"\n    {source}"
        place = (event["column"] or 0) - 1 - (len(line) - len(line.lstrip()))
        if place >= 0:
            text += f"\n    {' ' * min(place, len(source))}^"
    return text
