"""Numbers for a monitoring system, in the text format of Prometheus (its version 0.0.4).

A service takes part by a method `metrics()` that yields families; it is called at each scrape, in any thread.
"""

from __future__ import annotations

import logging
import os
import resource
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zephserver.core.server import Server

SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip

_LINKS = (
    ("zephserver_cluster_up", "Whether the other server can be spoken to: 1, or 0.", "gauge", "up"),
    ("zephserver_cluster_queued_bytes", "Bytes that wait for the other server.", "gauge", "queued_bytes"),
    ("zephserver_cluster_lag_seconds", "How long the oldest event waits for the other server.", "gauge", "lag"),
    ("zephserver_cluster_dropped_total", "Events that the other server did not get.", "counter", "dropped"),
    ("zephserver_cluster_lost_total", "Events of the other server that did not come.", "counter", "lost"),
)

Labels = tuple[tuple[str, str], ...]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric; its kind is gauge, counter or histogram, and a sample is (suffix, labels, value)."""

    name: str
    kind: str
    help: str
    samples: Sequence[tuple[str, Labels, float]]


class Histogram:
    """How many values fell into which bucket. Whoever observes does so from one thread."""

    __slots__ = ("_counts", "_limits", "_sum")

    def __init__(self, limits: Sequence[float] = SECONDS) -> None:
        self._limits = limits
        self._counts = [0] * (len(limits) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._limits, value)] += 1
        self._sum += value

    def samples(self, labels: Labels = ()) -> list[tuple[str, Labels, float]]:
        """The samples of a family of kind `histogram`."""
        totals = list(accumulate(self._counts))
        bounds = [f"{limit:g}" for limit in self._limits] + ["+Inf"]
        buckets = [
            ("_bucket", (*labels, ("le", bound)), float(total)) for bound, total in zip(bounds, totals, strict=True)
        ]
        return [*buckets, ("_sum", labels, self._sum), ("_count", labels, float(totals[-1]))]


def gauge(name: str, help: str, value: float) -> Family:
    """A number that goes up and down."""
    return Family(name, "gauge", help, [("", (), value)])


def gauges(name: str, help: str, label: str, values: Mapping[str, float]) -> Family:
    """Numbers that go up and down, one for each value of a label."""
    return Family(name, "gauge", help, [("", ((label, key),), value) for key, value in sorted(values.items())])


def counters(name: str, help: str, label: str, values: Mapping[str, float]) -> Family:
    """Numbers that only go up, one for each value of a label."""
    return Family(name, "counter", help, [("", ((label, key),), value) for key, value in sorted(values.items())])


def counter(name: str, help: str, value: float) -> Family:
    """A number that only goes up."""
    return Family(name, "counter", help, [("", (), value)])


def write(server: Server) -> str:
    """Everything that the server and its services count."""
    text = "".join(_lines([*_of_process(), *_of_core(server)]))
    for instance in server.services.get_all_services().values():
        metrics = getattr(instance, "metrics", None)
        if callable(metrics):
            try:
                text += "".join(_lines(metrics()))
            except Exception:
                _log.exception("metrics() of %s raised", type(instance).__name__)
    return text


def _of_core(server: Server) -> Iterator[Family]:
    yield gauge("zephserver_ready", "Whether every service is ready: 1, or 0.", float(server.is_ready))
    rows = server.services.rows()
    yield Family(
        "zephserver_service_state",
        "gauge",
        "The state of each service: 1 for the one it is in.",
        [("", (("service", row["name"]), ("state", str(row["state"]))), 1.0) for row in rows],
    )
    yield counters(
        "zephserver_service_restarts_total",
        "How often a service was started again after it had died.",
        "service",
        {row["name"]: row["restarts"] for row in rows},
    )
    if server.cluster.engine != "local":
        help = "Whether what joins the servers is there: 1, or 0."
        yield gauge("zephserver_cluster_connected", help, float(not server.cluster.state()))
    links = server.cluster.rows()
    for name, help, kind, key in _LINKS:
        samples = [("", (("peer", row["name"]),), float(row[key])) for row in links]
        if samples:
            yield Family(name, kind, help, samples)
    yield counter("zephserver_log_dropped_total", "Lines that the log could not take.", server.log.dropped)


def _of_process() -> Iterator[Family]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield counter("process_cpu_seconds_total", "Processor time, in seconds.", usage.ru_utime + usage.ru_stime)
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        yield gauge("process_resident_memory_bytes", "Memory in use.", pages * os.sysconf("SC_PAGE_SIZE"))
        yield gauge("process_open_fds", "Open file descriptors.", len(os.listdir("/proc/self/fd")))
    except OSError:  # there is no /proc on this system
        pass
    yield gauge("process_max_fds", "Most open file descriptors.", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield gauge("process_start_time_seconds", "When the process began, in seconds since 1970.", _STARTED)


def _lines(families: Iterable[Family]) -> Iterator[str]:
    for family in families:
        help = family.help.replace("\\", "\\\\").replace("\n", "\\n")
        yield f"# HELP {family.name} {help}\n# TYPE {family.name} {family.kind}\n"
        for suffix, labels, value in family.samples:
            said = ",".join(f'{name}="{_escape(text)}"' for name, text in labels)
            number = repr(float(value)).removesuffix(".0")
            yield f"{family.name}{suffix}{{{said}}} {number}\n" if said else f"{family.name}{suffix} {number}\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


_STARTED = time.time()
