"""Rooms and who hears what, with clients that take notes; at the end against a model."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from zephserver.core.errors import BadMessage
from zephserver.engines.interface import DeflateCache
from zephserver.room_handler import RoomHandler
from zephserver.session_manager import User


@dataclass(eq=False)
class Member:
    """A client without its connection: remembers what it is sent."""

    user: User
    cid: str = ""
    rooms: list[str] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)

    @property
    def member_key(self) -> Any:
        return ("cid", self.cid) if self.user.id is None else ("user", self.user.id)

    def send(self, payload: bytes, cache: DeflateCache | None = None) -> None:
        self.heard.append(json.loads(payload))

    def news(self) -> list[dict[str, Any]]:
        """What it was sent since the last time."""
        heard, self.heard = self.heard, []
        return heard


def joined(name: str, room: str = "r") -> dict[str, Any]:
    return {"msgtype": "join", "username": name, "room": room}


def left(name: str, room: str = "r") -> dict[str, Any]:
    return {"msgtype": "leave", "username": name, "room": room}


def users(*names: str, room: str = "r") -> dict[str, Any]:
    return {"msgtype": "user_list", "data": list(names), "room": room}


class Hall:
    """A room handler, with short ways to fill its rooms."""

    def __init__(self) -> None:
        self.handler: Any = RoomHandler()

    def enter(self, id: Any, *rooms: str, name: str | None = None) -> Member:
        """A new connection of this user, in these rooms."""
        member = Member(User(id, name or (str(id) if id is not None else "anonymous")))
        assert self.handler.enter(member) == member.cid
        for room in rooms:
            self.handler.join(member, room)
        return member

    def targets(self, **answer: Any) -> list[Member]:
        """The members that an answer goes to."""
        return self.handler.targets(answer)  # type: ignore[no-any-return]


@pytest.fixture
def hall() -> Hall:
    return Hall()


def test_every_connection_gets_a_cid_of_its_own(hall: Hall) -> None:
    cids = {hall.enter("ann").cid for _ in range(1_000)}

    assert len(cids) == 1_000
    assert all(len(cid) == 16 and cid.isalnum() for cid in cids)


def test_the_first_in_a_room_hears_the_user_list(hall: Hall) -> None:
    ann = hall.enter("ann", "r")

    assert ann.news() == [users("ann")]
    assert ann.rooms == ["r"]
    assert hall.handler.rooms() == ["r"]


def test_the_others_hear_who_joins_before_they_get_the_list(hall: Hall) -> None:
    ann = hall.enter("ann", "r")
    ann.news()

    bob = hall.enter("bob", "r")

    assert ann.news() == [joined("bob"), users("ann", "bob")]
    assert bob.news() == [users("ann", "bob")]


def test_joining_twice_is_joining_once(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r"), hall.enter("bob", "r")
    ann.news(), bob.news()

    hall.handler.join(bob, "r")

    assert (ann.news(), bob.news()) == ([], [])
    assert bob.rooms == ["r"]


def test_the_second_connection_of_a_user_is_no_news_to_the_others(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r"), hall.enter("bob", "r")
    ann.news(), bob.news()

    again = hall.enter("bob", "r")

    assert (ann.news(), bob.news()) == ([], [])
    assert again.news() == [users("ann", "bob")]
    assert hall.handler.members("r") == [ann, bob, again]


def test_only_the_last_connection_of_a_user_is_missed(hall: Hall) -> None:
    ann, bob, again = hall.enter("ann", "r"), hall.enter("bob", "r"), hall.enter("bob", "r")
    ann.news()

    hall.handler.depart(bob)
    after_one = ann.news()
    hall.handler.depart(again)
    after_both = ann.news()

    assert after_one == []
    assert after_both == [left("bob"), users("ann")]


def test_anonymous_users_are_listed_each(hall: Hall) -> None:
    first = hall.enter(None, "r")
    first.news()

    second = hall.enter(None, "r")

    assert first.news() == [joined("anonymous"), users("anonymous", "anonymous")]
    hall.handler.depart(second)
    assert first.news() == [left("anonymous"), users("anonymous")]


def test_two_users_of_the_same_name_are_two(hall: Hall) -> None:
    hall.enter(1, "r", name="ann")

    hall.enter(2, "r", name="ann")

    assert hall.handler.user_list("r") == ["ann", "ann"]


def test_the_number_1_and_the_text_1_are_two_users(hall: Hall) -> None:
    number, text = hall.enter(1, "r"), hall.enter("1", "r")

    assert hall.targets(users=[1]) == [number]
    assert hall.targets(users=["1"]) == [text]


def test_who_leaves_a_room_hears_nothing_of_it(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r"), hall.enter("bob", "r")
    ann.news(), bob.news()

    hall.handler.leave(bob, "r")

    assert bob.news() == []
    assert ann.news() == [left("bob"), users("ann")]
    assert bob.rooms == []


def test_leaving_a_room_that_one_is_not_in_is_nothing(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r"), hall.enter("bob")
    ann.news()

    hall.handler.leave(bob, "r")
    hall.handler.leave(bob, "nowhere")

    assert ann.news() == []
    assert hall.handler.rooms() == ["r"]


def test_a_room_is_gone_with_its_last_member(hall: Hall) -> None:
    ann = hall.enter("ann", "r")

    hall.handler.leave(ann, "r")

    assert hall.handler.rooms() == []
    assert hall.handler.members("r") == []
    assert hall.handler.user_list("r") == []
    assert hall.handler.stats() == {"rooms": 0}


def test_rooms_do_not_hear_of_each_other(hall: Hall) -> None:
    ann = hall.enter("ann", "r")
    ann.news()

    hall.enter("bob", "other")

    assert ann.news() == []
    assert hall.handler.stats() == {"rooms": 2}


def test_who_departs_leaves_every_room_and_is_forgotten(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r", "s"), hall.enter("bob", "r", "s")
    ann.news()

    hall.handler.depart(bob)

    assert ann.news() == [left("bob"), users("ann"), left("bob", "s"), users("ann", room="s")]
    assert hall.targets(all=True) == [ann]
    assert hall.targets(cid=bob.cid) == []
    assert hall.targets(users=["bob"]) == []
    assert hall.handler.connections_of("bob") == 0


def test_departing_twice_is_departing_once(hall: Hall) -> None:
    ann = hall.enter("ann", "r")

    hall.handler.depart(ann)
    hall.handler.depart(ann)

    assert hall.targets(all=True) == []


def test_the_connections_of_a_user_are_counted(hall: Hall) -> None:
    ann = hall.enter("ann", "r")
    hall.enter("ann", "s")
    hall.enter(None, "r")

    assert hall.handler.connections_of("ann") == 2
    hall.handler.depart(ann)
    assert hall.handler.connections_of("ann") == 1
    assert hall.handler.connections_of("nobody") == 0
    assert hall.handler.connections_of(None) == 0


def test_who_left_a_room_still_is_a_user(hall: Hall) -> None:
    ann = hall.enter("ann", "r")

    hall.handler.leave(ann, "r")

    assert hall.targets(users=["ann"]) == [ann]
    assert hall.handler.connections_of("ann") == 1


def test_an_answer_goes_to_one_cid(hall: Hall) -> None:
    ann, _ = hall.enter("ann", "r"), hall.enter("ann", "r")

    assert hall.targets(cid=ann.cid) == [ann]
    assert hall.targets(cid="nobody") == []
    assert hall.targets(cid=None) == []


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
    assert hall.handler.connections_of("ann") == 1


@pytest.mark.parametrize("ids", [5, None, [["ann"]], [{}]])
def test_users_that_are_no_list_of_ids_are_refused(hall: Hall, ids: Any) -> None:
    with pytest.raises(BadMessage, match="users is a list of user ids"):
        hall.targets(users=ids)


def test_a_user_who_is_named_twice_is_told_once(hall: Hall) -> None:
    ann = hall.enter("ann", "r")

    assert hall.targets(users=["ann", "ann"]) == [ann]


def test_the_questions_may_be_asked_while_people_come_and_go(hall: Hall) -> None:
    ended, faults = threading.Event(), list[BaseException]()

    def ask() -> None:
        try:
            while not ended.is_set():
                hall.targets(room="r"), hall.targets(all=True), hall.targets(users=["u1"])
                hall.handler.user_list("r"), hall.handler.rooms(), hall.handler.stats()
        except BaseException as error:
            faults.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(30):
        members = [hall.enter(f"u{number}", "r", f"r{number}") for number in range(10)]
        for member in members:
            hall.handler.depart(member)
    ended.set()
    asking.join()

    assert faults == []


def test_the_service_waits_until_it_is_disabled_and_can_be_enabled_again(hall: Hall) -> None:
    service = hall.handler

    for _ in range(3):
        thread = threading.Thread(target=service.main)
        thread.start()
        assert thread.is_alive()
        service.disable()
        thread.join(5)

        assert not thread.is_alive()


def test_a_disable_that_overtakes_main_is_not_forgotten(hall: Hall) -> None:
    service = hall.handler

    service.disable()

    service.main()  # returns


class RoomsMachine(RuleBasedStateMachine):
    """People who come, join, leave and go; the model is a list of who is where, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.hall = Hall()
        self.model: dict[str, list[Member]] = {}
        self.present: list[Member] = []

    members = Bundle("members")
    rooms = st.sampled_from(["a", "b", "c"])

    @rule(target=members, id=st.sampled_from([None, 1, 2, "1"]))
    def enter(self, id: Any) -> Member:
        member = self.hall.enter(id)
        self.present.append(member)
        return member

    @rule(member=members, room=rooms)
    def join(self, member: Member, room: str) -> None:
        inside = self.model.setdefault(room, [])
        is_new = all(other.member_key != member.member_key for other in inside)
        was_inside = member in inside
        others = list(inside)
        if not was_inside:
            inside.append(member)

        self.hall.handler.join(member, room)

        for other in self.present:
            expected = []
            if not was_inside:
                if is_new and other in others:
                    expected.append(joined(member.user.username, room))
                if other is member or (is_new and other in others):
                    expected.append(users(*self.names(room), room=room))
            assert other.news() == expected

    @rule(member=members, room=rooms)
    def leave(self, member: Member, room: str) -> None:
        was_inside = member in self.model.get(room, [])
        self.forget(member, room)

        self.hall.handler.leave(member, room)

        for other in self.present:
            assert other.news() == (self.farewell(other, member, room) if was_inside else [])

    @rule(member=consumes(members))
    def depart(self, member: Member) -> None:
        rooms = list(member.rooms)
        for room in rooms:
            self.forget(member, room)

        self.hall.handler.depart(member)

        self.present.remove(member)
        for other in self.present:
            assert other.news() == [word for room in rooms for word in self.farewell(other, member, room)]

    @invariant()
    def the_rooms_are_those_of_the_model(self) -> None:
        handler = self.hall.handler
        assert sorted(handler.rooms()) == sorted(self.model)
        for room, inside in self.model.items():
            assert handler.members(room) == inside
            assert handler.user_list(room) == self.names(room)
            assert self.hall.targets(room=room) == inside
        for member in self.present:
            assert member.rooms == [room for room in member.rooms if member in self.model[room]]
            assert self.hall.targets(cid=member.cid) == [member]

    @invariant()
    def the_users_are_those_of_the_model(self) -> None:
        assert self.hall.targets(all=True) == self.present
        for id in (1, 2, "1"):
            theirs = {member for member in self.present if member.user.id == id}
            assert set(self.hall.targets(users=[id])) == theirs
            assert self.hall.handler.connections_of(id) == len(theirs)

    def names(self, room: str) -> list[str]:
        """The user list that the model expects."""
        return list({member.member_key: member.user.username for member in self.model[room]}.values())

    def forget(self, member: Member, room: str) -> None:
        """Take a member out of the model."""
        inside = self.model.get(room, [])
        if member in inside:
            inside.remove(member)
        if not inside:
            self.model.pop(room, None)

    def farewell(self, other: Member, member: Member, room: str) -> list[dict[str, Any]]:
        """What another hears when this member has left a room."""
        inside = self.model.get(room, [])
        if other not in inside or any(one.member_key == member.member_key for one in inside):
            return []
        return [left(member.user.username, room), users(*self.names(room), room=room)]


def test_whatever_people_do_the_rooms_are_as_in_the_model() -> None:
    run_state_machine_as_test(RoomsMachine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))
