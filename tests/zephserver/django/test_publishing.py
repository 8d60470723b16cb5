"""Speaking to those who are connected, from a Django process: after the commit, and softly."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import Client, override_settings
from django.utils.translation import gettext_lazy

from tests.scale import at_most
from tests.zephserver.django.conftest import MakeDjangoSite, log_in, make_user
from zephserver import reception
from zephserver.django import asay, publishing, reach, say, stats
from zephserver.task import Task


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is not the server's."""
    monkeypatch.setattr(reach.runtime, "find_server", lambda: None)


@pytest.mark.usefixtures("elsewhere")
def test_a_room_users_or_everyone_hear_it(make_django_site: MakeDjangoSite, user: Any) -> None:
    site = make_django_site()
    bob = make_user("bob")
    ann_hears, bob_hears = site.join(log_in(user), "lobby"), site.join(log_in(bob), "attic")

    say("news", 1, room="attic")
    say("news", 2, users=[user])
    say("news", 3, users=[bob.pk])
    say("news", 4, everyone=True)

    assert [ann_hears.hear(task="news")["data"] for _ in range(2)] == [2, 4]
    assert [bob_hears.hear(task="news")["data"] for _ in range(3)] == [1, 3, 4]
    assert stats() == {"sent": 4, "failed": 0, "skipped": 0}


@pytest.mark.usefixtures("elsewhere")
def test_a_view_speaks(make_django_site: MakeDjangoSite, user: Any) -> None:
    ann = make_django_site().join(log_in(user))

    log_in(make_user("bob")).get("/speak")

    assert ann.hear(task="news")["data"] == {"by": "bob"}


@pytest.mark.usefixtures("elsewhere")
def test_it_is_sent_after_the_commit_as_it_was_said(make_django_site: MakeDjangoSite) -> None:
    ann = make_django_site().join()
    data = {"n": 1}

    with transaction.atomic():
        say("news", data, room="lobby")
        data["n"] = 2
        assert stats()["sent"] == 0

    assert ann.hear(task="news")["data"] == {"n": 1}


@pytest.mark.usefixtures("elsewhere")
def test_what_is_rolled_back_is_never_sent(make_django_site: MakeDjangoSite) -> None:
    ann = make_django_site().join()

    with transaction.atomic():
        with transaction.atomic():
            say("news", "never", room="lobby")
            transaction.set_rollback(True)
        say("news", "this", room="lobby")

    assert ann.hear(task="news")["data"] == "this"
    assert stats()["sent"] == 1


@pytest.mark.usefixtures("elsewhere")
def test_a_coroutine_speaks(make_django_site: MakeDjangoSite) -> None:
    ann = make_django_site().join()

    asyncio.run(asay("news", "hello", room="lobby"))

    assert ann.hear(task="news")["data"] == "hello"


class Speaks(Task):
    """A task that uses the way of Django, after a transaction."""

    def main(self) -> None:
        with transaction.atomic():
            say("news", {"from": "a task"}, everyone=True)


def test_a_task_speaks_without_the_socket(make_django_site: MakeDjangoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_ask_others", None)
    ann = make_django_site(Speaks).join()

    ann.send(task="Speaks")

    assert ann.hear(task="news")["data"] == {"from": "a task"}


@pytest.mark.usefixtures("elsewhere")
def test_what_django_has_is_sent_too(make_django_site: MakeDjangoSite) -> None:
    ann = make_django_site().join()

    say("news", [datetime.date(2026, 1, 2), decimal.Decimal("1.50"), gettext_lazy("Monday")], room="lobby")

    assert ann.hear(task="news")["data"] == ["2026-01-02", "1.50", "Monday"]


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: say("", 1, everyone=True), "a task has a name"),
        (lambda: say("news", 1), "name one of room=, users= and everyone=True"),
        (lambda: say("news", 1, room="a", everyone=True), "name one of"),
        (lambda: say("news", object(), everyone=True), "cannot be sent as JSON"),
        (lambda: say("news", float("nan"), everyone=True), "cannot be sent as JSON"),
        (lambda: say("news", 1, room=""), "a room has a name"),
        (lambda: say("news", 1, room="x" * 2_049), "a room has a name of 1 to 2048 characters, not 'xxx"),
        (lambda: say("news", 1, room=7), "a room has a name"),
        (lambda: say("news", 1, users="bob"), r"users= is a list of users or ids, not 'bob'; write users=\[...\]"),
        (lambda: say("news", 1, users=3), "users= is a list of users or ids, not 3"),
        (lambda: say("news", 1, users=[None]), "an anonymous user has no id"),
        (lambda: say("news", "x" * 70_000, everyone=True), "bytes are more than 64,512"),
    ],
)
def test_a_call_that_can_never_work_raises_where_it_stands(call: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        call()


def test_a_room_may_have_as_long_a_name_as_browsers_may_join() -> None:
    assert publishing.LONGEST_ROOM == reception.LONGEST_ROOM


# -- softly ------------------------------------------------------------------------------------------------------------


def test_without_a_server_it_is_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "zephserver.django"):
        for _ in range(100):
            say("news", 1, room="lobby")

    assert stats() == {"sent": 0, "failed": 100, "skipped": 0}
    (record,) = caplog.records
    assert "no server listens on" in record.message
    assert "\n" not in record.message


@override_settings(ZEPHSERVER={"TIMEOUT": 0.2})
def test_a_server_that_hangs_holds_nobody_up_for_long(project: Path) -> None:
    path = project / "hangs.sock"
    with socket.socket(socket.AF_UNIX) as hanging, override_settings(ZEPHSERVER={"TIMEOUT": 0.2, "SOCKET": str(path)}):
        hanging.bind(str(path))
        hanging.listen()
        began = time.monotonic()

        for _ in range(50):
            say("news", 1, room="lobby")

    assert time.monotonic() - began < at_most(1.0)
    assert stats() == {"sent": 0, "failed": 1, "skipped": 49}


def test_a_database_that_is_down_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(self: Any) -> None:
        raise AssertionError("say() opened a connection")

    monkeypatch.setattr(type(connections["default"]), "connect", down)

    say("news", 1, room="lobby")

    assert stats()["failed"] == 1


@pytest.mark.usefixtures("elsewhere")
def test_many_threads_at_once_all_get_through(make_django_site: MakeDjangoSite) -> None:
    ann = make_django_site(MESSAGE_RATE=None).join()

    def speak(number: int) -> None:
        for n in range(10):
            say("news", [number, n], room="lobby")

    with override_settings(ZEPHSERVER={"SOCKET": reach.socket_path(), "TIMEOUT": 10.0}):
        threads = [threading.Thread(target=speak, args=(number,)) for number in range(60)]
        for thread in threads:
            thread.start()
        heard = [ann.hear(task="news")["data"] for _ in range(600)]
        for thread in threads:
            thread.join()

    assert sorted(heard) == [[number, n] for number in range(60) for n in range(10)]
    assert stats()["failed"] == 0


@override_settings(ZEPHSERVER={})
def test_where_the_server_is_stands_in_its_settings(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "zephsettings.py").write_text(
        "SERVICE_LIST = []\nCONFIGURATION_NETWORK_INTERFACE_SERVER = 'run/z.sock'\n"
    )
    monkeypatch.chdir(project)

    assert reach.socket_path() == str(project / "run" / "z.sock")


@override_settings(ZEPHSERVER={})
def test_who_cannot_find_them_is_told_what_to_do(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(project)

    say("news", 1, room="lobby")

    assert "name it: ZEPHSERVER = {'SETTINGS': '...'}" in caplog.text


def test_the_page_of_somebody_else_gets_no_token() -> None:
    assert Client().get("/zephserver/token").json() == {"token": None}
