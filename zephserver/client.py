"""One browser connection, from its first message to its end."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from zephserver import messages
from zephserver.core.errors import BadMessage, Overloaded, RequestError
from zephserver.engines.interface import Connection, DeflateCache
from zephserver.session_manager import UserLike

if TYPE_CHECKING:
    from zephserver.router import Job
    from zephserver.websocket_client import WebsocketClient

INBOX = 64  # messages that may come before the user is known


class Stage(Enum):
    """How far a connection has come."""

    NEW = "new"  # the handshake is done, nothing was said
    IDENTIFYING = "identifying"  # the session manager is looking for the user
    READY = "ready"
    CLOSED = "closed"


class Client:
    """A connection with its user, its rooms and its tasks. Loop only."""

    __slots__ = (
        "_deadline",
        "_inbox",
        "_paused",
        "_service",
        "_tokens",
        "_tokens_at",
        "cid",
        "connection",
        "is_closing",
        "jobs",
        "lanes",
        "rooms",
        "stage",
        "user",
    )

    def __init__(self, service: WebsocketClient, connection: Connection) -> None:
        self._service = service
        self.connection = connection
        self.stage = Stage.NEW
        self.cid = ""
        self.user: UserLike | None = None
        self.rooms: list[str] = []  # in the order in which they were joined
        self.jobs: set[Job] = set()  # tasks that run or wait
        self.lanes: dict[str, deque[Job]] = {}  # per task that runs: those of the same name that wait for it
        self.is_closing = False
        self._inbox: list[messages.Message] = []
        self._paused = False
        self._tokens, self._tokens_at = service.burst, service.loop.time()
        timeout = service.server.settings.identify_timeout
        self._deadline: asyncio.TimerHandle | None = service.loop.call_later(timeout, self._not_identified)

    # -- what the engine tells --------------------------------------------------------------------------------------

    def received(self, text: str) -> None:
        """A message came."""
        if self._service.rate is not None:
            self._take_token()
        try:
            message = messages.decode(text)
        except BadMessage as error:
            self._service.count("bad-message")
            self.send(messages.error(None, error))
            return
        if self.stage is Stage.READY:
            self._service.dispatch(self, message)
        elif self.stage is Stage.NEW:
            self.stage = Stage.IDENTIFYING
            self._inbox.append(message)
            self._service.identify(self, message)
        elif self.stage is Stage.IDENTIFYING:
            if len(self._inbox) < INBOX:
                self._inbox.append(message)
            else:
                self.refuse(message, Overloaded("too many messages before the welcome"))

    def received_binary(self, data: bytes) -> None:
        """Never: the gateway takes none."""

    def closed(self, code: int, reason: str) -> None:
        """The connection is gone."""
        was, self.stage = self.stage, Stage.CLOSED
        self._stop_deadline()
        self._inbox.clear()
        self._service.departed(self, code, reason, was_ready=was is Stage.READY)

    # -- what the server does ---------------------------------------------------------------------------------------

    @property
    def room(self) -> str | None:
        """The room it joined first, None without any."""
        return self.rooms[0] if self.rooms else None

    @property
    def member_key(self) -> Any:
        """Tells users apart: the user's id, or the connection for an anonymous one."""
        id = self.user.id if self.user is not None else None
        return ("cid", self.cid) if id is None else ("user", id)

    def identified(self) -> None:
        """The user is known: serve what came meanwhile, in order."""
        self._stop_deadline()
        self.stage = Stage.READY
        inbox, self._inbox = self._inbox, []
        for message in inbox:
            if message.task is not None:
                self._service.dispatch(self, message)

    def send(self, payload: bytes, cache: DeflateCache | None = None) -> None:
        """Send a message, unless the connection is closed; *cache* as in Connection.send()."""
        if self.stage is not Stage.CLOSED:
            self.connection.send(payload, cache)

    def refuse(self, message: messages.Message, error: RequestError) -> None:
        """Tell the client that this message is not served."""
        self._service.count(error.code)
        self.send(messages.error(message.task, error, message.id))

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close the connection."""
        self.is_closing = True
        self._stop_deadline()
        self.connection.close(code, reason)

    # -- within -----------------------------------------------------------------------------------------------------

    def _take_token(self) -> None:
        """The token bucket of MESSAGE_RATE: when it is empty, reading pauses until there is a token again."""
        now = self._service.loop.time()
        rate, burst = self._service.rate or 1.0, self._service.burst
        self._tokens = min(burst, self._tokens + (now - self._tokens_at) * rate) - 1
        self._tokens_at = now
        if self._tokens < 0 and not self._paused:
            self._paused = True
            self._service.count("rate")
            self.connection.pause_reading()
            self._service.loop.call_later(max(-self._tokens, 1.0) / rate, self._resume)

    def _resume(self) -> None:
        self._paused = False
        if self.stage is not Stage.CLOSED:
            self.connection.resume_reading()

    def _not_identified(self) -> None:
        self._deadline = None
        self._service.refused(self, "nothing that identifies it came in time")
        self.close(4001, "send the first message sooner")

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
