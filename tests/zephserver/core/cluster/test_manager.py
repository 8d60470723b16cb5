"""say, subscribe and unsubscribe, on a cluster of two that is made up."""

from __future__ import annotations

import math
from typing import Any

import pytest

from zephserver.core.bus import EventBus
from zephserver.core.cluster.engine import Deliver
from zephserver.core.cluster.local import LocalEngine
from zephserver.core.cluster.manager import ClusterManager
from zephserver.core.errors import ClusterError
from zephserver.core.events import SubscriberFailed
from zephserver.testing import wait_for


class Wire:
    """An engine that hands what one manager says to the other."""

    name = "wire"

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []
        self.others: list[Deliver] = []
        self.deliver: Deliver | None = None

    def start(self, deliver: Deliver) -> None:
        self.deliver = deliver

    def publish(self, event: str, payload: bytes) -> None:
        self.said.append((event, payload))
        for deliver in self.others:
            deliver(event, payload)

    def stop(self) -> None:
        self.deliver = None


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
    assert there.deliver is not None
    here.others.append(there.deliver)
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

    assert second._engine.deliver is None  # type: ignore[attr-defined]
    assert second.engine == "wire"
