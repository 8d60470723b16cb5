"""One room by itself: connections, users, and those who may still come back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.zephserver.fakes import Member
from zephserver.rooms import Room
from zephserver.session_manager import User


def member(id: Any, name: str | None = None) -> Any:
    """A connection of this user."""
    return Member(User(id, name or str(id)))


@pytest.fixture
def room() -> Room:
    return Room()


def test_the_first_connection_of_a_user_is_new_and_the_second_is_not(room: Room) -> None:
    first, second = member("ann"), member("ann")

    assert [room.add(first), room.add(second)] == [True, False]
    assert room.usernames() == ["ann"]
    assert list(room.members.values()) == [first, second]


def test_the_last_connection_of_a_user_is_told(room: Room) -> None:
    first, second = member("ann"), member("ann")
    room.add(first), room.add(second)

    assert [room.remove(first, 1.0), room.remove(second, 2.0)] == [False, True]
    assert room.members == {}
    assert room.usernames() == ["ann"]  # until forget()


def test_a_user_without_a_connection_is_forgotten_with_the_name(room: Room) -> None:
    ann = member("ann", "Ann")
    room.add(ann)
    room.remove(ann, 1.0)

    assert room.forget(("user", "ann"), 1.0)
    assert room.gone(("user", "ann")) == "Ann"
    assert not room.forget(("user", "ann"), 1.0)
    assert room.gone(("user", "ann")) is None
    assert room.usernames() == []


def test_a_user_who_is_here_is_not_forgotten(room: Room) -> None:
    room.add(member("ann"))

    assert not room.forget(("user", "ann"), 0.0)
    assert room.gone(("user", "ann")) is None
    assert room.usernames() == ["ann"]


def test_a_user_who_left_again_since_is_not_forgotten_for_the_first_time(room: Room) -> None:
    first, second = member("ann"), member("ann")
    room.add(first)
    room.remove(first, 1.0)
    is_new = room.add(second)
    room.remove(second, 2.0)

    assert is_new is False
    assert not room.forget(("user", "ann"), 1.0)
    assert room.forget(("user", "ann"), 2.0)
    assert room.gone(("user", "ann")) == "ann"


def test_the_names_are_in_the_order_in_which_they_came_and_as_many_as_wanted(room: Room) -> None:
    for id in ("carl", "ann", "bob"):
        room.add(member(id))

    assert room.usernames() == ["carl", "ann", "bob"]
    assert room.usernames(2) == ["carl", "ann"]
    assert room.usernames(9) == ["carl", "ann", "bob"]


def test_anonymous_users_are_one_each(room: Room) -> None:
    first, second = member(None, "anonymous"), member(None, "anonymous")

    assert [room.add(first), room.add(second)] == [True, True]
    assert room.usernames() == ["anonymous", "anonymous"]


# -- users of other servers ---------------------------------------------------------------------------------------


ANN = ("user", "ann")


def test_a_user_of_another_server_is_in_the_room_without_a_member(room: Room) -> None:
    assert room.appear("b", ANN, "Ann", 2)

    assert room.usernames() == ["Ann"]
    assert not room.members
    assert room.connections_elsewhere() == 2


def test_a_user_of_several_servers_is_one_and_gone_when_the_last_of_them_says_so(room: Room) -> None:
    ann = member("ann", "Ann")

    assert [room.appear("b", ANN, "Ann", 1), room.add(ann), room.appear("c", ANN, "Ann", 1)] == [True, False, False]
    assert room.usernames() == ["Ann"]
    room.vanish("b", ANN)
    assert room.gone(ANN) is None
    room.remove(ann, 1.0)
    assert room.forget(ANN, 1.0)
    assert room.gone(ANN) is None
    room.vanish("c", ANN)
    assert room.gone(ANN) == "Ann"
    assert room.usernames() == []


def test_who_vanishes_twice_or_was_never_there_is_nobody(room: Room) -> None:
    room.vanish("b", ANN)
    room.appear("b", ANN, "Ann", 1)
    room.vanish("b", ANN)
    room.vanish("b", ANN)

    assert room.gone(ANN) == "Ann"
    assert room.gone(ANN) is None
