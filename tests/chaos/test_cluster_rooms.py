"""Rows G1 and G2 for rooms: servers that are killed, drained or made to stand still while people talk."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.scale import at_most
from zephserver.cluster.owners import owner_of

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder, Process

pytestmark = pytest.mark.chaos

SETTINGS = """
CLUSTER_SERVER_LIST = {servers!r}
CLUSTER_NODE = {node!r}
SERVICE_LIST = [
    "zephserver.session_manager/SimpleSessionManager",
    "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]
TASKS_PATH = {{"chat": "chat/Chat"}}
ROOM_HISTORY = {{"*": (100_000, 600.0)}}
MESSAGE_RATE = None
"""
CHAT = """
    from zephserver import Task

    class Chat(Task):
        async def main(self):
            self.say(self.data, room="lobby")
            self.reply("said")
"""
ROOM = "lobby"


class Node:
    """A server of the cluster, in a process of its own."""

    def __init__(self, name: str, folder: Folder) -> None:
        self.name, self.folder = name, folder
        self.process: Process = folder.start()

    def again(self) -> None:
        """Start it anew."""
        self.process = self.folder.start()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.folder.call('status')['port']}/ws"

    def users(self) -> list[str]:
        """Who is in the room, as this server sees it."""
        rows = self.folder.call("rooms.list")
        return self.folder.call("rooms.show", name=ROOM)["users"] if rows else []  # type: ignore[no-any-return]


class Guest:
    """Somebody in the room who hears everything, and speaks when told to. Comes back with its place when cut off."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self.heard = name, []  # type: ignore[var-annotated]
        self.epoch: str | None = None
        self.offset = 0
        self.recovered: list[bool] = []
        self.presence: list[tuple[str, str]] = []
        self.answered = 0
        self._go(url)

    def _go(self, url: str) -> None:
        options: dict[str, Any] = {"compression": None, "ping_interval": None, "proxy": None, "close_timeout": 1}
        self._stack = ExitStack()
        self._connection = self._stack.enter_context(connect(url, **options))
        self._ready = threading.Event()
        place = {} if self.epoch is None else {"epoch": self.epoch, "offset": self.offset}
        self._say(session_id=self.name, room=ROOM, **place)
        self._thread = threading.Thread(target=self._listen, name=f"guest {self.name}", daemon=True)
        self._thread.start()
        assert self._ready.wait(30), f"{self.name} did not get in"

    def move(self, url: str) -> None:
        """Come back, to another server."""
        self.leave()
        self._go(url)

    def say(self, word: Any) -> None:
        """Say something to the room."""
        self._say(task="chat", data=word, id=f"{word}")

    def wait(self, count: int) -> None:
        """Wait until so many messages were heard."""
        end = time.monotonic() + 30
        while len(self.heard) < count:
            assert time.monotonic() < end, f"{self.name} heard {len(self.heard)} of {count}"
            time.sleep(0.005)

    def leave(self) -> None:
        """Hang up."""
        self._stack.close()
        self._thread.join(10)

    def _say(self, **message: Any) -> None:
        self._connection.send(json.dumps(message))

    def _listen(self) -> None:
        try:
            while True:
                said = json.loads(self._connection.recv())
                if said.get("msgtype") == "joined":
                    if "recovered" in said:
                        self.recovered.append(said["recovered"])
                    self.epoch = said["epoch"]
                    if not said.get("recovered"):
                        self.offset = said["offset"]
                    self._ready.set()
                elif said.get("msgtype") in ("join", "leave"):
                    self.presence.append((said["msgtype"], said["username"]))
                elif "offset" in said:
                    self.offset = said["offset"]
                    self.heard.append(said["data"])
                elif "id" in said:
                    self.answered += 1
        except (ConnectionClosed, OSError):
            pass


Start = Callable[[str], Node]


@pytest.fixture
def nodes(new_folder: Callable[..., Folder]) -> dict[str, Node]:
    """Three servers that know each other."""
    folders = {name: new_folder(chat=CHAT) for name in "abc"}
    base = folders["a"].path.parent
    servers = [{"hostname": name, "address": f"unix:{base}/{name}.link", "port": 0} for name in "abc"]
    for name, folder in folders.items():
        folder.configure(SETTINGS.format(servers=servers, node=name))
    return {name: Node(name, folder) for name, folder in folders.items()}


@pytest.fixture
def guests() -> Iterator[Callable[[str, Node], Guest]]:
    """Makes guests; all have left at the end."""
    with ExitStack() as stack:

        def make(name: str, node: Node) -> Guest:
            guest = Guest(name, node.url)
            stack.callback(guest.leave)
            return guest

        yield make


def all_there(nodes: dict[str, Node], wait_until: Callable[..., float], *names: str) -> float:
    """Wait until these servers see exactly these users."""
    return max(
        wait_until(lambda node=node: sorted(node.users()) == sorted(names), f"{names} at {node.name}: {node.users()}")
        for node in nodes.values()
    )


def test_g1_what_the_living_say_is_heard_by_the_living_while_a_server_is_killed(
    nodes: dict[str, Node],
    guests: Callable[[str, Node], Guest],
    wait_until: Callable[..., float],
    times: Callable[[int, int], int],
    figure: Callable[[str], None],
    chance: random.Random,
) -> None:
    rounds = times(1, 20)
    gone, back, sent = [], [], 0
    ann, bob = guests("ann", nodes["a"]), guests("bob", nodes["b"])
    for _ in range(rounds):
        guests("carl", nodes["c"])
        all_there(nodes, wait_until, "ann", "bob", "carl")
        stop = threading.Event()
        said: dict[str, int] = {"ann": 0, "bob": 0}

        def speak(guest: Guest, stop: threading.Event = stop, said: dict[str, int] = said) -> None:
            while not stop.wait(0.01):
                guest.say(f"{guest.name} {len(guest.heard)} {said[guest.name]}")
                said[guest.name] += 1

        speakers = [threading.Thread(target=speak, args=(guest,)) for guest in (ann, bob)]
        before = len(ann.heard), len(bob.heard)
        for speaker in speakers:
            speaker.start()
        threading.Event().wait(chance.uniform(0.2, 0.6))  # any instant of the talk
        nodes["c"].process.kill()
        began = time.monotonic()
        living = {name: nodes[name] for name in "ab"}
        all_there(living, wait_until, "ann", "bob")
        gone.append(time.monotonic() - began)
        stop.set()
        for speaker in speakers:
            speaker.join()
        sent += sum(said.values())
        count = sum(said.values())
        for guest, start in zip((ann, bob), before, strict=True):
            guest.wait(start + count)
        assert ann.heard[before[0] :] == bob.heard[before[1] :]
        assert len(set(ann.heard)) == len(ann.heard) == before[0] + count
        began = time.monotonic()
        nodes["c"].again()
        dora = guests("dora", nodes["c"])
        all_there(nodes, wait_until, "ann", "bob", "dora")
        back.append(time.monotonic() - began)
        dora.leave()
        all_there(nodes, wait_until, "ann", "bob")

    assert max(gone) <= at_most(6.0)
    assert all(ann.recovered)
    figure(
        f"{rounds} kills: {sent} said meanwhile, 0 lost, doubled or out of order; its users gone after "
        f"{max(gone):.1f} s at most, the server back in after {max(back):.1f} s"
    )


def test_g1_what_is_said_while_the_owner_of_the_room_is_killed_and_begins_anew_is_heard(
    nodes: dict[str, Node],
    guests: Callable[[str, Node], Guest],
    wait_until: Callable[..., float],
    times: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    rounds, sent = times(1, 20), 0
    owner = owner_of(ROOM, nodes)
    assert owner is not None
    ann, bob = (guests(who, nodes[name]) for who, name in zip(("ann", "bob"), sorted({*nodes} - {owner}), strict=True))
    all_there(nodes, wait_until, "ann", "bob")
    for _ in range(rounds):
        again = threading.Thread(target=nodes[owner].again)
        nodes[owner].process.kill()
        again.start()
        while again.is_alive():
            ann.say(f"{sent}")
            sent += 1
            again.join(0.01)
        all_there(nodes, wait_until, "ann", "bob")
        for _ in range(20):
            ann.say(f"{sent}")
            sent += 1
        ann.wait(sent)
        bob.wait(sent)

    assert ann.heard == bob.heard == [str(number) for number in range(sent)]
    assert all(ann.recovered + bob.recovered)
    figure(f"{rounds} kills: {sent} said meanwhile, 0 lost, doubled or out of order")


def test_g1_a_guest_of_a_killed_server_misses_nothing_at_another_one(
    nodes: dict[str, Node],
    guests: Callable[[str, Node], Guest],
    wait_until: Callable[..., float],
    times: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    rounds, sent = times(1, 20), 0
    ann, carl = guests("ann", nodes["a"]), guests("carl", nodes["c"])
    for _ in range(rounds):
        all_there(nodes, wait_until, "ann", "carl")
        for number in range(50):
            ann.say(f"{sent + number}")
            if number == 10:
                carl.wait(sent + 5)
                nodes["c"].process.kill()
                carl.move(nodes["b"].url)
        sent += 50
        ann.wait(sent)
        carl.wait(sent)
        nodes["c"].again()
        carl.move(nodes["c"].url)

    assert carl.heard == ann.heard == [str(number) for number in range(sent)]
    assert all(carl.recovered)
    figure(f"{rounds} kills: {sent} messages, all made good at the server it came back to, in order")


def test_g2_a_server_that_stood_still_ends_up_right(
    nodes: dict[str, Node],
    guests: Callable[[str, Node], Guest],
    wait_until: Callable[..., float],
    figure: Callable[[str], None],
) -> None:
    people = [guests(name, nodes[node]) for name, node in (("ann", "a"), ("bob", "b"), ("carl", "c"))]
    all_there(nodes, wait_until, "ann", "bob", "carl")

    nodes["c"].process.signal(signal.SIGSTOP)
    all_there({name: nodes[name] for name in "ab"}, wait_until, "ann", "bob")
    for number in range(100):
        people[number % 2].say(f"without {number}")
    wait_until(lambda: all(guest.answered >= 50 for guest in people[:2]), "all was said")
    nodes["c"].process.signal(signal.SIGCONT)
    seconds = all_there(nodes, wait_until, "ann", "bob", "carl")
    people[2].say("I am back")

    wait_until(lambda: all("I am back" in guest.heard for guest in people), "everybody hears it")
    assert people[0].heard == people[1].heard
    assert len(people[0].heard) == 101
    heard = people[2].heard
    assert heard == [word for word in people[0].heard if word in set(heard)]
    assert len(heard) == 101 or not all(people[2].recovered)  # everything, or it is told that something is missing
    figure(
        f"everybody sees everybody {seconds:.1f} s after a standstill; {len(heard)} of 101 at the one that stood still"
    )


def test_g1_a_rolling_restart_loses_nothing(
    nodes: dict[str, Node],
    guests: Callable[[str, Node], Guest],
    wait_until: Callable[..., float],
    times: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    rounds, sent = times(1, 5), 0
    witness = guests("witness", nodes["c"])
    ann = guests("ann", nodes["a"])
    home = "a"
    all_there(nodes, wait_until, "ann", "witness")
    for leaving in "ab" * rounds:
        for _ in range(20):
            witness.say(f"{sent}")
            sent += 1
        assert nodes[leaving].folder.command("cluster", "drain").status == 0
        wait_until(lambda leaving=leaving: nodes[leaving].folder.call("status")["connections"] == 0, "it is drained")
        for _ in range(20):
            witness.say(f"{sent}")
            sent += 1
        if home == leaving:
            home = "b" if leaving == "a" else "a"
            ann.move(nodes[home].url)
        assert nodes[leaving].folder.stop().status == 0
        nodes[leaving].again()
        all_there(nodes, wait_until, "ann", "witness")
    wait_until(lambda: len(ann.heard) == sent and len(witness.heard) == sent, f"{sent} at both")

    assert ann.heard == witness.heard == [str(number) for number in range(sent)]
    assert all(ann.recovered)
    assert all(witness.recovered)
    assert [who for what, who in witness.presence] == ["ann"]
    figure(f"{2 * rounds} restarts: {sent} messages, 0 lost, 0 doubled; nobody heard anybody leave")
