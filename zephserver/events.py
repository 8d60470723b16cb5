"""Every fact that can happen in the WebSocket server, one frozen class each. Pure: no I/O, no clock."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from zephserver.core.events import Event

SHELL = "the command line"  # who calls a task without a connection, and so without a cid


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening(Event):
    """The port is open: browsers can connect."""

    url: str
    host: str
    port: int | None

    def __str__(self) -> str:
        return f"listening on {self.url}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConnected(Event):
    """A connection was identified and has its cid."""

    level: ClassVar[int] = logging.DEBUG
    cid: str
    user: str
    address: str

    def __str__(self) -> str:
        return f"client {self.cid} connected: {self.user} from {self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientClosed(Event):
    """A connection is gone. The cid is '' when it had not been identified."""

    level: ClassVar[int] = logging.DEBUG
    cid: str
    code: int
    reason: str

    def __str__(self) -> str:
        return f"client {self.cid or '(not identified)'} closed with {self.code} {self.reason}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRefused(Event):
    """A connection was turned away before it had a user."""

    level: ClassVar[int] = logging.WARNING
    address: str
    why: str

    def __str__(self) -> str:
        return f"connection from {self.address or 'unknown'} refused: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished(Event):
    """A task ended. `outcome` is 'done' or the code of the error that the client got."""

    level: ClassVar[int] = logging.DEBUG
    task: str
    cid: str
    seconds: float
    outcome: str

    def __str__(self) -> str:
        return f"task {self.task} of {self.cid or SHELL}: {self.outcome} in {self.seconds * 1000:.1f} ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksReloaded(Event):
    """Changed code of the tasks is in use."""

    modules: tuple[str, ...]
    seconds: float
    running: int
    keep_old: tuple[str, ...] = ()

    def __str__(self) -> str:
        count = len(self.modules)
        text = f"reloaded {count} module{'' if count == 1 else 's'} ({', '.join(self.modules)})"
        text += f" in {self.seconds * 1000:.0f} ms"
        if self.running:
            text += f"; {self.running} running task{' ends' if self.running == 1 else 's end'} on the old code"
        if self.keep_old:
            text += f"; {', '.join(self.keep_old)} will use it when the server is stopped and started again"
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadRefused(Event):
    """Changed code of the tasks does not work; the old code goes on."""

    level: ClassVar[int] = logging.ERROR
    error: str
    file: str | None
    line: int | None
    source: str
    column: int | None

    def __str__(self) -> str:
        return f"not reloaded: {self.error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadMended(Event):
    """Code that was refused was put back as it was: there is nothing to load, and nothing wrong any more."""

    file: str | None

    def __str__(self) -> str:
        return f"mended: {self.file or 'the code'} is as it was, so there is nothing to load"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartNeeded(Event):
    """Files changed that only a new process reads: of services, which are named, or the settings with their faults."""

    level: ClassVar[int] = logging.WARNING
    files: tuple[str, ...]
    services: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{', '.join(self.files)} changed"
        if self.faults:
            return f"{text}, and the server would not start with that: {'; '.join(self.faults)}"
        where = f" in {', '.join(self.services)}" if self.services else ""
        return f"{text}: stop the server and start it again to use that{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRaised(Event):
    """A task raised something that is not for the browser. The traceback goes to the log."""

    level: ClassVar[int] = logging.ERROR
    task: str
    cid: str
    error: str
    traceback: str

    def __str__(self) -> str:
        return f"task {self.task} of {self.cid or SHELL} raised {self.error}"
