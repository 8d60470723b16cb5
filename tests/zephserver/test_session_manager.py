"""Who the client says it is."""

from __future__ import annotations

import threading
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from zephserver.engines.interface import Handshake
from zephserver.session_manager import LONGEST_NAME, SimpleSessionManager, User

HANDSHAKE = Handshake("/ws", {})
NOT_SAID: Any = object()


def user_of(session_id: Any = NOT_SAID) -> User | None:
    """Whom the simple session manager sees in a first message."""
    message = {"room": "lobby"} if session_id is NOT_SAID else {"session_id": session_id}
    return SimpleSessionManager().get_user_session(HANDSHAKE, message)


@pytest.mark.parametrize("session_id", [NOT_SAID, None, ""], ids=["missing", "null", "empty"])
def test_a_client_without_a_session_is_anonymous(session_id: Any) -> None:
    user = user_of(session_id)

    assert user == User(None, "anonymous")
    assert user.is_anonymous
    assert not user.is_authenticated


@pytest.mark.parametrize(
    ("session_id", "user"),
    [
        ("ann", User("ann", "ann")),
        (7, User(7, "7")),
        (0, User(0, "0")),
        ({"id": 7, "username": "Ann"}, User(7, "Ann")),
        ({"id": "a1", "username": "Ann Ö."}, User("a1", "Ann Ö.")),
        ({"id": "ann"}, User("ann", "ann")),
        ({"id": 7}, User(7, "7")),
        ({"id": "ann", "is_authenticated": False, "admin": True}, User("ann", "ann")),
        ("x" * LONGEST_NAME, User("x" * LONGEST_NAME, "x" * LONGEST_NAME)),
    ],
)
def test_a_client_is_whom_it_says_it_is(session_id: Any, user: User) -> None:
    found = user_of(session_id)

    assert found == user
    assert found.is_authenticated
    assert not found.is_anonymous


@pytest.mark.parametrize(
    "session_id",
    [
        True,
        False,
        1.5,
        [],
        ["ann"],
        {},
        {"username": "ann"},
        {"id": None},
        {"id": ""},
        {"id": True},
        {"id": 1.5},
        {"id": ["ann"]},
        {"id": {"id": "ann"}},
        {"id": "ann", "username": ""},
        {"id": "ann", "username": "a\nb"},
        {"id": "ann", "username": "x" * (LONGEST_NAME + 1)},
        "x" * (LONGEST_NAME + 1),
        "a\x00b",
        "a\nb",
        "\u202eann",
        "\ud800",
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_session_that_names_nobody_is_refused(session_id: Any) -> None:
    assert user_of(session_id) is None


@pytest.mark.parametrize("username", [None, ["ann"], {"a": 1}, True, 1.5])
def test_a_username_that_is_not_text_is_refused(username: Any) -> None:
    assert user_of({"id": "ann", "username": username}) is None


def test_a_user_cannot_be_changed() -> None:
    user = User("ann", "ann")

    with pytest.raises(FrozenInstanceError):
        user.id = "root"  # type: ignore[misc]


def test_the_service_waits_until_it_is_disabled_and_can_be_enabled_again() -> None:
    service = SimpleSessionManager()

    for _ in range(3):
        thread = threading.Thread(target=service.main)
        thread.start()
        assert thread.is_alive()
        service.disable()
        thread.join(5)

        assert not thread.is_alive()


def test_a_disable_that_overtakes_main_is_not_forgotten() -> None:
    service = SimpleSessionManager()

    service.disable()

    service.main()  # returns
