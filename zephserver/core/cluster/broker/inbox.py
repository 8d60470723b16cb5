"""Where any thread leaves what the cluster thread is to do."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from zephserver.core.cluster.broker.ring import OVERHEAD


class Wish(NamedTuple):
    """An event that somebody published."""

    event: str
    payload: bytes
    to: Collection[str] | None
    topic: str | None


@dataclass(slots=True)
class Load:
    """Everything that was left since the last time."""

    wishes: deque[Wish] = field(default_factory=deque)
    topics: dict[str, bool] = field(default_factory=dict)  # topic -> whether it is to be followed from now on
    dropped: int = 0  # events for all that there was no room for; they were older than the others
    dropped_to: Counter[str] = field(default_factory=Counter)  # and those for single servers
    size: int = 0


class Inbox:
    """Bounded: when the cluster thread is held up, the oldest events go, and are counted. Any thread."""

    def __init__(self, most: int, max_bytes: int, wake: Callable[[], None]) -> None:
        self._most, self._max_bytes, self._wake = most, max_bytes, wake
        self._lock = threading.Lock()
        self._load = Load()
        self._is_empty = True

    def publish(self, wish: Wish) -> None:
        """Leave an event."""
        with self._lock:
            load = self._load
            load.wishes.append(wish)
            load.size += len(wish.payload) + OVERHEAD
            while len(load.wishes) > self._most or (load.size > self._max_bytes and len(load.wishes) > 1):
                self._drop(load)
            was_empty, self._is_empty = self._is_empty, False
        if was_empty:
            self._wake()

    def follow(self, topic: str, wanted: bool) -> None:
        """Leave the wish to hear a topic, or not to hear it any more."""
        with self._lock:
            self._load.topics[topic] = wanted
            was_empty, self._is_empty = self._is_empty, False
        if was_empty:
            self._wake()

    def take(self) -> Load | None:
        """What was left, all at one instant: what was published after a follow() never comes before it."""
        with self._lock:
            if self._is_empty:
                return None
            load, self._load, self._is_empty = self._load, Load(), True
            return load

    @staticmethod
    def _drop(load: Load) -> None:
        wish = load.wishes.popleft()
        load.size -= len(wish.payload) + OVERHEAD
        if wish.topic is not None:
            return  # what is said on topics is not counted
        if wish.to is None:
            load.dropped += 1
        else:
            load.dropped_to.update(set(wish.to))
