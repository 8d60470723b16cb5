"""Connections end with their sessions, and follow what changes about their users."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.db import connections, transaction
from django.test import override_settings

from tests.scale import at_most
from tests.zephserver.django.conftest import MakeDjangoSite, key_of, log_in, make_user, name_of
from zephserver.django import live, publishing, reach
from zephserver.django.endings import Endings
from zephserver.django.logins import Login, mark_of
from zephserver.django.session_manager import ENDED as ENDED_EVENT
from zephserver.task import Task
from zephserver.testing import wait_until

SOON = 0.1  # seconds between two looks
NEVER = 3_600.0
ENGINES = ["db", "cached_db", "cache", "file"]
ENDED = (4003, "your session has ended")


@pytest.fixture(autouse=True)
def in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Django does here is told over the control socket, as from a process of its own."""
    monkeypatch.setattr(reach.runtime, "find_server", lambda: None)


class Member(get_user_model()):  # type: ignore[misc]
    """The user's model by another name, as projects have it for their admin."""

    class Meta:
        proxy = True
        app_label = "auth"


def end(how: str, browser: Any, user: Any) -> None:
    """What ends a session, or the right to one."""
    session = browser.session
    if how == "logout":
        browser.logout()
    elif how == "the logout page":
        assert browser.post("/logout/").status_code == 302
    elif how == "flush":
        session.flush()
    elif how == "password change":
        user.set_password("other")
        user.save()
    elif how == "deactivation":
        user.is_active = False
        user.save(update_fields=["is_active"])
    elif how == "deactivation by a proxy":
        member = Member.objects.get(pk=user.pk)
        member.is_active = False
        member.save()
    elif how == "deletion by a proxy":
        Member.objects.get(pk=user.pk).delete()
    else:
        user.delete()


HOW = ["logout", "the logout page", "flush", "password change", "deactivation", "deletion"]
BY_PROXY = ["deactivation by a proxy", "deletion by a proxy"]


@pytest.mark.parametrize("how", [*HOW, *BY_PROXY])
def test_a_connection_ends_at_once(make_django_site: MakeDjangoSite, user: Any, how: str) -> None:
    site = make_django_site(SESSION_CHECK_INTERVAL=NEVER)
    browser = log_in(user)
    ann, bob = site.join(browser), site.join(log_in(make_user("bob")))
    began = time.monotonic()

    end(how, browser, user)

    assert ann.closed() == ENDED
    assert time.monotonic() - began < at_most(2.0)
    assert bob.ask("TaskPing")["data"] == "pong"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["logout", "password change"])
def test_it_does_so_with_every_engine(make_django_site: MakeDjangoSite, user: Any, engine: str, how: str) -> None:
    with override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
        live.connect()
        browser = log_in(user)
        ann = make_django_site(SESSION_CHECK_INTERVAL=NEVER).join(browser)

        end(how, browser, user)

        assert ann.closed() == ENDED


def test_who_is_logged_in_elsewhere_too_stays_there(make_django_site: MakeDjangoSite, user: Any) -> None:
    site = make_django_site(SESSION_CHECK_INTERVAL=NEVER)
    here, there = log_in(user), log_in(user)
    ann_here, ann_there = site.join(here), site.join(there)

    here.logout()

    assert ann_here.closed() == ENDED
    assert ann_there.ask("TaskPing")["data"] == "pong"


def test_with_signed_cookies_who_may_still_be_here_comes_back(make_django_site: MakeDjangoSite, user: Any) -> None:
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
        browser = log_in(user)
        site = make_django_site(SESSION_CHECK_INTERVAL=NEVER)
        ann = site.join(browser)

        browser.get("/page")
        browser.post("/logout/")

        assert ann.closed()[0] == 1012
        assert name_of(site.knock()) == "anonymous"


def test_a_logout_that_is_rolled_back_ends_nothing(make_django_site: MakeDjangoSite, user: Any) -> None:
    site = make_django_site(SESSION_CHECK_INTERVAL=NEVER)
    browser = log_in(user)
    ann = site.join(browser)

    with transaction.atomic():
        browser.session.flush()
        transaction.set_rollback(True)

    assert publishing.stats()["sent"] == 0
    assert ann.ask("TaskPing")["data"] == "pong"


@pytest.mark.parametrize("how", ["deactivated", "deleted", "session gone", "new password"])
def test_what_nobody_tells_is_seen_at_the_next_look(make_django_site: MakeDjangoSite, user: Any, how: str) -> None:
    site = make_django_site(SESSION_CHECK_INTERVAL=SOON)
    ann, bob = site.join(log_in(user)), site.join(log_in(make_user("bob")))
    users, sessions = get_user_model().objects.filter(pk=user.pk), Session.objects

    {
        "deactivated": lambda: users.update(is_active=False),
        "deleted": lambda: users._raw_delete(users.db),
        "session gone": lambda: sessions.filter(session_key=ann_key(site, user))._raw_delete(sessions.db),
        "new password": lambda: users.update(password="md5$x$y"),
    }[how]()

    assert ann.closed() == ENDED
    assert bob.ask("TaskPing")["data"] == "pong"


def ann_key(site: Any, user: Any) -> str:
    """The session of the user's connection."""
    return next(client.user._zephserver_login.key for client in site.site.rooms.connections_of(user.pk))


def test_a_session_that_runs_out_ends_the_connection(make_django_site: MakeDjangoSite, user: Any) -> None:
    with override_settings(SESSION_COOKIE_AGE=2):
        ann = make_django_site(SESSION_CHECK_INTERVAL=SOON).join(log_in(user))

        assert ann.closed() == ENDED


class IsStaff(Task):
    """Tells what its user is now."""

    def main(self) -> None:
        self.reply(self.request["user"].is_staff)


def test_a_change_of_the_user_reaches_the_next_task(make_django_site: MakeDjangoSite, user: Any) -> None:
    ann = make_django_site(IsStaff, SESSION_CHECK_INTERVAL=NEVER).join(log_in(user))
    assert ann.ask("IsStaff")["data"] is False

    user.is_staff = True
    user.save()

    wait_until(lambda: ann.ask("IsStaff")["data"], "the task knows it")


def test_a_login_is_no_change(user: Any) -> None:
    before = dict(publishing._counts)

    log_in(user)
    make_user("new")

    assert dict(publishing._counts) == before


def test_without_a_server_a_logout_is_a_logout(user: Any) -> None:
    browser = log_in(user)

    browser.logout()

    assert publishing.stats()["failed"] == 1
    assert not Session.objects.exists()


def test_who_came_in_while_its_session_ended_is_closed(
    make_django_site: MakeDjangoSite, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zephserver.django import logins

    site = make_django_site(SESSION_CHECK_INTERVAL=NEVER)
    browser, find = log_in(user), logins.find_by_session

    def find_and_lose(key: str) -> Any:
        found = find(key)
        monkeypatch.setattr(logins, "find_by_session", find)
        browser.logout()  # between the look-up and its answer
        return found

    key = key_of(browser)
    monkeypatch.setattr(logins, "find_by_session", find_and_lose)

    assert name_of(site.knock(key)) == "anonymous"


@pytest.mark.skipif(not hasattr(SessionBase, "aflush"), reason="Django has it from 5.1 on")
def test_a_session_that_is_flushed_in_a_coroutine_ends_too(make_django_site: MakeDjangoSite, user: Any) -> None:
    browser = log_in(user)
    session = browser.session
    ann = make_django_site(SESSION_CHECK_INTERVAL=NEVER).join(browser)

    async def flush() -> None:
        await session.aflush()
        await sync_to_async(connections.close_all)()

    asyncio.run(flush())

    assert ann.closed() == ENDED


def test_an_end_that_comes_before_anybody_may_connect_harms_nobody(make_django_site: MakeDjangoSite, user: Any) -> None:
    site = make_django_site(SESSION_CHECK_INTERVAL=NEVER)
    services = site.site.server.services
    services.disable_service("zephserver.websocket_client/WebsocketClient")
    manager = site.site.server.get_service("zephserver.django.session_manager/DjangoSessionManager")

    assert manager.end(["a mark"], [str(user.pk)]) == 0
    manager._endings.sweep()

    services.enable_service("zephserver.websocket_client/WebsocketClient")
    assert services.wait_ready(timeout=10) == {}


def test_what_ended_long_ago_is_forgotten(make_django_site: MakeDjangoSite) -> None:
    manager = make_django_site().site.server.get_service("zephserver.django.session_manager/DjangoSessionManager")
    login = Login("", "", "a mark")
    manager.end(["a mark"])
    assert manager._endings.has(login)

    manager._endings._remembered = 0.0

    wait_until(lambda: not manager._endings.has(login), "it is forgotten")


def test_an_end_is_remembered_for_longer_than_a_token_is_good_for() -> None:
    assert Endings(None, lifetime=3_600.0)._remembered > 3_600.0  # type: ignore[arg-type]


def test_the_servers_of_a_cluster_tell_one_another(
    make_django_site: MakeDjangoSite, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_django_site(SESSION_CHECK_INTERVAL=NEVER)
    manager = site.site.server.get_service("zephserver.django.session_manager/DjangoSessionManager")
    cluster = site.site.server.cluster
    said: list[tuple[str, Any]] = []
    monkeypatch.setattr(cluster, "say", lambda event, obj: said.append((event, obj)))
    ann = site.join(log_in(user))
    mark = mark_of(ann_key(site, user), None)

    manager.end(["of somebody else"], [])
    (hears,) = cluster._subscribers[ENDED_EVENT]
    hears({"marks": [mark], "users": []})

    assert said == [(ENDED_EVENT, {"marks": ["of somebody else"], "users": []})]
    assert ann.closed() == ENDED
