"""Tasks that several tests have run, and ways to make more."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from zephserver.task import Task


class Echo(Task):
    """Answers with what it got, on the event loop."""

    async def main(self) -> None:
        self.reply(self.data)


class ThreadEcho(Task):
    """Answers with what it got, in a thread."""

    def main(self) -> None:
        self.reply(self.data)


def task(name: str, main: Callable[[Any], Any], **attributes: Any) -> type[Task]:
    """A task whose main() is this function."""
    return type(name, (Task,), {"main": main, **attributes})


def waiting(name: str, gate: threading.Event, began: queue.SimpleQueue[Any], **attributes: Any) -> type[Task]:
    """A task that says that it began, waits for the gate, and answers with what it got."""

    def main(self: Any) -> None:
        began.put(self.data)
        gate.wait(10)
        self.reply(self.data)

    return task(name, main, **attributes)
