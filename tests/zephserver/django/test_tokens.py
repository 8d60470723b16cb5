"""Tokens for pages that cannot show a cookie."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core import signing
from django.test import override_settings

from tests.scale import at_most
from tests.zephserver.django.conftest import DjangoSite, MakeDjangoSite, key_of, log_in, name_of
from zephserver.django import reach, tokens

PAGE = "https://www.example.com"


@pytest.fixture(autouse=True)
def in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach.runtime, "find_server", lambda: None)


@pytest.fixture
def site(make_django_site: MakeDjangoSite) -> DjangoSite:
    return make_django_site(SAME_DOMAIN=False, ALLOWED_ORIGINS=[PAGE], SESSION_CHECK_INTERVAL=0.1)


def token_of(browser: Any) -> str:
    return str(browser.get("/zephserver/token").json()["token"])


def test_a_token_tells_who_it_is(site: DjangoSite, user: Any) -> None:
    assert name_of(site.knock(session=token_of(log_in(user)), origin=PAGE)) == "ann"


def test_it_also_does_on_the_same_domain_without_a_cookie(make_django_site: MakeDjangoSite, user: Any) -> None:
    assert name_of(make_django_site().knock(session=token_of(log_in(user)))) == "ann"


def test_it_has_neither_the_session_nor_the_hash_in_it(user: Any) -> None:
    browser = log_in(user)

    said = str(signing.loads(token_of(browser), salt=tokens.SALT))

    assert key_of(browser) not in said
    assert browser.session["_auth_user_hash"] not in said


def test_it_is_not_to_be_cached() -> None:
    from django.test import Client

    assert "no-store" in Client().get("/zephserver/token")["Cache-Control"]


def test_one_that_is_too_old_is_told_from_one_that_was_never_good(site: DjangoSite, user: Any) -> None:
    token = token_of(log_in(user))
    forged = token[:-1] + ("x" if token[-1] != "x" else "y")
    with override_settings(ZEPHSERVER={"TOKEN_LIFETIME": 0.001}):
        assert site.knock(session=token, origin=PAGE).closed()[0] == 4002
        assert name_of(site.knock(session=forged, origin=PAGE)) == "anonymous"


def test_one_that_was_signed_for_something_else_is_none(site: DjangoSite, user: Any) -> None:
    other = signing.dumps({"u": str(user.pk), "b": "x", "h": "", "m": "", "e": 1}, salt="something else")

    assert name_of(site.knock(session=other, origin=PAGE)) == "anonymous"


@pytest.mark.parametrize("how", ["logout", "password", "deactivation"])
def test_a_connection_by_token_ends_with_the_session(site: DjangoSite, user: Any, how: str) -> None:
    browser = log_in(user)
    token = token_of(browser)
    ann = site.join(session=token, origin=PAGE)

    if how == "logout":
        browser.logout()
    elif how == "password":
        user.set_password("other")
        user.save()
    else:
        type(user).objects.update(is_active=False)

    assert ann.closed()[0] == 4003
    assert name_of(site.knock(session=token, origin=PAGE)) == "anonymous"


def test_with_signed_cookies_no_token_from_before_a_logout_counts(site: DjangoSite, user: Any) -> None:
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
        here, there = log_in(user), log_in(user)
        old, older = token_of(here), token_of(there)
        ann = site.join(session=old, origin=PAGE)

        here.post("/logout/")

        assert ann.closed()[0] == 1012
        assert site.knock(session=old, origin=PAGE).closed()[0] == 4002
        assert site.knock(session=older, origin=PAGE).closed()[0] == 4002  # the client fetches a new one
        assert name_of(site.knock(session=token_of(there), origin=PAGE)) == "ann"


def test_it_ends_when_the_session_runs_out(site: DjangoSite, user: Any) -> None:
    browser = log_in(user)
    session = browser.session
    session.set_expiry(1)
    session.save()
    began = time.monotonic()

    ann = site.join(session=token_of(browser), origin=PAGE)

    assert ann.closed()[0] == 4003
    assert time.monotonic() - began < at_most(5.0)
