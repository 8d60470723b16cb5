"""One stream of events, in one order for all of its readers."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from zephserver.core.bus import EventBus
from zephserver.core.events import Event, ReaderDropped
from zephserver.testing import FakeClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Said(Event):
    """Somebody said a number."""

    number: int = 0

    def __str__(self) -> str:
        return f"said {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whispered(Said):
    """In a low voice."""

    level: ClassVar[int] = logging.DEBUG


@pytest.fixture
def bus() -> EventBus:
    """A bus at second 1,000."""
    return EventBus(FakeClock(1_000.0), recent=5)


def numbers(events: list[Any]) -> list[int]:
    return [event.number for event in events if isinstance(event, Said)]


def test_events_are_stamped_with_their_number_and_time(bus: EventBus) -> None:
    seen: list[Event] = []
    bus.subscribe(seen.append)

    bus.publish(Said(number=1))
    bus.publish(Said(number=2))

    assert [(event.seq, event.at) for event in seen] == [(1, 1_000.0), (2, 1_000.0)]
    assert bus.journal.after(0)[0] == seen


def test_a_reader_gets_the_kinds_it_asked_for_and_their_heirs(bus: EventBus) -> None:
    said: list[Event] = []
    dropped: list[Event] = []
    bus.subscribe(said.append, Said)
    bus.subscribe(dropped.append, ReaderDropped, Whispered)

    bus.publish(Said())
    bus.publish(Whispered())

    assert [type(event) for event in said] == [Said, Whispered]
    assert [type(event) for event in dropped] == [Whispered]


def test_a_reader_gets_no_event_below_its_floor(bus: EventBus) -> None:
    seen: list[Event] = []
    bus.subscribe(seen.append, floor=logging.INFO)

    bus.publish(Whispered())
    bus.publish(Said())

    assert [type(event) for event in seen] == [Said]


def test_a_reader_that_left_is_not_called_any_more(bus: EventBus) -> None:
    seen: list[Event] = []
    with bus.subscribe(seen.append):
        bus.publish(Said(number=1))

    bus.publish(Said(number=2))

    assert numbers(seen) == [1]


def test_the_past_comes_first_with_replay(bus: EventBus) -> None:
    bus.publish(Said(number=1))
    bus.publish(Whispered(number=2))
    seen: list[Event] = []

    bus.subscribe(seen.append, replay=True, floor=logging.INFO)
    bus.publish(Said(number=3))

    assert numbers(seen) == [1, 3]


def test_nothing_is_missed_or_seen_twice_by_a_reader_that_comes_in_between(bus: EventBus) -> None:
    late: list[Event] = []

    def invite(event: Event) -> None:
        if numbers([event]) == [1]:
            bus.post(Said(number=2))  # queued, not delivered yet
            bus.subscribe(late.append, replay=True)

    bus.subscribe(invite)
    bus.publish(Said(number=1))

    assert numbers(late) == [1, 2]


def test_more_may_be_queued_than_the_journal_remembers(bus: EventBus) -> None:
    for number in range(8):
        bus.post(Said(number=number))
    seen: list[Event] = []
    bus.subscribe(seen.append, replay=True)

    bus.deliver()

    assert numbers(seen) == list(range(8))


def test_events_published_by_a_reader_come_after_the_one_it_reads(bus: EventBus) -> None:
    order: list[tuple[str, int]] = []

    def first(event: Event) -> None:
        if isinstance(event, Said):
            order.append(("first", event.number))
            if event.number == 1:
                bus.publish(Said(number=2))

    bus.subscribe(first)
    bus.subscribe(lambda event: order.append(("second", *numbers([event]))))  # type: ignore[arg-type]
    bus.publish(Said(number=1))

    assert order == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]


def test_a_reader_that_raises_is_let_go_and_told_of_and_the_others_go_on(bus: EventBus) -> None:
    seen: list[Event] = []

    def bad(event: Event) -> None:
        raise ValueError("no")

    bus.subscribe(bad)
    bus.subscribe(seen.append)

    bus.publish(Said(number=1))
    bus.publish(Said(number=2))

    assert numbers(seen) == [1, 2]
    dropped = [event for event in seen if isinstance(event, ReaderDropped)]
    assert len(dropped) == 1
    assert dropped[0].error == "ValueError('no')"
    assert "bad" in dropped[0].reader


def test_an_exit_in_a_reader_goes_through_and_blocks_nobody_after_it(bus: EventBus) -> None:
    seen: list[Event] = []

    def leave(event: Event) -> None:
        if numbers([event]) == [1]:
            raise SystemExit(3)

    bus.subscribe(leave)
    bus.subscribe(seen.append)
    with pytest.raises(SystemExit):
        bus.publish(Said(number=1))

    bus.publish(Said(number=2))

    assert numbers(seen) == [2]


def test_all_readers_see_one_order_whoever_publishes() -> None:
    bus = EventBus(FakeClock(), recent=10_000)
    one: list[Event] = []
    other: list[Event] = []
    bus.subscribe(one.append)
    bus.subscribe(other.append)

    def publish(first: int) -> None:
        for number in range(first, first + 200):
            bus.publish(Said(number=number))

    threads = [threading.Thread(target=publish, args=(1_000 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert [event.seq for event in one] == list(range(1, 1_601))
    assert other == one


def test_posting_calls_nobody_until_it_is_delivered(bus: EventBus) -> None:
    seen: list[Event] = []
    bus.subscribe(seen.append)

    bus.post(Said(number=1))
    assert seen == []
    bus.deliver()

    assert numbers(seen) == [1]


def test_a_busy_place_can_ask_whether_anybody_wants_a_kind(bus: EventBus) -> None:
    assert not bus.wants(Said)
    quiet = bus.subscribe(print, Whispered, floor=logging.INFO)
    assert not bus.wants(Whispered)

    reader = bus.subscribe(print, Said)

    assert bus.wants(Said)
    assert bus.wants(Whispered)
    assert not bus.wants(ReaderDropped)
    reader.close()
    assert not bus.wants(Said)
    quiet.close()


def test_a_reader_that_comes_while_somebody_asks_is_not_overlooked(bus: EventBus) -> None:
    class Inviting(type):
        def __subclasscheck__(cls, kind: type) -> bool:
            if not invited:  # as another thread might, between the question and the answer
                invited.append(bus.subscribe(print, Said))
            return False

    invited: list[object] = []
    bus.subscribe(print, Inviting("Odd", (), {}))

    bus.wants(Said)

    assert bus.wants(Said)
