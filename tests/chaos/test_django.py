"""Rows D12 and G5 with Django: nobody is taken for somebody else, and a database that fails harms nobody for long."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.askers import Asker, come_in
from tests.chaos.peers import Crowd, room_for
from tests.chaos.shop import Customer, Shop, finish, serve
from tests.postgres import Postgres, running_postgres
from tests.scale import FULL, at_most

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900 if FULL else 120)]
Times = Callable[[float, float], float]
Figure = Callable[[str], None]

LIMIT = 5.0  # seconds that a client may wait for an error, and the service to be back
TASK_THREADS, LOOK_UPS, RECHECKS, ASYNC = 16, 16, 4, 16
WORKERS = TASK_THREADS + LOOK_UPS + RECHECKS + ASYNC


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    """A PostgreSQL for this file."""
    with running_postgres() as postgres:
        yield postgres


@pytest.fixture
def postgres(cluster: Postgres) -> Postgres:
    """Without tables."""
    with cluster.connect() as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return cluster


def sqlite(folder: Folder) -> dict[str, Any]:
    """A database in the folder."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder.path / "db.sqlite3")}


def customers_of(shop: Shop, number: int) -> list[Customer]:
    """Customers of whom every other one calls a task on the loop."""
    return [Customer(*person, "who_async" if n % 2 else "who") for n, person in enumerate(shop.people[:number])]


# -- D12 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_d12_a_thousand_django_users_on_16_threads_are_never_mixed_up(
    folder: Folder,
    request: pytest.FixtureRequest,
    times: Times,
    chance: random.Random,
    figure: Figure,
    database: str,
) -> None:
    users, each = room_for(int(times(1_000 if database == "sqlite" else 200, 1_000))), int(times(3, 50))
    settings = sqlite(folder) if database == "sqlite" else request.getfixturevalue("postgres").settings
    shop = Shop(folder, settings, users, "TASK_QUEUE = 20_000\nTASK_TIMEOUT = 600\nSESSION_CHECK_INTERVAL = 1.0\n")

    with Crowd(shop.port) as crowd:
        customers = customers_of(shop, users)
        chance.shuffle(customers)
        come_in(crowd, customers, at_once=64)
        for customer in customers:
            customer.is_asking = True
        while any(len(customer.outcomes) < each for customer in customers):
            chance.shuffle(customers)
            serve(crowd, customers, 0.1)
        finish(crowd, customers, within=120)

        answers = sum(len(customer.outcomes) for customer in customers)
        assert [customer.mixed_up for customer in customers if customer.mixed_up] == []
        assert Counter(code for customer in customers for code, _, _ in customer.outcomes) == {"": answers}
        assert all(customer.welcome["user"] == {"id": customer.id, "username": customer.name} for customer in customers)
    assert "Traceback" not in folder.log
    figure(f"{database}: {users:,} users, {answers:,} answers, 0 of them another's")


# -- G5 ----------------------------------------------------------------------------------------------------------------


class Outage:
    """What customers met while the database was away, and what the server used meanwhile."""

    def __init__(self, shop: Shop, customers: list[Customer]) -> None:
        self.shop, self.customers = shop, customers
        self.threads = self.connections = 0

    def watch(self, crowd: Crowd, seconds: float, watcher: Any = None) -> None:
        """Let them ask for so long, and look at the server all the while."""
        for _ in range(max(1, int(seconds / 0.25))):
            serve(crowd, self.customers, 0.25)
            self.threads = max(self.threads, self.shop.process.threads)
            if watcher is not None:
                query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                self.connections = max(self.connections, watcher.execute(query).fetchone()[0] - 1)

    def codes(self) -> Counter[str]:
        """The errors, and '' for what went well."""
        return Counter(code for customer in self.customers for code, _, _ in customer.outcomes)

    def slowest(self) -> float:
        """The longest that anybody waited for an answer."""
        return max(seconds for customer in self.customers for _, seconds, _ in customer.outcomes)

    def back_after(self, since: float) -> float:
        """Seconds after *since* until each of them had an answer that is none of an error."""
        return max(
            min(when for code, _, when in customer.outcomes if when > since and not code) - since
            for customer in self.customers
        )


@contextmanager
def visited(shop: Shop, number: int) -> Iterator[tuple[Crowd, Outage]]:
    """Customers who have come in and ask; at the end all of them are still there."""
    with Crowd(shop.port) as crowd:
        customers = customers_of(shop, number)
        come_in(crowd, customers, at_once=32)
        for customer in customers:
            customer.is_asking = True
        outage = Outage(shop, customers)
        outage.watch(crowd, 1.0)
        assert set(outage.codes()) == {""}, "all is well before"
        yield crowd, outage
        finish(crowd, customers, within=at_most(LIMIT + 1.0))
        assert [str(customer) for customer in customers if customer.is_over] == [], "nobody was disconnected"
        assert [customer.mixed_up for customer in customers if customer.mixed_up] == []
        assert outage.threads <= WORKERS + 16, "no thread is left to wait beside those that there may be"
        assert outage.slowest() <= at_most(LIMIT + 1.0)


def newcomers(crowd: Crowd, shop: Shop, number: int = 5) -> Callable[[], list[tuple[int, float]]]:
    """Some come now; what they were told at last: the close code, and the seconds until then."""
    people = [crowd.join(Asker(None, f"Cookie: sessionid={key}")) for _, _, key in shop.people[-number:]]

    def told() -> list[tuple[int, float]]:
        assert all(peer.is_over for peer in people), [str(peer) for peer in people]
        return [(peer.code, peer.ended - peer.began) for peer in people]

    return told


@pytest.mark.parametrize("how", ["down", "hangs"])
def test_g5_postgresql_is_away(folder: Folder, postgres: Postgres, times: Times, figure: Figure, how: str) -> None:
    tasks, away = int(times(1_000, 10_000)), times(7, 60 if how == "down" else 10)
    shop = Shop(folder, postgres.settings, 100, "SESSION_CHECK_INTERVAL = 1.0\n")

    with visited(shop, 80) as (crowd, outage):
        with postgres.connect() as watcher:
            while outage.codes()[""] < tasks:
                outage.watch(crowd, 1.0, watcher)
        postgres.stop() if how == "down" else postgres.hold()
        told = newcomers(crowd, shop)
        outage.watch(crowd, away)
        postgres.start() if how == "down" else postgres.go_on()
        since = time.monotonic()
        outage.watch(crowd, at_most(LIMIT + 1.0))

        back, codes = outage.back_after(since), outage.codes()
        assert {code for code, _ in told()} == {1013}
        assert max(seconds for _, seconds in told()) <= at_most(LIMIT + 1.0)
        assert back <= at_most(LIMIT + 1.0)
        assert set(codes) <= {"", "task-failed", "timed-out", "overloaded"}
        assert len(codes) > 1
        assert outage.connections <= WORKERS
    assert folder.log.count("sessions cannot be looked up") <= away / 10 + 1
    figure(
        f"{sum(codes.values()):,} tasks; away {away:g} s: {dict(codes)}; longest wait {outage.slowest():.2f} s, "
        f"back after {back:.2f} s, {outage.connections} connections and {outage.threads} threads at most"
    )


def test_g5_a_query_that_is_slow_is_given_up(folder: Folder, postgres: Postgres, times: Times, figure: Figure) -> None:
    shop = Shop(folder, postgres.settings, 40)

    with Crowd(shop.port) as crowd:
        sleepers = [Asker(None, f"Cookie: sessionid={key}") for _, _, key in shop.people]
        come_in(crowd, sleepers, at_once=32)
        began = time.monotonic()
        for sleeper in sleepers:
            sleeper.ask("sleep", 1, 10)
        crowd.run(lambda: all(sleeper.answers for sleeper in sleepers), "all are answered", within=10)
        took = time.monotonic() - began

        codes = Counter(sleeper.answers[1][0].get("error", {}).get("code", "") for sleeper in sleepers)
        assert set(codes) <= {"task-failed", "timed-out"}
        assert took <= at_most(LIMIT + 1.0)
    with postgres.connect() as watcher:
        query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
        end = time.monotonic() + LIMIT
        while watcher.execute(query).fetchone() != (0,):
            assert time.monotonic() < end, "a query that nobody waits for goes on"
            time.sleep(0.05)
    figure(f"40 queries of 10 s on {TASK_THREADS} threads: {dict(codes)} within {took:.2f} s")


def test_g5_sqlite_is_locked(folder: Folder, times: Times, figure: Figure) -> None:
    tasks, away = int(times(1_000, 10_000)), times(7, 60)
    shop = Shop(folder, sqlite(folder), 100, "SESSION_CHECK_INTERVAL = 1.0\n")

    with visited(shop, 80) as (crowd, outage):
        while outage.codes()[""] < tasks:
            outage.watch(crowd, 1.0)
        with closing(sqlite3.connect(folder.path / "db.sqlite3", isolation_level=None, timeout=30)) as locker:
            locker.execute("BEGIN EXCLUSIVE")
            told = newcomers(crowd, shop)
            outage.watch(crowd, away)
            locker.execute("COMMIT")
        since = time.monotonic()
        outage.watch(crowd, at_most(LIMIT + 1.0))

        back, codes = outage.back_after(since), outage.codes()
        assert {code for code, _ in told()} == {1013}
        assert max(seconds for _, seconds in told()) <= at_most(LIMIT + 1.0)
        assert back <= at_most(LIMIT + 1.0)
        assert set(codes) <= {"", "task-failed", "timed-out", "overloaded"}
        assert len(codes) > 1
    figure(
        f"{sum(codes.values()):,} tasks; locked {away:g} s: {dict(codes)}; longest wait {outage.slowest():.2f} s, "
        f"back after {back:.2f} s, {outage.threads} threads at most"
    )


def test_g5_no_connection_is_left_when_the_work_is_done(folder: Folder, postgres: Postgres) -> None:
    shop = Shop(folder, postgres.settings, 40)

    with visited(shop, 40) as (crowd, outage):
        outage.watch(crowd, 0.5)

    with postgres.connect() as watcher:
        query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        end = time.monotonic() + LIMIT
        while watcher.execute(query).fetchone() != (1,):
            assert time.monotonic() < end, "a connection is left open"
            time.sleep(0.05)
