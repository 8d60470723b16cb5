"""Many times in little memory: buckets that are 2 % wide. Pure: no I/O, no clock."""

from __future__ import annotations

import math

SHORTEST = 1e-6  # seconds; what is shorter counts as that
FINENESS = 50  # buckets to a factor of e


class Latencies:
    """How often which time was measured, in seconds. What is told of it is at most 2 % too much, never too little."""

    __slots__ = ("_buckets", "count", "longest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.longest = 0.0
        self._buckets: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """Count one."""
        self.count += 1
        self.total += seconds
        if seconds > self.longest:
            self.longest = seconds
        bucket = int(math.log(seconds / SHORTEST) * FINENESS) if seconds > SHORTEST else 0
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def quantile(self, share: float) -> float | None:
        """The time within which this share of all was over; None when there are none."""
        rank, seen = math.ceil(share * self.count), 0
        for limit, count in self.rows():
            seen += count
            if seen >= rank:
                return min(limit, self.longest)
        return None

    def rows(self) -> list[tuple[float, int]]:
        """The upper limit of each bucket that has something in it, and how much."""
        return [(SHORTEST * math.exp((bucket + 1) / FINENESS), n) for bucket, n in sorted(self._buckets.items())]

    def as_dict(self) -> dict[str, float | None]:
        """What one wants to know of them."""
        return {
            "p50": self.quantile(0.5),
            "p90": self.quantile(0.9),
            "p99": self.quantile(0.99),
            "p99.9": self.quantile(0.999),
            "max": self.longest if self.count else None,
            "mean": self.total / self.count if self.count else None,
        }
