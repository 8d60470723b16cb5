"""One order for the messages of each room, whichever server says them. Pure: no I/O, no clock.

The servers that are there agree, by hashing, on an owner of each room. What is said in it goes to the owner, which
gives it a place and sends it to the servers that have members. When servers come or go, rooms get other owners: a new
owner first asks all others what they know of its rooms, and holds what is said meanwhile. The whole story is in
docs/explanation/cluster.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from zephserver.cluster.follower import ASK_AGAIN, Follower
from zephserver.cluster.host import PATIENCE, Host
from zephserver.cluster.line import Line, Rim
from zephserver.cluster.notes import (
    At,
    Enter,
    Entered,
    Exit,
    Forward,
    Note,
    Report,
    Said,
    Sync,
    Synced,
    Taken,
)
from zephserver.cluster.owners import owner_of
from zephserver.cluster.view import View
from zephserver.histories import Histories

LINGER = 10.0  # seconds in which a room without members here is still followed: people come and go
HOLD = 5.0  # seconds that a note waits for this server to learn that it owns the room
ENTER = 5.0  # seconds that a member waits for the owner's answer; then it comes in without what it missed
MOST_UNSAID = 65_536
MOST_REPORTS = 10_000  # in one note


@dataclass(slots=True)
class _Unsaid:
    """A message on its way to the owner of its room."""

    note: Forward
    to: str | None
    at: float


class Order:
    """What one server knows of the order of rooms. Loop only; `tick()` is due a few times a second."""

    def __init__(
        self,
        me: str,
        life: str,
        histories: Histories,
        rim: Rim,
        new_epoch: Callable[[], str],
        *,
        max_bytes: int = 16_777_216,
        is_alone: bool = False,
    ) -> None:
        self.view = View(me)
        self._me, self._life, self._origin, self._max_bytes = me, life, f"{me} {life}", max_bytes
        self._histories, self._rim = histories, rim
        self._lines: dict[str, Line] = {}
        self._follower = Follower(self.view, histories, rim)
        self._host = Host(self.view, self._lines, histories, rim, self._follower, new_epoch, is_alone=is_alone)
        self._lives: dict[str, str] = {}  # of the other servers
        self._ended: set[str] = set()  # lives: a note of one may come late
        self._seq = 0
        self._unsaid: dict[int, _Unsaid] = {}
        self._unsaid_bytes = 0
        self._held: dict[str, deque[tuple[float, str, Forward | Enter]]] = {}  # until we may order the room
        self._taken: dict[str, Taken] = {}  # to be told to each server
        self._has_new_answers = False
        self.dropped = 0  # messages that found no owner in time
        for room in histories.rooms():  # of an earlier life of the WebSocket service
            self._host.line(room)

    # -- what this server's members do ------------------------------------------------------------------------------

    def say(self, room: str, payload: bytes, but: str | None, now: float) -> None:
        """Have a message said in a room, to all members on all servers but the one with the cid *but*."""
        self._seq += 1
        note = Forward(room, self._origin, self._seq, but, payload, self._life)
        if self._host.may_order(room) and room not in self._held:
            self._host.say(note, now)
            return
        self._unsaid[self._seq] = _Unsaid(note, None, now)
        self._unsaid_bytes += len(payload)
        while len(self._unsaid) > MOST_UNSAID or (self._unsaid_bytes > self._max_bytes and len(self._unsaid) > 1):
            self._forget(next(iter(self._unsaid)))
            self.dropped += 1
        self._send(self._unsaid[self._seq], now)

    def enter(self, room: str, done: Callable[[], object], now: float) -> None:
        """A member comes into the room; *done* is called when everything said from then on will be heard here."""
        line = self._host.line(room)
        line.exit_at = None
        if not line.followed:
            line.followed = True
            if self._histories.find(room) is not None:
                self._histories.enter(room)  # it is not to be forgotten now
            self._rim.follow(room)
            line.is_ready = self._host.may_order(room)
            if not line.is_ready:
                self._follower.ask(line, now)
        if line.is_ready:
            done()
        else:
            line.waiting.append((now, done))

    def leave(self, room: str, now: float) -> None:
        """The last member left the room."""
        line = self._lines.get(room)
        if line is not None and line.followed and not line.waiting:
            line.exit_at = now + LINGER
            if self.view.is_mine(room):  # nobody has to be told
                self._exit(line, now)

    # -- who is there -----------------------------------------------------------------------------------------------

    def change(self, nodes: frozenset[str], now: float) -> None:
        """These servers are there now; this one among them, unless it is leaving."""
        if nodes == self.view.nodes:
            return
        came, gone = nodes - self.view.nodes, self.view.nodes - nodes
        owned = [(line, self.view.owner(line.room)) for line in self._lines.values()]
        self.view.change(nodes)
        self._host.ask_all(came, now)  # first: the owner of a room has to know what we know of it before it answers us
        for line, was in owned:
            line.followers -= gone
            if line.source in gone:
                self._host.fetched(line, None, now)
            if was == self.view.owner(line.room):
                continue
            if was == self._me:
                line.followers.clear()
                line.epoch, line.offset, line.source = "", 0, None
            if line.followed:
                self._follower.ask(line, now)
        for unsaid in list(self._unsaid.values()):
            if self.view.owner(unsaid.note.room) != unsaid.to:
                self._send(unsaid, now)
        self._has_new_answers = True
        self._settle(now)

    def heard(self, peer: str, life: str, note: Note, now: float) -> None:
        """A note of another server, of this life of it."""
        if life in self._ended:
            return
        if self._lives.get(peer) != life:
            self._renew(peer, life, now)
        match note:
            case Said():
                line = self._lines.get(note.room)
                if line is None:
                    self._rim.post({peer}, Exit(note.room))
                else:
                    self._follower.said(line, peer, note, now)
            case Forward() if note.life != self._life:
                self._answer(peer)  # it tells of this life; then this one comes again, and what is to be said before it
            case Forward() | Enter(follows=True):
                self._order(peer, note, now)
            case Taken():
                self._told(peer, note.seqs)
                self.dropped += self._told(peer, note.late)
            case Entered():
                line = self._lines.get(note.room)
                if line is not None and line.source == peer:
                    self._host.fetched(line, note, now)
                    self._go_on(line, now)
                elif line is not None:
                    self._follower.entered(line, peer, note, now)
            case At():
                line = self._lines.get(note.room)
                if line is not None:
                    self._follower.told(line, peer, note, now)
            case Enter():
                self._host.tell(peer, self._lines.get(note.room), self._histories.find(note.room), note, now)
            case Exit():
                line = self._lines.get(note.room)
                if line is not None:
                    line.followers.discard(peer)
                    if not (line.followed or line.followers):
                        self._histories.rest(line.room, now)
            case Sync():
                self._tell_what_is_known(peer, note)
                if note.anew:
                    self._host.doubt(peer, now)
            case Synced():
                self._host.answered(peer, note)
                self._has_new_answers = True
                self._settle(now)
            case _:
                raise ValueError(f"{type(note).__name__} is no note about the order of a room")

    def flush(self) -> None:
        """Tell the others which of their messages were said; due after each batch of notes."""
        taken, self._taken = self._taken, {}
        for peer, note in taken.items():
            self._rim.post({peer}, note)

    def tick(self, now: float) -> None:
        """What is due by now."""
        self._settle(now)
        for line in list(self._lines.values()):
            if line.followers:
                self._host.tell_place(line)
            if line.source is not None and now - line.asked_at > PATIENCE:
                self._host.fetched(line, None, now)
                self._go_on(line, now)
            if line.exit_at is not None and now >= line.exit_at:
                self._exit(line, now)
            elif line.followed and not line.is_ready:
                if self._host.may_order(line.room):
                    self._go_on(line, now)
                elif now - line.asked_at > ASK_AGAIN:
                    self._follower.ask(line, now)
            else:
                self._drop_if_idle(line)
            line.let_in(now - ENTER)
        for room, held in list(self._held.items()):
            while held and now - held[0][0] > HOLD:
                _, peer, note = held.popleft()
                if isinstance(note, Forward) and peer != self._me:
                    self._answer(peer).late.append(note.seq)
                elif isinstance(note, Forward):
                    self.dropped += self._told(peer, [note.seq])
            if not held:
                del self._held[room]

    def rows(self) -> dict[str, int]:
        """How many rooms are followed, how many are this server's to order, and what waits. Any thread."""
        return {
            "followed": sum(line.followed for line in list(self._lines.values())),
            "owned": sum(self.view.is_mine(room) for room in list(self._lines)),
            "held": sum(map(len, list(self._held.values()))),
            "unsaid": len(self._unsaid),
        }

    # -- within -----------------------------------------------------------------------------------------------------

    def _renew(self, peer: str, life: str, now: float) -> None:
        """A server has begun a new life: it has forgotten what it was told, or has not heard it."""
        self._ended.add(self._lives.get(peer, ""))
        self._lives[peer] = life
        for line in list(self._lines.values()):
            line.followers.discard(peer)
            if line.source == peer:
                self._host.fetched(line, None, now)
            if line.followed and self.view.owner(line.room) == peer:
                self._follower.ask(line, now)
        self._host.ask(peer)
        for unsaid in list(self._unsaid.values()):
            if unsaid.to == peer:
                self._send(unsaid, now)

    def _send(self, unsaid: _Unsaid, now: float) -> None:
        """To the owner with it, which may be this server, but not yet."""
        unsaid.to = owner = self.view.owner(unsaid.note.room)
        if owner == self._me or owner is None:
            self._order(self._me, unsaid.note, now)
        elif owner in self._lives:  # the others are sent it when they are heard first
            self._rim.post({owner}, unsaid.note.to(self._lives[owner]))

    def _order(self, peer: str, note: Forward | Enter, now: float) -> None:
        """Do what an owner does, or wait until this server knows that it is the owner."""
        if note.room not in self._held and self._host.may_order(note.room):
            self._own(peer, note, now)
        else:
            self._held.setdefault(note.room, deque()).append((now, peer, note))

    def _own(self, peer: str, note: Forward | Enter, now: float) -> None:
        if isinstance(note, Enter):
            self._host.enter(peer, note, now)
            return
        self._host.say(note, now)
        if peer == self._me:
            self._forget(note.seq)
        else:
            self._answer(peer).seqs.append(note.seq)

    def _answer(self, peer: str) -> Taken:
        """What a server is told with the next flush()."""
        return self._taken.setdefault(peer, Taken([], []))

    def _settle(self, now: float) -> None:
        """Take the rooms over when everybody has told what is known of them."""
        if not self.view.is_settled and self._host.has_all_answers(now):
            self._host.take_over(now)
            self._has_new_answers = True
        if self._has_new_answers and self.view.is_settled:
            self._has_new_answers = False
            for line in list(self._lines.values()):
                self._go_on(line, now)
            for room in list(self._held):
                self._serve_held(room, now)

    def _go_on(self, line: Line, now: float) -> None:
        """The room may be ours to order now."""
        if self._host.may_order(line.room):
            if line.followed and (line.waiting or not line.is_ready):
                self._follower.ready(line, now)
            self._serve_held(line.room, now)

    def _serve_held(self, room: str, now: float) -> None:
        if room in self._held and self._host.may_order(room):
            held = self._held.pop(room)
            for _, peer, note in sorted(held, key=lambda row: isinstance(row[2], Forward)):  # who is there hears all
                self._own(peer, note, now)

    def _tell_what_is_known(self, peer: str, note: Sync) -> None:
        """Of the rooms that *peer* owns: who follows them, and where they are."""
        reports = []
        for line in self._lines.values():
            history = self._histories.find(line.room)
            if (line.followed or history is not None) and owner_of(line.room, note.nodes) == peer:
                rank = None if history is None else history.rank()
                reports.append(Report(line.room, line.followed, rank, line.origins))
        for start in range(0, len(reports) or 1, MOST_REPORTS):
            part = reports[start : start + MOST_REPORTS]
            self._rim.post({peer}, Synced(note.id, part, start + MOST_REPORTS >= len(reports)))

    def _exit(self, line: Line, now: float) -> None:
        line.followed, line.is_ready, line.exit_at = False, False, None
        line.early.clear()
        self._rim.unfollow(line.room)
        owner = self.view.owner(line.room)
        if owner is not None and owner != self._me:
            self._rim.post({owner}, Exit(line.room))
        if not line.followers:
            self._histories.rest(line.room, now)
            self._drop_if_idle(line)

    def _drop_if_idle(self, line: Line) -> None:
        """Nobody is in the room, and nobody will ask what was said there."""
        if not (line.followed or line.followers or line.source) and self._histories.find(line.room) is None:
            self._lines.pop(line.room, None)

    def _told(self, peer: str, seqs: list[int]) -> int:
        """What became of messages at a server; how many of them were on their way to it, and to no other."""
        known = [seq for seq in seqs if (unsaid := self._unsaid.get(seq)) and (unsaid.to or self._me) == peer]
        for seq in known:
            self._forget(seq)
        return len(known)

    def _forget(self, seq: int) -> None:
        unsaid = self._unsaid.pop(seq, None)
        if unsaid is not None:
            self._unsaid_bytes -= len(unsaid.note.payload)
