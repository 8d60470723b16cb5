"""Signed tokens: who is believed, who has expired, who is refused."""

from __future__ import annotations

import base64
import json
import time
import warnings
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from zephserver import tokens
from zephserver.core.errors import SessionExpired, SettingsError
from zephserver.core.settings import make_settings
from zephserver.core.settings_page import Settings
from zephserver.engines.interface import Handshake
from zephserver.session_manager import TokenSessionManager, User

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite, Site

SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "another secret of thirty-two characters"
MANAGER = "zephserver.session_manager/TokenSessionManager"


def signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """A token with these claims besides a good subject and end; None takes one out."""
    good = {"sub": "ann", "exp": int(time.time()) + 3_600}
    wanted = {name: value for name, value in (good | claims).items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of secrets that are too short for their algorithm
        return jwt.encode(wanted, secret, algorithm)


def part(value: Any) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


# -- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "name", "user"),
    [
        ("ann", None, User("ann", "ann")),
        ("ann", "Ann Ö.", User("ann", "Ann Ö.")),
        (7, None, User(7, "7")),
        ("7", None, User("7", "7")),
        (7, "Ann", User(7, "Ann")),
        (10**30, None, User(10**30, str(10**30))),
        (0, None, User(0, "0")),
    ],
)
def test_what_was_signed_is_read(id: str | int, name: str | None, user: User) -> None:
    assert tokens.read(SECRET, tokens.sign(SECRET, id, name)) == user


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({}, User("ann", "ann")),
        ({"name": "Ann"}, User("ann", "Ann")),
        ({"id": 7}, User(7, "7")),
        ({"aud": "somebody else", "iss": "them", "admin": True}, User("ann", "ann")),
        ({"exp": time.time() + 3_600.5}, User("ann", "ann")),
    ],
)
def test_a_good_token_names_its_user(claims: dict[str, Any], user: User) -> None:
    assert tokens.read(SECRET, signed(**claims)) == user


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -2), ("iat", 3), ("nbf", 3)])
def test_two_clocks_may_differ_a_little(claim: str, seconds: int) -> None:
    token = signed(**{claim: int(time.time()) + seconds})

    assert tokens.read(SECRET, token) == User("ann", "ann")


@pytest.mark.parametrize("age", [6, 3_600, 10**9])
def test_a_token_that_was_good_once_has_expired(age: int) -> None:
    with pytest.raises(SessionExpired):
        tokens.read(SECRET, signed(exp=int(time.time()) - age))


def test_a_token_lives_as_long_as_it_was_signed_for() -> None:
    with pytest.raises(SessionExpired):
        tokens.read(SECRET, tokens.sign(SECRET, "ann", lifetime=-tokens.LEEWAY - 1))


@pytest.mark.parametrize(
    "token",
    [
        signed(OTHER),
        signed(OTHER, exp=1),
        signed(algorithm="HS512"),
        signed(algorithm="HS384"),
        jwt.encode({"sub": "ann", "exp": int(time.time()) + 3_600}, None, "none"),
        part({"alg": "none"}) + "." + part({"sub": "ann", "exp": int(time.time()) + 3_600}) + ".",
        part({"alg": ["HS256"]}) + "." + part({"sub": "ann"}) + ".AAAA",
        part({"alg": "HS256", "crit": ["x"]}) + "." + part({"sub": "ann"}) + ".AAAA",
        part({"alg": "HS256", "b64": False}) + "." + part({"sub": "ann"}) + ".AAAA",
        part([]) + "." + part([]) + ".AAAA",
        signed(exp=None),
        signed(sub=None),
        signed(exp="soon"),
        signed(exp={}),
        signed(sub=""),
        signed(sub=7),
        signed(sub=["ann"]),
        signed(sub="a\nb"),
        signed(sub="x" * 256),
        signed(id=[7]),
        signed(id=True),
        signed(id=1.5),
        signed(id=""),
        signed(name=""),
        signed(name=7),
        signed(name="\u202eann"),
        signed(nbf=int(time.time()) + 3_600),
        signed(iat=int(time.time()) + 3_600),
        signed()[:-2],
        signed() + "AA",
        signed().replace(".", "", 1),
        signed().rpartition(".")[0] + ".",
        "",
        ".",
        "..",
        "a.b.c",
        "é.é.é",
        "." * 100_000,
        "x" * 1_000_000,
        part("[" * 100_000) + ".AAAA.AAAA",
        base64.urlsafe_b64encode(b"[" * 100_000).decode() + ".AAAA.AAAA",
        base64.urlsafe_b64encode(b'{"alg":' + b"9" * 5_000 + b"}").rstrip(b"=").decode() + ".AAAA.AAAA",
    ],
    ids=lambda token: f"{len(token)} {token[:12]}",  # the same in every process
)
def test_anything_else_is_no_token(token: str) -> None:
    with pytest.raises(tokens.BadToken):
        tokens.read(SECRET, token)


@pytest.mark.parametrize("number", [float("inf"), -float("inf"), float("nan")])
@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
def test_a_time_that_is_no_number_of_seconds_is_no_token(claim: str, number: float) -> None:
    with pytest.raises(tokens.BadToken):
        tokens.read(SECRET, signed(**{claim: number}))


def test_who_signs_with_no_secret_is_not_believed_by_a_manager_without_one(make_site: MakeSite) -> None:
    class Careless(TokenSessionManager):
        """Overrides check() and so forgets to look whether there is a secret."""

        @staticmethod
        def check(settings: Settings) -> list[str]:
            return []

    ann = make_site(session_manager=Careless).connect()

    ann.send(session_id=_forged_without_a_key())

    assert ann.closed()[0] == 4003


def _forged_without_a_key() -> str:
    import hashlib
    import hmac

    body = part({"alg": "HS256", "typ": "JWT"}) + "." + part({"sub": "root", "exp": int(time.time()) + 3_600})
    signature = hmac.new(b"", body.encode(), hashlib.sha256).digest()
    return body + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


# -- the session manager ----------------------------------------------------------------------------------------------


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A site that believes tokens only."""
    return make_site(SERVICE_LIST=_services(), MY_SESSION_HANDLER=MANAGER, TOKEN_SECRET=SECRET)


def _services() -> list[str]:
    return [
        MANAGER,
        "zephserver.room_handler/RoomHandler",
        "zephserver.router/Router",
        "zephserver.websocket_client/WebsocketClient",
    ]


def test_a_user_comes_in_with_a_token(site: Site) -> None:
    ann = site.connect()

    ann.send(session_id=tokens.sign(SECRET, 7, "Ann"), room="lobby")

    assert ann.read()["user"] == {"id": 7, "username": "Ann"}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_program_may_show_its_token_in_a_header(site: Site, scheme: str) -> None:
    robot = site.connect(additional_headers={"Authorization": f"{scheme} {tokens.sign(SECRET, 'robot')}"})

    robot.send(room="lobby")

    assert robot.read()["user"] == {"id": "robot", "username": "robot"}


def test_the_token_of_the_message_counts_before_the_header(site: Site) -> None:
    ann = site.connect(additional_headers={"Authorization": f"Bearer {tokens.sign(SECRET, 'robot')}"})

    ann.send(session_id=tokens.sign(SECRET, "ann"))

    assert ann.read()["user"]["id"] == "ann"


def test_an_expired_token_closes_with_4002(site: Site) -> None:
    ann = site.connect()

    ann.send(session_id=signed(exp=1))

    assert ann.closed() == (4002, "fetch a new token")


@pytest.mark.parametrize(
    "session_id", [None, "", 7, True, [], {"id": 7, "username": "ann"}, signed(OTHER), signed(OTHER, exp=1), "a.b.c"]
)
def test_without_a_good_token_one_is_closed_with_4003(site: Site, session_id: Any) -> None:
    ann = site.connect()

    ann.send(session_id=session_id)

    assert ann.closed() == (4003, "log in first")


def test_a_server_without_a_secret_does_not_start(make_site: MakeSite) -> None:
    with pytest.raises(SettingsError, match="TOKEN_SECRET: TokenSessionManager needs a secret"):
        make_site(SERVICE_LIST=_services(), MY_SESSION_HANDLER=MANAGER)


def test_check_says_that_the_secret_is_missing() -> None:
    with_secret = make_settings({"SERVICE_LIST": [], "TOKEN_SECRET": SECRET})

    assert TokenSessionManager.check(with_secret) == []
    [fault] = TokenSessionManager.check(make_settings({"SERVICE_LIST": []}))
    assert fault.startswith("TOKEN_SECRET: ")


def test_the_secret_is_not_shown() -> None:
    settings = make_settings({"SERVICE_LIST": [], "TOKEN_SECRET": SECRET})

    assert SECRET in settings.secrets()
    assert [row["value"] for row in settings.rows() if row["name"] == "TOKEN_SECRET"] == ["***"]


def test_headers_without_a_token_name_nobody(site: Site) -> None:
    manager: Any = site.server.get_service(MANAGER)

    for headers in ({}, {"authorization": ""}, {"authorization": "Bearer "}, {"authorization": "Basic YTpi"}):
        assert manager.get_user_session(Handshake("/ws", headers), {}) is None
