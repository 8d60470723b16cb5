"""Every fact that can happen in the WebSocket server, one frozen class each. Pure: no I/O, no clock."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from zephserver.core.events import Event


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
        return f"task {self.task} of {self.cid}: {self.outcome} in {self.seconds * 1000:.1f} ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRaised(Event):
    """A task raised something that is not for the browser. The traceback goes to the log."""

    level: ClassVar[int] = logging.ERROR
    task: str
    cid: str
    error: str
    traceback: str

    def __str__(self) -> str:
        return f"task {self.task} of {self.cid} raised {self.error}"
