"""The numbers of one direction between two servers: nothing twice, nothing out of order, no gap that is not told."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zephserver.core.cluster.mesh.link import Inbound, Item, Outbound, Verdict, cut

PLENTY = 1_000_000


def numbers(items: list[Item]) -> list[int]:
    return [item.number for item in items]


def saying(*events: str, most: int = 100, max_bytes: int = PLENTY) -> Outbound:
    """A direction in which these events were said, one a second."""
    out = Outbound(most, max_bytes)
    for second, event in enumerate(events):
        out.say(event, b"x", float(second))
    return out


def test_events_are_handed_out_once_and_in_order() -> None:
    out = saying("a", "b")

    first = out.take(PLENTY)
    out.say("c", b"", 9.0)
    second = out.take(PLENTY)

    assert [(item.number, item.event, item.payload) for item in first] == [(1, "a", b"x"), (2, "b", b"x")]
    assert numbers(second) == [3]
    assert out.take(PLENTY) == []


def test_what_was_acknowledged_is_forgotten() -> None:
    out = saying("a", "b", "c")
    out.take(PLENTY)

    out.acknowledged(2)

    assert (len(out), out.oldest, out.dropped) == (1, 3, 0)
    assert out.size == 1 + 1 + 64


def test_no_more_is_under_way_than_the_window() -> None:
    out = saying(*"abcdef")

    first = out.take(2 * 66)
    out.acknowledged(1)
    second = out.take(2 * 66)

    assert (numbers(first), numbers(second)) == ([1, 2], [3])


def test_after_an_outage_what_was_not_heard_is_said_again() -> None:
    out = saying("a", "b", "c")
    out.take(PLENTY)

    out.resume(1)

    assert numbers(out.take(PLENTY)) == [2, 3]


@pytest.mark.parametrize(("since", "expected", "dropped"), [(0.0, [1, 2, 3], 0), (1.0, [2, 3], 1), (9.0, [], 3)])
def test_a_server_that_has_just_begun_gets_what_was_said_in_its_time(
    since: float, expected: list[int], dropped: int
) -> None:
    out = saying("a", "b", "c")

    out.resume(0, since=since)

    assert numbers(out.take(PLENTY)) == expected
    assert out.dropped == dropped


def test_what_was_said_before_a_server_was_there_at_all_is_nothing_that_it_missed() -> None:
    out = saying("a", "b", "c")

    out.resume(0, since=1.0, is_first=True)

    assert numbers(out.take(PLENTY)) == [2, 3]
    assert out.dropped == 0


@pytest.mark.parametrize(("most", "max_bytes"), [(2, PLENTY), (100, 2 * 66)])
def test_the_oldest_go_when_too_much_waits(most: int, max_bytes: int) -> None:
    out = saying("a", "b", "c", "d", most=most, max_bytes=max_bytes)

    assert (out.oldest, out.dropped) == (3, 2)
    assert numbers(out.take(PLENTY)) == [3, 4]


def test_one_event_is_kept_however_large_it_is() -> None:
    out = Outbound(10, 100)

    out.say("large", b"x" * 1_000, 0.0)

    assert numbers(out.take(PLENTY)) == [1]


def test_the_next_number_is_the_oldest_when_nothing_waits() -> None:
    out = saying("a")
    out.acknowledged(1)

    assert out.oldest == 2


def test_the_first_event_that_comes_may_have_any_number() -> None:
    assert Inbound("boot").take(7, 7) == (Verdict.NEW, 0)


def test_an_event_is_taken_once() -> None:
    inbound = Inbound("boot")

    verdicts = [inbound.take(number, 1)[0] for number in (1, 2, 2, 1, 3)]

    assert verdicts == [Verdict.NEW, Verdict.NEW, Verdict.KNOWN, Verdict.KNOWN, Verdict.NEW]


def test_an_event_is_early_when_the_sender_still_has_the_one_before_it() -> None:
    inbound = Inbound("boot")
    inbound.take(1, 1)

    assert inbound.take(3, 1) == (Verdict.EARLY, 0)
    assert inbound.take(3, 2) == (Verdict.EARLY, 0)
    assert inbound.heard == 1


def test_what_the_sender_does_not_have_any_more_is_lost_and_counted() -> None:
    inbound = Inbound("boot")
    inbound.take(1, 1)

    assert inbound.take(5, 5) == (Verdict.NEW, 3)
    assert inbound.lost == 3


def test_the_first_event_is_early_when_the_sender_has_older_ones() -> None:
    assert Inbound("boot").take(5, 3) == (Verdict.EARLY, 0)


@given(st.integers(0, 2**32))
def test_whatever_the_wire_does_every_event_comes_once_in_order_or_is_counted(seed: int) -> None:
    chance = random.Random(seed)
    out, inbound = Outbound(20, PLENTY), Inbound("boot")
    said, heard, lost = 0, [], 0

    def deliver(items: list[Item], oldest: int) -> None:
        nonlocal lost
        for item in items:
            verdict, gap = inbound.take(item.number, oldest)
            if verdict is Verdict.EARLY:
                out.resume(oldest - 1 if inbound.heard is None else inbound.heard)
                return
            lost += gap
            if verdict is Verdict.NEW:
                heard.append(item.number)

    for _ in range(200):
        match chance.choice(["say", "say", "send", "lose", "cut", "acknowledge"]):
            case "say":
                said += 1
                out.say("e", b"", 0.0)
            case "send":
                deliver(out.take(PLENTY), out.oldest)
            case "lose":  # the connection was reset, and what was in it is gone
                out.take(PLENTY)
            case "cut":
                if inbound.heard is not None:
                    out.resume(inbound.heard)
            case "acknowledge":
                if inbound.heard is not None:
                    out.acknowledged(inbound.heard)
    out.resume(inbound.heard or 0)
    deliver(out.take(PLENTY), out.oldest)

    first = heard[0] if heard else said + 1
    assert heard == sorted(set(heard))
    assert len(heard) + lost + first - 1 == said
    assert lost == inbound.lost


def test_the_lag_is_the_age_of_the_first_event_that_is_kept() -> None:
    out = Outbound(10, 1_000)

    assert out.lag(5.0) == 0.0
    out.say("a", b"", 1.0)
    out.say("b", b"", 4.0)
    assert out.lag(5.0) == 4.0
    out.acknowledged(1)
    assert out.lag(5.0) == 1.0


def test_many_events_are_heard_at_once_when_they_are_just_the_next_ones() -> None:
    inbound = Inbound("life")
    assert not inbound.take_all(1, 1)  # it is not known yet where to begin
    inbound.take(1, 1)

    assert not inbound.take_all(1, 2)
    assert not inbound.take_all(3, 2)
    assert inbound.take_all(2, 3)

    assert inbound.heard == 4
    assert inbound.take(4, 1) == (Verdict.KNOWN, 0)


def test_the_events_of_a_message_are_cut_out_of_its_body() -> None:
    assert cut(["a", "b", "c"], [1, 0, 2], b"xyz") == [("a", b"x"), ("b", b""), ("c", b"yz")]
    assert cut([], [], b"") == []


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        ("ab", [1, 1]),
        (["a", "b"], "11"),
        (["a"], [1, 1]),
        (["a", 1], [1, 1]),
        (["a", "b"], [1, True]),
        (["a", "b"], [3, -1]),
        (["a", "b"], [1, 2]),
        (["a", "b"], [1, 0]),
    ],
)
def test_what_does_not_fit_together_is_not_cut(names: Any, sizes: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which of its sentences is all the same
        cut(names, sizes, b"xy")
