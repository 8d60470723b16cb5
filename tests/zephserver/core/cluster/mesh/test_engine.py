"""What the mesh promises beyond the contract of all engines (test_contract.py): secrets, addresses, what waits."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

from zephserver.core.bus import EventBus
from zephserver.core.cluster.manager import ClusterManager
from zephserver.core.cluster.mesh import engine as mesh
from zephserver.core.cluster.mesh.engine import MeshEngine
from zephserver.core.cluster.mesh.sockets import endpoint_of
from zephserver.core.errors import ClusterError
from zephserver.core.events import ClusterGap, PeerDown, PeerUp
from zephserver.testing import wait_for, wait_until

SECRET = "s" * 32
PATIENCE = 20.0


class Node:
    """One server of the cluster."""

    def __init__(self, name: str, servers: list[dict[str, Any]], **options: Any) -> None:
        self.name, self.bus = name, EventBus()
        self.engine = MeshEngine(name, servers, **options)
        self.cluster = ClusterManager(self.engine, self.bus)
        self.heard: list[Any] = []
        self.cluster.subscribe("news", self.heard.append)

    def sees(self, other: str) -> bool:
        """Whether it can speak to another one."""
        return any(row["name"] == other and row["up"] for row in self.engine.rows())

    def wait_heard(self, count: int) -> list[Any]:
        """What it heard, when it is that many."""
        wait_until(lambda: len(self.heard) >= count, f"{count} events at {self.name}", timeout=PATIENCE)
        return self.heard


Start = Callable[..., Node]


@pytest.fixture
def servers(tmp_path: Path) -> list[dict[str, Any]]:
    return [{"hostname": name, "address": f"unix:{tmp_path}/{name}", "port": 0} for name in "abc"]


@pytest.fixture
def start(servers: list[dict[str, Any]]) -> Iterator[Start]:
    """Starts a server of the list; all of them are gone at the end."""
    with ExitStack() as stack:

        def make(name: str, **options: Any) -> Node:
            node = Node(name, options.pop("servers", servers), **options)
            node.cluster.start()
            stack.callback(node.cluster.stop)
            return node

        yield make


def joined(*nodes: Node) -> None:
    """Wait until all of them can speak to each other."""
    for node in nodes:
        for other in nodes:
            if other is not node:
                wait_until(lambda node=node, other=other: node.sees(other.name), "a link", timeout=PATIENCE)


@pytest.mark.parametrize("secret", [None, SECRET])
def test_every_other_server_hears_an_event_and_the_one_that_says_it_does_not(start: Start, secret: str | None) -> None:
    a, b, c = (start(name, secret=secret) for name in "abc")
    joined(a, b, c)

    a.cluster.say("news", {"x": [1, "é"]})

    assert b.wait_heard(1) == [{"x": [1, "é"]}]
    assert c.wait_heard(1) == [{"x": [1, "é"]}]
    assert a.heard == []


def test_an_event_that_is_said_while_the_thread_wakes_up_does_not_put_it_to_sleep(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = start("a"), start("b")
    joined(a, b)
    read, between = os.read, [1]

    def read_late(descriptor: int, size: int) -> bytes:
        if threading.current_thread() is a.engine._thread and between:
            a.cluster.say("news", between.pop())
        return read(descriptor, size)

    monkeypatch.setattr("zephserver.core.cluster.mesh.engine.os.read", read_late)
    a.cluster.say("news", 0)
    assert b.wait_heard(2) == [0, 1]

    a.cluster.say("news", 2)

    assert b.wait_heard(3) == [0, 1, 2]


def test_saying_something_to_a_server_that_is_not_there_does_not_wait(start: Start) -> None:
    a = start("a")

    for number in range(1_000):
        a.cluster.say("news", number)

    wait_until(lambda: a.engine.rows()[0]["queued"] == 1_000, timeout=PATIENCE)
    assert not a.sees("b")


def test_a_server_that_begins_later_gets_what_is_said_in_its_time(start: Start) -> None:
    a = start("a")
    a.cluster.say("news", "before")
    wait_until(lambda: a.engine.rows()[0]["queued"] == 1, timeout=PATIENCE)

    b = start("b")
    joined(a, b)
    a.cluster.say("news", "after")

    assert b.wait_heard(1) == ["after"]
    assert a.engine.rows()[0]["dropped"] == 0  # it was not there to miss it


def test_what_does_not_fit_into_the_queue_is_lost_and_both_sides_say_so(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh, "BEAT", 0.05)
    monkeypatch.setattr(mesh, "SILENCE", 0.3)
    a, b = start("a", queue_bytes=10_000), start("b")
    joined(a, b)
    go_on = threading.Event()
    b.cluster.subscribe("hang", lambda _: go_on.wait(PATIENCE))

    a.cluster.say("hang", None)
    wait_for(a.bus, PeerDown, timeout=PATIENCE, peer="b")
    for number in range(1_000):
        a.cluster.say("news", number)
    wait_until(lambda: a.engine.rows()[0]["dropped"], timeout=PATIENCE)
    go_on.set()

    gap = wait_for(b.bus, ClusterGap, timeout=PATIENCE, peer="a")
    wait_until(lambda: b.heard and b.heard[-1] == 999, timeout=PATIENCE)
    assert b.heard == list(range(1_000 - len(b.heard), 1_000))
    assert gap.lost == 1_000 - len(b.heard)


def test_who_does_not_know_the_secret_hears_nothing(start: Start) -> None:
    a, b = start("a", secret=SECRET), start("b", secret="t" * 32)
    c = start("c", secret=SECRET)
    joined(a, c)

    a.cluster.say("news", "ours")

    assert c.wait_heard(1) == ["ours"]
    assert b.heard == []
    assert not a.sees("b")


def test_who_has_no_secret_hears_nothing(start: Start) -> None:
    a, b = start("a", secret=SECRET), start("b")
    c = start("c", secret=SECRET)
    joined(a, c)

    assert not a.sees("b")
    assert not b.sees("a")


def problem_of(node: Node, other: str) -> str:
    """What a server says is wrong with another one."""
    return next(str(row["problem"]) for row in node.engine.rows() if row["name"] == other)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are soon missed, and looked for often."""
    for name, seconds in (("BEAT", 0.05), ("HELLO", 0.05), ("SILENCE", 0.5)):
        monkeypatch.setattr(mesh, name, seconds)


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("other", [None, "t" * 32])
def test_another_secret_is_told_on_both_sides(start: Start, servers: list[dict[str, Any]], other: str | None) -> None:
    a, b = start("a", servers=servers[:2], secret=SECRET), start("b", servers=servers[:2], secret=other)

    for node, peer in ((a, "b"), (b, "a")):
        wait_until(lambda node=node, peer=peer: "CLUSTER_SECRET" in problem_of(node, peer), timeout=PATIENCE)

    assert problem_of(a, "b") == f"{endpoint_of(servers[1])} refuses the connection; is CLUSTER_SECRET the same there?"
    assert a.cluster.state() == "connecting: no other server can be reached; see zephctl cluster peers"
    assert a.cluster.lost_for() == 0.0  # it is ready all the same


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("attempt", range(8))  # ZeroMQ gives up after some of these failures, and not after others
def test_a_server_that_was_given_the_right_secret_is_reached(
    start: Start, servers: list[dict[str, Any]], attempt: int
) -> None:
    a, wrong = start("a", servers=servers[:2], secret=SECRET), start("b", servers=servers[:2])
    wait_until(lambda: "CLUSTER_SECRET" in problem_of(a, "b"), timeout=PATIENCE)
    wrong.cluster.stop()

    b = start("b", servers=servers[:2], secret=SECRET)

    joined(a, b)


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("nowhere.invalid", "the name in {} does not resolve"),
        ("127.0.0.1", "nothing answers at {}"),
        ("unix:/nowhere/b", "nothing answers at {}"),
    ],
)
def test_why_a_server_cannot_be_reached_is_told_once(
    start: Start, servers: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, address: str, told: str
) -> None:
    away = {"hostname": "b", "address": address, "port": _free_port()}
    problem = told.format(endpoint_of(away))
    a = start("a", servers=[servers[0], away, servers[2]])
    c = start("c", servers=[servers[0], servers[2]])
    wait_until(lambda: problem_of(a, "b") == problem, timeout=PATIENCE)

    a.engine._beat(time.monotonic())  # looks again
    a.engine._beat(time.monotonic())

    assert caplog.messages.count(f"server b cannot be reached: {problem}") == 1
    wait_until(lambda: a.sees("c"), timeout=PATIENCE)
    assert (problem_of(a, "c"), a.cluster.state()) == ("", "")
    assert c.sees("a")


@pytest.mark.usefixtures("hurry")
def test_a_server_whose_list_lacks_this_one_is_told_as_such(start: Start, servers: list[dict[str, Any]]) -> None:
    a = start("a", servers=servers[:2], secret=SECRET)
    start("b", servers=servers[1:], secret=SECRET)

    wait_until(lambda: "is it in CLUSTER_SERVER_LIST there?" in problem_of(a, "b"), timeout=PATIENCE)


@pytest.mark.usefixtures("hurry")
def test_a_problem_is_over_when_the_server_comes_and_told_anew_when_it_goes(
    start: Start, servers: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    a = start("a", servers=servers[:2])
    wait_until(lambda: problem_of(a, "b"), timeout=PATIENCE)

    b = start("b", servers=servers[:2])
    joined(a, b)
    assert problem_of(a, "b") == ""
    b.cluster.stop()
    wait_until(lambda: problem_of(a, "b"), timeout=PATIENCE)

    gone = f"server b cannot be reached: nothing answers at {endpoint_of(servers[1])}"
    wait_until(lambda: caplog.messages.count(gone) == 2, timeout=PATIENCE)


def test_a_server_of_another_version_is_told_so(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    a = start("a")
    context = zmq.Context()
    stranger = context.socket(zmq.DEALER)
    stranger.setsockopt(zmq.LINGER, 0)
    stranger.setsockopt(zmq.IDENTITY, b"b\0boot")
    try:
        stranger.connect(a.engine._endpoint)
        stranger.send_multipart([json.dumps({"t": "hello", "v": 99, "node": "b", "boot": "boot"}).encode()])
        assert stranger.poll(PATIENCE * 1000)
        answer = json.loads(stranger.recv())
    finally:
        stranger.close()
        context.term()

    assert answer == {"t": "refused", "why": "a speaks version 2, not 99"}


@pytest.mark.parametrize(
    "frames",
    [
        [b"", b""],
        [b"\x80\x04\x95."],
        [b"[]"],
        [b'{"t": "events"}'],
        [b'{"t": 1}'],
        [b"[" * 100_000],
        [b'{"t": "hello"}'],
        [b'{"t": "events", "s": "x", "o": 1, "n": ["news"], "z": [1]}', b"1"],
        [b'{"t": "events", "s": 1, "o": 1, "n": ["news", "news"], "z": [1]}', b"1"],
        [b'{"t": "events", "s": 1, "o": 1, "n": ["news"], "z": [2]}', b"1"],
    ],
)
def test_nonsense_on_the_port_harms_nobody(start: Start, frames: list[bytes]) -> None:
    a, c = start("a"), start("c")
    joined(a, c)
    context = zmq.Context()
    stranger = context.socket(zmq.DEALER)
    stranger.setsockopt(zmq.LINGER, 1_000)
    stranger.setsockopt(zmq.IDENTITY, b"b\0boot")
    try:
        stranger.connect(a.engine._endpoint)
        stranger.send_multipart([json.dumps({"t": "hello", "v": 2, "node": "b", "boot": "boot"}).encode()])
        assert stranger.poll(PATIENCE * 1000)
        stranger.send_multipart(frames)
        c.cluster.say("news", "still there")
        a.wait_heard(1)
    finally:
        stranger.close()
        context.term()

    assert a.heard == ["still there"]


def test_over_tcp_too(start: Start) -> None:
    listed = [{"hostname": name, "address": "127.0.0.1", "port": _free_port()} for name in "ab"]
    a, b = (start(name, servers=listed, secret=SECRET) for name in "ab")
    joined(a, b)

    a.cluster.say("news", 1)

    assert b.wait_heard(1) == [1]
    assert wait_for(a.bus, PeerUp, peer="b")


def test_an_address_that_is_taken_is_told(servers: list[dict[str, Any]]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listed = [{"hostname": "a", "address": "127.0.0.1", "port": taken.getsockname()[1]}, servers[1]]
        engine = MeshEngine("a", listed)

        with pytest.raises(ClusterError, match=r"cannot listen on tcp://127\.0\.0\.1:\d+: Address already in use"):
            engine.start(object())


def test_a_server_has_to_be_in_the_list(servers: list[dict[str, Any]]) -> None:
    with pytest.raises(ClusterError, match="CLUSTER_NODE 'x' is not in CLUSTER_SERVER_LIST"):
        MeshEngine("x", servers)


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [("192.0.2.1", "tcp://192.0.2.1:7"), ("::1", "tcp://[::1]:7"), ("unix:/run/a", "ipc:///run/a")],
)
def test_an_address_becomes_an_endpoint(address: str, endpoint: str) -> None:
    assert endpoint_of({"hostname": "a", "address": address, "port": 7}) == endpoint


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
