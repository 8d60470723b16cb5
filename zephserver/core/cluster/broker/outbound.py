"""From events to messages: for all, for one server, on a topic, and what is said again. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from zephserver.core.cluster.broker.frames import pack
from zephserver.core.cluster.broker.ring import OVERHEAD, Position, Ring, Said
from zephserver.core.cluster.broker.transport import Message, Where

BATCH_BYTES = 262_144  # of events in one message, unless a single one is larger
BATCH = 256  # events in one message


class Outbound:
    """Everything that this server says. One thread at a time."""

    def __init__(self, sender: Mapping[str, str], most: int, max_bytes: int) -> None:
        self.ring = Ring(most, max_bytes)
        self.last: Message | None = None  # to be sent when nothing else is left
        self._sender = sender
        self._max_bytes = max_bytes
        self._topics: deque[tuple[str, str, bytes]] = deque()
        self._topics_size = 0
        self._again: dict[str, tuple[Position, int]] = {}  # server -> where it is, and the index to go on after

    def publish(self, topic: str, event: str, payload: bytes) -> None:
        """Say something once on a topic; when too much waits, the oldest goes."""
        self._topics.append((topic, event, payload))
        self._topics_size += len(payload) + OVERHEAD
        while self._topics_size > self._max_bytes and len(self._topics) > 1:
            self._topics_size -= len(self._topics.popleft()[2]) + OVERHEAD

    def again(self, name: str, position: Position) -> None:
        """A server misses what is behind this position. While an answer to it is under way, nothing new begins."""
        self._again.setdefault(name, (position, 0))

    @property
    def is_asked(self) -> bool:
        """Whether a server waits for what it missed."""
        return bool(self._again)

    def interrupted(self) -> None:
        """The bus is lost: what was not accepted is sent again, and what is only good now is not."""
        self.ring.back()
        self._again.clear()
        self._topics.clear()
        self._topics_size = 0

    def messages(self, window: int) -> list[Message]:
        """The next messages, with about *window* bytes of events."""
        found = [*self._new(self.ring.take(window)), *self._topical(window), *self._repeated(window)]
        if not found and self.last is not None and not self.ring.has_unsent:
            found, self.last = [self.last], None
        return found

    def _new(self, taken: list[Said]) -> Iterator[Message]:
        for batch in _batches([said for said in taken if said.to is None]):
            head: dict[str, Any] = {"t": "all", "s": batch[0].total, "e": [[s.event, len(s.payload)] for s in batch]}
            moved = {index: said.moved for index, said in enumerate(batch) if said.moved}
            if moved:
                head["d"] = moved
            if self.ring.jumped(None):
                head |= {"o": self.ring.base("")[0], "b": self.ring.bases}
            yield self._message(Where.ALL, "", head, batch)
        alone: dict[str, list[Said]] = {}
        for said in taken:
            for name in said.to or ():
                alone.setdefault(name, []).append(said)
        for name, saids in alone.items():
            for batch in _batches(saids):
                entries = [[said.event, len(said.payload), said.total] for said in batch]
                head = {"t": "to", "s": (batch[0].to or {})[name], "e": entries}
                if self.ring.jumped(name):
                    head["o"] = self.ring.base(name)[1]
                yield self._message(Where.NODE, name, head, batch)

    def _topical(self, window: int) -> Iterator[Message]:
        size = 0
        gathered: dict[str, list[tuple[str, bytes]]] = {}
        while self._topics and size <= window:
            topic, event, payload = self._topics.popleft()
            size += len(payload) + OVERHEAD
            self._topics_size -= len(payload) + OVERHEAD
            gathered.setdefault(topic, []).append((event, payload))
        for topic, events in gathered.items():
            for start in range(0, len(events), BATCH):
                some = events[start : start + BATCH]
                head = {**self._sender, "t": "topic", "e": [[event, len(payload)] for event, payload in some]}
                yield Message(Where.TOPIC, topic, pack(head, [payload for _, payload in some]))

    def _repeated(self, window: int) -> Iterator[Message]:
        for name, (position, after) in list(self._again.items()):
            saids, on = self.ring.again(name, position, after, window)
            if on is None:
                del self._again[name]
            else:
                self._again[name] = position, on
            for batch in _batches(saids) or [[]]:
                entries = [[said.event, len(said.payload), *_places(said, name)] for said in batch]
                head = {"t": "said", "o": self.ring.base(name), "e": entries}
                yield self._message(Where.NODE, name, head, batch, numbered=False)

    def _message(
        self, where: Where, name: str, head: Mapping[str, Any], batch: list[Said], *, numbered: bool = True
    ) -> Message:
        data = pack({**self._sender, **head}, [said.payload for said in batch])
        return Message(where, name, data, numbered)


def _places(said: Said, name: str) -> tuple[int, int, int]:
    """Whether it is for all, its number, and what the other number must be before it."""
    if said.to is None:
        return 1, said.total, said.moved.get(name, 0)
    return 0, said.to[name], said.total


def _batches(saids: list[Said]) -> list[list[Said]]:
    """In order, as many in one message as fit."""
    batches: list[list[Said]] = []
    size = 0
    for said in saids:
        if not batches or len(batches[-1]) >= BATCH or size + said.size > BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(said)
        size += said.size
    return batches
