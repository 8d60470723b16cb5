"""A cluster of processes for the rows of the plan, on loopback or each server in a network namespace of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests import brokers
from tests.requirements import missing

ROOT = Path(__file__).parents[2]
SECRET = "s" * 32
PATIENCE = 30.0
KINDS = ("mesh", "nats", "redis")


def wait_until(fact: Any, what: str, within: float = PATIENCE) -> float:
    """The seconds it took."""
    began = time.monotonic()
    while not fact():
        if time.monotonic() - began > within:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


class Member:
    """One server: its process and its book."""

    def __init__(
        self, name: str, folder: Path, settings: dict[str, Any], *, rate: float, pad: int, wrap: Sequence[str]
    ):
        self.name = name
        self._book, self._log = folder / f"{name}.json", folder / f"{name}.log"
        wishes = {"name": name, "rate": rate, "pad": pad, "book": str(self._book), "settings": settings}
        self._command = [*wrap, sys.executable, "-m", "tests.chaos.cluster_node", json.dumps(wishes)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._book.unlink(missing_ok=True)
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        """Of the process; a wrapping `ip netns exec` becomes it."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    @property
    def book(self) -> dict[str, Any]:
        """What it knows; {} when it has not written anything yet."""
        try:
            return dict(json.loads(self._book.read_text()))
        except FileNotFoundError:
            return {}

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def heard_of(self, other: Member) -> dict[str, Any]:
        """What it heard of the present life of another one; {} for nothing."""
        found = self.book.get("heard", {}).get(f"{other.name} {other.book.get('life')}", {})
        return dict(found)

    def is_told_by(self, other: Member) -> bool:
        """Whether it has heard of another one within the last second."""
        heard = self.heard_of(other)
        return bool(heard) and self.book["now"] - heard["at"] < 1.0


class Cluster:
    """Its members, and the broker, if it has one."""

    def __init__(
        self, kind: str, folder: Path, *, net: Net | None = None, rate: float = 200, pad: int = 100, more: Any = None
    ):
        self.kind = kind
        names = ("a", "b", "c")
        hosts = {name: net.address(name) if net else "127.0.0.1" for name in names}
        self.broker: brokers.Broker | None = None
        settings: dict[str, Any]
        if kind == "mesh":
            servers = [{"hostname": n, "address": hosts[n], "port": brokers.free_port()} for n in names]
            settings = {"CLUSTER_SERVER_LIST": servers, "CLUSTER_SECRET": SECRET}
        else:
            host = net.address("hub") if net else "127.0.0.1"
            wrap = net.wrap("hub") if net else ()
            self.broker = brokers.Broker(kind, folder / "broker", host=host, wrap=wrap)
            settings = {"CLUSTER_ENGINE": self.broker.url, "CLUSTER_NAME": "chaos"}
        settings |= more or {}
        self.settings = settings
        self.members = {
            name: Member(name, folder, settings, rate=rate, pad=pad, wrap=net.wrap(name) if net else ())
            for name in names
        }

    def start(self, names: str = "abc") -> None:
        """Start these, forget the others, and wait until everybody hears everybody."""
        if self.broker is not None:
            self.broker.start()
        self.members = {name: self.members[name] for name in names}
        for member in self.members.values():
            member.start()
        self.wait_whole()

    def wait_whole(self, within: float = PATIENCE) -> float:
        """Wait until everybody hears everybody; the seconds it took."""
        pairs = [(m, o) for m in self.members.values() for o in self.members.values() if m is not o]
        try:
            return wait_until(lambda: all(m.is_told_by(o) for m, o in pairs), "all hear each other", within)
        except AssertionError as error:
            deaf = [f"{m.name} does not hear {o.name}: {m.heard_of(o)}" for m, o in pairs if not m.is_told_by(o)]
            books = [f"{m.name}: {m.book.get('rows')} {m.log[-300:]}" for m in self.members.values()]
            raise AssertionError("\n".join([str(error), *deaf, *books])) from None

    def check(self, *, whole: Sequence[str] = ()) -> dict[str, int]:
        """Nothing came twice or out of order, what is missing was told; between the *whole* ones nothing is. Sums."""
        sums = {"heard": 0, "missing": 0}
        for member in self.members.values():
            book = member.book
            missing: dict[str, int] = {}
            for key, account in book["heard"].items():
                other = key.split()[0]
                assert account["wrong"] == 0, f"{member.name} heard {account['wrong']} of {key} twice or out of order"
                missing[other] = missing.get(other, 0) + account["missing"]
                sums["heard"] += account["count"]
            for other, count in missing.items():
                told = book["gaps"].get(other, 0)
                assert count <= told, f"{member.name} misses {count} of {other}, and was told {told}"
                sums["missing"] += count
                assert not (member.name in whole and other in whole and count), (
                    f"{member.name} misses {count} of {other}"
                )
        return sums

    def slow(self) -> tuple[float, float]:
        """Of all calls of say() the slowest but one in a hundred, and the slowest, in seconds."""
        books = [member.book for member in self.members.values()]
        return max(book["slow"] for book in books), max(book["slowest"] for book in books)

    def most_queued(self) -> int:
        """The most bytes that anything waited with."""
        return max(int(member.book["most_queued"]) for member in self.members.values())

    def close(self) -> None:
        for member in self.members.values():
            member.kill()
        if self.broker is not None:
            self.broker.kill()


@contextmanager
def running(kind: str, folder: Path, names: str = "abc", **options: Any) -> Iterator[Cluster]:
    """A cluster whose members hear each other; gone at the end."""
    cluster = Cluster(kind, folder, **options)
    try:
        cluster.start(names)
        yield cluster
    finally:
        cluster.close()


class Net:
    """A hub and three servers, a namespace each, joined by a bridge in the hub; out of reach from anywhere else."""

    NUMBERS: ClassVar = {"hub": 1, "a": 2, "b": 3, "c": 4}

    def __init__(self, stack: ExitStack) -> None:
        self._mark = f"z{secrets.token_hex(2)}"
        for name in self.NUMBERS:
            self._run("ip", "netns", "add", self._ns(name))
            stack.callback(self._run, "ip", "netns", "del", self._ns(name), check=False)
            self.inside(name, "ip", "link", "set", "lo", "up")
        self.inside("hub", "ip", "link", "add", "name", "bridge0", "type", "bridge")
        self.inside("hub", "ip", "addr", "add", f"{self.address('hub')}/24", "dev", "bridge0")
        self.inside("hub", "ip", "link", "set", "bridge0", "up")
        for name in "abc":
            self.inside("hub", "ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth",
                        "netns", self._ns(name))  # fmt: skip
            self.inside("hub", "ip", "link", "set", f"to-{name}", "master", "bridge0", "up")
            self.inside(name, "ip", "addr", "add", f"{self.address(name)}/24", "dev", "eth")
            self.inside(name, "ip", "link", "set", "eth", "up")

    def address(self, name: str) -> str:
        return f"10.99.0.{self.NUMBERS[name]}"

    def wrap(self, name: str) -> list[str]:
        """What a command begins with to run in a namespace."""
        return [brokers.program("ip"), "netns", "exec", self._ns(name)]

    def inside(self, name: str, *command: str) -> None:
        """Run a command in a namespace."""
        self._run("ip", "netns", "exec", self._ns(name), *command)

    def down(self, name: str) -> None:
        self.inside("hub", "ip", "link", "set", f"to-{name}", "down")

    def up(self, name: str) -> None:
        self.inside("hub", "ip", "link", "set", f"to-{name}", "up")

    def lose(self, name: str, what: str) -> None:
        """Lose everything that comes to a server (`input`), or all that it sends (`output`)."""
        brokers.program("nft")
        local = "oif" if what == "output" else "iif"
        chain = f"chain c {{ type filter hook {what} priority 0; {local} lo accept; drop; }}"
        self.inside(name, "nft", f"table inet z {{ {chain}; }}")

    def heal(self, name: str) -> None:
        self.inside(name, "nft", "delete table inet z")

    def slow_down(self, name: str, rate: str) -> None:
        """Limit what goes to a server and what it sends."""
        limit = ["root", "tbf", "rate", rate, "burst", "4kb", "latency", "400ms"]
        self.inside("hub", "tc", "qdisc", "add", "dev", f"to-{name}", *limit)
        self.inside(name, "tc", "qdisc", "add", "dev", "eth", *limit)

    def speed_up(self, name: str) -> None:
        self.inside("hub", "tc", "qdisc", "del", "dev", f"to-{name}", "root")
        self.inside(name, "tc", "qdisc", "del", "dev", "eth", "root")

    def _ns(self, name: str) -> str:
        return f"{self._mark}-{name}"

    @staticmethod
    def _run(*command: str, check: bool = True) -> None:
        done = subprocess.run([brokers.program(command[0]), *command[1:]], capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


@pytest.fixture
def net() -> Iterator[Net]:
    """Namespaces of this test; where they cannot be made it is skipped, or fails with ZEPH_REQUIRE_ALL=1."""
    with ExitStack() as stack:
        try:
            made = Net(stack)
        except OSError as error:
            missing(f"network namespaces cannot be made, which needs root: {error}")
        yield made
