"""Doubles and helpers for tests: of zephserver itself, and of the services and tasks that users write."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from zephserver.core.bus import EventBus
from zephserver.core.events import Event
from zephserver.core.server import Server
from zephserver.core.settings import make_settings

E = TypeVar("E", bound=Event)


class FakeClock:
    """A clock that moves only when the test says so. Any thread."""

    def __init__(self, now: float = 1_000.0) -> None:
        self._now = now
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Seconds, as time.monotonic()."""
        return self._now

    def time(self) -> float:
        """Seconds, as time.time(): the same number."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Move on; the new time."""
        with self._lock:
            self._now += seconds
            return self._now


def wait_for(bus: EventBus, kind: type[E], *, timeout: float = 5.0, **wanted: object) -> E:
    """The first event of this kind with these attributes, past or future. Raises AssertionError after *timeout* s."""
    inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with bus.subscribe(inbox.put, replay=True):
        while True:
            try:
                event = inbox.get(timeout=timeout)
            except queue.Empty:
                raise AssertionError(f"no {kind.__name__} with {wanted} within {timeout} s") from None
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in wanted.items()):
                return event


def wait_until(fact: Callable[[], object], what: str = "", *, timeout: float = 5.0) -> None:
    """Wait for a fact that nobody announces. Raises AssertionError, naming *what*, after *timeout* seconds."""
    pause = threading.Event()
    for _ in range(int(timeout / 0.005)):
        if fact():
            return
        pause.wait(0.005)
    raise AssertionError(f"not within {timeout} s: {what or fact}")


@contextmanager
def running_server(folder: str | Path, **settings: Any) -> Iterator[Server]:
    """A server in this process with the files of *folder*, ready; stopped at the end.

    The settings are upper-case names as in zephsettings.py; without PORT_ZEPH it picks a free port. The modules of the
    folder can be imported meanwhile.
    """
    values = {"SERVICE_LIST": [], "PORT_ZEPH": 0} | settings
    path = str(folder)
    sys.path.insert(0, path)
    try:
        with Server(make_settings(values, folder=folder)) as server:
            yield server
    finally:
        sys.path.remove(path)
