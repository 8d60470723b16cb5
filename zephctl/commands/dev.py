"""zephctl dev."""

from __future__ import annotations

import functools
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from zephctl.app import App, common_options
from zephctl.dev.lines import shown

if TYPE_CHECKING:
    from zephserver.core.events import Event
    from zephserver.core.server import Server

LAST_WORDS = 1.0  # seconds that a terminal has to take what is still to be shown when the server has ended


@click.command()
@common_options
def cli(app: App) -> int:
    """Run the server in the foreground; save a task, and the next message runs the new code. Ctrl-C stops it.

    Browsers stay connected. Code that does not work is shown with its line, and the old one goes on. What a save of a
    service or of the settings needs is said. On a terminal a table of the tasks that were called stays below.

    \b
      zephctl dev
      zephctl dev -o plain
      zephctl dev -o jsonl | jq -r .text
    """
    from zephctl import scripts

    settings = app.load_settings().with_workers(1).with_service(scripts.RELOADER)
    # Shown by a thread of its own: a terminal that is held up must not hold up the server.
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    views: list[threading.Thread] = []

    def show(server: Server) -> None:
        server.bus.subscribe(events.put, replay=True)  # a client may have come as soon as the port was open
        run: Callable[[queue.SimpleQueue[Event | None]], None] = functools.partial(_print, app)
        if app.output.can_draw and settings.log_path != "-":  # a log on stderr would be written across the table
            from zephctl.dev.live import LiveView

            run = LiveView(app.output, lambda: server.not_ready).run
        view = threading.Thread(target=run, args=(events,), name="view", daemon=True)
        view.start()
        views.append(view)

    status = scripts.run_foreground(settings, show)
    events.put(None)
    for view in views:
        view.join(LAST_WORDS)
    os._exit(status)


def _print(app: App, events: queue.SimpleQueue[Event | None]) -> None:
    """Body of the view's thread. The server lives on when nobody reads any more (`zephctl dev | head`)."""
    while (happened := events.get()) is not None:
        event = happened.as_dict()
        text, level = shown(event)
        if not text:
            continue
        try:
            app.output.item(event, f"{time.strftime('%H:%M:%S', time.localtime(event['at']))} {text}", level)
        except OSError:
            return
