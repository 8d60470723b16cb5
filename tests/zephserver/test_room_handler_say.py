"""Whom an answer goes to, and what it carries; with clients that take notes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.zephserver.fakes import Hall
from zephserver.core.errors import BadMessage
from zephserver.room_handler import RoomHandler


@pytest.fixture
def hall() -> Hall:
    """A room handler whose users are gone as soon as they leave."""
    return Hall(LEAVE_DELAY=0)


def test_an_answer_goes_to_one_cid(hall: Hall) -> None:
    ann, _ = hall.enter("ann", "r"), hall.enter("ann", "r")

    assert hall.targets(cid=ann.cid) == [ann]
    assert hall.targets(cid="nobody") == []
    assert hall.targets(cid=None) == []


@pytest.mark.parametrize("target", [{"cid": ["ann"]}, {"room": ["r"]}])
def test_a_target_that_cannot_be_any_is_refused(hall: Hall, target: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        hall.targets(**target)


def test_an_answer_goes_to_every_connection_of_the_users(hall: Hall) -> None:
    ann, again, bob = hall.enter("ann", "r"), hall.enter("ann", "s"), hall.enter("bob", "r")
    hall.enter("carl", "r")

    assert set(hall.targets(users=["ann", "bob", "nobody"])) == {ann, again, bob}
    assert hall.targets(users=[]) == []


def test_an_answer_goes_to_a_room(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r"), hall.enter("bob", "r", "s")
    hall.enter("carl", "s")

    assert hall.targets(room="r") == [ann, bob]
    assert hall.targets(room="nowhere") == []


def test_an_answer_goes_to_all_even_to_those_outside(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r"), hall.enter("bob")

    assert hall.targets(all=True) == [ann, bob]


def test_an_answer_may_leave_one_connection_out(hall: Hall) -> None:
    ann, again, bob = hall.enter("ann", "r"), hall.enter("ann", "r"), hall.enter("bob", "r")

    assert hall.targets(room="r", **{"except": ann.cid}) == [again, bob]
    assert hall.targets(all=True, **{"except": bob.cid}) == [ann, again]
    assert hall.targets(users=["ann"], **{"except": ann.cid}) == [again]
    assert hall.targets(cid=ann.cid, **{"except": ann.cid}) == []
    assert hall.targets(room="r", **{"except": None}) == [ann, again, bob]


@pytest.mark.parametrize("answer", [{}, {"room": None}, {"all": False}, {"task": "x", "data": 1}])
def test_an_answer_to_nobody_is_refused(hall: Hall, answer: dict[str, Any]) -> None:
    with pytest.raises(BadMessage, match="one of room, users, all, cid"):
        hall.handler.targets(answer)


def test_a_user_in_no_room_is_reached_and_counted_too(hall: Hall) -> None:
    ann = hall.enter("ann")

    assert hall.targets(users=["ann"]) == [ann]
    assert len(hall.handler.connections_of("ann")) == 1


@pytest.mark.parametrize("ids", [5, None, [["ann"]], [{}]])
def test_users_that_are_no_list_of_ids_are_refused(hall: Hall, ids: Any) -> None:
    with pytest.raises(BadMessage, match="users is a list of user ids"):
        hall.targets(users=ids)


def test_a_user_who_is_named_twice_is_told_once(hall: Hall) -> None:
    ann = hall.enter("ann", "r")

    assert hall.targets(users=["ann", "ann"]) == [ann]


def test_what_is_said_to_a_room_names_the_room(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r"), hall.enter("bob", "s")
    ann.news(), bob.news()

    told = hall.handler.say({"task": "news", "data": 1, "room": "r"})

    assert (told, ann.news(), bob.news()) == (1, [{"task": "news", "data": 1, "room": "r"}], [])


def test_what_is_said_to_others_than_a_room_names_none(hall: Hall) -> None:
    ann = hall.enter("ann", "r")
    ann.news()

    for target in ({"all": True}, {"users": ["ann"]}, {"cid": ann.cid}, {"cid": ann.cid, "room": "r"}):
        assert hall.handler.say({"task": "news", "data": 1, **target}) == 1

    assert ann.news() == [{"task": "news", "data": 1}] * 4


@pytest.mark.parametrize("answer", [{"room": 5}, {"room": ["r"]}, {"room": "r", "task": None}, {}])
def test_what_cannot_be_said_is_refused(hall: Hall, answer: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        hall.handler.say({"task": "news", "data": 1, **answer})


def test_nobody_is_told_before_the_service_runs() -> None:
    assert RoomHandler().say({"task": "news", "data": 1, "all": True}) == 0
