"""A database that is away: whoever comes behind the first does not wait for it again, and the log is not filled."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from django.db import InterfaceError, OperationalError, connections

from zephserver.core.errors import TaskFailed

SLOW = 1.0  # seconds after which a failed attempt to connect counts: one that is refused at once holds nobody up
PAUSE = 1.0  # seconds in which nobody tries again
TOLD_EVERY = 10.0  # seconds between two tracebacks of the same trouble
MOST_TROUBLES = 100

_log = logging.getLogger("zephserver.django")
_away_until: dict[str, float] = {}  # alias -> when somebody may try again


def watch(wanted: bool) -> None:
    """Have connections that are made from now on fail at once while their database is known to be away.

    The requests of a client to one task run one after the other, and each would wait for as long as the first.
    """
    vars(connections).pop("create_connection", None)
    if wanted:
        connections.create_connection = functools.partial(_create, connections.create_connection)


def _create(create: Callable[[str], Any], alias: str) -> Any:
    connection = create(alias)
    connection.connect = functools.partial(_connect, alias, connection.connect)
    return connection


def _connect(alias: str, connect: Callable[[], None]) -> None:
    began = monotonic()
    if began < _away_until.get(alias, 0.0):
        raise OperationalError(f"the database {alias!r} did not answer a moment ago; it is tried again in a second")
    try:
        connect()
    except Exception:
        if monotonic() - began >= SLOW:
            _away_until[alias] = monotonic() + PAUSE
        raise


class Troubles:
    """Lets the first of many equal errors through, for its traceback, and of the others only says how many. Any thread.

    Two threads at once may both be the first.
    """

    def __init__(self) -> None:
        self._told: dict[str, float] = {}
        self._untold = 0

    def sift(self, error: BaseException | None) -> None:
        """Raises TaskFailed, which is not logged, for an error of a database that the log has had lately."""
        if not isinstance(error, (OperationalError, InterfaceError)):
            return
        text, now = f"{type(error).__name__}: {error}", monotonic()
        if now - self._told.get(text, -TOLD_EVERY) < TOLD_EVERY:
            self._untold += 1
            raise TaskFailed("the task failed") from error
        if len(self._told) >= MOST_TROUBLES:
            self._told.clear()
        self._told[text] = now
        if self._untold:
            untold, self._untold = self._untold, 0
            _log.warning("%d more tasks failed for a trouble of the database that stands above", untold)
