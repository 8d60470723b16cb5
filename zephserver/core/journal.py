"""The recent past of a stream, numbered, so that a reader who comes late or comes back misses nothing unseen."""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


class Journal(Generic[T]):
    """The last *size* items of a stream, numbered from 1. Any thread.

    A reader keeps the number of the last item it saw and asks for what came after. A slow reader costs nobody
    anything: it reads what is still here and is told how many items it lost.
    """

    def __init__(self, size: int) -> None:
        self._items: deque[T] = deque(maxlen=size)
        self._news = threading.Condition()
        self._closed = False
        self.last = 0

    def append(self, item: T) -> int:
        """Keep *item*, wake the readers, return its number. The owner of the stream is the only one who appends."""
        with self._news:
            self._items.append(item)
            self.last += 1
            self._news.notify_all()
            return self.last

    def after(self, number: int, timeout: float | None = 0.0) -> tuple[list[T], int]:
        """The items that follow *number* and how many of them are lost; waits up to *timeout* seconds for the first."""
        with self._news:
            if timeout != 0.0:
                self._news.wait_for(lambda: self.last > number or self._closed, timeout)
            first = self.last - len(self._items) + 1
            lost = max(0, first - number - 1)
            return list(islice(self._items, max(0, number + 1 - first), None)), lost

    def wait(self, number: int) -> int:
        """Wait until something follows *number*, or the journal is closed; the number of the last item."""
        with self._news:
            self._news.wait_for(lambda: self.last > number or self._closed)
            return self.last

    @property
    def closed(self) -> bool:
        """True after close(): nothing more will come."""
        return self._closed

    def close(self) -> None:
        """Let the readers that wait go; what is here stays readable."""
        with self._news:
            self._closed = True
            self._news.notify_all()
