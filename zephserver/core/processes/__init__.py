"""Several processes that are one server: a small one above them, and workers that share a port and the work.

The process above is an ordinary server whose services are processes: `zephserver.core.processes/Worker2` keeps the
second one alive. Start-up, back-off, giving up and stopping are those of any service.
"""

from __future__ import annotations

import re


def __getattr__(name: str) -> object:
    """The class `Worker2`, made when it is asked for: a list of services has a class for each name."""
    if re.fullmatch("Worker[1-9][0-9]*", name) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from zephserver.core.processes.slot import Slot

    made = type(name, (Slot,), {"number": int(name.removeprefix("Worker")), "__module__": __name__})
    globals()[name] = made
    return made
