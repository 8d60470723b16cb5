"""One server of a cluster as a process of its own: says numbered events all the time, and keeps book of what it hears.

    python -m tests.chaos.cluster_node '{"name": "a", "rate": 200, "book": "/tmp/x/a.json", "settings": {...}}'

It is an engine and a manager, made from settings as in a server. Its book is a file, written ten times a second.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
import threading
import time
from pathlib import Path
from typing import Any

from zephserver.core.bus import EventBus
from zephserver.core.cluster.factory import make_engine
from zephserver.core.cluster.manager import ClusterManager
from zephserver.core.events import ClusterGap
from zephserver.core.settings import make_settings

WRITE = 0.1  # seconds between two looks at the book


class Account:
    """What was heard of one life of another server."""

    def __init__(self, number: int) -> None:
        self.first = self.last = number
        self.count = 1
        self.missing = 0  # numbers that were left out
        self.wrong = 0  # events that came twice or out of order
        self.at = time.monotonic()

    def hear(self, number: int) -> None:
        if number <= self.last:
            self.wrong += 1
            return
        self.missing += number - self.last - 1
        self.count += 1
        self.last, self.at = number, time.monotonic()


class Bookkeeper:
    """The process."""

    def __init__(self, name: str, rate: float, book: str, pad: int, settings: dict[str, Any]) -> None:
        self.name, self.rate, self.book, self.pad = name, rate, Path(book), "x" * pad
        self.life = secrets.token_hex(4)
        values = {"SERVICE_LIST": [], "CLUSTER_NODE": name, **settings}
        self.bus = EventBus()
        self.cluster = ClusterManager(make_engine(make_settings(values)), self.bus)
        self.accounts: dict[str, Account] = {}
        self.gaps: dict[str, int] = {}
        self.said = 0
        self.took: list[float] = []
        self.most_queued = 0

    def run(self) -> None:
        """Until killed."""
        self.cluster.subscribe("count", self._hear)
        self.bus.subscribe(self._note_gap, ClusterGap)
        self.cluster.start()
        threading.Thread(target=self._keep_book, daemon=True).start()
        began = time.monotonic()
        while True:
            due = int((time.monotonic() - began) * self.rate)
            if due - self.said > self.rate:  # it stood still: it does not say all of that at once
                began = time.monotonic() - self.said / self.rate
            while self.said < due:
                self.said += 1
                start = time.perf_counter()
                self.cluster.say("count", [self.name, self.life, self.said, self.pad])
                self.took.append(time.perf_counter() - start)
            time.sleep(0.002)

    def _hear(self, event: list[Any]) -> None:
        name, life, number, _ = event
        account = self.accounts.get(f"{name} {life}")
        if account is None:
            self.accounts[f"{name} {life}"] = Account(number)
        else:
            account.hear(number)

    def _note_gap(self, gap: Any) -> None:
        self.gaps[gap.peer] = self.gaps.get(gap.peer, 0) + gap.lost

    def _keep_book(self) -> None:
        while True:
            rows = self.cluster.rows()
            self.most_queued = max([self.most_queued, *(row["queued_bytes"] for row in rows)])
            took = sorted(self.took)
            facts = {
                "life": self.life,
                "said": self.said,
                "slowest": took[-1] if took else 0.0,
                "slow": took[int(len(took) * 0.99)] if took else 0.0,
                "most_queued": self.most_queued,
                "state": self.cluster.state(),
                "rows": {row["name"]: row for row in rows},
                "heard": {key: vars(account) for key, account in tuple(self.accounts.items())},
                "gaps": self.gaps,
                "now": time.monotonic(),
            }
            partial = self.book.with_suffix(".partial")
            partial.write_text(json.dumps(facts))
            os.replace(partial, self.book)
            time.sleep(WRITE)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    Bookkeeper(**json.loads(sys.argv[1])).run()
