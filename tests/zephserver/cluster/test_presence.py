"""Who is where: what a server tells of its own users, and what it makes of what others tell."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.scale import FULL
from zephserver.cluster import notes
from zephserver.cluster.notes import Change, Here, Note, Version, user_key
from zephserver.cluster.presence import PART, Others, Own

ANN, BOB = ("user", "ann"), ("user", 7)
ROUNDS = 10_000 if FULL else 300


def test_a_change_is_told_once_with_what_came_of_it() -> None:
    own = Own("life")
    own.set("r", ANN, "Ann", 1)
    own.set("r", ANN, "Ann", 2)
    own.set("r", BOB, "Bob", 1)
    own.gone("r", BOB)

    assert own.change() == Change("life", 1, [("r", ANN, "Ann", 2), ("r", BOB, None, 0)])
    assert own.change() is None
    own.set("r", ANN, "Ann", 2)
    own.gone("r", BOB)
    assert own.change() is None
    assert own.version() == Version("life", 1)


def test_everything_is_told_in_parts_that_are_not_too_long() -> None:
    own = Own("life")
    for number in range(2 * PART + 1):
        own.set("r", ("user", number), str(number), 1)
    own.change()

    parts = own.here()

    assert [(part.part, part.parts, len(part.seen)) for part in parts] == [(0, 3, PART), (1, 3, PART), (2, 3, 1)]
    others = Others(1.0)
    told = [others.heard("b", part, 0.0) for part in parts]
    assert [len(changes) for changes, _ in told] == [0, 0, 2 * PART + 1]


def test_nobody_is_one_part_too() -> None:
    assert Own("life").here() == [Here("life", 0, 0, 1, [])]


@pytest.mark.parametrize("note", [Change("life", 3, []), Version("life", 2), Version("another life", 0)])
def test_who_missed_something_asks_once_a_second(note: Note) -> None:
    others = Others(1.0)
    others.heard("b", Here("life", 1, 0, 1, [("r", ANN, "Ann", 1)]), 0.0)

    assert [others.heard("b", note, now) for now in (1.0, 1.5, 2.0)] == [([], True), ([], False), ([], True)]


@pytest.mark.parametrize("note", [Change("life", 1, [("r", ANN, None, 0)]), Version("life", 0), notes.Missed()])
def test_what_is_old_or_known_changes_nothing(note: Note) -> None:
    others = Others(1.0)
    others.heard("b", Here("life", 1, 0, 1, [("r", ANN, "Ann", 1)]), 0.0)

    assert others.heard("b", note, 1.0) == ([], False)


def test_the_state_of_the_same_life_takes_out_who_is_not_in_it() -> None:
    others = Others(1.0)
    others.heard("b", Here("life", 1, 0, 1, [("r", ANN, "Ann", 1), ("r", BOB, "Bob", 1)]), 0.0)

    changes, _ = others.heard("b", Here("life", 5, 0, 1, [("r", BOB, "Bob", 2)]), 0.0)

    assert changes == [("r", BOB, "Bob", 2), ("r", ANN, None, 0)]


def test_who_does_not_come_back_to_a_new_life_fades() -> None:
    others = Others(1.0)
    others.heard("b", Here("life", 1, 0, 1, [("r", ANN, "Ann", 1), ("r", BOB, "Bob", 1)]), 0.0)

    assert others.heard("b", Here("new", 0, 0, 1, []), 10.0) == ([], False)
    assert others.heard("b", Change("new", 1, [("r", ANN, "Ann", 1)]), 10.5) == ([], False)
    assert others.expire(10.9) == []
    assert others.expire(11.0) == [("b", [("r", BOB, None, 0)])]
    assert others.expire(99.0) == []


def test_users_of_a_server_that_is_gone_fade_and_stay_when_it_was_only_away() -> None:
    others = Others(1.0)
    others.heard("b", Here("life", 1, 0, 1, [("r", ANN, "Ann", 1)]), 0.0)

    others.silent("b", 5.0)
    assert others.heard("b", Version("life", 1), 4.0) == ([], False)
    assert others.expire(6.0) == []
    others.silent("b", 7.0)
    others.silent("nobody", 7.0)
    assert others.expire(6.9) == []
    assert others.expire(7.0) == [("b", [("r", ANN, None, 0)])]
    assert others.heard("b", Version("life", 1), 8.0) == ([], True)  # it was there all the time


def test_users_of_a_server_that_leaves_fade_but_for_those_it_tells_of_again() -> None:
    others = Others(1.0)
    others.heard("b", Here("life", 1, 0, 1, [("r", ANN, "Ann", 1), ("r", BOB, "Bob", 1)]), 0.0)

    others.leaving("b", 5.0)
    others.leaving("nobody", 5.0)
    others.heard("b", Version("life", 1), 4.0)
    others.heard("b", Change("life", 2, [("r", BOB, "Bob", 0)]), 4.0)

    assert others.expire(5.0) == [("b", [("r", ANN, None, 0)])]


def test_a_user_has_one_key_on_every_server() -> None:
    import uuid

    id = uuid.uuid4()

    assert user_key(7) == ("user", 7) != user_key("7")
    assert user_key(id) == user_key(str(id))
    note = Change("life", 1, [("r", user_key(7), "Bob", 1)])
    assert notes.decode(notes.encode(note)) == note


def test_copies_are_what_they_copy_after_any_schedule() -> None:
    for seed in range(ROUNDS):
        Schedule(seed).run()


class Schedule:
    """Servers that tell each other who is where, over links that lose what is said while they are cut."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.lives = 0
        self.own: dict[str, Own] = {}
        self.truth: dict[str, dict[Any, tuple[str, int]]] = {}
        self.others: dict[str, Others] = {}
        self.copies: dict[str, dict[str, dict[Any, tuple[str, int]]]] = {}
        self.cut: set[frozenset[str]] = set()
        for name in "abc":
            self.begin(name)

    def begin(self, name: str) -> None:
        """A new life: it knows nothing."""
        self.lives += 1
        self.own[name], self.truth[name] = Own(str(self.lives)), {}
        self.others[name], self.copies[name] = Others(1.0), {other: {} for other in "abc"}
        self.meet(name)

    def meet(self, name: str) -> None:
        for other in "abc":
            if other != name and frozenset((name, other)) not in self.cut:
                self.all_of(name, other)
                self.all_of(other, name)

    def all_of(self, name: str, to: str) -> None:
        if name in self.own and to in self.own:
            self.tell(name)
            for part in self.own[name].here():
                self.carry(name, to, part)

    def tell(self, name: str) -> None:
        change = self.own[name].change()
        for other in "abc" if change is not None else "":
            if other != name:
                self.carry(name, other, change)

    def carry(self, name: str, to: str, note: Note) -> None:
        if frozenset((name, to)) in self.cut or to not in self.own:
            return
        changes, asks = self.others[to].heard(name, notes.decode(notes.encode(note)), self.now)
        self.apply(to, name, changes)
        if asks:
            self.all_of(name, to)

    def apply(self, at: str, of: str, changes: list[notes.Seen]) -> None:
        for room, key, username, connections in changes:
            if username is None:
                del self.copies[at][of][room, key]
            else:
                self.copies[at][of][room, key] = (username, connections)

    def expire(self) -> None:
        for name, others in self.others.items():
            for of, gone in others.expire(self.now):
                self.apply(name, of, gone)

    def run(self) -> None:
        for _ in range(self.chance.randrange(10, 80)):
            self.now += self.chance.random()
            name = self.chance.choice("abc")
            match self.chance.randrange(12):
                case 0:
                    self.begin(name)
                case 1:
                    self.cut.add(frozenset((name, "abc"["abc".index(name) - 1])))
                    if self.chance.random() < 0.5:  # it was noticed
                        self.others[name].silent("abc"["abc".index(name) - 1], self.now + 1.0)
                case 2:
                    self.cut.clear()
                case 3:
                    self.tell(name)
                case 4:
                    self.expire()
                case _:
                    place = (self.chance.choice(("", "r", "s")), ("user", self.chance.randrange(4)))
                    if self.chance.random() < 0.4:
                        self.own[name].gone(*place)
                        self.truth[name].pop(place, None)
                    else:
                        row = (f"name {self.chance.randrange(2)}", self.chance.randrange(3))
                        self.own[name].set(*place, *row)
                        self.truth[name][place] = row
        self.cut.clear()
        for name in "abc":
            self.tell(name)
        self.now += 2.0
        for name in "abc":
            for other in "abc":
                if other != name:
                    self.carry(name, other, self.own[name].version())
        self.now += 2.0
        self.expire()
        for at in "abc":
            for of in "abc":
                if at != of:
                    assert self.copies[at][of] == self.truth[of]
