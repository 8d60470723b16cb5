"""One direction between two servers: numbers, what is still to be said, what was heard. Pure: no I/O, no clock.

Every event has a number, one more than the one before it. The sender keeps what was not acknowledged, and says it again
after an outage; the receiver drops what it has, and sees a gap when something is gone for good.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

OVERHEAD = 64  # bytes that an event counts beside its name and its payload


class Item(NamedTuple):
    """An event on its way. A tuple, because many of them are made: a frozen dataclass takes three times as long."""

    number: int
    event: str
    payload: bytes
    at: float  # when it was said, in seconds
    size: int  # what it counts in the queue, in bytes


class Outbound:
    """What one server says to another: at most *most* events and *max_bytes* bytes wait; then the oldest go."""

    def __init__(self, most: int, max_bytes: int) -> None:
        self._most, self._max_bytes = most, max_bytes
        self._under_way: deque[Item] = deque()  # handed to the wire in this connection, and not acknowledged yet
        self._waiting: deque[Item] = deque()  # all behind them
        self._under_way_bytes = 0
        self._last = 0
        self.size = 0  # bytes kept
        self.dropped = 0  # events that nobody will hear, in all

    def __len__(self) -> int:
        return len(self._under_way) + len(self._waiting)

    @property
    def oldest(self) -> int:
        """The number of the first event that is kept, or of the next one."""
        kept = self._under_way or self._waiting
        return kept[0].number if kept else self._last + 1

    def lag(self, now: float) -> float:
        """How long the first event that is kept has waited, in seconds. Any thread."""
        try:
            return now - (self._under_way or self._waiting)[0].at
        except IndexError:
            return 0.0

    def say(self, event: str, payload: bytes, now: float) -> None:
        """Keep an event until the other server has it."""
        size = len(event) + len(payload) + OVERHEAD
        while len(self) and (len(self) >= self._most or self.size + size > self._max_bytes):
            self._forget(dropped=True)  # before: other threads look at the size
        self._last += 1
        self._waiting.append(Item(self._last, event, payload, now, size))
        self.size += size

    def resume(self, heard: int, since: float | None = None, *, is_first: bool = False) -> None:
        """The other server has heard everything up to number *heard*: go on behind it.

        A server that has just begun (*since* is when) has heard nothing, and gets only what was said in its time. With
        *is_first* it was not there before, and has missed nothing.
        """
        self._waiting.extendleft(reversed(self._under_way))
        self._under_way.clear()
        self._under_way_bytes = 0
        if since is None:
            self.acknowledged(heard)
            return
        while self._waiting and self._waiting[0].at < since:
            self._forget(dropped=not is_first)

    def take(self, window: int) -> list[Item]:
        """What may be handed to the wire now, so that at most *window* bytes are under way."""
        taken: list[Item] = []
        while self._waiting and self._under_way_bytes < window:
            item = self._waiting.popleft()
            self._under_way_bytes += item.size
            taken.append(item)
        self._under_way.extend(taken)
        return taken

    def acknowledged(self, number: int) -> None:
        """The other server has everything up to this number."""
        while self.oldest <= min(number, self._last):
            self._forget(dropped=False)

    def _forget(self, *, dropped: bool) -> None:
        if self._under_way:
            item = self._under_way.popleft()
            self._under_way_bytes -= item.size
        else:
            item = self._waiting.popleft()
        self.size -= item.size
        self.dropped += dropped


class Verdict(Enum):
    """What an event is to the one who hears it."""

    NEW = "new"
    KNOWN = "known"  # heard before, and said again after an outage
    EARLY = "early"  # something before it is missing, and the sender still has that


class Inbound:
    """What one server hears from another, during one life of that other."""

    def __init__(self, boot: str) -> None:
        self.boot = boot
        self.heard: int | None = None  # the highest number so far; all before it were heard, or are lost
        self.lost = 0  # events that the sender had to drop, in all

    def take_all(self, first: int, count: int) -> bool:
        """Whether the next *count* events, from *first* on, are just those that are expected; then they are heard."""
        if self.heard is None or first != self.heard + 1:
            return False
        self.heard += count
        return True

    def take(self, number: int, oldest: int) -> tuple[Verdict, int]:
        """What event *number* is, of a sender that keeps those from *oldest* on; and how many were lost before it."""
        expected = oldest if self.heard is None else self.heard + 1
        if number < expected:
            return Verdict.KNOWN, 0
        if number > max(expected, oldest):
            return Verdict.EARLY, 0
        lost = number - expected
        self.heard = number
        self.lost += lost
        return Verdict.NEW, lost


def cut(names: Sequence[object], sizes: Sequence[object], body: bytes) -> list[tuple[str, bytes]]:
    """The events of one message: name and payload of each. Raises ValueError when they do not fit together."""
    if not isinstance(names, list) or not isinstance(sizes, list):
        raise ValueError("names and sizes are lists")
    events: list[tuple[str, bytes]] = []
    start = 0
    for name, size in zip(names, sizes, strict=True):
        if type(name) is not str or type(size) is not int or size < 0:
            raise ValueError("names are texts, sizes are numbers")
        end = start + size
        events.append((name, body[start:end]))
        start = end
    if start != len(body):
        raise ValueError("the sizes are not that of the body")
    return events
