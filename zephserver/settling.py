"""When a burst of saves is over. Pure: no I/O, no clock."""

from __future__ import annotations

from pathlib import Path

QUIET = 0.04  # seconds without another event: editors write, rename and touch within a few milliseconds
LONGEST = 1.0  # seconds after the first event, whatever comes: a build that writes for ever must not hold it up
STORM = 3  # bursts in a row that did not end by themselves; a reload that writes a file makes such, and so for ever
PAUSE = 1.0  # seconds between the bursts of a storm


class Settling:
    """Collects the files of a burst of events."""

    def __init__(self) -> None:
        self._paths: set[Path] = set()
        self._first = self._last = self._taken = 0.0
        self._breathless = 0

    def touch(self, path: Path, now: float) -> None:
        """Something happened to a file."""
        if not self._paths:
            self._first = now
        self._paths.add(path)
        self._last = now

    @property
    def due(self) -> float | None:
        """When the burst counts as over, None when there is none."""
        if not self._paths:
            return None
        due = min(self._last + QUIET, self._first + LONGEST)
        return max(due, self._taken + PAUSE) if self.is_storm else due

    @property
    def is_storm(self) -> bool:
        """Whether the saves do not end."""
        return self._breathless >= STORM

    def take(self, now: float) -> set[Path]:
        """The files of the burst, which is over with that."""
        paths, self._paths, self._taken = self._paths, set(), now
        return paths

    def done(self, *, more: bool) -> None:
        """What the burst asked for is done; *more*: something was saved meanwhile."""
        # Not counted is whoever saves as soon as the new code answers: such a save is a single one.
        went_on = more or self._last - self._first > 2 * QUIET
        self._breathless = self._breathless + 1 if went_on else 0
