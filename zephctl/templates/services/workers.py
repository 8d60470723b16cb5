"""Two services. A service is any class with __init__, main and disable; the base class adds ready() and status()."""

import logging
import threading

from zephserver import Service, command, get_service

log = logging.getLogger(__name__)


class Counter(Service):
    """Counts once a second."""

    notify_ready = True  # it is ready when it says so, not when its thread runs

    def __init__(self):
        self.count = 0
        self._disabled = threading.Event()

    def main(self):
        self.ready()
        while not self._disabled.wait(1.0):
            self.count += 1
            self.status(f"at {self.count}")
        self._disabled.clear()  # so that it can be enabled again

    def disable(self):
        self._disabled.set()

    @command("counter.reset")
    def reset(self, to: int = 0):
        """Start again at TO: zephctl command counter.reset 100"""
        self.count = to
        return f"the counter is at {to}"


class Reporter:
    """Writes the count to the log every ten seconds."""

    def __init__(self):
        self._disabled = threading.Event()

    def main(self):
        while not self._disabled.wait(10.0):
            log.info("the counter is at %s", get_service("workers/Counter").count)
        self._disabled.clear()

    def disable(self):
        self._disabled.set()
