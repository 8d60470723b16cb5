"""What a doctor finds. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"  # the server runs, and somebody will be sorry
    BAD = "bad"  # the server does not run, or not safely


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. *what* is stable and for machines; *advice* is the next step, '' when all is well."""

    level: Level
    what: str
    finding: str
    advice: str = ""

    def row(self) -> dict[str, str]:
        """The finding as plain values."""
        return asdict(self)


def ok(what: str, finding: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, what, finding)


def warn(what: str, finding: str, advice: str) -> Finding:
    """Something to think about."""
    return Finding(Level.WARN, what, finding, advice)


def bad(what: str, finding: str, advice: str) -> Finding:
    """Something to mend."""
    return Finding(Level.BAD, what, finding, advice)


def amount(count: float) -> str:
    """Bytes for people."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
