"""A database that is away keeps one waiting, not all who stand behind it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connections
from django.db.utils import IntegrityError

from tests.zephserver.django.conftest import MakeDjangoSite, log_in
from zephserver.core.errors import TaskFailed
from zephserver.django import outage
from zephserver.task import Task
from zephserver.testing import FakeClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeClock]:
    clock = FakeClock()
    monkeypatch.setattr(outage, "monotonic", clock.monotonic)
    outage._away_until.clear()
    yield clock
    outage._away_until.clear()


class Database:
    """Lets everybody wait for some seconds in vain, and counts them."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self.clock, self.seconds, self.attempts = clock, seconds, 0

    def connect(self, *args: Any, **more: Any) -> Any:
        self.attempts += 1
        self.clock.advance(self.seconds)
        raise OperationalError("connection timeout expired")


class Asks(Task):
    def main(self) -> None:
        self.reply(get_user_model().objects.count())


def test_who_stands_behind_one_that_waited_in_vain_fails_at_once(clock: FakeClock) -> None:
    database = Database(clock, 4.0)

    for _ in range(4):
        with pytest.raises(OperationalError):
            outage._connect("default", database.connect)
    waited, attempts = clock.monotonic(), database.attempts
    clock.advance(outage.PAUSE)
    with pytest.raises(OperationalError, match="timeout expired"):
        outage._connect("default", database.connect)

    assert (waited, attempts, database.attempts) == (FakeClock().monotonic() + 4.0, 1, 2)


def test_other_databases_are_asked_meanwhile(clock: FakeClock) -> None:
    with pytest.raises(OperationalError):
        outage._connect("default", Database(clock, 4.0).connect)

    outage._connect("other", lambda: None)


def test_one_that_refuses_at_once_is_asked_by_everybody(clock: FakeClock) -> None:
    database = Database(clock, 0.0)

    for _ in range(3):
        with pytest.raises(OperationalError, match="timeout expired"):
            outage._connect("default", database.connect)

    assert database.attempts == 3


def test_requests_of_one_client_to_one_task_do_not_add_up(
    make_django_site: MakeDjangoSite, user: Any, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_django_site(Asks, SESSION_CHECK_INTERVAL=3_600)
    ann = site.join(log_in(user))
    database = Database(clock, 4.0)
    with monkeypatch.context() as patch:
        patch.setattr(type(connections["default"]), "get_new_connection", database.connect)

        for number in range(4):
            ann.send(task="Asks", data=None, id=number)
        codes = [ann.hear(id=number)["error"]["code"] for number in range(4)]

    assert (codes, database.attempts) == (["task-failed"] * 4, 1)
    clock.advance(outage.PAUSE)
    assert ann.ask("Asks")["data"] == 1


def test_an_outage_has_one_traceback_in_a_while(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    troubles = outage.Troubles()

    troubles.sift(OperationalError("away"))
    for _ in range(3):
        with pytest.raises(TaskFailed, match="the task failed"):
            troubles.sift(OperationalError("away"))
    assert not caplog.messages
    clock.advance(outage.TOLD_EVERY)
    with caplog.at_level(logging.WARNING, "zephserver.django"):
        troubles.sift(OperationalError("away"))

    assert caplog.messages == ["3 more tasks failed for a trouble of the database that stands above"]


@pytest.mark.parametrize("error", [None, ValueError("x"), IntegrityError("x"), KeyboardInterrupt()])
def test_what_is_no_outage_is_logged_each_time(clock: FakeClock, error: BaseException | None) -> None:
    troubles = outage.Troubles()

    troubles.sift(error)
    troubles.sift(error)


def test_what_is_remembered_of_troubles_is_bounded(clock: FakeClock) -> None:
    troubles = outage.Troubles()

    for number in range(10 * outage.MOST_TROUBLES):
        troubles.sift(OperationalError(str(number)))

    assert len(troubles._told) <= outage.MOST_TROUBLES


def test_a_project_that_limits_nothing_has_its_connections_as_they_are() -> None:
    outage.watch(True)
    assert "create_connection" in vars(connections)

    outage.watch(True)
    outage.watch(False)

    assert "create_connection" not in vars(connections)
