"""What every engine promises, with real sockets and real brokers."""

from __future__ import annotations

import threading
import time

import pytest

from tests.scale import at_most
from tests.zephserver.core.cluster.conftest import PATIENCE, Bus, Node, joined
from zephserver.core.events import PeerDown, PeerUp
from zephserver.testing import wait_for, wait_until


def in_threads(node: Node, count: int, each: int) -> None:
    """Have threads say numbered events, all at once."""

    def say(thread: int) -> None:
        for number in range(each):
            node.cluster.say("news", [thread, number])

    threads = [threading.Thread(target=say, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_every_other_server_hears_an_event_and_the_one_that_says_it_does_not(bus: Bus) -> None:
    a, b, c = (bus.start(name) for name in "abc")
    joined(a, b, c)

    a.cluster.say("news", {"x": [1, "é"]})
    b.cluster.say("news", "done")

    assert c.wait_heard(2) == [{"x": [1, "é"]}, "done"] or c.heard == ["done", {"x": [1, "é"]}]
    assert b.wait_heard(1) == [{"x": [1, "é"]}]
    assert a.wait_heard(1) == ["done"]


def test_events_come_once_and_in_the_order_in_which_they_were_said(bus: Bus) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)

    for number in range(5_000):
        a.cluster.say("news", number)

    assert b.wait_last(4_999) == list(range(5_000))


def test_many_threads_may_say_at_once(bus: Bus) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)

    in_threads(a, 8, 500)

    heard = b.wait_heard(4_000)
    assert len(heard) == 4_000
    for thread in range(8):
        assert [number for who, number in heard if who == thread] == list(range(500))


def test_callbacks_run_in_the_cluster_thread(bus: Bus) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)
    threads: list[str] = []
    b.cluster.subscribe("where", lambda _: threads.append(threading.current_thread().name))

    a.cluster.say("where", None)

    wait_until(lambda: threads, timeout=PATIENCE)
    assert threads == ["cluster"]


@pytest.mark.parametrize("size", [3_000_000, 16_700_000])
def test_a_large_object_arrives_whole_and_in_its_turn(bus: Bus, size: int) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)

    a.cluster.say("news", "before")
    a.cluster.say("news", "x" * size)
    a.cluster.say("news", "behind")

    heard = b.wait_heard(3)
    assert [heard[0], heard[2]] == ["before", "behind"]
    assert heard[1] == "x" * size


def test_an_event_for_some_servers_reaches_only_those(bus: Bus) -> None:
    a, b, c = (bus.start(name) for name in "abc")
    joined(a, b, c)
    taken: dict[str, list[tuple[str, bytes]]] = {"b": [], "c": []}
    b.cluster.take("zephserver:x", lambda peer, payload: taken["b"].append((peer, payload)))
    c.cluster.take("zephserver:x", lambda peer, payload: taken["c"].append((peer, payload)))

    a.cluster.send("zephserver:x", b"\x00for b", to=["b"])
    a.cluster.send("zephserver:x", b"for both", to={"b", "c"})
    a.cluster.send("zephserver:x", b"for nobody", to=[])
    a.cluster.send("zephserver:x", b"for a stranger", to=["zoe"])
    a.cluster.say("news", "end")

    b.wait_heard(1)
    c.wait_heard(1)
    assert taken == {"b": [("a", b"\x00for b"), ("a", b"for both")], "c": [("a", b"for both")]}


def test_events_for_all_and_for_some_keep_their_order(bus: Bus) -> None:
    a, b, c = (bus.start(name) for name in "abc")
    joined(a, b, c)
    heard: dict[str, list[int]] = {"b": [], "c": []}
    for node, name in ((b, "b"), (c, "c")):
        node.cluster.take("zephserver:n", lambda _, payload, name=name: heard[name].append(int(payload)))

    for number in range(3_000):
        to = None if number % 3 == 0 else ["b"] if number % 3 == 1 else ["b", "c"]
        a.cluster.send("zephserver:n", b"%d" % number, to=to)
    a.cluster.say("news", "end")

    b.wait_heard(1)
    c.wait_heard(1)
    assert heard["b"] == list(range(3_000))
    assert heard["c"] == [number for number in range(3_000) if number % 3 != 1]


@pytest.mark.parametrize("topic", ["lobby", "räume/größe #1 > *", "x" * 300])
def test_what_is_said_on_a_topic_reaches_those_who_follow_it(bus: Bus, topic: str) -> None:
    a, b, c = (bus.start(name) for name in "abc")
    joined(a, b, c)
    taken: dict[str, list[bytes]] = {"b": [], "c": []}
    b.cluster.take("zephserver:t", lambda _, payload: taken["b"].append(payload))
    c.cluster.take("zephserver:t", lambda _, payload: taken["c"].append(payload))
    b.cluster.follow(topic)
    b.cluster.follow("another")
    b.cluster.say("news", "b follows")  # who hears this knows that what is sent from now on reaches b
    a.wait_heard(1)

    for number in range(100):
        a.cluster.send("zephserver:t", b"%d" % number, to=["b"], topic=topic)
    wait_until(lambda: len(taken["b"]) == 100, "the topic", timeout=PATIENCE)
    b.cluster.unfollow(topic)
    b.cluster.say("news", "b follows no more")
    a.wait_heard(2)
    a.cluster.send("zephserver:t", b"too late", to=[], topic=topic)
    a.cluster.send("zephserver:t", b"end", to=["b"], topic="another")

    wait_until(lambda: taken["b"][-1] == b"end", "the end", timeout=PATIENCE)
    assert taken == {"b": [*(b"%d" % number for number in range(100)), b"end"], "c": []}


def test_saying_something_to_a_server_that_is_not_there_does_not_wait(bus: Bus) -> None:
    a = bus.start("a")

    began = time.monotonic()
    for number in range(1_000):
        a.cluster.say("news", number)

    assert time.monotonic() - began < at_most(5.0)
    assert not a.sees("b")


def test_a_server_that_begins_later_gets_what_is_said_in_its_time(bus: Bus) -> None:
    a, c = bus.start("a"), bus.start("c")
    joined(a, c)
    a.cluster.say("news", "before")
    c.wait_heard(1)

    b = bus.start("b")
    joined(a, b)
    a.cluster.say("news", "after")

    assert b.wait_heard(1) == ["after"]
    assert b.engine.rows()[0]["lost"] == 0


def test_what_is_said_as_soon_as_a_server_has_come_reaches_it(bus: Bus) -> None:
    a = bus.start("a")
    a.cluster.watch(lambda peer, is_there: is_there and a.cluster.send("zephserver:hi", b"welcome", to=[peer]))
    a.cluster.watch(lambda peer, is_there: is_there and a.cluster.say("news", f"{peer} is here"))
    taken: list[bytes] = []

    b = Node(bus.engine("b"))
    b.cluster.take("zephserver:hi", lambda _, payload: taken.append(payload))
    b.cluster.start()
    try:
        heard = b.wait_heard(1)
    finally:
        b.cluster.stop()

    assert (heard, taken) == (["b is here"], [b"welcome"])


def test_a_server_that_comes_back_is_spoken_to_again(bus: Bus) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)

    b.cluster.say("news", "last words")
    b.cluster.stop()
    wait_for(a.bus, PeerDown, timeout=PATIENCE, peer="b", why="it said good-bye")
    again = bus.start("b")
    joined(a, again)
    a.cluster.say("news", "welcome back")
    again.cluster.say("news", "here I am")

    assert again.wait_heard(1) == ["welcome back"]
    assert a.wait_heard(2) == ["last words", "here I am"]


def test_a_server_that_is_silent_counts_as_gone_and_comes_back(bus: Bus, hurry: None) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)
    go_on = threading.Event()
    b.cluster.subscribe("hang", lambda _: go_on.wait(PATIENCE))

    a.cluster.say("hang", None)  # its thread stands still
    down = wait_for(a.bus, PeerDown, timeout=PATIENCE, peer="b")
    a.cluster.say("news", "while you were away")
    go_on.set()

    assert down.why.startswith("silent for ")
    assert b.wait_heard(1) == ["while you were away"]
    wait_until(lambda: a.sees("b"), timeout=PATIENCE)


def test_who_comes_and_goes_is_told_and_shown(bus: Bus) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)

    wait_for(a.bus, PeerUp, timeout=PATIENCE, peer="b")
    a.wait_connected()
    assert a.cluster.peers == {"b"}
    row = a.row("b")
    assert (row["up"], row["queued"], row["dropped"], row["lost"], row["problem"]) == (True, 0, 0, 0, "")
    assert row["silent"] < PATIENCE
    assert (a.cluster.state(), a.cluster.lost_for()) == ("", 0.0)


def test_nothing_is_heard_once_a_server_has_stopped(bus: Bus) -> None:
    a, b, c = (bus.start(name) for name in "abc")
    joined(a, b, c)

    b.cluster.stop()
    a.cluster.say("news", "too late for b")

    assert c.wait_heard(1) == ["too late for b"]
    assert b.heard == []
    b.cluster.say("news", "nobody hears this")  # and nobody is harmed
    b.cluster.stop()


def test_a_callback_that_raises_harms_nobody(bus: Bus) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)
    b.cluster.subscribe("news", lambda _: 1 / 0)

    a.cluster.say("news", 1)
    a.cluster.say("news", 2)

    assert b.wait_heard(2) == [1, 2]


def test_a_callback_may_say_something_itself(bus: Bus) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)
    b.cluster.subscribe("question", lambda number: b.cluster.say("news", number + 1))

    for number in range(100):
        a.cluster.say("question", number)

    assert a.wait_heard(100) == list(range(1, 101))


def test_a_server_of_a_cluster_that_nobody_else_joins_works_alone(bus: Bus) -> None:
    a = bus.start("a")

    a.cluster.say("news", 1)
    a.wait_connected()

    assert a.heard == []
    assert a.cluster.peers == frozenset()
