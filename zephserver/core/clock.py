"""Time as an argument: whoever needs a clock is given one."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. Tests hand in `zephserver.testing.FakeClock`."""

    def monotonic(self) -> float:
        """Seconds that only ever grow: for delays and deadlines."""

    def time(self) -> float:
        """Seconds since 1970: for people, logs and files."""


class SystemClock:
    """The machine's own clocks. Any thread."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
