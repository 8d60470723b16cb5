"""What `zephctl top` shows, worked out from one answer of the server after the other. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zephctl.prometheus import Metrics, between, growth, quantile

WINDOW = 10.0  # seconds over which latencies are taken: less would jump, more would hide
KEPT = 600  # moments that a history remembers
SECONDS = "zephserver_task_seconds"
ALL = ""  # the name under which all tasks together stand


@dataclass(frozen=True, slots=True)
class Service:
    """One service at one moment. `cpu` is its share of a core, None when the system does not tell."""

    name: str
    state: str
    since: float
    restarts: int
    error: str | None
    cpu: float | None


@dataclass(frozen=True, slots=True)
class Task:
    """One task, or all of them. Rates are per second, times in seconds; None is not known, or did not happen."""

    name: str
    rate: float | None
    p50: float | None
    p99: float | None
    running: int | None
    failed: int


@dataclass(frozen=True, slots=True)
class Link:
    """The link to another server of the cluster. Events that were dropped or lost count since the server began."""

    name: str
    up: bool
    queued_bytes: float
    lag: float  # seconds that the oldest event has waited
    dropped: int
    lost: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """One moment of a server. Rates are per second and None at first."""

    running: bool
    ready: bool = False
    stopping: bool = False
    pid: int | None = None
    version: str = ""
    uptime: float = 0.0
    cpu: float | None = None
    memory: float | None = None
    threads: int = 0
    connections: float | None = None
    rooms: float | None = None
    users: float | None = None
    received: float | None = None
    sent: float | None = None
    refused: dict[str, float] = field(default_factory=dict)
    closed: dict[str, float] = field(default_factory=dict)
    waiting: float | None = None
    task_threads: float | None = None
    log_dropped: int = 0
    links: tuple[Link, ...] = ()
    services: tuple[Service, ...] = ()
    all_tasks: Task | None = None
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sample:
    """An answer, read."""

    clock: float
    pid: int
    metrics: Metrics
    threads: Mapping[str, float]


class Meter:
    """Makes numbers of answers of the command `top`; it remembers those of the last seconds."""

    def __init__(self) -> None:
        self._past: deque[_Sample] = deque()

    def forget(self) -> None:
        """The server went away: what it counted does not go on."""
        self._past.clear()

    def take(
        self, answer: Mapping[str, Any], names: Iterable[str] = (), running: Sequence[Mapping[str, Any]] | None = None
    ) -> Numbers:
        """The numbers of this moment. *names* are those of all tasks, *running* the rows of `tasks.running`."""
        status = answer["status"]
        sample = _Sample(answer["clock"], status["pid"], Metrics(answer["metrics"]), answer["threads"])
        if self._past and self._past[-1].pid != sample.pid:
            self.forget()
        while len(self._past) > 1 and self._past[1].clock <= sample.clock - WINDOW:
            self._past.popleft()
        before = self._past[-1] if self._past else None
        oldest = self._past[0] if self._past else None
        self._past.append(sample)
        metrics = sample.metrics
        all_tasks, tasks = _tasks(before, oldest, sample, names, running)
        return Numbers(
            running=True,
            ready=status["ready"],
            stopping=status["stopping"],
            pid=status["pid"],
            version=status["version"],
            uptime=status["uptime"],
            cpu=_rate(before, sample, "process_cpu_seconds_total"),
            memory=metrics.value("process_resident_memory_bytes"),
            threads=status["threads"],
            connections=metrics.value("zephserver_connections"),
            rooms=metrics.value("zephserver_rooms"),
            users=metrics.value("zephserver_users"),
            received=_rate(before, sample, "zephserver_messages_received_total"),
            sent=_rate(before, sample, "zephserver_messages_sent_total"),
            refused=_rates(before, sample, "zephserver_refusals_total", "reason"),
            closed=_rates(before, sample, "zephserver_closes_total", "code"),
            waiting=metrics.value("zephserver_task_waiting"),
            task_threads=metrics.value("zephserver_task_threads"),
            log_dropped=status["log_dropped"],
            links=_links(metrics),
            services=tuple(_service(before, sample, row) for row in answer["services"]),
            all_tasks=all_tasks,
            tasks=tasks,
        )


class History:
    """The last numbers of each kind, for the pictures. A moment without a server is a gap."""

    def __init__(self) -> None:
        self.count = 0  # moments there ever were
        self._lines: dict[str, deque[float | None]] = {}

    def add(self, numbers: Numbers) -> None:
        """One more moment."""
        self.count += 1
        now: dict[str, float | None] = {
            "cpu": numbers.cpu,
            "connections": numbers.connections,
            "received": numbers.received,
            "sent": numbers.sent,
        }
        now |= {f"service {service.name}": service.cpu for service in numbers.services}
        now |= {f"task {task.name}": task.rate for task in (numbers.all_tasks, *numbers.tasks) if task is not None}
        for name in {*now, *self._lines}:
            line = self._lines.setdefault(name, deque(maxlen=KEPT))
            line.append(now.get(name))
            if all(value is None for value in line):  # a task or service of long ago
                del self._lines[name]

    def line(self, name: str) -> Sequence[float | None]:
        """The values of the past, the newest last."""
        return self._lines.get(name, ())


def _service(before: _Sample | None, now: _Sample, row: Mapping[str, Any]) -> Service:
    work = f"service:{row['name']}"
    cpu = None
    if before is not None and work in now.threads and now.clock > before.clock:
        spent = growth(before.threads, now.threads)[work]
        cpu = spent / (now.clock - before.clock)
    return Service(row["name"], row["state"], row["since"], row["restarts"], row["error"], cpu)


def _links(metrics: Metrics) -> tuple[Link, ...]:
    up, queued, lag, dropped, lost = (
        metrics.by(f"zephserver_cluster_{what}", "peer")
        for what in ("up", "queued_bytes", "lag_seconds", "dropped_total", "lost_total")
    )
    return tuple(
        Link(
            name,
            bool(is_up),
            queued.get(name, 0.0),
            lag.get(name, 0.0),
            int(dropped.get(name, 0)),
            int(lost.get(name, 0)),
        )
        for name, is_up in sorted(up.items())
    )


def _tasks(
    before: _Sample | None,
    oldest: _Sample | None,
    now: _Sample,
    names: Iterable[str],
    running: Sequence[Mapping[str, Any]] | None,
) -> tuple[Task | None, tuple[Task, ...]]:
    """All tasks together, and each of them; none when no service runs tasks."""
    under_way = now.metrics.value("zephserver_tasks_running")
    if under_way is None:
        return None, ()
    ended = now.metrics.by("zephserver_tasks_total", "task")
    rates = _rates(before, now, "zephserver_tasks_total", "task", keep_zero=True)
    done = {labels["task"]: n for labels, n in now.metrics.where("zephserver_tasks_total", outcome="done")}
    running_of = Counter(row["task"] for row in running) if running is not None else None

    def task(name: str) -> Task:
        p50, p99 = _latencies(oldest, now, task=name)
        return Task(
            name=name,
            rate=rates.get(name, 0.0) if before is not None else None,
            p50=p50,
            p99=p99,
            running=running_of[name] if running_of is not None else None,
            failed=int(ended.get(name, 0.0) - done.get(name, 0.0)),
        )

    p50, p99 = _latencies(oldest, now)
    everything = Task(
        name=ALL,
        rate=_rate(before, now, "zephserver_tasks_total", nothing=0.0),
        p50=p50,
        p99=p99,
        running=int(under_way),
        failed=int(sum(ended.values()) - sum(done.values())),
    )
    return everything, tuple(task(name) for name in sorted({*names, *ended}))


def _latencies(oldest: _Sample | None, now: _Sample, **wanted: str) -> tuple[float | None, float | None]:
    if oldest is None:
        return None, None
    recent = between(oldest.metrics.buckets(SECONDS, **wanted), now.metrics.buckets(SECONDS, **wanted))
    return quantile(0.5, recent), quantile(0.99, recent)


def _rate(before: _Sample | None, now: _Sample, name: str, nothing: float | None = None) -> float | None:
    """How fast a counter grows; *nothing* when nobody counts it."""
    value = now.metrics.value(name)
    if before is None or now.clock <= before.clock:
        return None
    if value is None:
        return nothing
    return growth({"": before.metrics.value(name) or 0.0}, {"": value})[""] / (now.clock - before.clock)


def _rates(before: _Sample | None, now: _Sample, name: str, label: str, *, keep_zero: bool = False) -> dict[str, float]:
    """How fast a counter grows for each value of a label, where it does."""
    if before is None or now.clock <= before.clock:
        return {}
    grown = growth(before.metrics.by(name, label), now.metrics.by(name, label))
    return {key: more / (now.clock - before.clock) for key, more in grown.items() if more or keep_zero}
