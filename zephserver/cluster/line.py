"""One room's line of messages, as one server knows it. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from zephserver.cluster.notes import Note, Place, Said

MOST_EARLY = 10_000  # messages kept while what comes before them is fetched


@dataclass(slots=True)
class Line:
    """A room that has members here, or that this server orders for others, or of which it remembers messages."""

    room: str
    followed: bool = False  # it has members here
    followers: set[str] = field(default_factory=set)  # the other servers that it has members on, known to its owner
    epoch: str = ""  # place in the order, of a room without a history; that of others stands in their history
    offset: int = 0
    origins: dict[str, int] = field(default_factory=dict)  # the last number of each server that said something
    is_ready: bool = False  # everything up to its place was heard
    asked_at: float = 0.0  # when the owner was asked where we are
    exit_at: float | None = None  # the last member left; who comes back until then finds all as it was
    waiting: list[tuple[float, Callable[[], object]]] = field(default_factory=list)  # members who want to come in
    early: deque[Said] = field(default_factory=lambda: deque(maxlen=MOST_EARLY))
    seen: Place = ("", 0)  # where the history was when it was looked at last
    told: Place = ("", 0)  # where it was when the followers were told
    source: str | None = None  # a server that is asked for the history of this room, before we go on with it

    def let_in(self, before: float) -> None:
        """Let those members in who have waited since that time."""
        while self.waiting and self.waiting[0][0] <= before:
            self.exit_at = None
            self.waiting.pop(0)[1]()

    def is_new(self, origin: str, seq: int) -> bool:
        """Whether this was not said before; it was then."""
        if self.origins.get(origin, 0) >= seq:
            return False
        self.origins[origin] = seq
        return True

    def learn(self, origins: dict[str, int]) -> None:
        """What another server knows to be said."""
        for origin, seq in origins.items():
            if self.origins.get(origin, 0) < seq:
                self.origins[origin] = seq


class Rim(Protocol):
    """What the order needs of the world."""

    def post(self, to: set[str], note: Note, room: str | None = None) -> None:
        """Send a note to servers, in order; with a room, to exactly those that follow it."""

    def deliver(self, room: str, payload: bytes, offset: int | None, but: str | None) -> None:
        """Send a message to the members of a room here; *offset* of a room with a history."""

    def moved(self, room: str, epoch: str, offset: int, recovered: bool) -> None:
        """The history of a room has a new epoch; not *recovered*: something of it is missing, or was other."""

    def follow(self, room: str) -> None:
        """The room has members here."""

    def unfollow(self, room: str) -> None:
        """It has none any more."""

    def lost(self, peer: str, count: int) -> None:
        """So many messages that *peer* ordered never came."""
