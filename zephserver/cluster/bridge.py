"""Between the room handler of this server and those of the others."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

from zephserver.cluster import notes
from zephserver.cluster.order import Order
from zephserver.cluster.presence import Others, Own
from zephserver.core import metrics
from zephserver.core.cluster.manager import ClusterManager
from zephserver.core.settings_page import Settings
from zephserver.histories import Histories
from zephserver.portal import Portal

TICK = 0.5  # seconds between two looks at what is due
TELL = 0.05  # seconds at least between two notes of who is where; the changes between them are in the second
VERSIONS = 10  # ticks between two notes that say how far a copy has to be
GRACE = 1.0  # seconds at the start in which the other servers are waited for
FADE = 1.0  # seconds that the users of a dead server stay at most; with its silence, less than 6 in all
LIFE = 8  # characters

_log = logging.getLogger("zephserver.cluster")


class Rooms(Protocol):
    """What the room handler does for the other servers. Loop only."""

    def deliver(self, name: str, payload: bytes, but: str | None) -> None:
        """Send a message to the members of a room here, except to the one with the cid *but*."""

    def deliver_to(self, note: notes.ForUsers | notes.ForAll | notes.ForOne) -> None:
        """Send a message to connections here."""

    def moved(self, name: str, epoch: str, offset: int, recovered: bool) -> None:
        """The history of a room has a new epoch."""

    def close_connections(self, note: notes.Kick) -> int:
        """Close connections; how many."""

    def seen_elsewhere(self, server: str, name: str, key: notes.Key, username: str | None, connections: int) -> None:
        """Another server says that a user is in a room, or, without a name, not any more."""

    def sweep(self, now: float) -> None:
        """Do what is due now and then."""


class Bridge:
    """One life of the WebSocket service as part of a cluster, or alone. Loop only, but where it says otherwise."""

    def __init__(
        self,
        rooms: Rooms,
        histories: Histories,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        portal: Portal,
        cluster: ClusterManager | None,
    ) -> None:
        self._rooms, self._settings, self._loop, self._portal = rooms, settings, loop, portal
        self._cluster = cluster if cluster is not None and cluster.engine != "local" else None
        self._me = settings.cluster_node or "here"
        self._thread = threading.get_ident()
        self._life = secrets.token_hex(LIFE // 2)
        self.order = Order(
            self._me,
            self._life,
            histories,
            self,
            lambda: secrets.token_hex(4),
            max_bytes=settings.cluster_queue_bytes,
            is_alone=self._cluster is None,
        )
        self._own, self._others = Own(self._life), Others(min(settings.leave_delay, FADE))
        self._reached: set[str] = set()  # the others that can be spoken to
        self._lives: dict[str, str] = {}  # of those of them that were heard: the others may not listen yet
        self._idle: set[str] = set()  # those of them that have not begun, and that are not waited for
        self._leaving: dict[str, float] = {}  # the others that leave, and when their users are back
        self._has_begun = self._is_leaving = self._is_closed = False
        self._timers: dict[str, asyncio.TimerHandle | asyncio.Handle] = {}
        self._ticks = 0
        self._told = 0.0
        self._questions: dict[int, _Question] = {}
        self._numbers = itertools.count(1)
        self._unreadable: set[str] = set()
        if self._cluster is None:
            self.order.change(frozenset({self._me}), loop.time())
        else:
            self._cluster.take(notes.EVENT, self._take)
            self._cluster.watch(self._watch)
            for peer in self._cluster.peers:
                self._see(peer, is_there=True)
            self._later("begin", GRACE, self._begin)
        self._later("tick", TICK, self._tick)

    def close(self) -> None:
        """The loop ends."""
        self._is_closed = True
        for timer in self._timers.values():
            timer.cancel()
        if self._cluster is not None:
            self._cluster.take(notes.EVENT, None)
            self._cluster.unwatch(self._watch)

    @property
    def is_alone(self) -> bool:
        """Whether there are no other servers. Any thread."""
        return self._cluster is None

    def drain(self, seconds: float) -> None:
        """This server orders no rooms any more, and its users go to the others within so many seconds."""
        if self._cluster is not None and not self._is_leaving:
            self._is_leaving = True
            self._post_all(notes.Leaving(seconds))
            self._look_around()

    # -- what the room handler says ---------------------------------------------------------------------------------

    def say(self, room: str, payload: bytes, but: str | None) -> None:
        """To all members of a room, on all servers."""
        self.order.say(room, payload, but, self._loop.time())

    def enter(self, room: str, done: Callable[[], object]) -> None:
        """Have *done* called, now or soon, when a member may come into the room and will miss nothing."""
        self.order.enter(room, done, self._loop.time())

    def leave(self, room: str) -> None:
        """The last member left the room."""
        self.order.leave(room, self._loop.time())

    def tell(self, room: str, key: notes.Key, username: str | None, connections: int = 0) -> None:
        """A user is in the room with so many connections here, or, without a name, not at all."""
        if self._cluster is None:
            return
        if username is None:
            self._own.gone(room, key)
        else:
            self._own.set(room, key, username, connections)
        if "tell" not in self._timers:
            self._later("tell", max(0.0, self._told + TELL - self._loop.time()), self._tell_changes)

    def for_others(self, note: notes.Note, to: Collection[str] | None = None) -> None:
        """To connections on other servers."""
        if to is None:
            self._post_all(note)
        elif to:
            self.post(to, note)

    def kick(self, user: Any, who: str, reason: str, patience: float) -> int:
        """Have the other servers close connections; how many they closed, as far as they answered. Any thread.

        The loop itself does not wait for answers, and gets 0.
        """
        question = _Question(next(self._numbers))
        self._portal.call(self._ask, question, notes.Kick(question.id, user, who, reason))
        if threading.get_ident() != self._thread:
            question.answered.wait(patience)
        self._questions.pop(question.id, None)
        return question.count

    def metrics(self) -> Iterator[metrics.Family]:
        """Rooms that this server follows and owns, and messages that wait. Any thread."""
        if self._cluster is None:
            return
        rows = self.order.rows()
        rooms = "Rooms that this server follows, because it has members, or owns, and orders."
        yield metrics.gauges(
            "zephserver_cluster_rooms", rooms, "how", {how: rows[how] for how in ("followed", "owned")}
        )
        waiting = "Messages to rooms that wait for their owner: another server, or this one."
        yield metrics.gauges(
            "zephserver_cluster_waiting", waiting, "for", {"another": rows["unsaid"], "this": rows["held"]}
        )
        drops = "Messages to rooms that found no owner in time."
        yield metrics.counter("zephserver_cluster_room_drops_total", drops, self.order.dropped)

    # -- what the order of rooms asks for ---------------------------------------------------------------------------

    def post(self, to: Collection[str], note: notes.Note, room: str | None = None) -> None:
        """Send a note to some servers."""
        if self._cluster is not None:
            self._cluster.send(notes.EVENT, self._life.encode() + notes.encode(note), frozenset(to), room)

    def deliver(self, room: str, payload: bytes, offset: int | None, but: str | None) -> None:
        """To the members of a room here."""
        self._rooms.deliver(room, payload, but)

    def moved(self, room: str, epoch: str, offset: int, recovered: bool) -> None:
        """The history of a room has a new epoch."""
        self._rooms.moved(room, epoch, offset, recovered)

    def follow(self, room: str) -> None:
        """The room has members here."""
        if self._cluster is not None:
            self._cluster.follow(room)

    def unfollow(self, room: str) -> None:
        """It has none any more."""
        if self._cluster is not None:
            self._cluster.unfollow(room)

    def lost(self, peer: str, count: int) -> None:
        """Messages of a room never came."""
        if self._cluster is not None:
            self._cluster.lost(peer or "?", count)

    # -- cluster thread ---------------------------------------------------------------------------------------------

    def _take(self, peer: str, payload: bytes) -> None:
        try:
            life, note = payload[:LIFE].decode(), notes.decode(payload[LIFE:])
        except ValueError as error:
            if peer not in self._unreadable:
                self._unreadable.add(peer)
                _log.error("a note of server %s cannot be read; run the same version on all: %s", peer, error)
            return
        self._portal.call_soon(self._heard, peer, life, note)

    def _watch(self, peer: str, is_there: bool) -> None:
        self._portal.call_soon(self._see, peer, is_there)

    # -- what the other servers say ---------------------------------------------------------------------------------

    def _see(self, peer: str, is_there: bool) -> None:
        """A server came or went."""
        if self._is_closed:
            return
        now = self._loop.time()
        if is_there:
            self._reached.add(peer)
            self._greet(peer)
        else:
            self._reached.discard(peer)
            self._lives.pop(peer, None)
            until = self._leaving.pop(peer, None)
            if until is None:
                self._others.silent(peer, now + min(self._settings.leave_delay, FADE))
            else:  # it left in order, and has said how long its users take
                self._others.leaving(peer, max(now, until))
        self._look_around()

    def _meet(self, peer: str, life: str, note: notes.Note) -> None:
        """A server is heard for the first time in this life, or for the first time since it has begun."""
        is_idle = isinstance(note, notes.Version) and not note.has_begun
        if self._lives.get(peer) != life:  # what was said to it before, it may not have heard
            self._lives[peer] = life
            self._greet(peer)
            if is_idle and self._has_begun:
                self._idle.add(peer)
        if not is_idle:
            self._idle.discard(peer)
        if not isinstance(note, notes.Leaving):
            self._leaving.pop(peer, None)
            self._look_around()

    def _greet(self, peer: str) -> None:
        """Let a server know this life, so that it asks who is here."""
        if self._is_leaving:
            self.post({peer}, notes.Leaving(0.0))
        self._tell_changes()
        self.post({peer}, self._own.version(has_begun=self._has_begun))

    def _heard(self, peer: str, life: str, note: notes.Note) -> None:
        if self._is_closed:
            return
        now = self._loop.time()
        if self._lives.get(peer) != life or (peer in self._idle and isinstance(note, notes.Version | notes.Sync)):
            self._meet(peer, life, note)
        match note:
            case notes.Here() | notes.Change() | notes.Version():
                changes, wants_all = self._others.heard(peer, note, now)
                self._apply(peer, changes)
                if wants_all:
                    self.post({peer}, notes.Missed())
                if not self._has_begun:
                    self._look_around()
            case notes.Missed():
                self._tell_changes()
                for part in self._own.here():
                    self.post({peer}, part)
            case notes.ForUsers() | notes.ForAll() | notes.ForOne():
                self._rooms.deliver_to(note)
            case notes.Leaving():
                self._leaving[peer] = until = now + note.seconds + self._settings.leave_delay
                self._others.leaving(peer, until)
                self._look_around()
            case notes.Kick():
                self.post({peer}, notes.Kicked(note.id, self._rooms.close_connections(note)))
            case notes.Kicked():
                self._answered(peer, note)
            case _:
                if isinstance(note, notes.Sync):  # who asks is there, and does not leave
                    self._leaving.pop(peer, None)
                    self._reached.add(peer)
                    self._look_around()
                self.order.heard(peer, life, note, now)
                if "flush" not in self._timers:
                    self._timers["flush"] = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._timers.pop("flush", None)
        self.order.flush()

    def _apply(self, peer: str, changes: list[notes.Seen]) -> None:
        for room, key, username, connections in changes:
            self._rooms.seen_elsewhere(peer, room, key, username, connections)

    # -- within -----------------------------------------------------------------------------------------------------

    @property
    def _up(self) -> set[str]:
        """The others that are there."""
        return self._reached & self._lives.keys()

    def _look_around(self) -> None:
        """See who is there now; at the start not before all are, and have said who is on them."""
        listed = {server["hostname"] for server in self._settings.cluster_server_list} - {self._me}
        if self._has_begun:
            others = frozenset(self._up - self._idle - self._leaving.keys())
            nodes = others if self._is_leaving else others | {self._me}
            self.order.change(nodes, self._loop.time())
        elif listed and listed <= self._up and all(map(self._others.has_told, listed)):
            self._begin()

    def _begin(self) -> None:
        """Whoever is there by now is the cluster."""
        if not self._has_begun:
            self._has_begun = True
            self._lives = dict.fromkeys(self._reached, "") | self._lives  # who can be reached is about to answer
            self._post_all(self._own.version())
            self._look_around()

    def _tick(self) -> None:
        now = self._loop.time()
        self._ticks += 1
        self.order.tick(now)
        self.order.flush()
        for peer, gone in self._others.expire(now):
            self._apply(peer, gone)
        if self._ticks % VERSIONS == 0 and self._cluster is not None:
            self._post_all(self._own.version(has_begun=self._has_begun))
        self._rooms.sweep(now)
        self._later("tick", TICK, self._tick)

    def _tell_changes(self) -> None:
        timer = self._timers.pop("tell", None)
        if timer is not None:
            timer.cancel()
        self._told = self._loop.time()
        change = self._own.change()
        if change is not None:
            self._post_all(change)

    def _post_all(self, note: notes.Note) -> None:
        if self._cluster is not None:
            self._cluster.send(notes.EVENT, self._life.encode() + notes.encode(note))

    def _later(self, name: str, seconds: float, function: Callable[[], object]) -> None:
        self._timers[name] = self._loop.call_later(seconds, function)

    def _ask(self, question: _Question, note: notes.Kick) -> None:
        question.missing = set(self._up)
        if question.missing:
            self._questions[question.id] = question
            self.post(question.missing, note)
        else:
            question.answered.set()

    def _answered(self, peer: str, note: notes.Kicked) -> None:
        question = self._questions.get(note.id)
        if question is not None and peer in question.missing:
            question.count += note.count
            question.missing.discard(peer)
            if not question.missing:
                question.answered.set()


class _Question:
    """A question to all the others."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.missing: set[str] = set()
        self.count = 0
        self.answered = threading.Event()
