"""Servers and links that are made up, with a clock of their own: hours of trouble in a second. Seeded."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

from zephserver.cluster import notes
from zephserver.cluster.order import Order
from zephserver.histories import Histories

DETECT = 3.5  # seconds until a server is missed
DEAF = 0.15  # seconds at most in which a server that has begun can be reached, and does not take notes yet
KEPT = {"kept*": (1_000, 600.0)}


class Server:
    """One server: its order, and what its members heard."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.life = f"{world.chance.getrandbits(32):08x}"
        self.began = world.now
        self.listens_from = world.now + world.chance.random() * DEAF
        self.seen: frozenset[str] = frozenset()  # the others that it believes to be there
        self.heard: dict[str, list[str]] = {}  # room -> what its members heard
        self.inside: dict[str, float] = {}  # rooms with a member here, since when
        self.moves: list[tuple[str, str, int, bool]] = []
        self.gaps = 0
        self.is_leaving = False
        self.histories = Histories(KEPT, 1_000_000_000, lambda: f"{world.chance.getrandbits(32):08x}")
        self.order = Order(name, self.life, self.histories, self, lambda: f"{world.chance.getrandbits(32):08x}")

    # what the order asks for

    def post(self, to: Iterable[str], note: notes.Note, room: str | None = None) -> None:
        for other in sorted(to):
            self.world.send(self, other, notes.encode(note))

    def deliver(self, room: str, payload: bytes, offset: int | None, but: str | None) -> None:
        if room in self.inside:
            text = payload.decode()
            self.heard.setdefault(room, []).append(text.strip("{}").partition(",")[0])

    def moved(self, room: str, epoch: str, offset: int, recovered: bool) -> None:
        self.moves.append((room, epoch, offset, recovered))
        if not recovered:  # its members begin anew
            self.heard.pop(room, None)

    def follow(self, room: str) -> None:
        pass

    def unfollow(self, room: str) -> None:
        pass

    def lost(self, peer: str, count: int) -> None:
        self.gaps += count

    # what its members do

    def enter(self, room: str) -> None:
        """A member comes in as soon as the order lets it."""

        def done() -> None:
            self.inside[room] = self.world.now

        self.order.enter(room, done, self.world.now)

    def leave(self, room: str) -> None:
        """The last member leaves; the next one is somebody else."""
        if self.inside.pop(room, None) is not None:
            self.heard.pop(room, None)
            self.order.leave(room, self.world.now)

    def say(self, room: str, text: str) -> None:
        """A member says something."""
        self.order.say(room, f"{{{text}}}".encode(), None, self.world.now)

    def see(self, nodes: frozenset[str]) -> None:
        """It believes these others to be there."""
        self.seen = nodes
        self.order.change(nodes if self.is_leaving else nodes | {self.name}, self.world.now)


class World:
    """The clock, the links and the failures."""

    def __init__(self, names: Iterable[str], seed: int, *, slowest: float = 0.02) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.slowest = slowest
        self._count = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self.alive: dict[str, Server] = {}
        self.cut: set[frozenset[str]] = set()
        self._frozen: dict[str, list[Callable[[], None]]] = {}  # what happens to a server when it goes on
        self._busy_until: dict[tuple[str, str], float] = {}
        self._stuck: dict[tuple[str, str], list[tuple[str, str, bytes]]] = {}  # behind a cut link
        for name in names:
            self.begin(name)

    # -- time -------------------------------------------------------------------------------------------------------

    def at(self, delay: float, what: Callable[[], None]) -> None:
        """Have something done later."""
        heapq.heappush(self._due, (self.now + delay, next(self._count), what))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.now, _, what = heapq.heappop(self._due)
            what()
        self.now = end

    # -- servers ----------------------------------------------------------------------------------------------------

    def begin(self, name: str) -> Server:
        """A server starts."""
        server = self.alive[name] = Server(self, name)
        self.at(0.3, lambda: self._first_view(server))
        self._tick(server)
        for other in list(self.alive.values()):
            if other is not server:
                self._meet(server, other, 0.05 + self.chance.random() * 0.2)
        return server

    def begin_again(self, name: str) -> Server:
        """A server ends, if it has not, and starts anew."""
        if name in self.alive:
            self.kill(name)
        return self.begin(name)

    def kill(self, name: str) -> Server:
        """A server dies at once; what it had handed to its links may still arrive."""
        server = self.alive.pop(name)
        self._frozen.pop(name, None)
        for other in list(self.alive.values()):
            self._miss(other, name, DETECT + self.chance.random())
        return server

    def drain(self, name: str) -> None:
        """A server leaves in an orderly way."""
        server = self.alive[name]
        server.is_leaving = True
        for other in list(self.alive.values()):
            if other is not server:
                self.send(server, other.name, b"leaving")
        server.see(server.seen)

    def moving(self) -> list[Server]:
        """The servers that do not stand still."""
        return [server for name, server in self.alive.items() if name not in self._frozen]

    def freeze(self, name: str, seconds: float, *, notices: bool) -> None:
        """A server stands still. *notices*: it misses the others when it goes on, before it hears what they said."""
        server = self.alive[name]
        self._frozen.setdefault(name, [])
        for other in list(self.alive.values()):
            if other is not server:
                self._miss(other, name, DETECT + self.chance.random())

        def go_on() -> None:
            due = self._frozen.pop(name, [])
            if self.alive.get(name) is not server:
                return
            if notices and seconds > DETECT:
                server.see(frozenset())
            for what in due:
                what()
            for other in list(self.alive.values()):
                if other is not server:
                    self._meet(server, other, 0.05 + self.chance.random() * 0.2)

        self.at(seconds, go_on)

    def split(self, *parts: str) -> None:
        """No link between the parts any more."""
        for one, other in itertools.combinations(parts, 2):
            for a, b in itertools.product(one, other):
                self.cut.add(frozenset(a + b))
                for here, there in ((a, b), (b, a)):
                    if here in self.alive:
                        self._miss(self.alive[here], there, DETECT + self.chance.random())

    def heal(self) -> None:
        """All links are there again; what waited behind them is said."""
        self.cut.clear()
        stuck, self._stuck = self._stuck, {}
        for (sender, receiver), messages in stuck.items():
            for life, other_life, data in messages:
                if sender in self.alive and self.alive[sender].life == life:
                    self._carry(sender, life, receiver, other_life, data)
        for one, other in itertools.combinations(list(self.alive.values()), 2):
            self._meet(one, other, 0.05 + self.chance.random() * 0.2)

    def _first_view(self, server: Server) -> None:
        if self.alive.get(server.name) is server and not server.order.view.nodes:
            server.see(server.seen)

    def _tick(self, server: Server) -> None:
        def tick() -> None:
            if self.alive.get(server.name) is server:
                if server.name not in self._frozen:
                    server.order.tick(self.now)
                self.at(0.25, tick)

        self.at(self.chance.random() * 0.25, tick)

    def _meet(self, one: Server, other: Server, delay: float) -> None:
        for here, there in ((one, other), (other, one)):
            self.at(delay * (0.5 + self.chance.random()), lambda here=here, there=there: self._see(here, there))

    def _see(self, here: Server, there: Server) -> None:
        alive = self.alive.get(here.name) is here and self.alive.get(there.name) is there
        if not alive or frozenset(here.name + there.name) in self.cut or there.is_leaving:
            return
        if here.name in self._frozen or there.name in self._frozen:
            return
        if there.name in here.seen:
            return
        if not here.order.view.nodes and self.now - here.began < 0.3:
            here.seen |= {there.name}
        else:
            here.see(here.seen | {there.name})

    def _miss(self, here: Server, there: str, delay: float) -> None:
        def miss() -> None:
            if here.name in self._frozen:
                self.at(0.1, miss)
                return
            is_gone = frozenset(here.name + there) in self.cut or there not in self.alive or there in self._frozen
            if self.alive.get(here.name) is here and is_gone and there in here.seen:
                here.see(here.seen - {there})

        self.at(delay, miss)

    # -- links ------------------------------------------------------------------------------------------------------

    def send(self, sender: Server, receiver: str, data: bytes) -> None:
        """Over the link to a server, in order; what is said to a life that has ended is gone."""
        other = self.alive.get(receiver)
        if self.alive.get(sender.name) is not sender or other is None:
            return
        if frozenset(sender.name + receiver) in self.cut:
            self._stuck.setdefault((sender.name, receiver), []).append((sender.life, other.life, data))
        else:
            self._carry(sender.name, sender.life, receiver, other.life, data)

    def _carry(self, sender: str, life: str, receiver: str, other_life: str, data: bytes) -> None:
        link = (life, other_life)
        arrives = max(self.now + self.chance.random() * self.slowest, self._busy_until.get(link, 0.0))
        self._busy_until[link] = arrives

        def arrive() -> None:
            server = self.alive.get(receiver)
            if receiver in self._frozen:
                self._frozen[receiver].append(arrive)
                return
            if server is None or server.life != other_life or self.now < server.listens_from:
                return
            if data == b"leaving":
                server.see(server.seen - {sender})
                return
            note = notes.decode(data)
            if isinstance(note, notes.Sync) and sender not in server.seen and server.order.view.nodes:
                server.see(server.seen | {sender})
            server.order.heard(sender, life, note, self.now)
            server.order.flush()

        self.at(arrives - self.now, arrive)


def orders_agree(*heard: list[Any]) -> bool:
    """Whether what several have heard is in one order, as far as both have heard it."""
    for one, other in itertools.combinations(heard, 2):
        both = set(one) & set(other)
        if [x for x in one if x in both] != [x for x in other if x in both]:
            return False
    return True
