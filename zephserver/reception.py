"""Who is it, and may they? Asks the session manager and the room handler in threads, and goes on when they answered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from zephserver import messages
from zephserver.client import Client, Stage
from zephserver.core import runtime
from zephserver.core.errors import AccessDenied, BadMessage, Overloaded, RequestError, SessionExpired
from zephserver.events import ClientConnected, ClientRefused
from zephserver.room_handler import RoomHandler
from zephserver.session_manager import SessionManager, UserLike
from zephserver.workers import WorkerPool

if TYPE_CHECKING:
    from zephserver.websocket_client import WebsocketClient

THREADS = 16  # they wait for a database, never behind a slow task
RECHECK_THREADS = 4
LONGEST_ROOM = 2_048  # characters; the documents use the address of a page

# Close codes of our own; docs/protocol.md says who must act.
EXPIRED, REFUSED, TOO_MANY = 4002, 4003, 4009
_REASONS = {
    EXPIRED: "fetch a new token",
    REFUSED: "log in first",
    TOO_MANY: "too many connections",
}

_log = logging.getLogger("zephserver.reception")


class Reception:
    """Lets clients in, and into rooms. Loop only; its questions are asked in threads of its own."""

    def __init__(
        self, service: WebsocketClient, sessions: SessionManager, rooms: RoomHandler, most_waiting: int
    ) -> None:
        server = service.server
        self._service, self._sessions, self._rooms = service, sessions, rooms
        self._pool = WorkerPool("identify", THREADS, most_waiting, lambda name, body: runtime.spawn(name, body, server))
        # Never before those who come: a look-up that is late keeps somebody waiting.
        self._recheck_pool = WorkerPool(
            "recheck", RECHECK_THREADS, most_waiting, lambda name, body: runtime.spawn(name, body, server)
        )
        # A question that has only one answer is not asked.
        self._asks_rooms = getattr(rooms.may_join, "__func__", None) is not RoomHandler.may_join
        self._around: AbstractContextManager[object] = getattr(sessions, "around_task", None) or nullcontext()
        self._is_valid: Callable[[Any, Any], object] | None = getattr(sessions, "is_valid", None)
        self._interval = server.settings.session_check_interval
        self.look_up_timeout: float = getattr(sessions, "look_up_timeout", float("inf"))
        self._due: dict[Client, float] = {}  # who is looked at again, and when; the first is due first
        self._is_troubled = False
        if self._is_valid is not None and self._interval is not None:
            service.loop.call_later(self._step, self._look_again)

    def close(self) -> None:
        """Ask nothing any more."""
        for pool in (self._pool, self._recheck_pool):
            pool.close()
        for pool in (self._pool, self._recheck_pool):
            pool.join(1.0)

    def forget(self, client: Client) -> None:
        """The connection is gone."""
        self._due.pop(client, None)

    # -- who is it? -------------------------------------------------------------------------------------------------

    def identify(self, client: Client, message: messages.Message) -> None:
        """Find the user of a client that sent its first message."""
        first = {"session_id": message.session_id, "room": message.room, "task": message.task, "data": message.data}
        portal = self._service.portal

        def look_up() -> None:
            try:
                user = self._sessions.get_user_session(client.connection.handshake, first)
            except SessionExpired:
                portal.call_soon(self._refuse, client, "what it showed has expired", EXPIRED)
            except Overloaded as error:
                portal.call_soon(self._refuse, client, str(error), 1013)
            except BaseException as error:  # a session manager that calls sys.exit() refuses this one client only
                _log.exception("the session manager raised")
                portal.call_soon(self._refuse, client, f"the session manager raised {error!r}", 1011)
            else:
                portal.call_soon(self._identified, client, message, user)

        if not self._pool.submit("look-up", look_up):
            self._refuse(client, "too many look-ups wait", 1013)

    def _identified(self, client: Client, message: messages.Message, user: UserLike | None) -> None:
        if client.stage is not Stage.IDENTIFYING or client.is_closing:
            return  # it has left meanwhile
        if user is None:
            self._refuse(client, "the session manager refused it", REFUSED)
            return
        settings = self._service.server.settings
        limit = settings.max_connections_per_user
        try:
            about = {"id": user.id, "username": user.username}
            hash(user.id)
            messages.encode(about)
        except (AttributeError, TypeError, BadMessage) as error:  # no user, or an id that is not for a dict or JSON
            _log.error("the session manager returned a user whose id or name cannot be used: %s", error)
            self._refuse(client, f"its user cannot be used: {error}", 1011)
            return
        if limit is not None and user.id is not None and self._rooms.connection_count(user.id) >= limit:
            self._refuse(client, f"user {user.username} has {limit} connections already", TOO_MANY)
            return
        client.user = user
        cid = self._rooms.enter(client)
        client.connection.send(messages.welcome(cid, about, settings.ping_interval))
        client.identified()
        if self._interval is not None and self._is_valid is not None:
            self._due[client] = self._service.loop.time() + self._interval
        bus = self._service.server.bus
        if bus.wants(ClientConnected):
            address = client.connection.handshake.address
            bus.publish(ClientConnected(cid=cid, user=user.username, address=address))

    def _refuse(self, client: Client, why: str, code: int) -> None:
        if client.stage is Stage.IDENTIFYING and not client.is_closing:
            self.note_refusal(client, why)
            client.close(code, _REASONS.get(code, "try again later"))

    def note_refusal(self, client: Client, why: str) -> None:
        """Tell the log that a connection was turned away."""
        self._service.server.bus.publish(ClientRefused(address=client.connection.handshake.address, why=why))

    # -- may they be in this room? ----------------------------------------------------------------------------------

    def serve(self, client: Client, message: messages.Message) -> None:
        """A message about a room: join it, leave it, or tell who is there."""
        room, verb = message.room or "", message.msgtype or ""
        if verb == "join":
            self.join(client, message)
        elif verb not in ("leave", "user_list"):
            client.refuse(message, BadMessage(f"there is no msgtype {verb[:80]!r}"))
        elif room not in client.rooms:
            client.refuse(message, AccessDenied("you are not in this room"))
        elif verb == "leave":
            self._rooms.leave(client, room)
            client.send(messages.left(room, message.id))
        else:
            usernames = self._rooms.user_list(room, self._service.server.settings.presence_limit)
            client.send(messages.user_list(usernames, room, self._rooms.user_count(room), message.id))

    def join(self, client: Client, message: messages.Message) -> None:
        """Put a client into the room that its message names, or tell it why not."""
        room = message.room
        if room is None or not 0 < len(room) <= LONGEST_ROOM:
            client.refuse(message, BadMessage(f"a room has a name of 1 to {LONGEST_ROOM} characters"))
        elif not self._asks_rooms or room in client.rooms:
            self._prepare(client, message)
        else:
            client.hold()  # what it sent behind this waits for the answer
            portal = self._service.portal

            def ask() -> None:
                refusal: RequestError | None = None
                try:
                    with self._around:
                        may_join = self._rooms.may_join(client.user, room)
                    if may_join is not True:
                        refusal = AccessDenied("this room is not for you")
                except BaseException:
                    _log.exception("may_join() raised, so the room is refused")
                    refusal = AccessDenied("this room is not for you")
                portal.call_soon(self._may_join_answered, client, message, refusal)

            if not self._pool.submit("may-join", ask):
                self._may_join_answered(client, message, Overloaded("too many look-ups wait; try again later"))

    def _may_join_answered(self, client: Client, message: messages.Message, refusal: RequestError | None) -> None:
        if client.stage is Stage.READY:
            if refusal is not None:
                client.refuse(message, refusal)
            else:
                self._prepare(client, message)
                return
        client.release()

    def _prepare(self, client: Client, message: messages.Message) -> None:
        """Put a client into a room as soon as this server hears everything that is said there."""
        client.hold()
        self._rooms.prepare(message.room or "", partial(self._admit, client, message))

    def _admit(self, client: Client, message: messages.Message) -> None:
        if client.stage is Stage.READY:
            self._join(client, message)
        client.release()

    def _join(self, client: Client, message: messages.Message) -> None:
        try:
            self._rooms.join(client, message.room or "", message.id, epoch=message.epoch, offset=message.offset)
        except RequestError as error:
            client.refuse(message, error)

    # -- are they still who they were? ------------------------------------------------------------------------------

    @property
    def _step(self) -> float:
        """Seconds between two looks at who is due."""
        return min(1.0, (self._interval or 1.0) / 4)

    def look_now(self, test: Callable[[UserLike], object]) -> None:
        """Look at once at those whose user passes the test, because something is known to have changed."""
        if self._is_valid is None:
            return
        for client in self._rooms.clients():
            if client.user is not None and test(client.user):
                self._due.pop(client, None)
                if not self._recheck_pool.submit("re-check", partial(self._check, client)):
                    self._checked(client, is_valid=True)

    def _look_again(self) -> None:
        now = self._service.loop.time()
        for client, due in list(self._due.items()):
            if due > now:
                break
            del self._due[client]
            if not self._recheck_pool.submit("re-check", partial(self._check, client)):
                self._checked(client, is_valid=True)  # all threads wait for a database; next time
        self._service.loop.call_later(self._step, self._look_again)

    def _check(self, client: Client) -> None:
        """Ask whether a session is still good. Thread of the pool."""
        assert self._is_valid is not None
        is_valid = True
        try:
            is_valid = self._is_valid(client.connection.handshake, client.user) is not False
            self._is_troubled = False
        except BaseException:  # a database that is down ends no connection, and sys.exit() no thread
            if not self._is_troubled:
                self._is_troubled = True
                _log.exception("sessions cannot be looked at; nobody is disconnected for that")
        self._service.portal.call_soon(self._checked, client, is_valid)

    def _checked(self, client: Client, is_valid: bool) -> None:
        if client.stage is not Stage.READY:
            return
        if is_valid:
            if self._interval is not None:
                self._due[client] = self._service.loop.time() + self._interval
        else:
            self.note_refusal(client, "its session has ended")
            client.close(REFUSED, "your session has ended")
