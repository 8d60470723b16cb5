"""Connections are closed around every use, and a database that does not answer harms nobody."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.db import OperationalError, connection, connections
from django.db.backends.signals import connection_created
from django.test import override_settings

from tests.zephserver.django.conftest import MakeDjangoSite, log_in, name_of
from zephserver.core.errors import Overloaded
from zephserver.django import database, in_thread
from zephserver.task import Task
from zephserver.testing import wait_until

SOON = 0.1


@pytest.fixture
def pool() -> Iterator[None]:
    """The threads of in_thread() end with the test."""
    yield
    database.close_pool()


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The names of the threads in which connections are opened."""
    names: list[str] = []

    def note(**more: Any) -> None:
        names.append(threading.current_thread().name)

    connection_created.connect(note)
    yield names
    connection_created.disconnect(note)


def down(*args: Any, **more: Any) -> Any:
    raise OperationalError("could not connect to server:\n\tConnection refused")


def how_many() -> int:
    return int(get_user_model().objects.count())


# -- around every use --------------------------------------------------------------------------------------------------


def test_a_connection_is_closed_before_and_after() -> None:
    how_many()
    assert connection.connection is not None

    with database.clean:
        before = connection.connection
        how_many()

    assert before is None
    assert connection.connection is None


def test_one_that_may_be_kept_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 60)
    connections["default"].settings_dict["CONN_MAX_AGE"] = 60

    with database.clean:
        how_many()

    assert connection.connection is not None
    connection.close()


@override_settings(DEBUG=True)
def test_what_was_asked_is_not_kept_for_ever_in_debug_mode() -> None:
    for _ in range(3):
        with database.clean:
            how_many()

    assert len(connection.queries_log) < 10


class Asks(Task):
    """Asks the database in a thread."""

    def main(self) -> None:
        self.reply(how_many())


class AsksAndDies(Task):
    """Asks, and fails then."""

    def main(self) -> None:
        how_many()
        raise RuntimeError("this is what the test is for")


class AsksAsync(Task):
    """Asks on the loop, with our helper."""

    async def main(self) -> None:
        self.reply(await in_thread(how_many)())


class AsksDjango(Task):
    """Asks on the loop, with Django's own methods."""

    async def main(self) -> None:
        self.reply((await get_user_model().objects.aget()).pk)


class Blocks(Task):
    """Asks where it must not."""

    async def main(self) -> None:
        self.reply(how_many())


def open_connections() -> int:
    """Descriptors of this process for the file of the database."""
    import os

    name, found = connections.settings["default"]["NAME"], 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{descriptor}") == name
        except OSError:
            pass
    return found


@pytest.mark.parametrize("task", [Asks, AsksAndDies, AsksAsync])
def test_no_connection_outlives_a_task(
    make_django_site: MakeDjangoSite, user: Any, opened: list[str], task: type[Task]
) -> None:
    browser = log_in(user)
    ann = make_django_site(task).join(browser)
    connections.close_all()
    opened.clear()

    for _ in range(3):
        ann.ask(task.__name__)

    assert len(opened) == 3
    wait_until(lambda: open_connections() == 0, "all are closed")


def test_what_djangos_async_methods_open_is_closed_soon(
    make_django_site: MakeDjangoSite, user: Any, opened: list[str]
) -> None:
    ann = make_django_site(AsksDjango).join(log_in(user))
    connections.close_all()
    opened.clear()

    assert ann.ask("AsksDjango")["data"] == user.pk

    assert len(opened) == 1
    wait_until(lambda: open_connections() == 0, "it is closed", timeout=10)


def test_the_loop_never_waits_for_a_database(make_django_site: MakeDjangoSite, user: Any) -> None:
    ann = make_django_site(Blocks).join(log_in(user))

    assert ann.ask("Blocks")["error"]["code"] == "task-failed"


# -- for coroutines ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("pool")
def test_a_coroutine_gets_what_the_function_returns_or_raises(user: Any) -> None:
    async def main() -> list[Any]:
        found = [await in_thread(how_many)(), await in_thread(divmod)(7, 2)]
        with pytest.raises(ZeroDivisionError):
            await in_thread(divmod)(1, 0)
        return found

    assert asyncio.run(main()) == [1, (3, 1)]


@pytest.mark.usefixtures("pool")
def test_it_runs_in_few_threads_and_says_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "THREADS", 2)
    monkeypatch.setattr(database, "MOST_WAITING", 3)
    gate, names = threading.Event(), set()

    def wait() -> None:
        names.add(threading.current_thread().ident)
        assert gate.wait(10)

    async def main() -> list[Any]:
        calls = [asyncio.ensure_future(in_thread(wait)()) for _ in range(8)]
        await asyncio.sleep(0)
        while len(names) < 2:
            await asyncio.sleep(0.001)
        gate.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = asyncio.run(main())

    assert len(names) == 2
    assert [type(outcome) for outcome in outcomes].count(Overloaded) == 3


@pytest.mark.usefixtures("pool")
def test_one_that_nobody_waits_for_any_more_does_no_harm() -> None:
    gate = threading.Event()

    async def main() -> int:
        call = asyncio.ensure_future(in_thread(gate.wait)(10))
        await asyncio.sleep(0)
        call.cancel()
        gate.set()
        return await in_thread(len)("four")

    assert asyncio.run(main()) == 4


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "given", "expected"),
    [
        ("sqlite3", {}, {"timeout": 3.0}),
        ("sqlite3", {"timeout": 20}, {"timeout": 20}),
        ("postgresql", {}, {"connect_timeout": 3, "tcp_user_timeout": 3_000}),
        ("mysql", {"read_timeout": 9}, {"read_timeout": 9, "connect_timeout": 3, "write_timeout": 3}),
        ("oracle", {}, {}),
    ],
)
def test_a_limit_is_set_where_the_project_says_nothing(
    monkeypatch: pytest.MonkeyPatch, engine: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    values = {"default": {"ENGINE": f"django.db.backends.{engine}", "OPTIONS": dict(given)}}
    monkeypatch.setattr(type(connections), "__iter__", lambda self: iter(values))
    monkeypatch.setitem(connections.__dict__, "settings", values)

    database.limit(3.0)
    database.limit(None)

    assert values["default"]["OPTIONS"] == expected


# -- a database that is down -------------------------------------------------------------------------------------------


def test_who_comes_meanwhile_is_told_to_come_back_and_nobody_is_logged_out(
    make_django_site: MakeDjangoSite, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_django_site(SESSION_CHECK_INTERVAL=SOON)
    browser = log_in(user)
    ann = site.join(browser)
    connections.close_all()
    with monkeypatch.context() as patch:
        patch.setattr(type(connections["default"]), "get_new_connection", down)

        codes = [site.knock(browser).closed()[0] for _ in range(5)]

        assert codes == [1013] * 5
    site.site.wait_log(
        "sessions cannot be looked up: OperationalError: could not connect to server: Connection refused"
    )
    log = site.site.server.settings.log_path.read_text()
    assert log.count("sessions cannot be looked up") == 1
    assert name_of(site.knock(browser)) == "ann"
    assert ann.ask("TaskPing")["data"] == "pong"


def test_a_cache_that_is_down_logs_nobody_out(
    make_django_site: MakeDjangoSite, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RedisError(Exception):
        """As that of redis-py, which is no OSError."""

    RedisError.__module__ = "redis.exceptions"

    def broken(*args: Any, **more: Any) -> Any:
        raise RedisError("Redis is away")

    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cache"):
        site = make_django_site(SESSION_CHECK_INTERVAL=SOON)
        browser = log_in(user)
        ann = site.join(browser)
        with monkeypatch.context() as patch:
            patch.setattr(type(caches["default"]), "get", broken)
            site.site.wait_log("sessions cannot be looked at")

            assert site.knock(browser).closed()[0] == 1013
            assert ann.ask("TaskPing")["data"] == "pong"


def test_trouble_is_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    trouble = database.Trouble("nothing works")

    with caplog.at_level(logging.WARNING, "zephserver.django"):
        for _ in range(50):
            with pytest.raises(Overloaded), trouble.becomes_overloaded():
                down()

    (record,) = caplog.records
    assert (
        record.message == "nothing works: OperationalError: could not connect to server: Connection refused (1 so far)"
    )


def test_other_errors_are_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), database.Trouble("x").becomes_overloaded():
        divmod(1, 0)


def test_asgiref_still_has_what_we_look_at() -> None:
    assert SyncToAsync.single_thread_executor.submit(int).result() == 0
