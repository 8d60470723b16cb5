"""A bus of each kind, and the servers on it: an engine and a manager each, all in this process."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import brokers
from zephserver.core.bus import EventBus
from zephserver.core.cluster import address
from zephserver.core.cluster.broker import node as broker_node
from zephserver.core.cluster.broker.engine import BrokerEngine
from zephserver.core.cluster.broker.guest import BrokerGuest
from zephserver.core.cluster.broker.transport import Message, Transport
from zephserver.core.cluster.engine import ClusterEngine, Guest
from zephserver.core.cluster.manager import ClusterManager
from zephserver.core.cluster.mesh import engine as mesh
from zephserver.core.cluster.mesh.engine import MeshEngine
from zephserver.core.cluster.mesh.guest import MeshGuest
from zephserver.core.command_table import CommandTable, command
from zephserver.core.errors import BadRequest
from zephserver.testing import wait_until

KINDS = ("mesh", "nats", "redis")
BROKERS = ("nats", "redis")
NAMES = "abcd"  # of the servers of a mesh
PATIENCE = 30.0


class Node:
    """One server of the cluster, and what it heard of the event `news`."""

    def __init__(self, engine: ClusterEngine) -> None:
        self.bus = EventBus()
        self.engine = engine
        self.is_ready = True
        self.noted: list[Any] = []  # by guests
        table = CommandTable()
        table.add_functions([note, secret], self)
        self.cluster = ClusterManager(engine, self.bus, table, is_ready=lambda: self.is_ready)
        self.heard: list[Any] = []
        self.cluster.subscribe("news", self.heard.append)

    def sees(self, other: str) -> bool:
        """Whether it can speak to another one."""
        return any(row["name"] == other and row["up"] for row in self.engine.rows())

    def row(self, other: str) -> dict[str, Any]:
        """What it says of another one."""
        return next(row for row in self.engine.rows() if row["name"] == other)

    def wait_heard(self, count: int) -> list[Any]:
        """What it heard, when it is that many."""
        wait_until(lambda: len(self.heard) >= count, f"{count} events, {len(self.heard)} are here", timeout=PATIENCE)
        return self.heard

    def wait_last(self, value: object) -> list[Any]:
        """What it heard, when this is the last of it."""
        wait_until(lambda: self.heard and self.heard[-1] == value, f"{value!r} is heard", timeout=PATIENCE)
        return self.heard

    def wait_connected(self) -> None:
        """Wait until its bus is there."""
        wait_until(lambda: not self.engine.state(), f"the bus, {self.engine.state()}", timeout=PATIENCE)


@command("note", for_guests=True)
def note(node: Node, text: str) -> None:
    """What guests may do here."""
    if not text:
        raise BadRequest("there is nothing to note")
    node.noted.append(text)


@command("secret")
def secret(node: Node) -> None:
    """What they may not."""
    raise AssertionError("a guest came too far")


class Bus:
    """What joins servers: nothing but sockets for the mesh, else a broker of this test."""

    def __init__(self, kind: str, folder: Path, stack: ExitStack) -> None:
        self.kind, self._folder, self._stack = kind, folder, stack
        self.prefix = f"t{secrets.token_hex(4)}"
        self._broker: brokers.Broker | None = None

    @property
    def broker(self) -> brokers.Broker:
        """The broker; it runs when it is asked for the first time."""
        if self._broker is None:
            self.use()
        assert self._broker is not None
        return self._broker

    def use(self, **options: Any) -> brokers.Broker:
        """Have the broker run with these options."""
        assert self._broker is None
        self._broker = self._stack.enter_context(brokers.running(self.kind, self._folder / "broker", **options))
        return self._broker

    def start(self, name: str, **options: Any) -> Node:
        """A server; it is gone at the end."""
        node = Node(self.engine(name, **options))
        node.cluster.start()
        self._stack.callback(node.cluster.stop)
        return node

    def guest(self, **options: Any) -> Guest:
        """A program that is no server; it is gone at the end."""
        guest: Guest
        if self.kind == "mesh":
            guest = MeshGuest(self._servers(), **options)
        else:
            guest = BrokerGuest(self.transport)
        self._stack.callback(guest.close)
        return guest

    def _servers(self) -> list[dict[str, Any]]:
        return [{"hostname": n, "address": f"unix:{self._folder}/{n}", "port": 0} for n in NAMES]

    def engine(self, name: str, *, queue_bytes: int = 16_777_216, url: str | None = None, **options: Any) -> Any:
        """An engine that has not started."""
        if self.kind == "mesh":
            return MeshEngine(name, self._servers(), queue_bytes=queue_bytes, **options)
        transport = self.transport(url, queue_bytes)
        return BrokerEngine(self.kind, name, str(address.parse(url or self.broker.url)[0]), transport,
                            queue_bytes=queue_bytes)  # fmt: skip

    def transport(self, url: str | None = None, queue_bytes: int = 16_777_216) -> Transport:
        """A connection to the broker, not opened."""
        addresses = address.parse(url or self.broker.url)
        if self.kind == "nats":
            from zephserver.core.cluster.nats.transport import NatsTransport

            return NatsTransport(addresses, self.prefix)
        from zephserver.core.cluster.redis.transport import RedisTransport

        return RedisTransport(addresses[0], self.prefix, queue_bytes)

    def shout(self, *messages: Message) -> None:
        """Have somebody write to the broker who is no server of the cluster."""

        async def run() -> None:
            transport = self.transport()
            await transport.open("stranger", lambda data: None, lambda why: None)
            try:
                await transport.send(messages)
            finally:
                await transport.close()

        asyncio.run(run())


def joined(*nodes: Node) -> None:
    """Wait until all of them have their bus, and can speak to each other."""
    for node in nodes:
        node.wait_connected()
    names = {id(node): _name(node) for node in nodes}
    for node in nodes:
        for other in nodes:
            if other is not node:
                wait_until(lambda node=node, other=other: node.sees(names[id(other)]), "a link", timeout=PATIENCE)


def _name(node: Node) -> str:
    engine: Any = node.engine
    return str(engine._node if isinstance(engine, MeshEngine) else engine._node_name)


@pytest.fixture
def make_bus(tmp_path: Path) -> Iterator[Callable[[str], Bus]]:
    """Makes a bus of a kind; its servers and then its broker are gone at the end."""
    with ExitStack() as stack:
        yield lambda kind: Bus(kind, tmp_path, stack)


@pytest.fixture(params=KINDS)
def bus(request: pytest.FixtureRequest, make_bus: Callable[[str], Bus]) -> Bus:
    """A bus, of each kind in turn."""
    return make_bus(request.param)


@pytest.fixture(params=BROKERS)
def brokered(request: pytest.FixtureRequest, make_bus: Callable[[str], Bus]) -> Bus:
    """A bus with a broker, of each kind in turn."""
    return make_bus(request.param)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers give signs of life often, and are soon missed."""
    for module in (mesh, broker_node):
        monkeypatch.setattr(module, "BEAT", 0.05)
        monkeypatch.setattr(module, "SILENCE", 0.4)
