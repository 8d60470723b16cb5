"""The service that holds the connections: takes messages, asks who sent them, has tasks run, says answers."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import resource
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from zephserver import messages
from zephserver.client import Client, Stage
from zephserver.core import runtime
from zephserver.core.errors import BadMessage, Overloaded, StartFailed
from zephserver.core.service import Service
from zephserver.core.settings_page import Settings
from zephserver.engines.interface import Address, Connection, DeflateCache, Engine, Handshake, HttpResponse
from zephserver.engines.picows import PicowsEngine
from zephserver.events import ClientClosed, ClientConnected, ClientRefused, Listening
from zephserver.origins import is_allowed
from zephserver.portal import Portal
from zephserver.room_handler import LONGEST_ROOM, RoomHandler
from zephserver.router import Router
from zephserver.session_manager import SessionManager, UserLike
from zephserver.static_files import NOT_FOUND, StaticFiles
from zephserver.workers import WorkerPool

ROUTER = "zephserver.router/Router"
IDENTIFIERS = 16  # threads that look users up: they wait for a database, never behind a slow task
DRAIN_TASKS = 0.5  # of the stop time-out: how long the tasks under way may take to end
KNOWN_DESCRIPTORS = 64  # kept free of connections, for files, databases and the control socket
MOST_CONNECTIONS = 10_000

_log = logging.getLogger("zephserver.websocket")


class WebsocketClient(Service):
    """Chapter two's main service. Its thread runs the event loop, to which everything here belongs but `say`."""

    notify_ready: ClassVar[bool] = True
    takes_binary: bool = False
    essential: ClassVar[bool] = True  # a WebSocket server without its port is no use; whoever started it can do better

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop
        self.portal: Portal
        self.rate: float | None = None
        self.burst = 0.0
        self.address: Address | None = None
        self.counters: Counter[str] = Counter()  # refusals, drops and close codes by name
        self._clients: set[Client] = set()
        self._addresses: Counter[str] = Counter()  # open connections of each
        self._engine: Engine
        self._rooms: RoomHandler
        self._router: Router
        self._sessions: SessionManager
        self._identifiers: WorkerPool
        self._files: StaticFiles | None = None
        self._most = 0
        self._stop: asyncio.Event | None = None
        self._stopping = threading.Event()

    # -- the service ------------------------------------------------------------------------------------------------

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]
        """The three other services: it starts after them and stops before them."""
        settings = self.server.settings
        return (settings.my_session_handler, settings.my_room_handler, ROUTER)

    @staticmethod
    def check(settings: Settings) -> list[str]:
        """What is wrong, for `zephctl check`: services that are missing from SERVICE_LIST."""
        needed = (settings.my_session_handler, settings.my_room_handler, ROUTER)
        return [
            f"SERVICE_LIST: WebsocketClient needs {name}; add it"
            for name in needed
            if name not in settings.service_list
        ]

    def main(self) -> None:
        """Run the event loop until disable()."""
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._serve())
        finally:
            self._stopping.clear()  # for the next life

    def disable(self) -> None:
        """Drain and stop: no new connections, no new messages, the tasks under way end, then everybody is closed."""
        self._stopping.set()
        if self._stop is not None:
            self.portal.call_soon(self._stop.set)

    def reload(self) -> None:
        """Read the TLS certificate anew (SIGHUP). Any thread."""
        self.portal.call(self._engine.reload)

    def stats(self) -> dict[str, Any]:
        """Port and number of connections. Any thread."""
        return {"port": self.address.port if self.address else None, "connections": len(self._clients)}

    # -- any thread -------------------------------------------------------------------------------------------------

    def say(self, answer: dict[str, Any]) -> int:
        """Send an answer out; how many connections of this server get it.

        *answer* has `task`, `data` and one of `room`, `users` (a list of user ids), `all`, `cid`; a cid in `except` is
        left out. Raises BadMessage when it has none of them, or data that JSON cannot carry.
        """
        task = answer.get("task")
        if not isinstance(task, str):
            raise BadMessage("an answer needs a task")
        payload = messages.answer(task, answer.get("data"))
        targets = self._rooms.targets(answer)
        if targets:
            self.portal.call(self._send_all, targets, payload)
        return len(targets)

    # -- what the engine asks ---------------------------------------------------------------------------------------

    def decide(self, request: Handshake, *, upgrade: bool) -> HttpResponse | None:
        """Answer a GET, or let a WebSocket connection through."""
        if not upgrade:
            return self._answer_get(request)
        if self._stopping.is_set():
            return HttpResponse(503, b"the server is stopping; connect again later\n", {"Retry-After": "1"})
        origin = request.headers.get("origin")
        if not is_allowed(origin, request.headers.get("host", ""), self.server.settings.allowed_origins):
            self.count("origin")
            self.server.bus.publish(
                ClientRefused(address=request.address, why=f"origin {origin} is not in ALLOWED_ORIGINS")
            )
            return HttpResponse(403, b"this page may not connect; see ALLOWED_ORIGINS\n")
        limit = self.server.settings.max_connections_per_address
        is_full = limit is not None and request.address and self._addresses[request.address] >= limit
        if is_full or len(self._clients) >= self._most:
            self.count("full")
            self.server.bus.publish(ClientRefused(address=request.address, why="too many connections"))
            return HttpResponse(503, b"too many connections; try again later\n", {"Retry-After": "5"})
        return None

    def opened(self, connection: Connection) -> Client:
        """A connection is open."""
        client = Client(self, connection)
        self._clients.add(client)
        self._addresses[connection.handshake.address] += 1
        return client

    # -- what a client asks -----------------------------------------------------------------------------------------

    def identify(self, client: Client, message: messages.Message) -> None:
        """Look the user up in a thread; `_identified` goes on."""
        first = {"session_id": message.session_id, "room": message.room, "task": message.task, "data": message.data}

        def look_up() -> None:
            try:
                user = self._sessions.get_user_session(client.connection.handshake, first)
            except BaseException as error:  # a session manager that calls sys.exit() refuses this one client only
                _log.exception("the session manager raised")
                self.portal.call_soon(self._refuse_user, client, f"the session manager raised {error!r}", 1011)
            else:
                self.portal.call_soon(self._identified, client, message, user)

        if not self._identifiers.submit("look-up", look_up):
            self._refuse_user(client, "too many look-ups wait", 1013)

    def dispatch(self, client: Client, message: messages.Message) -> None:
        """A message of a client whose user is known."""
        if message.task is None:
            if message.room is not None:
                self._join(client, message.room)
            return
        if self._stopping.is_set():
            client.refuse(message, Overloaded("the server is stopping"))
            return
        self._router.route(self, client, message)

    def departed(self, client: Client, code: int, reason: str, *, was_ready: bool) -> None:
        """The connection of a client is gone."""
        self._clients.discard(client)
        address = client.connection.handshake.address
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
        if was_ready:
            self._router.left(client)
            self._rooms.depart(client)
        self.count(f"close {code}")
        if self.server.bus.wants(ClientClosed):
            self.server.bus.publish(ClientClosed(cid=client.cid, code=code, reason=reason))

    def refused(self, client: Client, why: str) -> None:
        """Note that a connection was turned away."""
        self.server.bus.publish(ClientRefused(address=client.connection.handshake.address, why=why))

    def count(self, what: str) -> None:
        """One more of these."""
        self.counters[what] += 1

    # -- within -----------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        settings = self.server.settings
        self.loop = asyncio.get_running_loop()
        self.portal = Portal(self.loop)
        self._stop = asyncio.Event()
        if self._stopping.is_set():
            return
        self._sessions = self.server.get_service(settings.my_session_handler)
        self._rooms = self.server.get_service(settings.my_room_handler)
        self._router = self.server.get_service(ROUTER)
        self.rate, self.burst = settings.message_rate if settings.message_rate is not None else (None, 0.0)
        self._most = settings.max_connections or min(MOST_CONNECTIONS, _file_limit() - KNOWN_DESCRIPTORS)
        self._files = StaticFiles(settings.static_folder) if settings.static_folder is not None else None
        server = self.server
        self._identifiers = WorkerPool(
            "identify", IDENTIFIERS, self._most, lambda name, body: runtime.spawn(name, body, server)
        )
        self._engine = PicowsEngine(settings, self)
        try:
            try:
                self.address = await self._engine.listen()
            except OSError as error:
                raise StartFailed(_why_not_listening(settings, error)) from None
            where = self.address
            self.server.bus.publish(Listening(url=where.url, host=where.host, port=where.port))
            self.ready()
            await self._stop.wait()
            await self._drain()
        finally:
            self.address = None
            await self._engine.close()
            self._router.abandon(self)
            self._identifiers.close()
            self._identifiers.join(1.0)

    async def _drain(self) -> None:
        """Nobody new, nothing new; what was begun ends; then a batch of connections at a time is closed."""
        settings = self.server.settings
        stop_timeout = settings.options_of("zephserver.websocket_client/WebsocketClient").stop_timeout
        self._engine.stop_listening()
        end = self.loop.time() + stop_timeout * DRAIN_TASKS
        while self._router.running() and self.loop.time() < end:
            await asyncio.sleep(0.01)
        reason = json.dumps({"retry_after": 1})
        waiting: Sequence[Client] = list(self._clients)
        for start in range(0, len(waiting), settings.drain_batch):
            if start:
                await asyncio.sleep(settings.drain_interval)
            for client in waiting[start : start + settings.drain_batch]:
                client.close(1012, reason)
        end = self.loop.time() + stop_timeout * (1 - DRAIN_TASKS) / 2
        while self._clients and self.loop.time() < end:
            await asyncio.sleep(0.01)

    def _answer_get(self, request: Handshake) -> HttpResponse:
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return HttpResponse(200, b"ok\n")
        if path == "/readyz":
            is_ready = self.server.is_ready
            return HttpResponse(200 if is_ready else 503, b"ready\n" if is_ready else b"not ready\n")
        return self._files.get(request.path, request.headers) if self._files is not None else NOT_FOUND

    def _identified(self, client: Client, message: messages.Message, user: UserLike | None) -> None:
        if client.stage is not Stage.IDENTIFYING or client.is_closing:
            return  # it has left meanwhile
        if user is None:
            self._refuse_user(client, "the session manager refused it", 4003)
            return
        limit = self.server.settings.max_connections_per_user
        if limit is not None and user.id is not None and self._rooms.connections_of(user.id) >= limit:
            self._refuse_user(client, f"user {user.username} has {limit} connections already", 4009)
            return
        client.user = user
        cid = self._rooms.enter(client)
        about = {"id": user.id, "username": user.username}
        client.connection.send(messages.welcome(cid, about, self.server.settings.ping_interval))
        if message.room is not None:
            self._join(client, message.room)
        client.identified()
        if self.server.bus.wants(ClientConnected):
            address = client.connection.handshake.address
            self.server.bus.publish(ClientConnected(cid=cid, user=user.username, address=address))

    def _refuse_user(self, client: Client, why: str, code: int) -> None:
        if client.stage is Stage.IDENTIFYING:
            self.refused(client, why)
            client.close(code, {4003: "log in first", 4009: "too many connections"}.get(code, "try again later"))

    def _join(self, client: Client, room: str) -> None:
        if not 0 < len(room) <= LONGEST_ROOM:
            client.send(messages.error(None, BadMessage(f"a room has a name of 1 to {LONGEST_ROOM} characters")))
            return
        self._rooms.join(client, room)

    def _send_all(self, clients: list[Client], payload: bytes) -> None:
        cache: DeflateCache = {}
        for client in clients:
            client.send(payload, cache)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where the extra of that name is installed, asyncio's own loop elsewhere."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _file_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _why_not_listening(settings: Settings, error: OSError) -> str:
    where = f"{settings.host_zeph}:{settings.port_zeph}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken; set another PORT_ZEPH, or 0 for a free one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where} is not for this user; ports below 1024 need root or CAP_NET_BIND_SERVICE"
    return f"cannot listen on {where}: {error.strerror or error}"
