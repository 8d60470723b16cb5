"""The room handler against a model: people who come, join, leave, are cut off and come back, while time passes."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from tests.zephserver.fakes import Hall, Member, joined, left

DELAY = 3.25  # never a moment at which something else happens: the others are multiples of a half


class RoomsMachine(RuleBasedStateMachine):
    """The model: who is in which room, in order, and until when the absent are waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.hall = Hall(LEAVE_DELAY=DELAY)
        self.inside: dict[str, list[Member]] = {}
        self.listed: dict[str, dict[Any, str]] = {}  # by room: the users that are listed
        self.awaited: dict[tuple[str, Any], float] = {}  # until when
        self.present: list[Member] = []
        self.now = 0.0

    members = Bundle("members")
    rooms = st.sampled_from(["a", "b"])

    @rule(target=members, id=st.sampled_from([None, 1, 2, "1"]))
    def enter(self, id: Any) -> Member:
        member = self.hall.enter(id)
        self.present.append(member)
        return member

    @rule(member=members, room=rooms)
    def join(self, member: Member, room: str) -> None:
        inside, listed = self.inside.setdefault(room, []), self.listed.setdefault(room, {})
        is_new = member.member_key not in listed
        others = [other for other in inside if other is not member]
        if member not in inside:
            inside.append(member)
        listed.setdefault(member.member_key, member.user.username)
        self.awaited.pop((room, member.member_key), None)

        self.hall.handler.join(member, room)

        heard = member.news()
        assert [word["msgtype"] for word in heard if word["msgtype"] != "join"] == ["joined", "user_list"]
        assert heard[-1]["data"] == list(listed.values())
        self.expect([(other, joined(member.user.username, room)) for other in others if is_new])

    @rule(member=members, room=rooms)
    def leave(self, member: Member, room: str) -> None:
        farewells = self.take_out(member, room, waits=False)

        self.hall.handler.leave(member, room)

        self.expect(farewells)

    @rule(member=consumes(members))
    def depart(self, member: Member) -> None:
        waits = member.user.id is not None
        farewells = [word for room in list(member.rooms) for word in self.take_out(member, room, waits=waits)]
        self.present.remove(member)

        self.hall.handler.depart(member)

        self.expect(farewells)
        assert member.news() == []

    @rule(halves=st.integers(1, 8))
    def wait(self, halves: int) -> None:
        self.now += halves / 2
        due = sorted((until, room, key) for (room, key), until in self.awaited.items() if until <= self.now)
        expected = []
        for _, room, key in sorted(due, key=lambda one: one[0]):
            del self.awaited[room, key]
            name = self.listed[room].pop(key)
            expected += [(other, left(name, room)) for other in self.inside[room]]

        self.hall.loop.advance(self.now - self.hall.loop.time())

        self.expect(expected, lists=True)

    @invariant()
    def the_rooms_are_those_of_the_model(self) -> None:
        handler = self.hall.handler
        assert sorted(handler.rooms()) == sorted(room for room, inside in self.inside.items() if inside)
        for room, inside in self.inside.items():
            assert handler.members(room) == inside
            assert handler.user_list(room) == list(self.listed[room].values())
            assert self.hall.targets(room=room) == inside

    @invariant()
    def the_users_are_those_of_the_model(self) -> None:
        assert self.hall.targets(all=True) == self.present
        for id in (1, 2, "1"):
            theirs = {member for member in self.present if member.user.id == id}
            assert set(self.hall.targets(users=[id])) == set(self.hall.handler.connections_of(id)) == theirs

    def teardown(self) -> None:
        for member in list(self.present):
            self.hall.handler.depart(member)
        self.hall.loop.advance(100)
        handler = self.hall.handler
        assert (handler._clients, handler._users, handler._rooms) == ({}, {}, {})
        assert not handler._announcer._leaving

    def take_out(self, member: Member, room: str, *, waits: bool) -> list[tuple[Member, dict[str, Any]]]:
        """Take a member out of the model; who hears what of it."""
        inside = self.inside.get(room, [])
        if member not in inside:
            return []
        inside.remove(member)
        key = member.member_key
        if not inside:
            self.listed[room] = {}
            self.awaited = {(name, key): until for (name, key), until in self.awaited.items() if name != room}
        elif all(other.member_key != key for other in inside):
            if waits:
                self.awaited[room, key] = self.now + DELAY
            else:
                name = self.listed[room].pop(key)
                return [(other, left(name, room)) for other in inside]
        return []

    def expect(self, words: list[tuple[Member, dict[str, Any]]], *, lists: bool = False) -> None:
        """Everybody heard of those who came and went what the model says, in order."""
        for member in self.present:
            heard = member.news()
            come_and_gone = [word for word in heard if word["msgtype"] != "user_list"]
            assert come_and_gone == [word for other, word in words if other is member]
            assert lists or heard == come_and_gone


def test_whatever_people_do_the_rooms_are_as_in_the_model() -> None:
    run_state_machine_as_test(RoomsMachine, settings=settings(max_examples=50, stateful_step_count=30, deadline=None))
