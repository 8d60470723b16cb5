"""Every fact that can happen in the core, one frozen class each. Pure: no I/O, no clock.

An event is in the past tense, holds plain values and writes itself as one line of English. The log, the counters and
`zephctl events` read the same stream (bus.py). The WebSocket server adds its own in zephserver/events.py; a service may
define more by deriving from Event.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from zephserver.core.lifecycle import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. The bus stamps `seq` (1, 2, ...) and `at` (seconds since 1970) when it is published."""

    level: ClassVar[int] = logging.INFO
    seq: int = field(default=0, compare=False)
    at: float = field(default=0.0, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """The event as plain values, with kind, level and sentence: what `zephctl events -o jsonl` prints."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"kind": type(self).__name__, "level": logging.getLevelName(self.level), "text": str(self), **values}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStarted(Event):
    """The lock is held, the log and the control socket are open; the services come next."""

    version: str
    pid: int

    def __str__(self) -> str:
        return f"zephserver {self.version} started, pid {self.pid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReady(Event):
    """Every service of SERVICE_LIST is enabled and ready."""

    seconds: float
    services: int

    def __str__(self) -> str:
        services = "1 service" if self.services == 1 else f"{self.services} services"
        return f"ready: {services} in {self.seconds:.2f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStopping(Event):
    """The stop procedure began."""

    reason: str

    def __str__(self) -> str:
        return f"stopping: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStopped(Event):
    """Every service is disabled; the last event of a run."""

    seconds: float
    clean: bool

    def __str__(self) -> str:
        return f"stopped in {self.seconds:.2f} s" + ("" if self.clean else ", not cleanly: a service is stuck")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered(Event):
    """Something that an earlier run left behind, or that somebody deleted, was put right without a person."""

    level: ClassVar[int] = logging.WARNING
    what: str

    def __str__(self) -> str:
        return f"recovered: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsWarned(Event):
    """The settings work but say something that should be written otherwise today."""

    level: ClassVar[int] = logging.WARNING
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChanged(Event):
    """A service went from one state to another."""

    name: str
    old: State
    new: State
    error: str | None = None

    def __str__(self) -> str:
        why = f": {self.error}" if self.error else ""
        return f"service {self.name} went from {self.old} to {self.new}{why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDied(Event):
    """main() of a service raised. The traceback goes to the log."""

    level: ClassVar[int] = logging.ERROR
    name: str
    error: str
    traceback: str

    def __str__(self) -> str:
        return f"service {self.name} died: {self.error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOverran(Event):
    """A service took longer than its time-out to construct, to become ready or to stop. Its stack goes to the log."""

    level: ClassVar[int] = logging.ERROR
    name: str
    doing: str
    seconds: float
    traceback: str = ""

    def __str__(self) -> str:
        return f"service {self.name} has not finished {self.doing} after {self.seconds:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStarted(Event):
    """A process of several was started. It is not ready yet."""

    worker: int
    pid: int

    def __str__(self) -> str:
        return f"worker {self.worker} started, pid {self.pid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnded(Event):
    """A process of several has ended, as it was asked to; `how` is 'exit 0' or the signal that killed it."""

    worker: int
    pid: int
    how: str

    def __str__(self) -> str:
        return f"worker {self.worker} (pid {self.pid}) has ended: {self.how}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDied(Event):
    """A process of several has ended, and nobody had asked it to; `how` is 'exit 1' or the signal that killed it."""

    level: ClassVar[int] = logging.WARNING
    worker: int
    pid: int
    how: str

    def __str__(self) -> str:
        return f"worker {self.worker} (pid {self.pid}) died: {self.how}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSaid(Event):
    """Something happened in a process of several; `event` is what that one published, as plain values.

    It reaches the log on a way of its own, so its level is below all that a log takes.
    """

    level: ClassVar[int] = logging.NOTSET
    worker: int
    event: dict[str, Any]

    @property
    def url(self) -> str:
        """Where that process listens, '' when it said something else."""
        return str(self.event.get("url", ""))

    def as_dict(self) -> dict[str, Any]:
        """The event of the other process, with its worker, and its place among all events here."""
        return {**self.event, "text": str(self), "worker": self.worker, "seq": self.seq, "at": self.at}

    def __str__(self) -> str:
        return f"worker {self.worker}: {self.event.get('text', '')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandServed(Event):
    """A command came over the control socket and was answered."""

    level: ClassVar[int] = logging.DEBUG
    command: str
    uid: int | None
    seconds: float
    error: str | None = None

    def __str__(self) -> str:
        return f"command {self.command} from uid {self.uid}" + (f" refused: {self.error}" if self.error else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRefused(Event):
    """Somebody else's process connected to the control socket, or one too many."""

    level: ClassVar[int] = logging.WARNING
    uid: int | None
    pid: int | None
    why: str

    def __str__(self) -> str:
        return f"control client refused (uid {self.uid}, pid {self.pid}): {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderDropped(Event):
    """A reader of the bus raised and is not called any more."""

    level: ClassVar[int] = logging.ERROR
    reader: str
    error: str

    def __str__(self) -> str:
        return f"reader {self.reader} of the events raised and was let go: {self.error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberFailed(Event):
    """A function subscribed with cluster.subscribe() raised; the others are still called."""

    level: ClassVar[int] = logging.ERROR
    event: str
    error: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"a subscriber of cluster event {self.event!r} raised {self.error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerUp(Event):
    """Another server of the cluster can be spoken to."""

    peer: str

    def __str__(self) -> str:
        return f"server {self.peer} is there"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDown(Event):
    """Another server of the cluster has gone, or is silent."""

    level: ClassVar[int] = logging.WARNING
    peer: str
    why: str

    def __str__(self) -> str:
        return f"server {self.peer} is gone: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterGap(Event):
    """Events of another server were dropped before they came: it had to keep too many for too long."""

    level: ClassVar[int] = logging.ERROR
    peer: str
    lost: int

    def __str__(self) -> str:
        what = "event was" if self.lost == 1 else "events were"
        return f"{self.lost} cluster {what} lost on the way from server {self.peer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSaid(Event):
    """An operator said an event to the other servers."""

    level: ClassVar[int] = logging.DEBUG
    event: str
    data: Any

    def __str__(self) -> str:
        return f"cluster event {self.event!r} was said"


def kinds() -> list[str]:
    """The kinds of events that are defined so far, also those of services, as as_dict() tells them."""
    found: set[str] = set()
    new = {Event}
    while new:
        new = {kind for base in new for kind in base.__subclasses__()}
        found |= {kind.__name__ for kind in new}
    return sorted(found - {WorkerSaid.__name__})
