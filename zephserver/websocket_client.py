"""The service that holds the connections: takes messages, asks who sent them, has tasks run, says answers."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import random
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from zephserver import messages
from zephserver.announcer import send_all
from zephserver.client import Client
from zephserver.core import metrics
from zephserver.core.command_table import command
from zephserver.core.errors import BadMessage, BadRequest, Overloaded, StartFailed, UnknownClient
from zephserver.core.service import Service
from zephserver.core.settings_page import Settings
from zephserver.engines.factory import make_engine
from zephserver.engines.interface import Address, Connection, Engine, Handshake, HttpResponse
from zephserver.event_loop import loop_factory, tell_log
from zephserver.events import ClientClosed, ClientRefused, Listening
from zephserver.origins import is_allowed
from zephserver.pages import Pages
from zephserver.portal import Portal
from zephserver.reception import Reception
from zephserver.room_handler import KICKED, RoomHandler
from zephserver.router import ROUTER, Router
from zephserver.session_manager import SessionManager, UserLike

DRAIN_TASKS = 0.5  # of the stop time-out: how long the tasks under way may take to end
RETRY_AFTER = 0.5  # seconds before the first clients of a server that stops come back
KNOWN_DESCRIPTORS = 64  # kept free of connections, for files, databases and the control socket
SOON = 3.0  # seconds after which a server that was started just before is known to the others
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
        self.tasks_per_client = 0
        self.reception: Reception
        self.address: Address | None = None
        self.counters: Counter[str] = Counter()  # refusals, drops and close codes by name
        self.received = self.sent = 0  # messages
        self._clients: set[Client] = set()
        self._addresses: Counter[str] = Counter()  # open connections of each
        self._engine: Engine
        self._rooms: RoomHandler
        self._router: Router
        self._pages: Pages
        self._most = 0
        self._stop: asyncio.Event | None = None
        self._stopping = threading.Event()

    # -- the service ------------------------------------------------------------------------------------------------

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override] # read-only here
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
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(self._serve())
        finally:
            self._stopping.clear()  # for the next life

    def disable(self) -> None:
        """Drain and stop: no new connections, no new messages, the tasks under way end, then everybody is closed."""
        self._stopping.set()
        if self._stop is not None:
            self.portal.call_soon(self._stop.set)

    def reload(self) -> None:
        """Read the TLS certificate anew (SIGHUP); one that cannot be used leaves the old one in use. Any thread."""
        self.portal.call(self._reload)

    def stats(self) -> dict[str, Any]:
        """Port, number of connections, and whether they are sent away. Any thread."""
        port = self.address.port if self.address else None
        return {"port": port, "connections": len(self._clients), "drained": self.server.is_drained}

    def metrics(self) -> Iterator[metrics.Family]:
        """Connections, and what happened to them. Any thread."""
        counted = dict(self.counters)
        closes = {what.removeprefix("close "): count for what, count in counted.items() if what.startswith("close ")}
        others = {what: count for what, count in counted.items() if not what.startswith("close ")}
        yield metrics.gauge("zephserver_connections", "Open connections.", len(self._clients))
        yield metrics.counter("zephserver_messages_received_total", "Messages from clients.", self.received)
        yield metrics.counter("zephserver_messages_sent_total", "Messages to clients.", self.sent)
        yield metrics.counters("zephserver_closes_total", "Connections that ended, by close code.", "code", closes)
        yield metrics.counters(
            "zephserver_refusals_total", "Connections and messages that were refused or held up.", "reason", others
        )

    # -- any thread -------------------------------------------------------------------------------------------------

    def say(self, answer: dict[str, Any]) -> int:
        """Send an answer out; how many connections get it, on all servers, as far as this one knows.

        *answer* has `task`, `data` and one of `room`, `users` (a list of user ids), `all`, `cid`; a cid in `except` is
        left out. Raises BadMessage when it has none of them, or data that JSON cannot carry.
        """
        return self._rooms.say(answer)

    def tell_everyone(self, payload: bytes) -> None:
        """Send a message as it is to every client whose user is known."""
        self.portal.call(send_all, self._rooms.clients(), payload)

    def disconnect_user(self, user_id: Any, reason: str = "disconnected") -> int:
        """Close every connection of a user with 4004, after which browsers do not come back by themselves; how many.

        Those to other servers are closed too, and counted as far as they answer within a second; not so on the loop.
        """
        here = self._disconnect(self._rooms.connections_of(user_id), reason)
        return here + self._rooms.kick_elsewhere(user_id, reason=reason)

    def disconnect_where(self, test: Callable[[UserLike], object], code: int = KICKED, reason: str = "") -> int:
        """Close every connection whose user passes the test; how many. docs/protocol.md says what the codes mean."""
        found = [client for client in self._rooms.clients() if client.user is not None and test(client.user)]
        return self._disconnect(found, reason, code)

    def look_again(self, test: Callable[[UserLike], object]) -> None:
        """Ask the session manager now whether those whose user passes the test may still be here."""
        self.portal.call(self.reception.look_now, test)

    @command("clients.list")
    def list_clients(self) -> list[dict[str, Any]]:
        """The connections whose users are known."""
        return [
            {
                "cid": client.cid,
                "user": client.user.username if client.user is not None else "",
                "user_id": client.user.id if client.user is not None else None,
                "address": client.connection.handshake.address,
                "rooms": list(client.rooms),
                "tasks": len(client.jobs),
            }
            for client in self._rooms.clients()
        ]

    @command("clients.kick")
    def kick(self, who: str, reason: str = "disconnected") -> int:
        """Close the connection with the cid WHO, or every connection of the user with the id or name WHO."""
        count = self._disconnect(self._rooms.find(who), reason)
        count += self._rooms.kick_elsewhere(who=who, reason=reason)
        if not count:
            raise UnknownClient(who)
        return count

    @command("cluster.drain")
    def drain(self) -> dict[str, Any]:
        """Send every client to the other servers, and take no new ones, until the server is started anew."""
        cluster, takers = self.server.cluster, self._rooms.takers
        end = time.monotonic() + (SOON if cluster.engine != "local" else 0.0)
        while not (others := takers(cluster.peers)) and time.monotonic() < end:
            self._stopping.wait(0.05)
        if not others:
            away = ", ".join(sorted(cluster.peers))
            why = f": {away} send{'' if ',' in away else 's'} clients away too" if away else ""
            raise BadRequest(f"no other server of the cluster is there to take the clients{why}")
        self.server.is_drained = True
        count = len(self._clients)
        self.portal.call(lambda: self.loop.create_task(self._send_away()))
        return {"clients": count, "servers": sorted(others)}

    @command("say", for_guests=True)
    def say_as_operator(
        self,
        task: str,
        data: str = "null",
        room: str = "",
        users: list[str | int] | None = None,
        everyone: bool = False,
    ) -> int:
        """Send a message of TASK, its DATA as JSON, to a room, to users by id, or to everyone; how many get it."""
        answer: dict[str, Any] = {"task": task, "data": messages.call(task, data).data}
        if users is not None:
            answer["users"] = users
        elif everyone:
            answer["all"] = True
        elif room:
            answer["room"] = room
        else:
            raise BadRequest("name a room, users, or everyone")
        return self.say(answer)

    def _disconnect(self, clients: Sequence[Client], reason: str, code: int = KICKED) -> int:
        for client in clients:
            self.portal.call(client.close, code, reason)
        return len(clients)

    # -- what the engine asks ---------------------------------------------------------------------------------------

    def decide(self, request: Handshake, *, upgrade: bool) -> HttpResponse | None:
        """Answer a GET, or let a WebSocket connection through."""
        if not upgrade:
            return self._pages.get(request)
        if self._stopping.is_set() or self.server.is_drained:
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

    def dispatch(self, client: Client, message: messages.Message) -> None:
        """A message of a client whose user is known."""
        if self._stopping.is_set():
            client.refuse(message, Overloaded("the server is stopping"))
        elif message.task is not None:
            self._router.route(self, client, message)
        elif message.msgtype is not None:
            self.reception.serve(client, message)
        elif message.room is not None:
            self.reception.join(client, message)
        else:
            client.refuse(message, BadMessage("a message has a task, a msgtype or a room"))

    def departed(self, client: Client, code: int, reason: str) -> None:
        """The connection of a client is gone."""
        self._clients.discard(client)
        address = client.connection.handshake.address
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
        self.reception.forget(client)
        if client.user is not None:
            self._router.left(client)
            self._rooms.depart(client)
        self.count(f"close {code}")
        if self.server.bus.wants(ClientClosed):
            self.server.bus.publish(ClientClosed(cid=client.cid, code=code, reason=reason))

    def count(self, what: str) -> None:
        """One more of these."""
        self.counters[what] += 1

    # -- within -----------------------------------------------------------------------------------------------------

    def _reload(self) -> None:
        try:
            self._engine.reload()
        except OSError as error:
            pair = f"{self.server.settings.tls_certificate} and {self.server.settings.tls_key}"
            why = getattr(error, "reason", None) or error.strerror or error
            _log.error("the TLS certificate was not renewed, the old one stays in use: %s: %s", pair, why)

    async def _serve(self) -> None:
        settings = self.server.settings
        self.loop = asyncio.get_running_loop()
        self._engine = make_engine(settings, self)
        self.portal = Portal(self.loop, self._engine.batch)
        self._stop = asyncio.Event()
        self.loop.set_exception_handler(tell_log)
        if self._stopping.is_set():
            return
        sessions: SessionManager = self.server.get_service(settings.my_session_handler)
        self._rooms = self.server.get_service(settings.my_room_handler)
        self._router = self.server.get_service(ROUTER)
        self.rate, self.burst = settings.message_rate if settings.message_rate is not None else (None, 0.0)
        self.tasks_per_client = settings.tasks_per_client
        self._most = _most_connections(settings)
        self._pages = Pages(self.server)
        self._router.open(self, sessions)
        self._rooms.open(settings, self.loop, self.portal, self.server.cluster)
        self.reception = Reception(self, sessions, self._rooms, self._most)
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
            for client in list(self._clients):
                client.give_up()
            self._rooms.close()
            self.reception.close()

    async def _drain(self) -> None:
        """Nobody new, nothing new; what was begun ends; then a batch of connections at a time is closed."""
        settings = self.server.settings
        stop_timeout = settings.options_of("zephserver.websocket_client/WebsocketClient").stop_timeout
        self._engine.stop_listening()
        end = self.loop.time() + stop_timeout * DRAIN_TASKS
        while self._router.running() and self.loop.time() < end:
            await asyncio.sleep(0.01)
        await self._send_away()
        end = self.loop.time() + stop_timeout * (1 - DRAIN_TASKS) / 2
        while self._clients and self.loop.time() < end:
            await asyncio.sleep(0.01)

    async def _send_away(self) -> None:
        """Close all connections, a batch at a time, so that they come back to another server."""
        settings = self.server.settings
        waiting: Sequence[Client] = list(self._clients)
        # Whoever takes over must not see everybody at once: they come back over as long a time as batches take.
        spread = len(waiting) / settings.drain_batch * settings.drain_interval
        self._rooms.drain(2 * spread + RETRY_AFTER)
        for start in range(0, len(waiting), settings.drain_batch):
            if start:
                await asyncio.sleep(settings.drain_interval)
            for client in waiting[start : start + settings.drain_batch]:
                client.close(1012, json.dumps({"retry_after": round(RETRY_AFTER + random.uniform(0.0, spread), 1)}))


def _most_connections(settings: Settings) -> int:
    """MAX_CONNECTIONS, or as many as there are file descriptors for."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    possible = files - KNOWN_DESCRIPTORS
    wanted = settings.max_connections
    if wanted is not None and wanted > possible:
        _log.warning(
            "MAX_CONNECTIONS is %d; the file limit of %d allows %d: raise it, as by ulimit -n", wanted, files, possible
        )
    return min(wanted or MOST_CONNECTIONS, possible)


def _why_not_listening(settings: Settings, error: OSError) -> str:
    where = f"{settings.host_zeph}:{settings.port_zeph}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken; set another PORT_ZEPH, or 0 for a free one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where} is not for this user; ports below 1024 need root or CAP_NET_BIND_SERVICE"
    return f"cannot listen on {where}: {error.strerror or error}"
