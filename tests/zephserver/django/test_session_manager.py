"""Who is it? By cookie, by message, by token, by password; and who is refused."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.models import Session
from django.test import override_settings

from tests.zephserver.django.conftest import DjangoSite, MakeDjangoSite, key_of, log_in, name_of
from zephserver.django import options
from zephserver.django.logins import find_by_session
from zephserver.engines.interface import Handshake
from zephserver.task import Task
from zephserver.testing import wait_until

ENGINES = ["db", "cached_db", "cache", "file", "signed_cookies"]
PAGE = "https://www.example.com"


class WhoAmI(Task):
    """Tells what a task knows of its user."""

    def main(self) -> None:
        user = self.request["user"]
        self.reply([user.pk, user.get_username(), type(user).__name__, user.is_authenticated])


@pytest.mark.parametrize("engine", ENGINES)
def test_the_cookie_tells_who_it_is_with_every_engine(make_django_site: MakeDjangoSite, user: Any, engine: str) -> None:
    with override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
        site = make_django_site(WhoAmI)
        ann = site.join(log_in(user))

        assert ann.ask("WhoAmI")["data"] == [user.pk, "ann", "User", True]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("fault", ["none", "forged", "empty", "long", "odd", "expired"])
def test_who_shows_no_good_session_is_anonymous_or_refused(
    make_django_site: MakeDjangoSite, user: Any, engine: str, fault: str, project: Path
) -> None:
    with override_settings(
        SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}",
        SESSION_COOKIE_AGE=1 if fault == "expired" else 1_000,
    ):
        key = key_of(log_in(user))
        if fault == "expired":
            wait_until(lambda: find_by_session(key) is None, "the session has run out")
        shown = {
            "none": None,
            "forged": ("x" if key[0] != "x" else "y") + key[1:],
            "empty": "",
            "long": "x" * 5_000,
            "odd": "../../etc/passwd%00",
            "expired": key,
        }[fault]
        site = make_django_site(WhoAmI)
        who = site.join(shown)

        assert who.ask("WhoAmI")["data"] == [None, "anonymous", "AnonymousUser", False]
        with override_settings(ZEPHSERVER={"ANONYMOUS": False}):
            manager_of(site)._options = options.read()
            assert site.knock(shown).closed()[0] == 4003


def test_it_is_djangos_own_user(make_django_site: MakeDjangoSite, user: Any) -> None:
    manager = manager_of(make_django_site())
    found = manager.get_user_session(Handshake("/ws", {"cookie": f"sessionid={key_of(log_in(user))}"}), {})
    nobody = manager.get_user_session(Handshake("/ws", {}), {})

    assert isinstance(found, get_user_model())
    assert found == user
    assert isinstance(nobody, AnonymousUser)


def test_the_name_of_the_cookie_is_the_projects(make_django_site: MakeDjangoSite, user: Any) -> None:
    browser = log_in(user)
    with override_settings(SESSION_COOKIE_NAME="biscuit"):
        site = make_django_site()

        assert site.join(headers={"Cookie": f"biscuit={key_of(browser)}"}).cid
        assert users_of(site) == ["ann"]


def test_a_look_up_writes_nothing(make_django_site: MakeDjangoSite, user: Any) -> None:
    browser = log_in(user)
    before = list(Session.objects.values())
    site = make_django_site()

    site.join(browser)
    assert list(Session.objects.values()) == before


def test_an_old_secret_key_still_counts_and_the_session_stays(make_django_site: MakeDjangoSite, user: Any) -> None:
    from django.conf import settings

    browser = log_in(user)
    with override_settings(SECRET_KEY="a new key", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        site = make_django_site()

        assert name_of(site.knock(browser)) == "ann"
        assert Session.objects.filter(session_key=key_of(browser)).exists()


@pytest.mark.parametrize("what", ["deactivated", "deleted", "new password", "backend gone"])
def test_a_session_that_django_does_not_take_any_more_is_nobodys(
    make_django_site: MakeDjangoSite, user: Any, what: str
) -> None:
    browser, backends = log_in(user), ["django.contrib.auth.backends.ModelBackend"]
    if what == "deactivated":
        get_user_model().objects.update(is_active=False)
    elif what == "deleted":
        user.delete()
    elif what == "new password":
        user.set_password("other")
        user.save()
    else:
        backends = ["django.contrib.auth.backends.RemoteUserBackend"]
    with override_settings(AUTHENTICATION_BACKENDS=backends):
        assert name_of(make_django_site().knock(browser)) == "anonymous"


# -- SAME_DOMAIN = False -----------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(make_django_site: MakeDjangoSite) -> DjangoSite:
    """A server for the pages of another host."""
    return make_django_site(WhoAmI, SAME_DOMAIN=False, ALLOWED_ORIGINS=[PAGE])


def test_the_first_message_tells_who_it_is(elsewhere: DjangoSite, user: Any) -> None:
    ann = elsewhere.join(session=key_of(log_in(user)), origin=PAGE)

    assert ann.ask("WhoAmI")["data"][1] == "ann"


def test_a_page_that_is_not_named_is_refused_before_anybody_is_looked_up(elsewhere: DjangoSite, user: Any) -> None:
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus, match="403"):
        elsewhere.knock(session=key_of(log_in(user)), origin="https://evil.example")


def test_without_an_origin_no_session_is_taken(elsewhere: DjangoSite, user: Any) -> None:
    assert elsewhere.knock(session=key_of(log_in(user))).closed()[0] == 4003


def test_the_cookie_counts_for_nothing_there(elsewhere: DjangoSite, user: Any) -> None:
    assert name_of(elsewhere.knock(log_in(user), origin=PAGE)) == "anonymous"


@pytest.mark.parametrize("shown", [7, {"id": 1, "username": "ann"}, ["x"], True, "\0", "é" * 40, "x" * 100_000])
def test_what_is_no_session_is_nobodys(elsewhere: DjangoSite, shown: Any) -> None:
    assert name_of(elsewhere.knock(session=shown, origin=PAGE)) == "anonymous"


def test_with_the_same_domain_the_key_of_a_session_in_a_message_counts_for_nothing(
    make_django_site: MakeDjangoSite, user: Any
) -> None:
    assert name_of(make_django_site().knock(session=key_of(log_in(user)))) == "anonymous"


# -- HTTP Basic --------------------------------------------------------------------------------------------------------


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def test_a_password_is_not_looked_at_unless_that_is_switched_on(make_django_site: MakeDjangoSite, user: Any) -> None:
    assert name_of(make_django_site().knock(headers=basic("ann:secret"))) == "anonymous"


@override_settings(ZEPHSERVER={"BASIC_AUTH": True})
def test_a_program_may_log_in_with_a_password(make_django_site: MakeDjangoSite, user: Any) -> None:
    assert name_of(make_django_site().knock(headers=basic("ann:secret"))) == "ann"


@override_settings(ZEPHSERVER={"BASIC_AUTH": True})
@pytest.mark.parametrize(
    "headers",
    [
        basic("ann:wrong"),
        basic("nobody:secret"),
        basic("ann"),
        basic("\0:secret"),
        {"Authorization": "Basic ###"},
        {"Authorization": "Basic /w=="},
        {"Authorization": "Bearer ann:secret"},
    ],
)
def test_a_password_that_is_not_good_is_refused(
    make_django_site: MakeDjangoSite, user: Any, headers: dict[str, str]
) -> None:
    assert make_django_site().knock(headers=headers).closed()[0] == 4003


# -- one user object per task ------------------------------------------------------------------------------------------


class Scribble(Task):
    """Changes its user."""

    def main(self) -> None:
        user = self.request["user"]
        seen = getattr(user, "scribble", None), user.username
        user.scribble, user.username = self.data, f"not {user.username}"
        self.reply(seen)


class AsyncScribble(Scribble):
    """The same on the loop."""

    async def main(self) -> None:  # type: ignore[override]
        super().main()


@pytest.mark.parametrize("task", ["Scribble", "AsyncScribble"])
def test_each_task_has_a_user_of_its_own(make_django_site: MakeDjangoSite, user: Any, task: str) -> None:
    ann = make_django_site(Scribble, AsyncScribble).join(log_in(user))

    answers = [ann.ask(task, number)["data"] for number in range(3)]

    assert answers == [[None, "ann"]] * 3


class KnowsItsKey(Task):
    """Looks for the session in what a task is given."""

    def main(self) -> None:
        self.reply(repr(vars(self.request["user"])))


def test_a_task_is_not_given_the_session(make_django_site: MakeDjangoSite, user: Any) -> None:
    browser = log_in(user)

    assert key_of(browser) not in make_django_site(KnowsItsKey).join(browser).ask("KnowsItsKey")["data"]


def test_the_session_is_never_logged(make_django_site: MakeDjangoSite, user: Any, project: Path) -> None:
    browser = log_in(user)
    key = key_of(browser)
    site = make_django_site(LOG_LEVEL="DEBUG")
    ann = site.join(browser)
    browser.logout()
    assert ann.closed()[0] == 4003
    site.site.server.stop()

    assert key not in (project / "logging.log").read_text()


def manager_of(site: DjangoSite) -> Any:
    return site.site.server.get_service("zephserver.django.session_manager/DjangoSessionManager")


def users_of(site: DjangoSite) -> list[str]:
    return [client.user.username for client in site.site.rooms.clients()]


def test_whoever_calls_a_task_from_the_shell_is_no_user_of_django(make_django_site: MakeDjangoSite) -> None:
    class Echo(Task):
        def main(self) -> None:
            self.reply(self.request["user"].username)

    site = make_django_site(Echo)

    assert site.site.router.call_task("Echo", user="operator") == {"answers": ["operator"]}


def test_without_django_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from zephserver.core.errors import SettingsError
    from zephserver.django import project

    monkeypatch.setattr(project.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(SettingsError, match="pip install 'zephserver\\[django\\]'"):
        project.load(None)
