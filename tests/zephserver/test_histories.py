"""What rooms remember: one history, then all of them within their limits, then both against a model."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from zephserver import histories
from zephserver.core.errors import BadMessage
from zephserver.histories import Histories, History


def text(offset: int) -> bytes:
    """A message of four bytes that knows its offset."""
    return b"%04d" % offset


def broken(offset: int) -> bytes:
    """A message that JSON cannot carry."""
    raise BadMessage("the data cannot be written as JSON")


def sized(size: int) -> Callable[[int], bytes]:
    """Makes messages of so many bytes."""
    return lambda offset: b"x" * size


def texts(*offsets: int) -> list[bytes]:
    """These messages."""
    return [text(offset) for offset in offsets]


# -- one history ------------------------------------------------------------------------------------------------------


@pytest.fixture
def history() -> History:
    """Three messages, none older than ten seconds; five were said, at 0, 1, 2, 3 and 4."""
    history = History(3, 10.0, "e1")
    for now in range(5):
        assert history.add(text, float(now)) == text(now + 1)
    return history


def test_a_new_history_begins_before_the_first_message() -> None:
    history = History(3, 10.0, "e1")

    assert (history.offset, history.size, history.epoch) == (0, 0, "e1")
    assert history.since("e1", 0, 0.0) == []


@pytest.mark.parametrize(
    ("epoch", "offset", "missed"),
    [
        ("e1", 5, []),
        ("e1", 4, texts(5)),
        ("e1", 2, texts(3, 4, 5)),
        ("e1", 1, None),  # number 2 is gone
        ("e1", 0, None),
        ("e1", -1, None),
        ("e1", -(10**30), None),
        ("e1", 6, None),  # nobody can have heard that
        ("e1", 10**30, None),
        ("e2", 5, None),
        ("", 5, None),
        (None, 5, None),
        ("e1", None, None),
        (None, None, None),
    ],
)
def test_what_was_missed_is_told_wholly_or_not_at_all(
    history: History, epoch: str | None, offset: int | None, missed: list[bytes] | None
) -> None:
    assert history.since(epoch, offset, 5.0) == missed


def test_a_message_that_is_too_old_is_gone(history: History) -> None:
    assert history.since("e1", 3, 12.9) == texts(4, 5)
    assert history.since("e1", 3, 13.0) is None
    assert history.since("e1", 4, 13.0) == texts(5)
    assert history.since("e1", 5, 1_000.0) == []
    assert history.size == 0


def test_offsets_go_on_when_everything_is_forgotten(history: History) -> None:
    history.expire(1_000.0)

    assert history.add(text, 1_000.0) == text(6)
    assert history.since("e1", 5, 1_000.0) == texts(6)


def test_a_message_that_cannot_be_written_takes_no_offset(history: History) -> None:
    with pytest.raises(BadMessage):
        history.add(broken, 5.0)

    assert (history.offset, history.size) == (5, 12)
    assert history.add(text, 5.0) == text(6)


def test_the_oldest_can_be_dropped_until_there_is_none(history: History) -> None:
    assert [history.drop_oldest() for _ in range(4)] == [True, True, True, False]
    assert (history.size, history.offset) == (0, 5)


# -- all of them ------------------------------------------------------------------------------------------------------


@pytest.fixture
def epochs() -> Callable[[], str]:
    """Gives e1, e2, e3, ..."""
    numbers = itertools.count(1)
    return lambda: f"e{next(numbers)}"


@pytest.fixture
def rooms(epochs: Callable[[], str]) -> Histories:
    """Rooms 'chat-*' remember three messages for ten seconds, others nothing; a hundred bytes in all."""
    return Histories({"chat-*": (3, 10.0)}, 100, epochs)


def test_without_patterns_no_room_remembers() -> None:
    rooms = Histories({}, 100, lambda: "e")

    assert (rooms.keeps("r"), rooms.enter("r"), rooms.since("r", "e", 0, 0.0), len(rooms)) == (False, None, None, 0)


def test_the_first_pattern_that_fits_counts() -> None:
    rooms = Histories({"chat-vip*": (1, 10.0), "chat-*": (5, 10.0), "[ab]": (5, 10.0)}, 1_000, lambda: "e")

    for room in ("chat-vip1", "chat-1"):
        for _ in range(3):
            rooms.add(room, text, 0.0, is_empty=False)

    assert rooms.since("chat-vip1", "e", 1, 0.0) is None
    assert rooms.since("chat-1", "e", 1, 0.0) == texts(2, 3)
    assert [rooms.keeps(room) for room in ("a", "c", "CHAT-1", "chat-", "chat-\n", "")] == [
        True, False, False, True, True, False,
    ]  # fmt: skip


def test_a_room_has_its_history_from_the_first_who_enters(rooms: Histories) -> None:
    first, again = rooms.enter("chat-1"), rooms.enter("chat-1")

    assert first is again
    assert first is not None
    assert (first.epoch, first.offset, len(rooms)) == ("e1", 0, 1)
    assert rooms.enter("other") is None


def test_a_room_is_forgotten_when_nobody_came_back_in_time(rooms: Histories) -> None:
    rooms.enter("chat-1")
    rooms.add("chat-1", text, 0.0, is_empty=False)
    rooms.rest("chat-1", 5.0)

    rooms.sweep(14.9)
    kept = len(rooms)
    rooms.sweep(15.0)

    assert (kept, len(rooms), rooms.size) == (1, 0, 0)
    entered = rooms.enter("chat-1")
    assert entered is not None
    assert (entered.epoch, entered.offset) == ("e2", 0)


def test_a_room_that_is_entered_again_does_not_rest(rooms: Histories) -> None:
    rooms.enter("chat-1")
    rooms.rest("chat-1", 0.0)
    rooms.enter("chat-1")

    rooms.sweep(1_000.0)

    assert len(rooms) == 1


def test_a_room_without_a_history_has_nothing_to_rest(rooms: Histories) -> None:
    rooms.rest("other", 0.0)
    rooms.sweep(1_000.0)

    assert len(rooms) == 0


def test_a_room_that_nobody_is_in_remembers_what_is_said_to_it_and_rests(rooms: Histories) -> None:
    rooms.add("chat-1", text, 0.0, is_empty=True)
    rooms.add("chat-1", text, 6.0, is_empty=True)

    rooms.sweep(15.9)
    assert rooms.since("chat-1", "e1", 1, 15.9) == texts(2)
    rooms.sweep(16.0)
    assert len(rooms) == 0


def test_a_message_to_an_empty_room_that_cannot_be_written_leaves_nothing_behind(rooms: Histories) -> None:
    with pytest.raises(BadMessage):
        rooms.add("chat-1", broken, 0.0, is_empty=True)

    rooms.sweep(1_000.0)

    assert len(rooms) == 0


def test_only_so_many_rooms_rest(rooms: Histories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "MOST_RESTING", 2)
    for number in range(3):
        rooms.enter(f"chat-{number}")
        rooms.rest(f"chat-{number}", float(number))

    assert len(rooms) == 2
    assert rooms.since("chat-0", "e1", 0, 3.0) is None
    assert rooms.since("chat-1", "e2", 0, 3.0) == []


def test_when_there_is_no_room_for_all_those_who_rest_longest_forget_first(rooms: Histories) -> None:
    for number in (1, 2, 3):
        rooms.add(f"chat-{number}", sized(30), 0.0, is_empty=number < 3)

    rooms.add("chat-3", sized(30), 1.0, is_empty=False)

    assert (len(rooms), rooms.size) == (2, 90)
    assert rooms.since("chat-1", "e1", 0, 1.0) is None
    assert rooms.since("chat-2", "e2", 0, 1.0) == [b"x" * 30]


def test_when_nobody_rests_the_room_that_is_spoken_in_forgets_its_oldest(rooms: Histories) -> None:
    rooms.enter("chat-1"), rooms.enter("chat-2")
    rooms.add("chat-1", sized(60), 0.0, is_empty=False)
    rooms.add("chat-2", sized(30), 0.0, is_empty=False)

    rooms.add("chat-2", sized(30), 0.0, is_empty=False)

    assert rooms.size == 90
    assert rooms.since("chat-1", "e1", 0, 0.0) == [b"x" * 60]
    assert rooms.since("chat-2", "e2", 0, 0.0) is None
    assert rooms.since("chat-2", "e2", 1, 0.0) == [b"x" * 30]


def test_a_room_that_rests_does_not_make_way_for_itself(rooms: Histories) -> None:
    rooms.add("chat-1", sized(60), 0.0, is_empty=True)

    rooms.add("chat-1", sized(60), 0.0, is_empty=True)

    assert (len(rooms), rooms.size) == (1, 60)
    assert rooms.since("chat-1", "e1", 1, 0.0) == [b"x" * 60]


def test_a_message_that_is_larger_than_all_histories_may_be_is_not_kept(rooms: Histories) -> None:
    rooms.add("chat-1", sized(101), 0.0, is_empty=False)

    assert rooms.size == 0
    assert rooms.since("chat-1", "e1", 0, 0.0) is None
    assert rooms.since("chat-1", "e1", 1, 0.0) == []


def test_what_is_too_old_takes_no_room_from_others(rooms: Histories) -> None:
    rooms.enter("chat-1"), rooms.enter("chat-2")  # somebody stays in both
    rooms.add("chat-1", sized(90), 0.0, is_empty=False)

    rooms.sweep(1_000.0)
    rooms.add("chat-2", sized(90), 1_000.0, is_empty=False)

    assert rooms.since("chat-2", "e2", 0, 1_000.0) == [b"x" * 90]


# -- against a model --------------------------------------------------------------------------------------------------


class HistoriesMachine(RuleBasedStateMachine):
    """Everything that was ever said is in the model; a history tells a true end of it, or nothing."""

    MOST, KEEP, BYTES = 4, 10.0, 60

    def __init__(self) -> None:
        super().__init__()
        numbers = itertools.count(1)
        self.rooms = Histories({"*": (self.MOST, self.KEEP)}, self.BYTES, lambda: f"e{next(numbers)}")
        self.said: dict[str, list[tuple[float, bytes]]] = {}  # by epoch
        self.epoch_of: dict[str, str] = {}
        self.inside: set[str] = set()
        self.now = 0.0

    names = st.sampled_from(["a", "b", "c"])

    @rule(room=names)
    def enter(self, room: str) -> None:
        self.inside.add(room)
        history = self.rooms.enter(room)
        assert history is not None
        self.note(room)

    @rule(room=names)
    def rest(self, room: str) -> None:
        self.inside.discard(room)
        self.rooms.rest(room, self.now)

    @rule(room=names, size=st.sampled_from([4, 10, 25, 70]))
    def say(self, room: str, size: int) -> None:
        before = self.rooms._of.get(room)
        expected = before.offset + 1 if before is not None else 1
        got: list[int] = []

        def write(offset: int) -> bytes:
            got.append(offset)
            return f"{room}{self.now}#{offset}".encode().ljust(size, b"x")[:size]

        payload = self.rooms.add(room, write, self.now, is_empty=room not in self.inside)

        self.note(room)
        assert got == [expected]
        self.said[self.epoch_of[room]].append((self.now, payload))

    @rule(room=names, back=st.integers(-2, 7))
    def come_back(self, room: str, back: int) -> None:
        history = self.rooms._of.get(room)
        if history is None:
            assert self.rooms.since(room, "e1", 0, self.now) is None
            return
        said = self.said[history.epoch]
        offset = len(said) - back

        missed = self.rooms.since(room, history.epoch, offset, self.now)

        if missed is None:
            assert back != 0
        else:
            assert missed == [payload for _, payload in said[offset:]]
            assert len(missed) <= self.MOST
            assert all(self.now - when < self.KEEP for when, _ in said[offset:])

    @rule(seconds=st.sampled_from([0.5, 3.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def sweep(self) -> None:
        self.rooms.sweep(self.now)

    @invariant()
    def the_size_is_that_of_what_is_kept(self) -> None:
        kept = self.rooms._of.values()
        assert self.rooms.size == sum(history.size for history in kept) <= self.BYTES
        assert all(history.size == sum(len(payload) for _, payload in history._kept) for history in kept)

    @invariant()
    def who_is_not_inside_rests(self) -> None:
        assert set(self.rooms._of) - self.inside == set(self.rooms._resting)

    @invariant()
    def the_offset_is_the_number_of_messages(self) -> None:
        for history in self.rooms._of.values():
            assert history.offset == len(self.said[history.epoch])

    def note(self, room: str) -> None:
        """The room's history may be a new one."""
        epoch = self.rooms._of[room].epoch
        self.epoch_of[room] = epoch
        self.said.setdefault(epoch, [])


def test_whatever_is_said_a_history_tells_the_truth_or_nothing() -> None:
    options = settings(max_examples=80, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(HistoriesMachine, settings=options)
