"""Database connections in a server: closed around every use, and never waited for longer than a client waits.

A thread that uses a database has a connection of its own, which Django closes at the end of a request. There are no
requests here, so look-ups and tasks take that part.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections, connections, reset_queries
from django.db.backends.signals import connection_created

from zephserver.core import runtime
from zephserver.core.errors import Overloaded
from zephserver.django import outage
from zephserver.workers import WorkerPool

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 16  # for in_thread(): as many connections more, at most
MOST_WAITING = 1_024
_CACHES = {"redis", "valkey", "pymemcache", "pylibmc", "bmemcached"}  # the packages that Django's caches speak through
TOLD_EVERY = 10.0  # seconds between two lines of the log about the same trouble

_log = logging.getLogger("zephserver.django")


class _Cleaned(threading.local):
    """Whether this thread closes its connections by itself."""

    depth = 0


class Clean:
    """A context in whose thread connections are closed before and after, unless CONN_MAX_AGE keeps them. Any thread."""

    def __enter__(self) -> None:
        _cleaned.depth += 1
        reset_queries()  # with DEBUG Django keeps what was asked
        close_old_connections()

    def __exit__(self, *error: object) -> None:
        _cleaned.depth -= 1
        close_old_connections()


class AroundTask(Clean):
    """The same for a task, with less to read where many fail for one reason. Any thread."""

    def __init__(self) -> None:
        self._troubles = outage.Troubles()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._troubles.sift(error[1])  # type: ignore[arg-type] # error or None


_cleaned = _Cleaned()
clean = Clean()


def in_thread(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A function that asks a database, made fit for an async task: `await in_thread(function)(...)`; also a decorator.

    It runs in one of 16 threads, and the connection is closed after it. Raises what the function raises, and
    Overloaded, which the client is told, when too many wait already.
    """

    @functools.wraps(function)
    async def awaitable(*args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()

        def call() -> T:
            with clean:
                return function(*args, **kwargs)

        def call_soon(*words: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(*words)

        return await _pool().ask(getattr(function, "__name__", "query"), call, call_soon)

    return awaitable


class Trouble:
    """Tells the log that a database does not answer, in one line, and not more often than every ten seconds."""

    def __init__(self, what: str) -> None:
        self._what, self._told, self._count = what, -TOLD_EVERY, 0

    @contextlib.contextmanager
    def becomes_overloaded(self) -> Iterator[None]:
        """A database that is down, slow or locked is no fault of the client: it is told to come back. Any thread."""
        try:
            yield
        except Exception as error:
            if not is_trouble(error):
                raise
            self._count += 1
            if time.monotonic() - self._told >= TOLD_EVERY:
                self._told = time.monotonic()
                _log.warning("%s: %s (%d so far)", self._what, in_one_line(error), self._count)
            raise Overloaded("the database does not answer") from error


def is_trouble(error: BaseException) -> bool:
    """Whether a database or a cache did not answer. The errors of caches' libraries have no base of Python's."""
    libraries = {one.__module__.partition(".")[0] for one in type(error).__mro__}
    return isinstance(error, (DatabaseError, InterfaceError, OSError)) or not libraries.isdisjoint(_CACHES)


def in_one_line(error: BaseException) -> str:
    """What a database says goes over several lines."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def limit(seconds: float | None) -> None:
    """Have no query of this process take longer, where the project does not say otherwise. None: leave all as it is."""
    connection_created.disconnect(dispatch_uid="zephserver.limit")
    outage.watch(seconds is not None)
    if seconds is None:
        return
    for alias in connections:
        settings = connections.settings[alias]
        for name, value in _OPTIONS.get(_vendor(settings), {}).items():
            settings.setdefault("OPTIONS", {}).setdefault(name, value(seconds))

    def limit_queries(connection: Any, **more: Any) -> None:
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = %s" % int(seconds * 1000))  # noqa: UP031 # a number of ours

    connection_created.connect(limit_queries, weak=False, dispatch_uid="zephserver.limit")


_OPTIONS: dict[str, dict[str, Callable[[float], object]]] = {
    "sqlite3": {"timeout": float},
    # tcp_user_timeout: for a server that went without a word; without it the system waits for a quarter of an hour.
    "postgresql": {
        "connect_timeout": lambda s: max(2, int(s)),
        "tcp_user_timeout": lambda s: int(s * 1000),
    },
    "mysql": {name: lambda s: max(1, int(s)) for name in ("connect_timeout", "read_timeout", "write_timeout")},
}


def _vendor(settings: dict[str, Any]) -> str:
    name: str = settings["ENGINE"].rpartition(".")[2]
    return {"postgis": "postgresql", "spatialite": "sqlite3"}.get(name, name)


# -- what async tasks do with Django's own methods (`aget`, ...) -------------------------------------------------------

_strays = threading.Event()  # the thread that asgiref keeps for them has opened a connection


def watch_strays() -> None:
    """Note when a connection is opened in a thread that does not close it."""

    def note(**more: Any) -> None:
        if not _cleaned.depth:
            _strays.set()

    connection_created.connect(note, weak=False, dispatch_uid="zephserver.strays")


def close_strays() -> None:
    """Close what was opened there, once nobody uses it. Any thread; does not wait."""
    from asgiref.sync import SyncToAsync

    if _strays.is_set():
        _strays.clear()
        with contextlib.suppress(RuntimeError):  # the executor has ended with the process
            SyncToAsync.single_thread_executor.submit(close_old_connections)


_pools: dict[int, WorkerPool] = {}
_pools_lock = threading.Lock()


def _pool() -> WorkerPool:
    """The threads of in_thread(), made when they are first needed, for each server its own."""
    server = runtime.find_server()
    with _pools_lock:
        pool = _pools.get(id(server))
        if pool is None:
            pool = WorkerPool("database", THREADS, MOST_WAITING, lambda name, body: runtime.spawn(name, body, server))
            _pools[id(server)] = pool
        return pool


def close_pool() -> None:
    """End the threads of in_thread() of this server."""
    with _pools_lock:
        pool = _pools.pop(id(runtime.find_server()), None)
    if pool is not None:
        pool.close()
        pool.join(1.0)
