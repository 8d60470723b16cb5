"""Servers on a bus that loses, doubles and shuffles: nothing twice, nothing out of order, every gap is told."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zephserver.core.cluster.broker import node as broker_node
from zephserver.core.cluster.broker.node import Node
from zephserver.core.cluster.broker.transport import Message, Where

NAMES = ("a", "b", "c")
LIMIT = 2_000  # bytes of a message: some events have to be cut


class Ears:
    """The listener of one server: what it was told, by peer."""

    def __init__(self) -> None:
        self.heard: dict[str, list[int]] = defaultdict(list)
        self.lost_of: dict[str, int] = defaultdict(int)
        self.up: set[str] = set()

    def heard_(self, peer: str, event: str, payload: bytes) -> None:
        self.heard[peer].append(int(payload.split()[0]))

    def came(self, peer: str) -> None:
        self.up.add(peer)

    def went(self, peer: str, why: str) -> None:
        self.up.discard(peer)

    def lost(self, peer: str, count: int) -> None:
        self.lost_of[peer] += count


class _Listener:
    """Ears under the names that an engine calls."""

    def __init__(self, ears: Ears) -> None:
        self.heard, self.came, self.went, self.lost = ears.heard_, ears.came, ears.went, ears.lost


class World:
    """Three servers, and a bus whose every queue may be cut, doubled and shuffled. Time moves when it is told to."""

    def __init__(self, seed: int, most: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.ears = {name: Ears() for name in NAMES}
        self.nodes = {
            name: Node(name, f"life of {name}", _Listener(self.ears[name]), most=most, max_bytes=1_000_000)
            for name in NAMES
        }
        self.queues: dict[str, list[bytes]] = {name: [] for name in NAMES}
        self.said = 0
        self.due: dict[tuple[str, str], list[int]] = defaultdict(list)  # (sayer, hearer) -> what was said for it
        for name in NAMES:
            self.nodes[name].connected(self.now)

    def say(self, name: str, to: list[str] | None) -> None:
        """Have a server say the next number, sometimes a long one."""
        self.said += 1
        payload = b"%d " % self.said + b"x" * self.chance.choice([0, 0, 0, 5_000])
        known = {peer.name for peer in self.nodes[name].peers.values() if peer.life}
        self.nodes[name].say("e", payload, to)
        for other in NAMES:
            if other != name and other in known and (to is None or other in to):
                self.due[name, other].append(self.said)

    def send(self, name: str, *, accepted: bool = True) -> None:
        """Have a server hand its messages to the bus; what is not accepted may be there all the same, or in part."""
        node = self.nodes[name]
        messages = node.messages(self.chance.choice([500, 5_000, 50_000]), LIMIT)
        if accepted:
            node.accepted()
        else:
            messages = messages[: self.chance.randrange(len(messages) + 1)]
        for message in messages:
            for other in self._receivers(name, message):
                self.queues[other].append(message.data)
        if not accepted:
            node.disconnected()
            node.connected(self.now)

    def deliver(self, name: str, count: int) -> None:
        """Have a server hear what is next in its queue."""
        queue = self.queues[name]
        for data in queue[:count]:
            self.nodes[name].receive(data, self.now)
        del queue[:count]

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for node in self.nodes.values():
            node.tick(self.now)

    def settle(self) -> None:
        """Let everything arrive, for as long as it takes."""
        quiet = 0
        for _ in range(400):
            self.pass_time(0.5)
            for _ in range(8):
                for name in NAMES:
                    self.send(name)
                for name in NAMES:
                    self.deliver(name, len(self.queues[name]))
            quiet = quiet + 1 if self._is_at_peace() else 0
            if quiet > 4:
                return
        raise AssertionError("something is still missed after all that time")

    def _is_at_peace(self) -> bool:
        peers = [peer for node in self.nodes.values() for peer in node.peers.values()]
        waiting = [node.waiting for node in self.nodes.values()]
        all_up = len(peers) == len(NAMES) * (len(NAMES) - 1) and all(peer.is_up for peer in peers)
        return all_up and not any(peer.inbound.is_behind for peer in peers) and all(w == ((0, 0), {}) for w in waiting)

    @staticmethod
    def _receivers(name: str, message: Message) -> list[str]:
        if message.where is Where.NODE:
            return [message.name]
        return [other for other in NAMES if other != name]


def check(world: World) -> None:
    for hearer in NAMES:
        for sayer in NAMES:
            if hearer == sayer:
                continue
            heard, due = world.ears[hearer].heard[sayer], world.due[sayer, hearer]
            assert len(heard) == len(set(heard)), "something came twice"
            assert heard == sorted(heard), "something came out of order"
            assert set(heard) <= set(due), "something came that was not for it"
            assert len(heard) + world.ears[hearer].lost_of[sayer] == len(due), "a gap was not told"


@given(st.integers(0, 2**32), st.sampled_from([5, 50, 1_000]))
@example(seed=0, most=5)
def test_whatever_the_bus_does_every_event_comes_once_in_order_or_is_counted(seed: int, most: int) -> None:
    world = World(seed, most)
    world.settle()
    assert all(world.ears[name].up == set(NAMES) - {name} for name in NAMES)
    chance = world.chance

    for _ in range(150):
        name = chance.choice(NAMES)
        others = [other for other in NAMES if other != name]
        queue = world.queues[name]
        match chance.choice(
            ["say", "say", "say", "send", "send", "break", "hear", "hear", "lose", "double", "swap", "time"]
        ):
            case "say":
                world.say(name, chance.choice([None, None, others, [chance.choice(others)]]))
            case "send":
                world.send(name)
            case "break":
                world.send(name, accepted=False)
            case "hear":
                world.deliver(name, chance.randrange(8))
            case "lose":
                del queue[: chance.randrange(len(queue) + 1)]
            case "double" if queue:
                queue.insert(chance.randrange(len(queue) + 1), chance.choice(queue))
            case "swap" if queue:
                queue.append(queue.pop(chance.randrange(len(queue))))
            case "time":
                world.pass_time(chance.choice([0.1, 1.0]))
    world.settle()

    check(world)


@pytest.mark.parametrize("most", [10, 1_000])
def test_a_burst_that_does_not_fit_is_counted_by_everybody(most: int) -> None:
    world = World(1, most)
    world.settle()

    for _ in range(100):
        world.say("a", None)
        world.say("a", ["b"])
    world.settle()

    check(world)
    dropped = [world.nodes["a"].dropped(world.nodes["a"].peers[name]) for name in "bc"]
    assert dropped == [world.ears[name].lost_of["a"] for name in "bc"]
    assert (sum(dropped) > 0) == (most == 10)


def test_what_was_dropped_before_it_was_numbered_is_counted_too() -> None:
    world = World(1, 100)
    world.settle()
    world.say("a", None)

    world.nodes["a"].skip(3, {"b": 2, "nobody": 9})
    world.say("a", None)
    world.settle()

    assert {name: world.ears[name].lost_of["a"] for name in "bc"} == {"b": 6, "c": 4}
    assert world.ears["b"].heard["a"] == world.ears["c"].heard["a"] == [2]


def test_a_server_that_is_silent_has_gone_and_comes_back_where_it_was() -> None:
    world = World(2, 100)
    world.settle()
    world.say("a", None)
    world.settle()
    world.say("a", None)
    world.send("a")
    world.queues["b"].clear()

    for _ in range(8):  # nobody hears anything
        world.pass_time(1.0)
        for name in NAMES:
            world.nodes[name].messages(10_000, LIMIT)
            world.nodes[name].accepted()
    gone = {name: set(world.ears[name].up) for name in NAMES}
    world.settle()

    assert gone == {"a": set(), "b": set(), "c": set()}
    assert world.ears["b"].up == {"a", "c"}
    check(world)
    assert world.ears["b"].heard["a"] == [1, 2]


def test_a_server_that_begins_a_new_life_gets_what_is_said_from_then_on() -> None:
    world = World(3, 100)
    world.settle()
    for _ in range(3):
        world.say("a", None)
    ears: Any = Ears()
    world.nodes["b"] = Node("b", "another life of b", _Listener(ears), most=100, max_bytes=1_000_000)

    world.settle()
    world.say("a", ["b"])
    world.say("a", None)
    world.settle()

    assert ears.heard["a"] == [4, 5]
    assert ears.lost_of == {}


def test_a_burst_of_requests_is_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who misses something asks again less and less often, so that a slow bus is not made slower."""
    monkeypatch.setattr(broker_node, "SILENCE", 1e9)
    world = World(4, 100)
    world.settle()
    world.say("a", None)
    world.send("a")
    world.queues["b"].clear()
    node, asked = world.nodes["b"], 0
    world.pass_time(1.0)
    world.send("a")
    world.deliver("b", 99)  # the sign of life tells that something is missing

    for _ in range(400):
        world.now += 0.1
        node.tick(world.now)
        asked += sum(b'"t":"again"' in message.data for message in node.messages(1_000, LIMIT))

    assert 4 <= asked <= 7
