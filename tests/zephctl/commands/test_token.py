"""zephctl token."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import jwt
import pytest

from tests.zephctl.conftest import Answer, Terminal
from tests.zephserver.conftest import Site
from zephserver import tokens

Zephctl = Callable[..., Answer]

TOKEN_SESSIONS = "zephserver.session_manager/TokenSessionManager"
SECRET = "a secret of the tests, of 32 characters or more"


@pytest.fixture
def site(open_site: Callable[..., Site]) -> Site:
    """A server that believes tokens."""
    return open_site(TOKEN_SESSIONS, TOKEN_SECRET=SECRET)


def claims(token: str) -> dict[str, object]:
    """What a token says; it is signed and good."""
    return dict(jwt.decode(token, SECRET, ["HS256"]))


@pytest.mark.parametrize(
    ("words", "user"),
    [
        (["ann"], {"id": "ann", "username": "ann"}),
        (["ann", "--name", "Ann Ü."], {"id": "ann", "username": "Ann Ü."}),
        (["7"], {"id": "7", "username": "7"}),
        (["7", "--number"], {"id": 7, "username": "7"}),
        (["7", "--number", "--name", "Ann"], {"id": 7, "username": "Ann"}),
        (["--number", "--", "-7"], {"id": -7, "username": "-7"}),
    ],
)
def test_the_token_lets_this_user_in(zephctl: Zephctl, site: Site, words: list[str], user: dict[str, object]) -> None:
    answer = zephctl("token", *words)

    assert (answer.status, answer.stderr) == (0, "")
    visitor = site.connect()
    visitor.send(session_id=answer.stdout.rstrip("\n"), room="lobby")
    assert visitor.read()["user"] == user


def test_the_token_is_good_in_a_header_too(zephctl: Zephctl, site: Site) -> None:
    token = zephctl("token", "ann").stdout.rstrip("\n")

    visitor = site.connect(additional_headers={"Authorization": f"Bearer {token}"})
    visitor.send(room="lobby")

    assert visitor.read()["user"] == {"id": "ann", "username": "ann"}


def test_it_is_good_for_a_minute_or_as_long_as_one_says(zephctl: Zephctl, site: Site) -> None:
    usual = claims(zephctl("token", "ann").stdout.rstrip("\n"))
    longer = claims(zephctl("token", "ann", "--lifetime", "3600").stdout.rstrip("\n"))

    assert usual["exp"] - usual["iat"] == 60  # type: ignore[operator]
    assert longer["exp"] - longer["iat"] == 3600  # type: ignore[operator]


def test_afterwards_it_is_refused_with_4002(zephctl: Zephctl, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as an_hour_ago:
        an_hour_ago.setattr(tokens, "time", SimpleNamespace(time=lambda: time.time() - 3600))
        token = zephctl("token", "ann").stdout.rstrip("\n")

    visitor = site.connect()
    visitor.send(session_id=token)

    assert visitor.closed()[0] == 4002


def test_a_token_is_one_line_in_every_form_for_people(zephctl: Zephctl, site: Site) -> None:
    for answer in (
        zephctl("token", "ann", terminal=Terminal()),
        zephctl("token", "ann", "-o", "plain"),
        zephctl("token", "ann", "-o", "name"),
        zephctl("token", "ann", "-q"),
    ):
        assert (answer.status, answer.stderr, answer.stdout.count("\n")) == (0, "", 1)
        assert claims(answer.stdout.rstrip("\n"))["sub"] == "ann"


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_a_token_in_json(zephctl: Zephctl, site: Site, mode: str) -> None:
    answer = zephctl("token", "ann", "--lifetime", "90", "-o", mode)

    assert list(answer.json) == (["schema", "token", "lifetime"] if mode == "json" else ["token", "lifetime"])
    assert claims(answer.json["token"])["sub"] == "ann"
    assert answer.json["lifetime"] == 90


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["ann", "", "--5", "1_000", "7.0", "9" * 5000])
def test_an_id_that_is_no_number_is_exit_2(zephctl: Zephctl, site: Site, id: str) -> None:
    answer = zephctl("token", "--number", "--", id)

    assert (answer.status, answer.stdout) == (2, "")
    assert answer.stderr.rstrip().endswith("is no number")


@pytest.mark.parametrize("words", [[""], ["a\x1b[31m"], ["x" * 256], ["ann", "--name", "a\nb"]])
def test_a_user_whom_the_server_would_refuse_gets_no_token(zephctl: Zephctl, site: Site, words: list[str]) -> None:
    answer = zephctl("token", *words)

    assert (answer.status, answer.stdout) == (2, "")
    assert "\x1b" not in answer.stderr


@pytest.mark.parametrize("lifetime", ["0", "0.5", "-1", "nan", "inf", "long"])
def test_a_lifetime_that_is_none_is_exit_2(zephctl: Zephctl, site: Site, lifetime: str) -> None:
    answer = zephctl("token", "ann", "--lifetime", lifetime)

    assert (answer.status, answer.stdout) == (2, "")
    assert "--lifetime" in answer.stderr


def test_a_server_with_another_session_manager_is_a_failure_that_says_so(
    zephctl: Zephctl, open_site: Callable[..., Site]
) -> None:
    open_site()

    answer = zephctl("token", "ann")

    assert answer == Answer(
        1,
        "",
        "zephctl: no service of this server answers 'token': "
        "zephserver.session_manager/TokenSessionManager does, once it is in SERVICE_LIST; see: zephctl services list\n",
    )


def test_no_server_is_exit_5(zephctl: Zephctl, no_server: None) -> None:
    answer = zephctl("token", "ann")

    assert (answer.status, answer.stdout) == (5, "")
    assert answer.stderr.startswith("zephctl: no server listens on ")
    assert answer.stderr.count("\n") == 1


def test_a_server_that_does_not_answer_is_exit_8(zephctl: Zephctl, silent_server: tuple[str, ...]) -> None:
    answer = zephctl("token", "ann", *silent_server)

    assert answer == Answer(8, "", "zephctl: the server on silent.sock gave no answer in time; see its log\n")


def test_settings_that_cannot_be_read_are_exit_6(zephctl: Zephctl, write_settings: Callable[..., object]) -> None:
    write_settings("SERVICE_LIST = [\n")

    answer = zephctl("token", "ann")

    assert (answer.status, answer.stdout) == (6, "")
    assert answer.stderr.endswith("zephsettings.py:1: '[' was never closed: SERVICE_LIST = [\n")


@pytest.mark.parametrize("words", [[], ["ann", "bob"], ["ann", "--loud"]])
def test_wrong_words_are_exit_2(zephctl: Zephctl, words: list[str]) -> None:
    assert zephctl("token", *words).status == 2
