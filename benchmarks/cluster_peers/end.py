"""One end of a link between two processes: `end.py KIND ME OTHER WHERE`, with WHERE as JSON.

The far end, `b`, answers what it is asked over the link; the near one, `a`, is told on its standard input what to do,
a line each, and prints one line of JSON. Both end when their standard input does.

    latency SECONDS     one event each two milliseconds, its age when it is heard
    rate SECONDS        events as quick as the other end hears them, WINDOW under way at most
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from typing import Any

from wires import Wire, wire

SIZE = 200  # bytes of an event
WINDOW, AT_ONCE = 6_000, 100  # events under way, and sent in one call; each engine keeps more than that
ACKNOWLEDGE = 500
PACE = 0.002
PATIENCE = 30.0
CLOCK = time.monotonic_ns  # the same in both processes


class Far:
    """Counts, takes times, and answers."""

    def __init__(self, link: Wire) -> None:
        self._link = link
        self._count = 0
        self._ages: list[int] = []
        self._out: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._answer, daemon=True).start()

    def heard(self, payload: bytes) -> None:
        kind = payload[:1]
        if kind == b"R":
            self._count += 1
            if self._count % ACKNOWLEDGE == 0:
                self._out.put(b"A%d" % self._count)
        elif kind == b"L":
            self._ages.append(CLOCK() - int(payload[1:21]))
        elif kind == b"Q":
            ages, count = sorted(self._ages), self._count
            self._ages, self._count = [], 0
            self._out.put(b"S" + json.dumps({"count": count, "ages": ages}).encode())

    def _answer(self) -> None:
        while True:
            self._link.send([self._out.get()])  # not in the thread that hears: some wires cannot send there


class Near:
    """Sends, and asks what came."""

    def __init__(self, link: Wire) -> None:
        self._link = link
        self._acknowledged = 0
        self._more = threading.Condition()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def heard(self, payload: bytes) -> None:
        if payload[:1] == b"A":
            with self._more:
                self._acknowledged = int(payload[1:])
                self._more.notify()
        elif payload[:1] == b"S":
            self._answers.put(json.loads(payload[1:]))

    def meet(self) -> None:
        """Wait until the other end answers."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self._link.send([b"Q"])
            try:
                self._answers.get(timeout=0.2)
            except queue.Empty:
                continue
            time.sleep(0.5)  # answers to the other questions
            while not self._answers.empty():
                self._answers.get()
            return
        raise TimeoutError("the other end does not answer")

    def latency(self, seconds: float) -> dict[str, float]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._link.send([(b"L%020d" % CLOCK()).ljust(SIZE, b".")])
            time.sleep(PACE)
        ages = self._ask()["ages"]
        return {"p50": ages[len(ages) // 2] / 1e9, "p99": ages[int(len(ages) * 0.99)] / 1e9}

    def rate(self, seconds: float) -> dict[str, float]:
        self._acknowledged = sent = 0
        some = [b"R".ljust(SIZE, b".")] * AT_ONCE
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            self._wait_acknowledged(sent + AT_ONCE - WINDOW)
            self._link.send(some)
            sent += AT_ONCE
        count = self._ask()["count"]
        if count != sent:
            raise RuntimeError(f"{sent} events were sent, {count} were heard")
        return {"per_second": count / (time.monotonic() - began), "count": count}

    def _wait_acknowledged(self, count: int) -> None:
        with self._more:
            if not self._more.wait_for(lambda: self._acknowledged >= count, PATIENCE):
                raise TimeoutError(f"{self._acknowledged} events are acknowledged, and {count} should be")

    def _ask(self) -> Any:
        self._link.send([b"Q"])
        return self._answers.get(timeout=PATIENCE)


def main() -> int:
    """One end, until the standard input ends."""
    kind, me, other, where = sys.argv[1:]
    link = wire(kind, me, other, json.loads(where))
    end = Near(link) if me == "a" else Far(link)
    link.start(end.heard)
    if isinstance(end, Near):
        end.meet()
    print("{}", flush=True)
    for line in sys.stdin:
        what, seconds = line.split()
        print(json.dumps(getattr(end, what)(float(seconds))), flush=True)
    link.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
