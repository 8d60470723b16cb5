"""The threads of this process: where they are, and how much processor time they took."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import defaultdict


def cpu_seconds() -> dict[str, float]:
    """Seconds so far by kind of thread: `service:<name>` for each service, `task`, `control`, `log`, and so on.

    Only threads that live are counted, so a number may become smaller. Any thread; some microseconds a thread. Linux
    only: elsewhere nobody tells.
    """
    if not sys.platform.startswith("linux"):
        return {}
    seconds: defaultdict[str, float] = defaultdict(float)
    for thread in threading.enumerate():
        if thread.native_id is not None:
            try:
                seconds[_work_of(thread.name)] += time.clock_gettime(_clock_of(thread.native_id))
            except OSError:  # it ended just now
                pass
    return {work: round(spent, 6) for work, spent in seconds.items()}


def all_stacks() -> str:
    """Where every thread of the process is right now."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"Thread {names.get(ident, ident)}\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )


def _clock_of(native_id: int) -> int:
    """The clock of one thread, as clock_getcpuclockid(3) makes it.

    pthread_getcpuclockid() would crash for a thread that has just ended; this number is only refused.
    """
    return ~native_id << 3 | 6


def _work_of(name: str) -> str:
    """`task` for `task:3 Echo`; a service keeps its whole name."""
    return name if name.startswith("service:") else name.partition(":")[0]
