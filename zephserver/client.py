"""One browser connection, from its first message to its end."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from zephserver import messages
from zephserver.cluster.notes import user_key
from zephserver.core.errors import BadMessage, RequestError, TaskFailed
from zephserver.engines.interface import Connection, FrameCache
from zephserver.session_manager import UserLike

if TYPE_CHECKING:
    from zephserver.job import Job
    from zephserver.websocket_client import WebsocketClient

INBOX = 64  # messages that wait for something before reading pauses

LONGEST_ECHO = 255  # characters of a task's name that come back in an error; real names are not longer
PRIVATE_CODES = 4000  # RFC 6455, 7.4.2

# Why reading pauses.
RATE, INBOX_FULL = 1, 2


_log = logging.getLogger("zephserver.client")


class Stage(Enum):
    """How far a connection has come."""

    NEW = "new"  # the handshake is done, nothing was said
    IDENTIFYING = "identifying"  # the session manager is looking for the user
    READY = "ready"
    CLOSED = "closed"


class Client:
    """A connection with its user, its rooms and its tasks. Loop only.

    Messages are served in order. While the client waits for something (who is it, may it join, too many of its tasks
    run) the next ones are kept, and when they are many, no more are read: its system holds it back and nothing is lost.
    """

    __slots__ = (
        "_deadline",
        "_inbox",
        "_is_going_on",
        "_is_held",
        "_pauses",
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

    hears_every_failure = False  # who has had an answer to a request gets no second one

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
        self._inbox: deque[messages.Message] = deque()
        self._is_held = False
        self._is_going_on = False
        self._pauses = 0
        self._tokens, self._tokens_at = service.burst, service.loop.time()
        self._deadline: asyncio.TimerHandle | None = service.loop.call_later(self._patience, self._not_identified)

    # -- what the engine tells --------------------------------------------------------------------------------------

    def received(self, text: str) -> None:
        """A message came."""
        self._service.received += 1
        if self._service.rate is not None:
            self._take_token()
        try:
            message = messages.decode(text)
        except BadMessage as error:
            self._service.count("bad-message")
            self.send(messages.error(None, error))
            return
        if not self._inbox and self._is_free():
            self._dispatch(message)
            return
        self._inbox.append(message)
        if self.stage is Stage.NEW:
            self._stop_deadline()
            limit = min(self._patience, self._service.reception.look_up_timeout)
            self._deadline = self._service.loop.call_later(limit, self._not_looked_up)
            self.stage = Stage.IDENTIFYING
            self._service.reception.identify(self, message)
        elif len(self._inbox) >= INBOX:
            self._pause(INBOX_FULL)

    def received_binary(self, data: bytes) -> None:
        """Never: the gateway takes none."""

    def idle(self) -> None:
        """Nothing was sent to the client for a while: a browser sees no pings, so it is told that we are here."""
        if self.stage is Stage.READY:
            self.connection.send(messages.HEARTBEAT)

    def closed(self, code: int, reason: str) -> None:
        """The connection is gone. The tasks that the client had called before are run all the same."""
        self._stop_deadline()
        if self.stage is not Stage.READY:
            self._inbox.clear()
        self.stage = Stage.CLOSED
        rooms = list(self.rooms)
        self._service.departed(self, code, reason)
        self.rooms = rooms  # for the tasks that still wait: it is in none of them any more
        self._inbox = deque(message for message in self._inbox if message.task is not None)
        self.go_on()

    # -- what the server does ---------------------------------------------------------------------------------------

    @property
    def room(self) -> str | None:
        """The room it joined first, None without any."""
        return self.rooms[0] if self.rooms else None

    @property
    def member_key(self) -> Any:
        """Tells users apart: the user's id, or the connection for an anonymous one."""
        id = self.user.id if self.user is not None else None
        return ("cid", self.cid) if id is None else user_key(id)

    @property
    def is_ready(self) -> bool:
        """Its user is known, and it can be spoken to. Any thread."""
        return self.stage is Stage.READY

    def identified(self) -> None:
        """The user is known: serve what came meanwhile, in order."""
        self._stop_deadline()
        self.stage = Stage.READY
        first = self._inbox[0]
        if first.msgtype is None:  # the others are served like any message
            if first.task is None:
                self._inbox.popleft()
            if first.room is not None:
                self._service.reception.join(self, messages.without_task(first))
        self.go_on()

    def give_up(self) -> None:
        """The event loop ends: what waits is not served any more."""
        self._inbox.clear()
        self.jobs.clear()

    def hold(self) -> None:
        """Serve no more messages until release()."""
        self._is_held = True

    def release(self) -> None:
        """Serve messages again."""
        self._is_held = False
        self.go_on()

    def go_on(self) -> None:
        """Serve what waits, as far as it may be served now."""
        if self._is_going_on:
            return
        self._is_going_on = True
        while self._inbox and self._is_free():
            self._dispatch(self._inbox.popleft())
        self._is_going_on = False
        if not self._inbox and self._pauses & INBOX_FULL:
            self._resume(INBOX_FULL)

    def send(self, payload: bytes, cache: FrameCache | None = None) -> None:
        """Send a message, unless the connection is closed; *cache* as in Connection.send()."""
        if self.stage is not Stage.CLOSED:
            self._service.sent += 1
            self.connection.send(payload, cache)

    def refuse(self, message: messages.Message, error: RequestError) -> None:
        """Tell the client that this message is not served."""
        self._service.count(error.code)
        room = message.room if message.task is None else None
        task = message.task[:LONGEST_ECHO] if message.task is not None else None
        self.send(messages.error(task, error, message.id, room))

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close the connection.

        With a code of our own, which tells the client that it may not be here, what it has sent is not served any more.
        """
        self.is_closing = True
        if code >= PRIVATE_CODES:
            self._inbox.clear()
        self._stop_deadline()
        self.connection.close(code, reason)

    # -- within -----------------------------------------------------------------------------------------------------

    @property
    def _patience(self) -> float:
        """Seconds for the first message, and again for finding the user."""
        return self._service.server.settings.identify_timeout

    def _is_free(self) -> bool:
        return self.user is not None and not self._is_held and len(self.jobs) < self._service.tasks_per_client

    def _dispatch(self, message: messages.Message) -> None:
        try:
            self._service.dispatch(self, message)
        except Exception:  # the next message must not suffer for it
            _log.exception("a message could not be served")
            self.refuse(message, TaskFailed("the message could not be served"))

    def _take_token(self) -> None:
        """The token bucket of MESSAGE_RATE: when it is empty, reading pauses until there is a token again."""
        now = self._service.loop.time()
        rate, burst = self._service.rate or 1.0, self._service.burst
        self._tokens = min(burst, self._tokens + (now - self._tokens_at) * rate) - 1
        self._tokens_at = now
        if self._tokens < 0 and not self._pauses & RATE:
            self._service.count("rate")
            self._pause(RATE)
            self._service.loop.call_later(max(-self._tokens, 1.0) / rate, self._resume, RATE)

    def _pause(self, why: int) -> None:
        if not self._pauses:
            self.connection.pause_reading()
        self._pauses |= why

    def _resume(self, why: int) -> None:
        self._pauses &= ~why
        if not self._pauses and self.stage is not Stage.CLOSED:
            self.connection.resume_reading()

    def _not_identified(self) -> None:
        """One more turn of the loop first: after a standstill of the process the message may lie in the socket."""
        self._deadline = self._service.loop.call_later(0.0, self._refuse)

    def _refuse(self) -> None:
        self._deadline = None
        self._service.reception.note_refusal(self, "nothing that identifies it came in time")
        self.close(4001, "send the first message sooner")

    def _not_looked_up(self) -> None:
        self._deadline = None
        self._service.reception.note_refusal(self, "its user was not found in time")
        self.close(1013, "try again later")

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
