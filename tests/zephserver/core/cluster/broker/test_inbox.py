"""Where any thread leaves what the cluster thread is to do: bounded, counted, in order."""

from __future__ import annotations

from collections import Counter

from zephserver.core.cluster.broker.inbox import Inbox, Wish


def wish(number: int, to: list[str] | None = None, topic: str | None = None) -> Wish:
    return Wish("news", b"%d" % number, to, topic)


def test_everything_that_was_left_is_taken_at_once_and_whoever_waits_is_woken_once() -> None:
    woken: list[int] = []
    inbox = Inbox(10, 10_000, lambda: woken.append(1))
    assert inbox.take() is None

    inbox.publish(wish(1))
    inbox.follow("lobby", True)
    inbox.publish(wish(2, ["b"]))
    inbox.follow("garden", False)
    load = inbox.take()

    assert load is not None
    assert [left.payload for left in load.wishes] == [b"1", b"2"]
    assert load.topics == {"lobby": True, "garden": False}
    assert woken == [1]
    assert inbox.take() is None
    inbox.follow("lobby", False)
    assert woken == [1, 1]


def test_the_oldest_go_and_are_counted_by_whom_they_were_for() -> None:
    inbox = Inbox(2, 10_000, lambda: None)

    for left in (wish(1), wish(2, ["b", "c"]), wish(3, ["b"]), wish(4, topic="lobby"), wish(5), wish(6)):
        inbox.publish(left)
    load = inbox.take()

    assert load is not None
    assert [left.payload for left in load.wishes] == [b"5", b"6"]
    assert (load.dropped, load.dropped_to) == (1, Counter({"b": 2, "c": 1}))


def test_it_is_bounded_in_bytes_but_for_a_single_event() -> None:
    inbox = Inbox(100, 1_000, lambda: None)

    for _ in range(3):
        inbox.publish(Wish("news", b"x" * 5_000, None, None))
    load = inbox.take()

    assert load is not None
    assert (len(load.wishes), load.dropped) == (1, 2)
