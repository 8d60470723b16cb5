"""What this server says, numbered, and kept for a while for those who missed it. Pure: no I/O, no clock.

There are two kinds of numbers: one counts the events for all, and for each server one counts those for it alone. The
*position* of another server is both: how many of each it has, or should have. An event for all says how far the
numbers of single servers had come since the one before it, and an event for one server says how many for all were
said before it. So everybody can put what it hears in the order in which it was said, and sees what is missing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping
from typing import NamedTuple

OVERHEAD = 64  # bytes that an event counts beside its name and its payload

Position = tuple[int, int]  # events for all, events for that server alone


class Said(NamedTuple):
    """One event. *total* is its number for all, or how many for all came before it."""

    nth: int  # of all events of this server, whomever they are for
    event: str
    payload: bytes
    total: int
    to: Mapping[str, int] | None  # None: for all; else server -> number
    moved: Mapping[str, int]  # of an event for all: the numbers of single servers that changed since the last one
    size: int  # what it counts in the ring, in bytes


class Ring:
    """The last *most* events and *max_bytes* bytes; the oldest go first, and those that were not sent are counted."""

    def __init__(self, most: int, max_bytes: int) -> None:
        self._most, self._max_bytes = most, max_bytes
        self._kept: deque[Said] = deque()
        self._unsent: deque[Said] = deque()  # the end of what is kept
        self._under_way: deque[Said] = deque()  # handed out, and not accepted by the broker yet
        self._next = 1
        self._all = 0
        self._to: Counter[str] = Counter()
        self._moved: dict[str, int] = {}
        self._kept_all = 0
        self._kept_to: Counter[str] = Counter()
        self._sent_all = 0
        self._sent_to: dict[str, int] = {}
        self._jumped: set[str | None] = set()  # for whom something was dropped unsent; None: for all
        self.size = 0  # bytes kept
        self.dropped_all = 0  # events for all that were never sent
        self.dropped_to: Counter[str] = Counter()  # and those for one server

    @property
    def has_unsent(self) -> bool:
        """Whether there is something to send."""
        return bool(self._unsent)

    @property
    def sent(self) -> tuple[int, dict[str, int]]:
        """How far what was handed out has come: of the events for all, and of those for each server."""
        return self._sent_all, self._sent_to

    def position(self, name: str) -> Position:
        """Where a server is that has everything that was said so far."""
        return self._all, self._to[name]

    def say(self, event: str, payload: bytes, to: Collection[str] | None = None) -> None:
        """Number an event and keep it."""
        size = len(event) + len(payload) + OVERHEAD
        if to is None:
            self._all += 1
            said = Said(self._next, event, payload, self._all, None, self._moved, size)
            self._moved = {}
        else:
            self._to.update(to)
            numbers = {name: self._to[name] for name in to}
            self._moved |= numbers
            said = Said(self._next, event, payload, self._all, numbers, {}, size)
            self._kept_to.update(to)
        self._kept_all += to is None
        self._next += 1
        self._kept.append(said)
        self._unsent.append(said)
        self.size += size
        while len(self._kept) > self._most or (self.size > self._max_bytes and len(self._kept) > 1):
            self._forget()

    def skip(self, for_all: int, to: Mapping[str, int]) -> None:
        """So many events were dropped before they came here; so everything older goes too, and the numbers move on."""
        while self._kept:
            self._forget()
        self._all += for_all
        self._to.update(to)
        moved = {name: self._to[name] for name in to}
        self._moved |= moved
        self._sent_all = self._all
        self._sent_to |= moved
        self._jumped.update(to, [None])
        self.dropped_all += for_all
        self.dropped_to.update(to)

    def take(self, max_bytes: int) -> list[Said]:
        """What is to be sent next: at least one event, if there is one, and then no more than fit."""
        taken: list[Said] = []
        size = 0
        while self._unsent and (not taken or size + self._unsent[0].size <= max_bytes):
            said = self._unsent.popleft()
            size += said.size
            taken.append(said)
            self._note_sent(said)
        self._under_way.extend(taken)
        return taken

    def accepted(self) -> None:
        """The broker has all that was taken."""
        self._under_way.clear()

    def back(self) -> None:
        """Nobody knows whether the broker has what was taken and not accepted: it is to be sent again."""
        oldest = self._kept[0].nth if self._kept else self._next
        while self._under_way:
            said = self._under_way.pop()
            if said.nth >= oldest:
                self._unsent.appendleft(said)

    def base(self, name: str) -> Position:
        """The position before the first event that is kept for this server."""
        return self._all - self._kept_all, self._to[name] - self._kept_to[name]

    @property
    def bases(self) -> dict[str, int]:
        """How many events for each single server are not kept any more."""
        return {name: base for name in self._to if (base := self._to[name] - self._kept_to[name])}

    def jumped(self, name: str | None) -> bool:
        """Whether events for this server, or for all, were dropped unsent since this was asked last."""
        if name in self._jumped:
            self._jumped.discard(name)
            return True
        return False

    def again(self, name: str, behind: Position, after: int, max_bytes: int) -> tuple[list[Said], int | None]:
        """What a server that is at a position misses of what was sent, from after an index on; and the index to go on
        after, None when that was all."""
        found: list[Said] = []
        size = 0
        end = self._unsent[0].nth if self._unsent else self._next
        for said in self._kept:
            if said.nth >= end:
                break
            number = said.total if said.to is None else said.to.get(name, 0)
            if said.nth <= after or number <= behind[said.to is not None]:
                continue
            if found and size + said.size > max_bytes:
                return found, found[-1].nth
            size += said.size
            found.append(said)
        return found, None

    def waiting(self) -> tuple[Position, dict[str, Position]]:
        """What was not sent yet, as events and bytes: for all, and for each server alone."""
        count, size = 0, 0
        to: dict[str, Position] = {}
        for said in tuple(self._unsent):
            if said.to is None:
                count, size = count + 1, size + said.size
            for name in said.to or ():
                events, octets = to.get(name, (0, 0))
                to[name] = events + 1, octets + said.size
        return (count, size), to

    def _note_sent(self, said: Said) -> None:
        if said.to is None:
            self._sent_all = said.total
        else:
            self._sent_to.update(said.to)

    def _forget(self) -> None:
        said = self._kept.popleft()
        self.size -= said.size
        if said.to is None:
            self._kept_all -= 1
        else:
            self._kept_to.subtract(said.to.keys())
        if self._unsent and self._unsent[0] is said:
            self._unsent.popleft()
            self._note_sent(said)  # as far as numbers go: the next sign of life tells that they were said
            self._jumped.update(said.to or [None])
            if said.to is None:
                self.dropped_all += 1
            else:
                self.dropped_to.update(said.to.keys())
