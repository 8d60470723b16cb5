"""Speaking to those who are connected, from anywhere in a Django project: views, signals, workers, the shell."""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DEFAULT_DB_ALIAS, connections

from zephserver.core.errors import ZephError
from zephserver.core.wire import LONGEST_REQUEST
from zephserver.django import reach
from zephserver.messages import plain_id

TOLD_EVERY = 10.0  # seconds between two lines of the log
LONGEST_ROOM = 2_048  # characters, as in zephserver/reception.py, which a process of Django need not load
ROOM_FOR_THE_REST = 1_024  # bytes of a request beside the data

_log = logging.getLogger("zephserver.django")
_counts: Counter[str] = Counter()
_lock = threading.Lock()
_told_at = -TOLD_EVERY


def say(
    task: str,
    data: Any = None,
    *,
    room: str | None = None,
    users: Iterable[Any] | None = None,
    everyone: bool = False,
    using: str | None = None,
) -> None:
    """Send *data* to a room, to users (themselves, or their ids), or to everyone; browsers get it as one of *task*.

    It is sent when the transaction of the database *using* commits, and at once where there is none; nothing is sent
    when it is rolled back. *data* is anything that JSON can carry, and dates, decimals and the like. Any thread; in a
    coroutine take asay(). Raises ValueError for a call that can never work. A server that cannot be reached raises
    nothing: it is counted (stats()) and told in the log.
    """
    words = _words(task, data, room, users, everyone)
    after_commit(functools.partial(deliver, "say", words), using)


async def asay(task: str, data: Any = None, **where: Any) -> None:
    """As say(), for coroutines."""
    from asgiref.sync import sync_to_async

    await sync_to_async(say)(task, data, **where)


def stats() -> dict[str, int]:
    """What became of the messages of this process: `sent`, `failed`, and `skipped` after a failure. Any thread."""
    with _lock:
        return {name: _counts[name] for name in ("sent", "failed", "skipped")}


def after_commit(function: Callable[[], object], using: str | None = None) -> None:
    """Call *function* when the transaction of this thread commits, at once without one.

    Django's on_commit() would open a connection to find out, and raise when the database is down.
    """
    connection = connections[using or DEFAULT_DB_ALIAS]
    if connection.in_atomic_block:
        connection.on_commit(function, robust=True)
    else:
        function()


def deliver(command: str, words: dict[str, Any]) -> bool:
    """Have a server do a command; whether it did. Raises nothing, and takes no longer than TIMEOUT."""
    try:
        was_sent = reach.ask(command, words)
    except (ZephError, ValueError) as error:
        _note_failure(error)
        return False
    with _lock:
        _counts["sent" if was_sent else "skipped"] += 1
    return was_sent


def _words(task: str, data: Any, room: str | None, users: Iterable[Any] | None, everyone: bool) -> dict[str, Any]:
    """The arguments of the command `say`. Raises ValueError."""
    if not isinstance(task, str) or not task:
        raise ValueError(f"say(): a task has a name, not {task!r}")
    if (room is not None) + (users is not None) + bool(everyone) != 1:
        raise ValueError("say(): name one of room=, users= and everyone=True")
    try:
        text = json.dumps(data, cls=DjangoJSONEncoder, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"say(): the data cannot be sent as JSON: {error}") from error
    words: dict[str, Any] = {"task": task, "data": text}
    if users is not None:
        words["users"] = _ids_of(users)
    elif everyone:
        words["everyone"] = True
    elif not isinstance(room, str) or not 0 < len(room) <= LONGEST_ROOM:
        raise ValueError(f"say(): a room has a name of 1 to {LONGEST_ROOM} characters, not {room!r:.100}")
    else:
        words["room"] = room
    size = len(json.dumps(words))
    if size > LONGEST_REQUEST - ROOM_FOR_THE_REST:
        most = LONGEST_REQUEST - ROOM_FOR_THE_REST
        raise ValueError(f"say(): {size:,} bytes are more than {most:,}; say where the rest can be fetched")
    return words


def _ids_of(users: Any) -> list[Any]:
    if isinstance(users, (str, bytes)) or not isinstance(users, Iterable):  # of a text each letter would be one
        raise ValueError(f"say(): users= is a list of users or ids, not {users!r:.100}; write users=[...]")
    return [_id_of(user) for user in users]


def _id_of(user: Any) -> Any:
    id = plain_id(getattr(user, "pk", user))
    if id is None:
        raise ValueError("say(): an anonymous user has no id; name a room")
    return id


def _note_failure(error: Exception) -> None:
    global _told_at
    with _lock:
        _counts["failed"] += 1
        failed = _counts["failed"]
        is_time = time.monotonic() - _told_at >= TOLD_EVERY
        if is_time:
            _told_at = time.monotonic()
    if is_time:
        _log.warning("nothing was sent: %s (%d so far)", " ".join(str(error).split()), failed)
