"""One server on a bus, message by message: who is new, who has gone, and what is none of ours."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from zephserver.core.cluster.broker import frames
from zephserver.core.cluster.broker import node as broker_node
from zephserver.core.cluster.broker.inbound import Heard, Inbound
from zephserver.core.cluster.broker.node import FORGET, SILENCE, Node
from zephserver.core.cluster.broker.outbound import Outbound
from zephserver.core.cluster.broker.ring import Ring
from zephserver.core.cluster.broker.transport import Where


class Told:
    """A listener that writes down what it is told."""

    def __init__(self) -> None:
        self.facts: list[tuple[Any, ...]] = []
        self.answer: str | None = ""

    def heard(self, peer: str, event: str, payload: bytes) -> None:
        self.facts.append(("heard", peer, payload))

    def came(self, peer: str) -> None:
        self.facts.append(("came", peer))

    def went(self, peer: str, why: str) -> None:
        self.facts.append(("went", peer, why))

    def lost(self, peer: str, count: int) -> None:
        self.facts.append(("lost", peer, count))

    def asked(self, command: str, args: bytes) -> str | None:
        self.facts.append(("asked", command, args))
        return self.answer


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def node(told: Told) -> Node:
    """Server a, which has just found its bus."""
    node = Node("a", "life of a", told, most=10, max_bytes=10_000)
    node.connected(0.0)
    return node


def of(name: str, kind: str, body: bytes = b"", life: str = "1", **more: Any) -> bytes:
    return frames.pack({"f": name, "l": life, "t": kind, **more}, [body])


def hello(name: str, life: str = "1") -> bytes:
    return of(name, "hello", a=0, d={}, life=life)


def sent(node: Node) -> list[tuple[Where, str, dict[str, Any]]]:
    """What it has to say now."""
    found = [(message.where, message.name, frames.unpack(message.data)[0]) for message in node.messages(1_000, 10_000)]
    node.accepted()
    return found


def kinds(node: Node) -> list[str]:
    return [head["t"] for _, _, head in sent(node)]


def test_who_is_new_is_told_from_where_on_events_are_for_it(node: Node, told: Told) -> None:
    node.say("e", b"1", None)

    node.receive(hello("b"), 1.0)

    assert told.facts == [("came", "b")]
    welcome = next(head for _, name, head in sent(node) if (name, head["t"]) == ("b", "welcome"))
    assert welcome["b"] == [1, 0]


def test_events_wait_until_it_is_known_from_where_on_they_are_for_us(node: Node, told: Told) -> None:
    node.receive(of("b", "all", b"xyz", s=5, e=[["e", 1], ["e", 1], ["e", 1]]), 1.0)
    before = list(told.facts)
    node.receive(of("b", "welcome", b=[5, 0]), 1.0)

    assert before == [("came", "b")]
    assert told.facts[1:] == [("heard", "b", b"y"), ("heard", "b", b"z")]


def test_who_was_not_welcomed_asks(node: Node) -> None:
    node.receive(hello("b"), 1.0)
    assert kinds(node) == ["welcome"]

    node.tick(1.0)
    node.tick(1.5)

    assert "who" in kinds(node)
    node.receive(of("b", "who"), 2.0)
    assert kinds(node) == ["welcome"]


def test_what_is_for_a_server_that_nobody_knows_is_for_nobody(node: Node) -> None:
    node.say("e", b"1", ["b"])

    assert node.waiting == ((0, 0), {})


def test_a_server_that_is_gone_for_an_hour_is_forgotten(node: Node, told: Told) -> None:
    node.receive(hello("b"), 0.0)

    node.tick(SILENCE + 1.0)
    still = set(node.peers)
    node.tick(FORGET + 1.0)

    assert told.facts == [("came", "b"), ("went", "b", "silent for 3.5 s")]
    assert (still, set(node.peers)) == ({"b"}, set())


def test_good_bye_is_said_once_and_what_comes_behind_it_still_counts(node: Node, told: Told) -> None:
    node.receive(of("b", "bye"), 1.0)  # of one that we never knew
    node.receive(hello("b"), 1.0)
    node.receive(of("b", "welcome", b=[0, 0]), 1.0)

    node.receive(of("b", "bye"), 2.0)
    node.receive(of("b", "bye"), 2.0)
    node.receive(of("b", "all", b"x", s=1, e=[["e", 1]]), 2.0)

    assert told.facts == [("came", "b"), ("went", "b", "it said good-bye"), ("heard", "b", b"x")]


def test_a_new_life_is_a_new_start_and_the_old_one_is_not_heard_any_more(node: Node, told: Told) -> None:
    for life in ("1", "2"):
        node.receive(hello("b", life), 1.0)
        node.receive(of("b", "welcome", life=life, b=[0, 0]), 1.0)

    node.receive(of("b", "all", b"x", s=1, e=[["e", 1]], life="1"), 1.0)
    node.receive(of("b", "all", b"y", s=1, e=[["e", 1]], life="2"), 1.0)

    assert told.facts == [("came", "b"), ("came", "b"), ("heard", "b", b"y")]
    assert node.peers["b"].problem == ""


def test_an_old_life_that_goes_on_is_another_server_of_that_name(node: Node) -> None:
    node.receive(hello("b", "1"), 1.0)
    node.receive(hello("b", "2"), 2.0)

    node.receive(hello("b", "1"), 3.0)  # this may have been on its way
    early = node.peers["b"].problem
    node.receive(hello("b", "1"), 5.0)

    assert early == ""
    assert node.peers["b"].problem == "two servers say that they are b; give each a CLUSTER_NODE of its own"
    assert node.peers["b"].life == "2"


def test_our_own_name_is_complained_about_once_for_each_life(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    for life in ("x", "x", "y", "life of a"):
        node.receive(hello("a", life), 1.0)
    node.receive(of("a", "all", b"", s=1, e=[], life="z"), 1.0)

    text = "another server says that it is a too; give each a CLUSTER_NODE of its own"
    assert [record.getMessage() for record in caplog.records] == [text, text]
    assert node.peers == {}


def test_a_part_of_somebody_elses_message_is_refused(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    whole = of("c", "bye")

    node.receive(of("b", "part", whole, k=1, i=0, c=1, n=len(whole)), 1.0)

    assert "a part of somebody else's" in caplog.text


def test_there_are_no_more_servers_than_a_cluster_may_have(
    node: Node, told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(broker_node, "MOST_PEERS", 2)

    for name in "bcde":
        node.receive(hello(name), 1.0)
    other = bytearray(hello("f"))
    other[len(frames.MARK)] = 9
    node.receive(bytes(other), 10.0)

    assert set(node.peers) == {"b", "c"}
    assert [record.getMessage() for record in caplog.records] == [
        "something on the bus of the cluster is none of ours: server d is one more than the 2 that a cluster may have",
        "server f speaks version 9 on the bus of the cluster, this one 1; have both run the same version of "
        "zephserver (1 more since the last complaint)",
    ]


def test_a_server_that_changes_its_version_goes(node: Node, told: Told, caplog: pytest.LogCaptureFixture) -> None:
    node.receive(hello("b"), 0.0)
    other = bytearray(hello("b", "2"))
    other[len(frames.MARK)] = 9

    for second in range(5):
        node.receive(bytes(other), second)
        node.tick(second)

    assert told.facts == [("came", "b"), ("went", "b", "silent for 3.5 s")]
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    node.receive(hello("b", "3"), 9.0)
    assert (told.facts[-1], node.peers["b"].problem) == (("came", "b"), "")


def test_what_waits_for_a_topic_is_bounded_and_gone_with_the_bus(node: Node) -> None:
    out = Outbound({"f": "a", "l": "1"}, 10, 1_000)

    for number in range(50):
        out.publish("lobby", "e", b"%d" % number * 50)
    (message,) = out.messages(10_000)
    out.publish("lobby", "e", b"x")
    out.interrupted()

    assert len(frames.unpack(message.data)[0]["e"]) <= 1_000 // 64
    assert out.messages(10_000) == []


def test_what_was_dropped_while_it_was_under_way_is_not_sent_again() -> None:
    ring = Ring(2, 10_000)
    ring.say("e", b"1")
    ring.take(1_000)
    ring.say("e", b"2")
    ring.say("e", b"3")

    ring.back()

    assert [said.payload for said in ring.take(1_000)] == [b"2", b"3"]


def test_a_base_says_nothing_before_it_is_known_where_to_begin() -> None:
    inbound = Inbound(10, 10_000)

    assert (inbound.base((7, 7)), inbound.lost) == ([], 0)


def test_what_is_held_is_let_go_when_it_comes_again_with_another_need() -> None:
    inbound = Inbound(10, 10_000)
    inbound.begin((0, 0))
    assert inbound.take(Heard(True, 1, 5, "e", b"waits for ever")) == []

    (heard,) = inbound.take(Heard(True, 1, 0, "e", b"x"))

    assert heard.payload == b"x"
    assert (inbound._size, inbound._held) == (0, ({}, {}))


def test_no_more_is_held_than_fits_and_the_rest_is_missed() -> None:
    inbound = Inbound(2, 10_000)
    inbound.begin((0, 0))
    for number in (2, 3, 4):
        inbound.take(Heard(True, number, 0, "e", b"x"))

    ready = inbound.take(Heard(True, 1, 0, "e", b"x"))

    assert [heard.number for heard in ready] == [1, 2, 3]
    assert inbound.is_behind


# -- guests ------------------------------------------------------------------------------------------------------------


def test_a_guest_finds_a_server_and_is_no_peer(node: Node, told: Told) -> None:
    sent(node)

    node.receive(of("guest 1", "find", i=7), 0.1)

    assert node.has_answers()
    assert sent(node) == [(Where.NODE, "guest 1", {"f": "a", "l": "life of a", "t": "found", "i": 7})]
    assert not node.peers
    assert not told.facts


@pytest.mark.parametrize("answer", ["", "that cannot be done", None])
def test_a_guest_learns_what_became_of_its_command(node: Node, told: Told, answer: str | None) -> None:
    told.answer = answer
    sent(node)

    node.receive(of("guest 1", "ask", b"{}", i=8, c="say"), 0.1)

    (message,) = sent(node)
    assert message == (Where.NODE, "guest 1", {"f": "a", "l": "life of a", "t": "done", "i": 8, "why": answer})
    assert told.facts == [("asked", "say", b"{}")]


@pytest.mark.parametrize("more", [{}, {"i": -1}, {"i": "x", "c": "say"}, {"c": "say"}])
def test_a_guest_that_talks_nonsense_gets_no_answer(node: Node, more: dict[str, Any]) -> None:
    sent(node)

    node.receive(of("guest 1", "ask", b"{}", **more), 0.1)

    assert not sent(node)
