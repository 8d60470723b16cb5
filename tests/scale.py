"""How much of the reliability plan is tried: a short form with every `make test`, all of it with `make chaos`."""

from __future__ import annotations

import os

FULL = os.environ.get("ZEPH_CHAOS") == "full"


def at_most(seconds: float) -> float:
    """The limit for what is promised within so many seconds.

    With the full counts it is the promise itself. The short form runs beside other work on any machine, which may take
    the processor away for a moment; what is broken takes longer than that.
    """
    return seconds if FULL else seconds + 2.0
