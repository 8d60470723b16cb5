"""What rooms remember, so that a client that comes back gets what it missed. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

MOST_FORKS = 32  # earlier epochs that a history knows of itself
MOST_RESTING = 10_000  # histories of rooms that nobody is in
PATTERNS_CACHED = 4_096  # names of rooms of which it is remembered whether they keep a history

Write = Callable[[int], bytes]  # makes a message of its offset
Rank = tuple[int, int, str]


class History:
    """The last messages of a room: at most *most*, none older than *keep* seconds.

    Each has an offset, one more than the one before it. An offset means something only together with the epoch, which
    another history of the same room does not share. A history that goes on elsewhere forks: it takes a new epoch and
    remembers up to where the old one was the same, so that two servers that both went on cannot be mistaken for each
    other (as the leader epochs of Apache Kafka, KIP-101).
    """

    __slots__ = ("_kept", "_most", "epoch", "generation", "keep", "lineage", "offset", "size")

    def __init__(self, most: int, keep: float, epoch: str) -> None:
        self._most, self.keep = most, keep
        self._kept: deque[tuple[float, bytes]] = deque()  # the last one has the offset `offset`
        self.epoch = epoch
        self.offset = 0
        self.generation = 0  # how often it forked
        self.lineage: list[tuple[str, int]] = []  # its earlier epochs, and the offset up to which each counts
        self.size = 0  # bytes kept

    def add(self, write: Write, now: float) -> bytes:
        """Keep the message that *write* makes of its offset."""
        payload = write(self.offset + 1)
        self.put(payload, now, now)
        return payload

    def put(self, payload: bytes, said: float, now: float) -> None:
        """Keep a message that was said at that time; it has the next offset."""
        self.offset += 1
        self._kept.append((said, payload))
        self.size += len(payload)
        self.expire(now)

    def fork(self, epoch: str) -> None:
        """Go on under a new epoch."""
        if self.place() == (self.epoch, self.offset):  # an epoch in which nothing was said leaves no trace
            self.lineage = [*self.lineage, (self.epoch, self.offset)][-MOST_FORKS:]
            self.generation += 1
        self.epoch = epoch

    def place(self) -> tuple[str, int]:
        """Where it is, under the epoch of its last message: others may know that one, and not a later fork."""
        if self.lineage and self.lineage[-1][1] == self.offset:
            return self.lineage[-1]
        return self.epoch, self.offset

    def rank(self) -> Rank:
        """Of two histories of a room that both went on, the one with the higher rank is kept: the longer one.

        Otherwise the one that forked more often; a fork in which nothing was said does not count.
        """
        epoch, offset = self.place()
        return offset, self.generation - (epoch != self.epoch), epoch

    def has(self, epoch: str | None, offset: int) -> bool:
        """Whether this is a place in this history, remembered or not."""
        ends = {**dict(self.lineage), self.epoch: self.offset}
        return epoch is not None and 0 <= offset <= ends.get(epoch, -1)

    def since(self, epoch: str | None, offset: int | None, now: float) -> list[bytes] | None:
        """The messages after *offset*, all of them and in order; None when they are not all there any more."""
        missed = self.kept_since(epoch, offset, now)
        return None if missed is None else [payload for _, payload in missed]

    def kept_since(self, epoch: str | None, offset: int | None, now: float) -> list[tuple[float, bytes]] | None:
        """As since(), each with the time when it was said."""
        self.expire(now)
        if offset is None or not self.has(epoch, offset) or self.offset - offset > len(self._kept):
            return None
        return list(self._kept)[len(self._kept) - (self.offset - offset) :]

    def kept(self, now: float) -> list[tuple[float, bytes]]:
        """All that it remembers, each with the time when it was said."""
        self.expire(now)
        return list(self._kept)

    def expire(self, now: float) -> None:
        """Forget what is too old or too much."""
        while self._kept and (len(self._kept) > self._most or self._kept[0][0] <= now - self.keep):
            self.drop_oldest()

    def drop_oldest(self) -> bool:
        """Forget one message; False when there is none."""
        if not self._kept:
            return False
        self.size -= len(self._kept.popleft()[1])
        return True


class Histories:
    """The histories of all rooms, within one limit of bytes.

    When it is reached, the rooms that nobody is in forget first, those that rest the longest before the others; then
    the room that is spoken in forgets its own oldest messages.
    """

    def __init__(self, patterns: Mapping[str, tuple[int, float]], max_bytes: int, new_epoch: Callable[[], str]) -> None:
        self._max_bytes, self._new_epoch = max_bytes, new_epoch
        self._of: dict[str, History] = {}
        self._resting: OrderedDict[str, float] = OrderedDict()  # rooms that nobody is in: when that began
        self.size = 0

        @lru_cache(PATTERNS_CACHED)
        def kept(room: str) -> tuple[int, float] | None:
            return next((kept for pattern, kept in patterns.items() if fnmatchcase(room, pattern)), None)

        self._kept = kept if patterns else lambda room: None

    def __len__(self) -> int:
        return len(self._of)

    def rooms(self) -> list[str]:
        """The rooms that have one."""
        return list(self._of)

    def keeps(self, room: str) -> bool:
        """Whether a pattern says that this room has a history."""
        return self._kept(room) is not None

    def find(self, room: str) -> History | None:
        """The history of a room, None when it has none yet."""
        return self._of.get(room)

    def enter(self, room: str) -> History | None:
        """Somebody is in the room now: its history, made if need be; None when the room keeps none."""
        self._resting.pop(room, None)
        return self._make(room)

    def rest(self, room: str, now: float) -> None:
        """Nobody is in the room any more; its history stays as long as its messages would."""
        if room in self._of:
            self._resting[room] = now
            self._resting.move_to_end(room)
            while len(self._resting) > MOST_RESTING:
                self._drop(next(iter(self._resting)))

    def add(self, room: str, write: Write, now: float, *, is_empty: bool) -> bytes:
        """Keep a message of a room for which keeps() is true; the message with its offset."""
        history = self._make(room)
        assert history is not None
        before = history.size
        try:
            payload = history.add(write, now)
        finally:
            self.size += history.size - before
            if is_empty:
                self.rest(room, now)
        self._shrink(room, history)
        return payload

    def put(self, room: str, payload: bytes, said: float, now: float) -> None:
        """Keep the next message of a room, which another server has given its offset."""
        history = self._of[room]
        before = history.size
        history.put(payload, said, now)
        self.size += history.size - before
        self._shrink(room, history)

    def replace(self, room: str, epoch: str, offset: int) -> History | None:
        """Forget what a room has said, and begin it anew behind this place; None when the room keeps no history."""
        if room in self._of:
            self._resting.pop(room, None)
            self.size -= self._of.pop(room).size
        history = self._make(room)
        if history is not None:
            history.epoch, history.offset = epoch, offset
        return history

    def since(self, room: str, epoch: str | None, offset: int | None, now: float) -> list[bytes] | None:
        """As History.since()."""
        history = self._of.get(room)
        if history is None:
            return None
        before = history.size
        missed = history.since(epoch, offset, now)
        self.size += history.size - before
        return missed

    def sweep(self, now: float) -> None:
        """Forget the messages that are too old, and the rooms that nobody came back to in time."""
        for history in self._of.values():
            before = history.size
            history.expire(now)
            self.size += history.size - before
        for room, since in list(self._resting.items()):
            if now - since >= self._of[room].keep:
                self._drop(room)

    def _shrink(self, room: str, history: History) -> None:
        while self.size > self._max_bytes:
            resting = next((name for name in self._resting if name != room), None)
            if resting is not None:
                self._drop(resting)
            else:
                before = history.size
                if not history.drop_oldest():
                    break
                self.size += history.size - before

    def _make(self, room: str) -> History | None:
        history = self._of.get(room)
        if history is None and (kept := self._kept(room)) is not None:
            history = self._of[room] = History(*kept, self._new_epoch())
        return history

    def _drop(self, room: str) -> None:
        del self._resting[room]
        self.size -= self._of.pop(room).size
