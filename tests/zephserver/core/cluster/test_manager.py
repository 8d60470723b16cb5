"""say, subscribe and unsubscribe, on a cluster of two that is made up."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import pytest

from zephserver.core.bus import EventBus
from zephserver.core.cluster.engine import Listener
from zephserver.core.cluster.local import LocalEngine
from zephserver.core.cluster.manager import ClusterManager
from zephserver.core.errors import ClusterError
from zephserver.core.events import ClusterGap, PeerDown, SubscriberFailed
from zephserver.testing import wait_for


class Wire:
    """An engine that hands what one manager says to the other."""

    name = "wire"

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []
        self.others: list[Listener] = []
        self.listener: Listener | None = None

    def start(self, listener: Listener) -> None:
        self.listener = listener

    def publish(self, event: str, payload: bytes, to: Collection[str] | None = None, topic: str | None = None) -> None:
        self.said.append((event, payload))
        for listener in self.others:
            listener.heard("here", event, payload)

    def follow(self, topic: str) -> None:
        pass

    def unfollow(self, topic: str) -> None:
        pass

    def rows(self) -> list[dict[str, Any]]:
        return []

    def state(self) -> str:
        return ""

    def lost_for(self) -> float:
        return 0.0

    def stop(self) -> None:
        self.listener = None


@pytest.fixture
def bus() -> EventBus:
    """The events of the second server."""
    return EventBus()


@pytest.fixture
def pair(bus: EventBus) -> tuple[ClusterManager, ClusterManager, Wire]:
    """Two servers; the first one's engine."""
    here, there = Wire(), Wire()
    first, second = ClusterManager(here, EventBus()), ClusterManager(there, bus)
    first.start()
    second.start()
    assert there.listener is not None
    here.others.append(there.listener)
    return first, second, here


Pair = tuple[ClusterManager, ClusterManager, Wire]


def test_saying_triggers_the_event_on_the_other_server_and_not_here(pair: Pair) -> None:
    first, second, _ = pair
    heard: list[Any] = []
    here: list[Any] = []
    first.subscribe("news", here.append)
    second.subscribe("news", heard.append)

    first.say("news", {"a": [1, "ü", None]})

    assert heard == [{"a": [1, "ü", None]}]
    assert here == []


def test_only_those_who_subscribed_to_the_event_hear_it(pair: Pair) -> None:
    first, second, _ = pair
    heard: list[Any] = []
    second.subscribe("other", heard.append)

    first.say("news", 1)

    assert heard == []


def test_who_subscribed_twice_is_called_twice_and_unsubscribing_undoes_one(pair: Pair) -> None:
    first, second, _ = pair
    heard: list[Any] = []
    function = heard.append
    second.subscribe("news", function)
    second.subscribe("news", function)
    first.say("news", 1)

    second.unsubscribe("news", function)
    first.say("news", 2)
    second.unsubscribe("news", function)
    first.say("news", 3)

    assert heard == [1, 1, 2]


def test_unsubscribing_what_was_never_subscribed_is_ignored(pair: Pair) -> None:
    _, second, _ = pair
    second.subscribe("news", print)

    second.unsubscribe("news", len)
    second.unsubscribe("nothing", len)

    second.unsubscribe("news", print)
    assert second._subscribers == {}


def test_each_subscriber_gets_a_copy_of_its_own(pair: Pair) -> None:
    first, second, _ = pair
    heard: list[Any] = []
    second.subscribe("news", lambda obj: obj.clear())
    second.subscribe("news", heard.append)

    first.say("news", [1, 2])

    assert heard == [[1, 2]]


def test_a_subscriber_that_raises_harms_no_other_and_is_told_of(pair: Pair, bus: EventBus) -> None:
    first, second, _ = pair
    heard: list[Any] = []

    def explode(obj: object) -> None:
        raise ValueError("no")

    second.subscribe("news", explode)
    second.subscribe("news", heard.append)

    first.say("news", 1)

    assert heard == [1]
    event = wait_for(bus, SubscriberFailed)
    assert (event.event, event.error) == ("news", "ValueError('no')")
    assert "in explode" in event.traceback


def loop() -> list[Any]:
    """A list that contains itself."""
    some: list[Any] = []
    some.append(some)
    return some


@pytest.mark.parametrize("obj", [object(), {1, 2}, b"bytes", math.nan, loop(), {(1, 2): 3}])
def test_what_json_cannot_carry_is_refused_also_without_a_cluster(obj: object) -> None:
    lone = ClusterManager(LocalEngine(), EventBus())

    with pytest.raises(ClusterError, match="event 'news': the object cannot be written as JSON"):
        lone.say("news", obj)


@pytest.mark.parametrize("event", ["", None, 3, b"news"])
def test_an_event_has_a_name(event: Any) -> None:
    with pytest.raises(ClusterError, match="the name of an event is a text"):
        ClusterManager(LocalEngine(), EventBus()).say(event, 1)


def test_an_object_that_is_too_large_is_refused() -> None:
    small = ClusterManager(LocalEngine(), EventBus(), longest=10)
    small.say("news", "12345678")

    with pytest.raises(ClusterError, match="the object has 11 bytes, at most 10 are sent"):
        small.say("news", "123456789")


def test_only_what_can_be_called_is_subscribed() -> None:
    with pytest.raises(ClusterError, match="cannot be called"):
        ClusterManager(LocalEngine(), EventBus()).subscribe("news", "print")  # type: ignore[arg-type]


def test_a_lone_server_says_to_nobody_and_succeeds() -> None:
    lone = ClusterManager(LocalEngine(), EventBus())
    lone.start()
    heard: list[Any] = []
    lone.subscribe("news", heard.append)

    lone.say("news", 1)

    assert heard == []
    assert lone.engine == "local"
    lone.stop()


def test_nothing_is_heard_after_stopping(pair: Pair) -> None:
    _, second, _ = pair

    second.stop()

    assert second._engine.listener is None  # type: ignore[attr-defined]
    assert second.engine == "wire"


# -- what zephserver itself sends ---------------------------------------------------------------------------------


def test_what_is_sent_as_bytes_is_taken_as_they_are_with_the_name_of_the_sender(pair: Pair) -> None:
    first, second, _ = pair
    taken: list[tuple[str, bytes]] = []
    second.take("zephserver:x", lambda peer, payload: taken.append((peer, payload)))

    first.send("zephserver:x", b"\x00no json")
    second.take("zephserver:x", None)
    first.send("zephserver:x", b"nobody takes this")

    assert taken == [("here", b"\x00no json")]


def test_names_of_zephservers_own_events_cannot_be_said(pair: Pair) -> None:
    first, _, _ = pair

    with pytest.raises(ClusterError, match="event 'zephserver:x': names with 'zephserver:' are zephserver's own"):
        first.say("zephserver:x", 1)


def test_who_watches_is_told_of_servers_that_come_and_go(pair: Pair, bus: EventBus) -> None:
    _, second, _ = pair
    seen: list[tuple[str, bool, frozenset[str]]] = []

    def watch(peer: str, is_there: bool) -> None:
        seen.append((peer, is_there, second.peers))

    second.watch(watch)
    second.came("here")
    second.came("here")  # a new life
    second.went("here", "it said good-bye")
    second.unwatch(watch)
    second.came("here")

    assert seen == [
        ("here", True, frozenset({"here"})),
        ("here", True, frozenset({"here"})),
        ("here", False, frozenset()),
    ]
    assert wait_for(bus, PeerDown).why == "it said good-bye"


def test_a_watcher_that_raises_is_told_and_harms_no_other(pair: Pair, bus: EventBus) -> None:
    _, second, _ = pair
    seen: list[str] = []
    second.watch(lambda peer, is_there: 1 / 0)
    second.watch(lambda peer, is_there: seen.append(peer))

    second.came("here")

    assert seen == ["here"]
    assert "ZeroDivisionError" in wait_for(bus, SubscriberFailed).error


def test_events_that_will_never_come_are_told(pair: Pair, bus: EventBus) -> None:
    _, second, _ = pair

    second.lost("here", 7)

    assert wait_for(bus, ClusterGap).lost == 7


def test_another_version_of_what_is_taken_is_told_once(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    first, second, _ = pair
    first.send("zephserver:rooms 2", b"")
    assert caplog.messages == []  # there are no rooms here, so nothing is missing

    second.take("zephserver:rooms 1", lambda peer, payload: None)
    for _ in range(3):
        first.send("zephserver:rooms 2", b"")
        first.send("zephserver:rooms 1", b"")
        first.send("zephserver:other 2", b"")

    assert caplog.messages == [
        "server here says 'zephserver:rooms 2', and this one understands 'zephserver:rooms 1': they share no rooms and "
        "users; run the same version of zephserver on both"
    ]
