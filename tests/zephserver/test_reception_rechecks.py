"""Whether those who are connected are still who they were: asked again and again, in threads, without harm."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.scale import at_most
from tests.zephserver.tasks import waiting
from zephserver.engines.interface import Handshake
from zephserver.events import ClientRefused
from zephserver.session_manager import SimpleSessionManager
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite, Site

SOON = 0.1  # seconds between two looks


class Sessions:
    """What a session manager is asked, and what it shall answer."""

    def __init__(self) -> None:
        self.answer: Callable[[Any], Any] = lambda user: True
        self.asked: list[Any] = []

    @property
    def manager(self) -> type[SimpleSessionManager]:
        """The session manager."""

        def is_valid(manager: Any, instance: Handshake, user: Any) -> Any:
            assert instance.path == "/ws"
            self.asked.append(user.id)
            return self.answer(user)

        return type("Sessions", (SimpleSessionManager,), {"is_valid": is_valid})


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
def lock() -> Iterator[threading.Semaphore]:
    """What answers wait for; open at the end."""
    lock = threading.Semaphore(0)
    yield lock
    lock.release(10_000)


def test_who_is_not_valid_any_more_is_closed_with_4003(make_site: MakeSite, sessions: Sessions) -> None:
    site = make_site(session_manager=sessions.manager, SESSION_CHECK_INTERVAL=SOON)
    ann, bob = site.join("ann", room=None), site.join("bob", room=None)
    wait_until(lambda: sessions.asked.count("bob") > 2, "everybody is looked at again and again")

    sessions.answer, began = lambda user: user.id != "ann", time.monotonic()

    assert ann.closed() == (4003, "your session has ended")
    assert time.monotonic() - began < at_most(1.0)
    assert bob.silent()
    assert site.wait(ClientRefused).why == "its session has ended"
    wait_until(lambda: site.rooms.connections_of("ann") == [], "ann is gone")


@pytest.mark.parametrize("answer", [True, None, 0, "no"])
def test_only_false_ends_a_session(make_site: MakeSite, sessions: Sessions, answer: Any) -> None:
    sessions.answer = lambda user: answer
    ann = make_site(session_manager=sessions.manager, SESSION_CHECK_INTERVAL=SOON).join("ann", room=None)

    wait_until(lambda: len(sessions.asked) > 2, "it was asked three times")

    assert ann.silent()


def test_a_database_that_is_down_ends_no_connection_and_is_logged_once(
    make_site: MakeSite, sessions: Sessions, tmp_path: Path
) -> None:
    def down(user: Any) -> Any:
        raise OSError("the database is down")

    sessions.answer = down
    site = make_site(session_manager=sessions.manager, SESSION_CHECK_INTERVAL=SOON)
    people = [site.join(number, room=None) for number in range(5)]
    wait_until(lambda: len(sessions.asked) > 20, "everybody was looked at often")

    sessions.answer = lambda user: user.id != 0

    assert people[0].closed()[0] == 4003
    assert all(one.silent() for one in people[1:])
    site.wait_log("the database is down")
    assert (tmp_path / "logging.log").read_text().count("OSError: the database is down") == 1


def test_a_look_that_leaves_by_sys_exit_is_not_the_last_one(make_site: MakeSite, sessions: Sessions) -> None:
    def leave(user: Any) -> Any:
        raise SystemExit

    sessions.answer = leave
    ann = make_site(session_manager=sessions.manager, SESSION_CHECK_INTERVAL=SOON).join("ann", room=None)
    wait_until(lambda: sessions.asked, "it was asked")
    sessions.answer = lambda user: False

    wait_until(lambda: len(sessions.asked) > 1, "it was asked again")

    assert ann.closed()[0] == 4003


def test_without_an_interval_nobody_is_looked_at(make_site: MakeSite, sessions: Sessions) -> None:
    site = make_site(session_manager=sessions.manager, SESSION_CHECK_INTERVAL=None)

    site.join("ann", room=None)

    assert len(site.service.reception._due) == 0


def test_a_session_manager_without_the_method_is_not_asked(make_site: MakeSite) -> None:
    site = make_site(SESSION_CHECK_INTERVAL=SOON)

    site.join("ann", room=None)

    assert len(site.service.reception._due) == 0


def test_a_look_that_lasts_is_not_repeated_meanwhile(
    make_site: MakeSite, sessions: Sessions, lock: threading.Semaphore
) -> None:
    sessions.answer = lambda user: user.id == "bob" or lock.acquire(timeout=10)
    site = make_site(session_manager=sessions.manager, SESSION_CHECK_INTERVAL=SOON)
    site.join("ann", room=None), site.join("bob", room=None)

    wait_until(lambda: sessions.asked.count("bob") > 3, "bob was looked at often")

    assert sessions.asked.count("ann") == 1


def test_slow_looks_hold_up_neither_the_loop_nor_new_clients(
    make_site: MakeSite, sessions: Sessions, lock: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zephserver.reception.RECHECK_THREADS", 4)
    sessions.answer = lambda user: lock.acquire(timeout=10)
    site = make_site(session_manager=sessions.manager, SESSION_CHECK_INTERVAL=SOON)
    people = [site.join(number, room=None) for number in range(12)]
    pool = site.service.reception._recheck_pool
    wait_until(lambda: pool.stats() == {"threads": 4, "waiting": 8}, "every thread is busy, and the others are due")
    new = site.connect()
    new.send(session_id="new")
    assert people[0].ask("TaskPing")["data"] == "pong"  # the loop is not held up

    lock.release(4)  # those that were begun end; the others would need eight more

    assert new.connection.recv(timeout=10)


def test_who_has_gone_meanwhile_is_forgotten(
    make_site: MakeSite, sessions: Sessions, lock: threading.Semaphore
) -> None:
    sessions.answer = lambda user: lock.acquire(timeout=10) and False
    site = make_site(session_manager=sessions.manager, SESSION_CHECK_INTERVAL=SOON)
    ann, bob = site.join("ann", room=None), site.join("bob", room=None)
    wait_until(lambda: set(sessions.asked) == {"ann", "bob"}, "both are looked at")

    site.gone(ann)
    lock.release(2)

    assert bob.closed()[0] == 4003
    wait_until(lambda: site.service.stats()["connections"] == 0, "all have gone")
    assert len(site.service.reception._due) == 0


def test_a_connection_that_is_gone_is_not_kept_until_the_next_look(make_site: MakeSite, sessions: Sessions) -> None:
    site = make_site(session_manager=sessions.manager, SESSION_CHECK_INTERVAL=3_600)
    people = [site.join(number, room=None) for number in range(20)]

    site.gone(*people)
    site.join("last", room=None)

    assert len(site.service.reception._due) <= 2, "those who are gone are kept for an hour"


def test_who_lost_the_session_is_not_served_what_waited(
    make_site: MakeSite, sessions: Sessions, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    slow = waiting("Slow", gate, began)
    site = make_site(slow, session_manager=sessions.manager, SESSION_CHECK_INTERVAL=SOON, TASKS_PER_CLIENT=1)
    ann = site.join("ann", room=None)
    ann.send(task="Slow", data="before")
    ann.send(task="Slow", data="behind")
    assert began.get(timeout=5) == "before"

    sessions.answer = lambda user: False
    assert ann.closed()[0] == 4003
    gate.set()

    wait_until(lambda: site.service.stats()["connections"] == 0, "the connection is forgotten")
    assert began.empty()


def test_a_restart_of_the_service_goes_on_looking(make_site: MakeSite, sessions: Sessions) -> None:
    site: Site = make_site(session_manager=sessions.manager, SESSION_CHECK_INTERVAL=SOON)
    site.server.services.disable_service("zephserver.websocket_client/WebsocketClient")
    site.server.services.enable_service("zephserver.websocket_client/WebsocketClient")
    site.server.services.wait_ready(timeout=5)
    site.locate()
    ann = site.join("ann", room=None)

    sessions.answer = lambda user: False

    assert ann.closed()[0] == 4003
