"""What this server hears from another one, put in the order in which it was said. Pure: no I/O, no clock.

The numbers are explained in ring.py. Nothing comes twice; what comes early is held until what is before it is here, or
is known to be lost.
"""

from __future__ import annotations

from typing import NamedTuple

from zephserver.core.cluster.broker.ring import OVERHEAD, Position


class Heard(NamedTuple):
    """An event as it came. *needs*: how far the other kind of numbers must have come before it."""

    for_all: bool
    number: int
    needs: int
    event: str
    payload: bytes

    @property
    def place(self) -> tuple[int, bool, int]:
        """Its place among all events of its sender."""
        return (self.number, False, 0) if self.for_all else (self.needs, True, self.number)


class Inbound:
    """One sender, during one life of it. At most *most* events and *max_bytes* bytes are held."""

    def __init__(self, most: int, max_bytes: int) -> None:
        self._most, self._max_bytes = most, max_bytes
        self._held: tuple[dict[int, Heard], dict[int, Heard]] = ({}, {})  # for all, for this server alone
        self._size = 0
        self._known = (0, 0)  # the highest numbers that the sender is known to have used
        self._gone = 0  # up to here the sender keeps nothing any more that is for this server alone
        self.at: Position | None = None  # how far it was heard; None: not known yet where to begin
        self.lost = 0  # events that will never come

    @property
    def is_behind(self) -> bool:
        """Whether something is missing that the sender has said."""
        return self.at is None or self._known[0] > self.at[0] or self._known[1] > self.at[1]

    def knows(self, position: Position) -> None:
        """The sender has said everything up to here."""
        self._known = _later(self._known, position)

    def begin(self, position: Position) -> list[Heard]:
        """The sender counts this server in from here on, told once; what is due with it, in order."""
        if self.at is not None:
            return []
        self.at = position
        self.knows(position)
        for held, at in zip(self._held, position, strict=True):
            for number in [number for number in held if number <= at]:
                self._release(held, number)
        return self._drain()

    def base(self, position: Position) -> list[Heard]:
        """The sender keeps nothing up to this position any more: what is not here is lost. What is due with it."""
        if self.at is None:
            return []
        end = _later(self.at, position)
        due = [self._release(held, n) for held, e in zip(self._held, end, strict=True) for n in list(held) if n <= e]
        self.lost += end[0] - self.at[0] + end[1] - self.at[1] - len(due)
        self.at = end
        self.knows(end)
        return [*sorted(due, key=lambda heard: heard.place), *self._drain()]

    def base_alone(self, number: int) -> list[Heard]:
        """As base(), for the events for this server alone; those that are here wait for what was said before them."""
        self._gone = max(self._gone, number)
        self.knows((0, number))
        return self._drain()

    def take(self, heard: Heard) -> list[Heard]:
        """Hear an event; those whose turn has come with it, in order."""
        mine, other = (0, 1) if heard.for_all else (1, 0)
        position = (heard.number, heard.needs) if heard.for_all else (heard.needs, heard.number)
        if position[0] > self._known[0] or position[1] > self._known[1]:
            self.knows(position)
        if self.at is not None and heard.number == self.at[mine] + 1 and heard.needs <= self.at[other]:
            self._move(mine, heard.number)
            if heard.number in self._held[mine]:
                self._release(self._held[mine], heard.number)
            if not self._size and self._gone <= self.at[1]:  # as it is when all is well
                return [heard]
            return [heard, *self._drain()]
        self._hold(heard, self._held[mine], -1 if self.at is None else self.at[mine])
        return self._drain()

    def _hold(self, heard: Heard, held: dict[int, Heard], at: int) -> None:
        size = len(heard.event) + len(heard.payload) + OVERHEAD
        is_full = len(self._held[0]) + len(self._held[1]) >= self._most or self._size + size > self._max_bytes
        if (
            heard.number > at and heard.number not in held and not is_full
        ):  # else it is asked for when its turn has come
            held[heard.number] = heard
            self._size += size

    def _drain(self) -> list[Heard]:
        """Those whose turn has come; what is lost before them is counted."""
        ready: list[Heard] = []
        while self.at is not None:
            for mine, other in ((0, 1), (1, 0)):
                held, at = self._held[mine], self.at[mine]
                heard = held.get(at + 1)
                if heard is not None and heard.needs <= self.at[other]:
                    self._release(held, heard.number)
                    self._move(mine, heard.number)
                    ready.append(heard)
                    break
                if heard is None and mine == 1 and self._gone > at:
                    end = min((number - 1 for number in held if number <= self._gone), default=self._gone)
                    self.lost += end - at
                    self._move(mine, end)
                    break
            else:
                break
        return ready

    def _move(self, mine: int, number: int) -> None:
        assert self.at is not None
        self.at = (number, self.at[1]) if mine == 0 else (self.at[0], number)

    def _release(self, held: dict[int, Heard], number: int) -> Heard:
        heard = held.pop(number)
        self._size -= len(heard.event) + len(heard.payload) + OVERHEAD
        return heard


def _later(first: Position, second: Position) -> Position:
    return max(first[0], second[0]), max(first[1], second[1])
