"""The order of rooms, note by note: what the random schedules meet seldom."""

from __future__ import annotations

from typing import Any

import pytest

from zephserver.cluster.notes import At, Enter, Entered, Exit, Forward, Missed, Note, Report, Said, Sync, Synced, Taken
from zephserver.cluster.order import ENTER, HOLD, LINGER, MOST_UNSAID, Order
from zephserver.cluster.owners import owner_of
from zephserver.histories import Histories

ME, OTHER, THIRD = "a", "b", "c"


class Rim:
    """Remembers what the order asks for."""

    def __init__(self) -> None:
        self.posted: list[tuple[set[str], Note]] = []
        self.delivered: list[tuple[str, bytes, int | None]] = []
        self.moves: list[tuple[str, str, int, bool]] = []
        self.gaps: list[tuple[str, int]] = []
        self.followed: list[str] = []

    def post(self, to: set[str], note: Note, room: str | None = None) -> None:
        self.posted.append((set(to), note))

    def deliver(self, room: str, payload: bytes, offset: int | None, but: str | None) -> None:
        self.delivered.append((room, payload, offset))

    def moved(self, room: str, epoch: str, offset: int, recovered: bool) -> None:
        self.moves.append((room, epoch, offset, recovered))

    def follow(self, room: str) -> None:
        self.followed.append(room)

    def unfollow(self, room: str) -> None:
        self.followed.remove(room)

    def lost(self, peer: str, count: int) -> None:
        self.gaps.append((peer, count))

    def notes(self, kind: type) -> list[Any]:
        """What was posted of one kind since the last time."""
        found = [note for _, note in self.posted if isinstance(note, kind)]
        self.posted = [row for row in self.posted if not isinstance(row[1], kind)]
        return found


def room_of(owner: str, kind: str = "plain", nodes: str = "ab") -> str:
    """A room that this server owns among these."""
    return next(name for number in range(1_000) if owner_of(name := f"{kind} {number}", nodes) == owner)


class Desk:
    """The order of server a, which sees b."""

    def __init__(self, nodes: str = "ab", **options: Any) -> None:
        self.rim = Rim()
        self.epochs = iter(f"epoch {number}" for number in range(100))
        new_epoch = self.epochs.__next__
        self.histories = Histories({"kept*": (100, 60.0)}, 1_000_000, new_epoch)
        self.order = Order(ME, "life", self.histories, self.rim, new_epoch, **options)
        if nodes:
            self.see(nodes)

    def see(self, nodes: str, now: float = 0.0, *reports: Report) -> None:
        """These servers are there, and answer what is asked."""
        self.order.change(frozenset(nodes), now)
        for sync in self.rim.notes(Sync):
            for peer in set(nodes) - {ME}:
                self.hear(Synced(sync.id, list(reports) if peer == OTHER else [], True), now, peer)

    def hear(self, note: Note, now: float = 0.0, peer: str = OTHER) -> None:
        self.order.heard(peer, f"life of {peer}", note, now)

    def enter(self, room: str, now: float = 0.0) -> list[float]:
        """A member wants to come in; the list is filled when it may."""
        let_in: list[float] = []
        self.order.enter(room, lambda: let_in.append(now), now)
        return let_in


@pytest.fixture
def desk() -> Desk:
    return Desk()


def said(room: str, offset: int, *, epoch: str = "e", seq: int | None = None, origin: str = "x") -> Said:
    """A message of the owner."""
    return Said(room, epoch, offset, origin, offset if seq is None else seq, None, b"{%d}" % offset)


# -- rooms of another server --------------------------------------------------------------------------------------


def test_a_member_comes_in_when_the_owner_has_answered(desk: Desk) -> None:
    room = room_of(OTHER)

    let_in = desk.enter(room)
    assert (let_in, desk.rim.notes(Enter)) == ([], [Enter(room, "", 0, follows=True)])
    desk.hear(Entered(room, "e", 0, [], 7, False, [], {}))

    assert let_in == [0.0]
    desk.hear(said(room, 8))
    assert desk.rim.delivered == [(room, b"{8}", None)]
    assert desk.rim.gaps == []


def test_messages_that_never_came_are_told_and_those_that_came_twice_are_not_delivered_twice(desk: Desk) -> None:
    room = room_of(OTHER)
    desk.enter(room)
    desk.hear(Entered(room, "e", 0, [], 0, False, [], {}))

    for offset in (1, 1, 5, 4):
        desk.hear(said(room, offset))

    assert [payload for _, payload, _ in desk.rim.delivered] == [b"{1}", b"{5}"]
    assert desk.rim.gaps == [(OTHER, 3)]


def test_the_owner_tells_once_how_far_a_history_goes_that_has_come_to_rest(desk: Desk) -> None:
    room = room_of(ME, "kept")
    desk.hear(Enter(room, "", 0, follows=True))
    desk.order.tick(0.0), desk.order.tick(0.5)  # the followers know an empty one
    desk.rim.posted.clear()

    desk.order.say(room, b"{}", None, 1.0)
    desk.order.tick(1.0)
    assert desk.rim.notes(At) == []
    desk.order.tick(1.5), desk.order.tick(2.0)

    history = desk.histories.find(room)
    assert history is not None
    assert desk.rim.notes(At) == [At(room, history.epoch, 1)]


def test_a_server_asks_for_the_last_messages_of_a_history_that_never_came(desk: Desk) -> None:
    room = room_of(OTHER, "kept")
    desk.enter(room)
    desk.hear(Entered(room, "e", 0, [], 1, True, [(0.0, b"{1}")], {}))
    desk.rim.posted.clear()

    desk.hear(At(room, "e", 1))
    desk.hear(At(room, "e", 3), peer=THIRD)
    assert desk.rim.posted == []
    desk.hear(At(room, "e", 3)), desk.hear(At(room, "e", 3))

    assert desk.rim.notes(Enter) == [Enter(room, "e", 1, follows=True)]
    desk.hear(Entered(room, "e", 0, [], 3, False, [(0.0, b"{2}"), (0.0, b"{3}")], {}))
    assert desk.rim.delivered == [(room, b"{2}", 2), (room, b"{3}", 3)]


def test_how_far_a_history_goes_says_nothing_to_a_server_that_has_left_or_has_all_of_it(desk: Desk) -> None:
    room = room_of(OTHER, "kept")
    desk.hear(At(room, "e", 3))
    desk.enter(room)
    desk.hear(At(room, "e", 3))
    desk.hear(Entered(room, "f", 1, [("e", 2)], 2, True, [(0.0, b"{1}"), (0.0, b"{2}")], {}))
    desk.rim.posted.clear()

    desk.hear(At(room, "e", 2))

    assert desk.rim.posted == []


def test_a_server_asks_when_the_owner_goes_on_with_an_epoch_that_had_ended_here(desk: Desk) -> None:
    room = room_of(OTHER, "kept")
    desk.enter(room)
    desk.hear(Entered(room, "f", 1, [("e", 2)], 2, True, [(0.0, b"{1}"), (0.0, b"{2}")], {}))
    desk.rim.posted.clear()

    desk.hear(At(room, "e", 3))

    assert desk.rim.notes(Enter) == [Enter(room, "e", 2, follows=True)]


def test_an_answer_of_somebody_who_is_not_the_owner_counts_for_nothing(desk: Desk) -> None:
    desk.see("abc")
    room = room_of(OTHER, nodes="abc")
    let_in = desk.enter(room)

    desk.hear(Entered(room, "e", 0, [], 7, False, [], {}), peer=THIRD)
    desk.hear(Entered("never heard of", "e", 0, [], 7, False, [], {}))

    assert let_in == []


def test_an_owner_that_does_not_answer_is_asked_again_and_the_member_comes_in_in_the_end(desk: Desk) -> None:
    room = room_of(OTHER, "kept")
    let_in = desk.enter(room)
    desk.rim.notes(Enter)

    desk.order.tick(0.9)
    assert desk.rim.notes(Enter) == []
    desk.order.tick(1.1)
    assert desk.rim.notes(Enter) == [Enter(room, "", 0, follows=True)]
    desk.order.tick(ENTER + 0.1)

    assert len(let_in) == 1


def test_what_comes_before_the_answer_waits_for_it(desk: Desk) -> None:
    room = room_of(OTHER, "kept")
    desk.enter(room)

    desk.hear(said(room, 3))
    desk.hear(said(room, 4))
    assert desk.rim.delivered == []
    desk.hear(Entered(room, "e", 0, [], 3, True, [(1.0, b"{2}"), (0.5, b"{3}")], {"x": 3}))

    assert desk.rim.delivered == [(room, b"{4}", 4)]
    history = desk.histories.find(room)
    assert history is not None
    assert history.since("e", 1, 0.0) == [b"{2}", b"{3}", b"{4}"]


def test_a_gap_in_a_history_is_filled_by_its_owner(desk: Desk) -> None:
    room = room_of(OTHER, "kept")
    desk.enter(room)
    desk.hear(Entered(room, "e", 0, [], 1, True, [(0.0, b"{1}")], {}))
    desk.rim.notes(Enter)

    desk.hear(said(room, 4))
    assert desk.rim.notes(Enter) == [Enter(room, "e", 1, follows=True)]
    desk.hear(Entered(room, "e", 0, [], 3, False, [(0.0, b"{2}"), (0.0, b"{3}")], {}))

    assert [offset for _, _, offset in desk.rim.delivered] == [2, 3, 4]
    assert desk.rim.gaps == []


def test_members_of_a_history_that_went_on_differently_are_told_that_something_is_missing(desk: Desk) -> None:
    room = room_of(OTHER, "kept")
    desk.enter(room)
    desk.hear(Entered(room, "e", 0, [], 1, True, [(0.0, b"{1}")], {}))
    desk.hear(said(room, 2))
    desk.rim.moves.clear()

    desk.hear(Entered(room, "f", 1, [("e", 1)], 1, False, [], {}))  # asked before the last one
    assert desk.rim.notes(Enter)[-1] == Enter(room, "e", 2, follows=True)
    desk.hear(Entered(room, "f", 1, [("e", 1)], 3, True, [(0.0, b"{1}"), (0.0, b"{2}"), (0.0, b"{3}")], {}))

    assert desk.rim.moves == [(room, "f", 3, False)]


def test_what_an_owner_says_that_is_none_any_more_is_not_heard(desk: Desk) -> None:
    room = room_of(OTHER, "kept")
    desk.enter(room)
    desk.hear(Entered(room, "f", 1, [("e", 1)], 1, True, [(0.0, b"{1}")], {}))

    desk.hear(said(room, 2, epoch="e"))

    assert desk.rim.delivered == []


@pytest.mark.parametrize("kind", ["plain", "kept"])
def test_who_sends_messages_of_a_room_without_members_is_told_so(desk: Desk, kind: str) -> None:
    room = room_of(OTHER, kind)

    desk.hear(said(room, 1))

    assert desk.rim.notes(Exit) == [Exit(room)]


@pytest.mark.parametrize("kind", ["plain", "kept"])
def test_the_owner_is_told_a_while_after_the_last_member_left(desk: Desk, kind: str) -> None:
    room = room_of(OTHER, kind)
    desk.enter(room)
    desk.hear(Entered(room, "e", 0, [], 0, True, [], {}))

    desk.order.leave(room, 1.0)
    desk.order.leave("never entered", 1.0)
    desk.order.tick(LINGER)
    assert (desk.rim.notes(Exit), desk.rim.followed) == ([], [room])
    desk.order.tick(LINGER + 1.0)

    assert (desk.rim.notes(Exit), desk.rim.followed) == ([Exit(room)], [])
    desk.hear(said(room, 1))
    assert desk.rim.delivered == []


def test_what_is_said_is_kept_until_the_owner_has_said_it(desk: Desk) -> None:
    room = room_of(OTHER)
    desk.order.say(room, b"{}", None, 0.0)
    assert [note.seq for note in desk.rim.notes(Forward)] == [1]

    desk.see("a", 1.0)  # now it is ours, and nobody is there
    assert desk.order.rows()["unsaid"] == 0
    desk.see("ab", 2.0)
    desk.order.say(room, b"{}", None, 2.0)
    desk.hear(Taken([2], []), 2.0, THIRD)  # who was not asked says nothing about it
    assert desk.order.rows()["unsaid"] == 1
    desk.hear(Taken([2, 99], []), 2.0)

    assert (desk.order.rows()["unsaid"], desk.order.dropped) == (0, 0)


def test_what_a_server_could_not_order_in_time_is_counted_as_dropped(desk: Desk) -> None:
    room = room_of(OTHER)
    desk.order.say(room, b"{}", None, 0.0)

    desk.hear(Taken([], [1]), 0.0, THIRD)  # it was sent to the owner meanwhile
    assert (desk.order.rows()["unsaid"], desk.order.dropped) == (1, 0)
    desk.hear(Taken([], [1]))

    assert (desk.order.rows()["unsaid"], desk.order.dropped) == (0, 1)


def test_no_more_is_kept_for_an_owner_that_does_not_answer_than_there_is_room_for() -> None:
    desk = Desk(max_bytes=100)
    room = room_of(OTHER)

    for _ in range(5):
        desk.order.say(room, b"x" * 40, None, 0.0)

    assert (desk.order.rows()["unsaid"], desk.order.dropped) == (2, 3)
    assert MOST_UNSAID > 10_000


def test_a_server_that_begins_anew_is_told_again(desk: Desk) -> None:
    room, kept = room_of(OTHER), room_of(OTHER, "kept")
    desk.enter(room), desk.enter(kept)
    desk.order.say(room, b"{}", None, 0.0)
    mine = room_of(ME)
    desk.enter(mine)
    desk.hear(Enter(mine, "", 0, follows=True))
    desk.rim.posted.clear()

    desk.order.heard(OTHER, "another life", Exit("nothing"), 1.0)

    assert {note.room for note in desk.rim.notes(Enter)} == {room, kept}
    assert [(note.seq, note.life) for note in desk.rim.notes(Forward)] == [(1, "another life")]
    desk.order.say(mine, b"{}", None, 1.0)
    assert desk.rim.notes(Said) == []  # whether it still has members there, it will say


def test_a_server_is_sent_what_is_said_as_soon_as_its_life_is_known() -> None:
    desk = Desk(nodes="")
    desk.order.change(frozenset("ab"), 0.0)
    room = room_of(OTHER)

    desk.order.say(room, b"{1}", None, 0.0)
    assert desk.rim.notes(Forward) == []
    desk.hear(Exit("nothing"))
    desk.order.say(room, b"{2}", None, 0.0)

    assert [(note.seq, note.life) for note in desk.rim.notes(Forward)] == [(1, "life of b"), (2, "life of b")]


def test_a_late_note_of_a_life_that_has_ended_is_not_heard(desk: Desk) -> None:
    room = room_of(OTHER)
    desk.order.say(room, b"{}", None, 0.0)
    desk.order.heard(OTHER, "another life", Exit("nothing"), 1.0)
    desk.rim.posted.clear()

    desk.hear(Taken([1], []), 1.0)

    assert (desk.order.rows()["unsaid"], desk.rim.posted) == (1, [])


# -- rooms of this server -----------------------------------------------------------------------------------------


def test_whoever_follows_a_room_hears_it_and_whoever_spoke_is_told_that_it_was_said(desk: Desk) -> None:
    room = room_of(ME, "kept")
    desk.hear(Enter(room, "", 0, follows=True))
    assert desk.rim.notes(Entered)[0].offset == 0

    for seq in (5, 5, 6):
        desk.hear(Forward(room, "b life", seq, None, b"{%d}" % seq, "life"))
    desk.order.flush()

    assert [(note.offset, note.seq) for note in desk.rim.notes(Said)] == [(1, 5), (2, 6)]
    assert desk.rim.notes(Taken) == [Taken([5, 5, 6], [])]
    assert desk.rim.delivered == []


def test_what_is_meant_for_an_earlier_life_is_not_said_and_its_sender_hears_of_this_life(desk: Desk) -> None:
    room = room_of(ME, "kept")
    desk.hear(Enter(room, "", 0, follows=True))

    desk.hear(Forward(room, "b life", 4, None, b"{4}", "life before"))
    desk.order.flush()
    assert (desk.rim.notes(Said), desk.rim.notes(Taken)) == ([], [Taken([], [])])
    for seq in (1, 2, 4):
        desk.hear(Forward(room, "b life", seq, None, b"{%d}" % seq, "life"))

    assert [note.seq for note in desk.rim.notes(Said)] == [1, 2, 4]


def test_a_room_that_nobody_is_in_costs_nothing(desk: Desk) -> None:
    room = room_of(ME)

    desk.order.say(room, b"{}", None, 0.0)
    let_in = desk.enter(room)
    desk.order.leave(room, 0.0)

    assert let_in == [0.0]
    assert desk.order.rows() == {"followed": 0, "owned": 0, "held": 0, "unsaid": 0}


def test_a_history_rests_when_its_last_follower_has_gone_and_is_forgotten_in_time(desk: Desk) -> None:
    room = room_of(ME, "kept")
    desk.hear(Enter(room, "", 0, follows=True))
    desk.order.say(room, b"{}", None, 0.0)

    desk.hear(Exit(room), 1.0)
    desk.hear(Exit("nothing"), 1.0)
    desk.histories.sweep(100.0)
    desk.order.tick(100.0)

    assert (len(desk.histories), desk.order.rows()["owned"]) == (0, 0)


def test_a_note_for_an_owner_that_is_none_waits_a_while_for_it_to_learn_otherwise(desk: Desk) -> None:
    room = room_of(OTHER)
    desk.hear(Forward(room, "c life", 1, None, b"{}", "life"), peer=THIRD)
    desk.hear(Enter(room, "", 0, follows=True), peer=THIRD)
    assert desk.order.rows()["held"] == 2

    desk.see("a", 1.0)
    desk.order.flush()

    assert desk.rim.notes(Taken) == [Taken([1], [])]
    assert [note.room for note in desk.rim.notes(Entered)] == [room]
    assert desk.order.rows()["held"] == 0


def test_what_finds_no_owner_in_time_is_dropped_and_counted() -> None:
    desk = Desk(nodes="")  # nobody is there yet, not even this one

    desk.order.say("room", b"{}", None, 0.0)
    assert desk.enter("room") == []
    desk.order.tick(HOLD - 0.1)
    assert desk.order.rows()["held"] == 1
    desk.order.tick(HOLD + 0.1)

    assert (desk.order.rows()["held"], desk.order.rows()["unsaid"], desk.order.dropped) == (0, 0, 1)


def test_whoever_sent_what_finds_no_owner_in_time_is_told(desk: Desk) -> None:
    room = room_of(OTHER)
    desk.hear(Forward(room, "c life", 7, None, b"{}", "life"), peer=THIRD)
    desk.hear(Enter(room, "", 0, follows=True), peer=THIRD)

    desk.order.tick(HOLD + 0.1)
    desk.order.flush()

    assert desk.rim.notes(Taken) == [Taken([], [7])]
    assert (desk.order.rows()["held"], desk.order.dropped) == (0, 0)


def test_what_the_last_owner_said_comes_late_and_its_epoch_is_not_gone_on_with(desk: Desk) -> None:
    room = room_of(OTHER)
    desk.enter(room)
    desk.hear(Entered(room, "e", 0, [], 0, False, [], {}))
    desk.see("a", 1.0)

    desk.hear(said(room, 1), 1.0)
    desk.hear(Enter(room, "", 0, follows=True), 1.0)
    desk.order.say(room, b"{}", None, 1.0)

    assert [payload for _, payload, _ in desk.rim.delivered] == [b"{1}", b"{}"]
    assert [(note.epoch, note.offset) for note in desk.rim.notes(Said)] == [("epoch 0", 1)]


def test_who_is_found_to_follow_a_room_is_told_how_far_it_goes(desk: Desk) -> None:
    room = room_of(ME, "kept")
    desk.enter(room)
    desk.hear(Enter(room, "", 0, follows=True), peer=THIRD)
    desk.order.say(room, b"{}", None, 1.0)
    desk.order.tick(1.0), desk.order.tick(1.5), desk.order.tick(2.0)
    assert len(desk.rim.notes(At)) == 1

    desk.see("a", 3.0), desk.see("ab", 3.0, Report(room, True, (0, 0, "epoch 0"), {}))
    desk.order.tick(3.5), desk.order.tick(4.0)

    assert desk.rim.notes(At) == [At(room, "epoch 0", 1)]


# -- after a change -----------------------------------------------------------------------------------------------


def test_a_new_owner_waits_for_all_and_goes_on_from_the_furthest_point(desk: Desk) -> None:
    room = next(n for i in range(999) if owner_of(n := f"kept {i}", "abc") == THIRD and owner_of(n, "ab") == ME)
    desk.see("abc")
    let_in = desk.enter(room)
    desk.rim.posted.clear()

    desk.order.change(frozenset("ab"), 1.0)
    desk.order.say(room, b"{9}", None, 1.0)
    (sync,) = desk.rim.notes(Sync)
    assert sync.nodes == ["a", "b"]
    desk.hear(Synced(sync.id - 1, [], True), 1.0)  # an old answer
    assert desk.order.rows()["held"] == 1
    desk.hear(Synced(sync.id, [Report("not ours", True, (2, 0, "e"), {})], False), 1.0)
    assert desk.order.rows()["held"] == 1
    desk.hear(Synced(sync.id, [Report(room, True, (2, 0, "e"), {})], True), 1.0)
    assert desk.rim.notes(Enter)[-1] == Enter(room, "", 0, follows=False)
    desk.hear(Entered(room, "e", 0, [], 2, True, [(0.0, b"{1}"), (0.0, b"{2}")], {}), 1.0)

    assert let_in == [0.0]
    (note,) = desk.rim.notes(Said)
    assert (note.epoch, note.offset, note.payload) == (desk.rim.moves[-1][1], 3, b'{9,"offset":3}')
    history = desk.histories.find(room)
    assert history is not None
    assert (history.lineage, history.has("e", 2), history.has("e", 3)) == ([("e", 2)], True, False)


def owner_of_three_messages() -> tuple[Desk, str]:
    """A server, and a room with a history that it owns all the time."""
    desk, room = Desk("ab"), room_of(ME, "kept")
    desk.enter(room)
    for number in (1, 2, 3):
        desk.order.say(room, b"{%d}" % number, None, 0.0)
    desk.rim.moves.clear()
    return desk, room


@pytest.mark.parametrize("is_missed", [True, False])
def test_an_owner_that_stood_still_goes_on_with_what_was_said_without_it(is_missed: bool) -> None:
    desk, room = owner_of_three_messages()
    if is_missed:  # each misses the other, or only the others this one
        desk.order.change(frozenset("a"), 9.0)
        desk.order.change(frozenset("ab"), 9.1)
    else:
        desk.hear(Sync(7, ["a", "b"], anew=True), 9.1)
    (*_, sync) = desk.rim.notes(Sync)
    desk.hear(Enter(room, "f", 5, follows=True), 9.1)
    desk.order.say(room, b"{6}", None, 9.1)
    assert desk.rim.notes(Entered) + desk.rim.notes(Said) == []

    desk.hear(Synced(sync.id, [Report(room, True, (5, 1, "f"), {})], True), 9.2)
    assert desk.rim.notes(Enter) == [Enter(room, "epoch 0", 3, follows=False)]
    desk.hear(Entered(room, "f", 1, [("epoch 0", 3)], 5, False, [(0.1, b"{4}"), (0.1, b"{5}")], {}), 9.3)

    assert [payload for _, payload, _ in desk.rim.delivered[3:]] == [b"{4}", b"{5}", b'{6,"offset":6}']
    assert all(recovered for *_, recovered in desk.rim.moves)
    assert [(note.offset, note.anew) for note in desk.rim.notes(Entered)] == [(5, False)]
    assert [note.offset for note in desk.rim.notes(Said)] == [6]


def test_an_answer_that_comes_too_late_counts_all_the_same() -> None:
    desk, room = owner_of_three_messages()
    desk.order.change(frozenset("a"), 9.0)
    desk.order.change(frozenset("ab"), 9.1)
    (*_, sync) = desk.rim.notes(Sync)
    desk.order.tick(11.2)

    desk.order.say(room, b"{4}", None, 11.2)
    assert desk.order.rows()["held"] == 0
    desk.hear(Synced(sync.id, [Report(room, True, (5, 1, "f"), {})], True), 12.0)

    assert desk.rim.notes(Enter) == [Enter(room, "epoch 0", 4, follows=False)]


def test_an_owner_keeps_its_own_history_when_that_is_the_longer_one() -> None:
    desk, room = owner_of_three_messages()

    desk.see("a", 9.0)
    desk.see("ab", 9.1, Report(room, True, (2, 1, "f"), {}))

    history = desk.histories.find(room)
    assert history is not None
    assert (desk.rim.notes(Enter), history.place(), desk.rim.moves) == ([], ("epoch 0", 3), [])


def test_a_server_is_told_that_it_was_not_there_before_it_is_asked_for_anything(desk: Desk) -> None:
    room = room_of(THIRD, "kept", "abc")
    desk.enter(room)
    desk.rim.posted.clear()

    desk.order.change(frozenset("abc"), 0.0)

    told = [note for to, note in desk.rim.posted if to == {THIRD}]
    assert [type(note) for note in told] == [Sync, Enter]
    assert [(note.anew) for note in desk.rim.notes(Sync)] == [False, True]


def test_a_room_is_not_forked_by_a_server_that_has_ceased_to_own_it_meanwhile() -> None:
    desk = Desk("abc")
    room = next(n for i in range(999) if owner_of(n := f"kept {i}", "abc") == THIRD and owner_of(n, "ab") == ME)
    desk.enter(room)
    desk.see("ab", 2.0, Report(room, True, (1, 0, "e"), {}))
    assert desk.rim.notes(Enter)[-1] == Enter(room, "", 0, follows=False)
    desk.order.change(frozenset("abc"), 3.0)

    answer = Entered(room, "e", 0, [], 1, True, [(0.0, b"{1}")], {})
    desk.hear(answer, 3.0)
    desk.hear(answer, 3.0, THIRD)

    history = desk.histories.find(room)
    assert history is not None
    assert (history.epoch, history.generation) == ("e", 0)


@pytest.mark.parametrize("how", ["silence", "death"])
def test_a_source_that_does_not_tell_is_not_waited_for(how: str) -> None:
    desk = Desk("abc")
    room = next(n for i in range(999) if owner_of(n := f"kept {i}", "abc") == THIRD and owner_of(n, "ab") == ME)
    let_in = desk.enter(room, 1.0)
    desk.see("ab", 2.0, Report(room, True, (5, 0, "e"), {}))
    assert desk.rim.notes(Enter)[-1].follows is False

    if how == "silence":
        desk.order.tick(4.1)
    else:
        desk.order.change(frozenset("a"), 4.1)

    assert let_in == [1.0]
    desk.order.say(room, b"{}", None, 7.0)
    assert desk.order.rows()["held"] == 0


def test_whoever_is_asked_tells_what_it_remembers_and_nothing_of_what_it_does_not_know(desk: Desk) -> None:
    room, plain = room_of(ME, "kept"), room_of(ME)
    desk.enter(room), desk.enter(plain)
    desk.order.say(room, b"{}", None, 0.0)

    desk.hear(Enter(room, "", 0, follows=False))
    desk.hear(Enter("unknown", "", 0, follows=False))
    told = desk.rim.notes(Entered)
    assert [(note.offset, note.anew, len(note.messages)) for note in told] == [(1, True, 1), (0, False, 0)]
    desk.hear(Sync(5, ["b"], anew=False))  # of a server that sees nobody else

    (synced,) = desk.rim.notes(Synced)
    history = desk.histories.find(room)
    assert history is not None
    assert {(report.room, report.follows, report.rank) for report in synced.reports} == {
        (room, True, (1, 0, history.epoch)),
        (plain, True, None),
    }


def test_no_more_of_a_history_is_told_than_an_engine_carries(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zephserver.cluster.host.MOST_BYTES", 50)
    room = room_of(ME, "kept")
    for number in range(5):
        desk.order.say(room, b"{%d}" % number, None, 0.0)  # 14 bytes each with its offset

    desk.hear(Enter(room, "epoch 0", 3, follows=True))
    desk.hear(Enter(room, "epoch 0", 1, follows=True))

    near, far = desk.rim.notes(Entered)
    assert (near.anew, len(near.messages)) == (False, 2)
    assert (far.anew, [payload for _, payload in far.messages]) == (
        True,
        [b'{2,"offset":3}', b'{3,"offset":4}', b'{4,"offset":5}'],
    )


def test_many_rooms_are_told_in_parts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zephserver.cluster.order.MOST_REPORTS", 2)
    for number in range(5):
        desk.enter(f"room {number}")

    desk.hear(Sync(1, ["b"], anew=False))

    assert [(len(note.reports), note.is_last) for note in desk.rim.notes(Synced)] == [(2, False), (2, False), (1, True)]


def test_a_lone_server_never_forks() -> None:
    desk = Desk("a", is_alone=True)
    desk.enter("kept")
    desk.order.say("kept", b"{}", None, 0.0)

    again = Order(ME, "life 2", desk.histories, desk.rim, desk.epochs.__next__, is_alone=True)
    again.change(frozenset({ME}), 1.0)

    history = desk.histories.find("kept")
    assert history is not None
    assert (history.generation, desk.rim.moves) == (0, [])


def test_an_epoch_in_which_nothing_was_said_leaves_no_trace() -> None:
    desk = Desk("a")
    desk.enter("kept")
    desk.order.say("kept", b"{}", None, 0.0)
    history = desk.histories.find("kept")
    assert history is not None
    first = history.epoch

    for epoch in ("x", "y", "z"):
        history.fork(epoch)

    assert (history.epoch, history.generation, history.lineage) == ("z", 1, [(first, 1)])
    assert history.place() == (first, 1)


def test_a_note_about_something_else_is_a_mistake_of_ours(desk: Desk) -> None:
    with pytest.raises(ValueError, match="Missed is no note about the order"):
        desk.hear(Missed())
