"""Another server on the bus, as this one sees it. Pure: no I/O, no clock."""

from __future__ import annotations

import logging
from collections import deque

from zephserver.core.cluster.broker.inbound import Inbound
from zephserver.core.cluster.broker.parts import Joiner
from zephserver.core.cluster.broker.ring import Position

PAST = 16  # lives of a server that are remembered, so that a late message of one is known as such

_log = logging.getLogger("zephserver.cluster")


class Peer:
    """One other server, over all its lives. One thread at a time."""

    def __init__(self, name: str, most: int, max_bytes: int) -> None:
        self.name = name
        self.life = ""  # the present one; '' when it was never understood
        self.past: deque[str] = deque(maxlen=PAST)
        self.is_up = False
        self.has_left = False  # it said good-bye in this life
        self.heard_at = 0.0
        self.began = 0.0
        self.counted_from: Position = (0, 0)  # of what we say: from here on it is for this life
        self.dropped_before = 0
        self.problem = ""
        self._most, self._max_bytes = most, max_bytes
        self.begin("", 0.0, (0, 0), 0)

    def begin(self, life: str, now: float, position: Position, dropped: int) -> None:
        """It has begun a new life; it is counted in at this position of ours."""
        if self.life:
            self.past.append(self.life)
        self.life, self.began, self.heard_at, self.has_left = life, now, now, False
        self.counted_from, self.dropped_before = position, dropped
        self.inbound = Inbound(self._most, self._max_bytes)
        self.told_lost = 0
        self.joiner = Joiner()
        self.stuck_at: Position | None = None  # what is missing is behind this
        self.ask_at = 0.0  # when to ask for it
        self.wait = 0.0  # and how long to wait for the answer
        self.problem = ""

    def complain(self, text: str) -> None:
        """Tell what is wrong with it, once."""
        if text != self.problem:
            self.problem = text
            _log.error("%s", text)
