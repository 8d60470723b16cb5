"""The engine without compiled parts: websocket-server's skeleton, a thread for each connection that reads from it.

What is read is handed to the event loop, where everything else happens: connection.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
import threading
from typing import Any

from zephserver.core.files import forget, keep_from_children, no_fork
from zephserver.core.runtime import find_server, spawn
from zephserver.core.settings_page import Settings
from zephserver.core.unix_socket import bind, make_room
from zephserver.engines.door import SOCKET_MODE
from zephserver.engines.interface import Address, Gateway
from zephserver.engines.threaded.connection import ThreadedConnection
from zephserver.engines.threaded.package import WebsocketServer
from zephserver.engines.threaded.reader import Reader
from zephserver.portal import Portal

REST = 1.0  # seconds without accepting anybody, when there are no descriptors or threads for them
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Socket = socket.socket
_log = logging.getLogger("zephserver.engine")


class ThreadedEngine:
    """Listens with websocket-server. Loop only."""

    portal: Portal

    def __init__(self, settings: Settings, gateway: Gateway) -> None:
        self.settings, self.gateway = settings, gateway
        self.batch: contextlib.AbstractContextManager[None] = (
            contextlib.nullcontext()
        )  # the threads write when they like
        self.connections: set[ThreadedConnection] = set()  # the WebSockets that are open
        self.now = 0.0  # the loop's time at the last beat: one clock reading for all connections
        self._all: set[ThreadedConnection] = set()  # with those whose request is being read or was refused
        self._threads: set[threading.Thread] = set()  # of all, and of those that left a moment ago
        self._count = 0
        self._listeners: list[Listener] = []
        self._heartbeat: asyncio.TimerHandle | None = None
        self._rest: asyncio.TimerHandle | None = None

    async def listen(self) -> Address:
        """Open the port or the UNIX socket. Raises OSError, FileRefused."""
        loop = asyncio.get_running_loop()
        self.portal = Portal(loop)
        places = await self._places(loop)
        try:
            with no_fork():
                for family, where in places:
                    self._listen_on(family, where, is_last=where is places[-1][1])
        except BaseException:
            self.stop_listening()
            raise
        self.now = loop.time()
        self._beat(loop)
        self._accept()
        listener = self._listeners[0]
        if listener.address_family == socket.AF_UNIX:
            return Address(str(listener.where), None)
        host, port, *_ = listener.socket.getsockname()
        return Address(host, port)

    def reload(self) -> None:
        """There is no TLS here, and nothing to read anew."""

    def stop_listening(self) -> None:
        """Accept nobody any more."""
        self._pause_accepting()
        for listener in self._listeners:
            forget(listener.fileno())
            listener.server_close()
        self._listeners.clear()

    async def close(self) -> None:
        """End what is still open, without a handshake; returns when the threads have ended too."""
        self.stop_listening()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        for connection in list(self._all):
            connection.abort()
        while self._all or self._living():
            await asyncio.sleep(0.005)

    # -- what a listener and a connection ask -----------------------------------------------------------------------

    def welcome(self, listener: Listener, connection: socket.socket, address: str) -> None:
        """Somebody knocks. Raises RuntimeError when there is no thread for them."""
        half = ThreadedConnection(self, connection, address)
        self._all.add(half)
        self._count += 1

        def live() -> None:
            try:
                Reader(half, listener)
            except Exception:
                _log.exception("reading from a connection failed")

        try:
            self._threads.add(spawn(f"connection:{self._count}", live, find_server()))
        except RuntimeError:
            half.ended(True)
            raise

    def forget(self, connection: ThreadedConnection) -> None:
        """The connection has ended."""
        self._all.discard(connection)
        self.connections.discard(connection)

    def rest(self, why: object) -> None:
        """Leave those who knock to the system for a moment: asking again at once would only burn the processor."""
        if self._rest is None and self._listeners:
            _log.warning("nobody is accepted for %g s: %s", REST, why)
            self._pause_accepting()
            self._rest = asyncio.get_running_loop().call_later(REST, self._accept)

    # -- within -----------------------------------------------------------------------------------------------------

    async def _places(self, loop: asyncio.AbstractEventLoop) -> list[tuple[int, Any]]:
        """Families and addresses to listen on: a name may have several."""
        settings = self.settings
        if settings.host_zeph.startswith("unix:"):
            path = str(settings.folder / settings.host_zeph.removeprefix("unix:"))
            make_room("HOST_ZEPH", path)
            return [(socket.AF_UNIX, path)]
        found = await loop.getaddrinfo(
            settings.host_zeph, settings.port_zeph, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return list(dict.fromkeys((family, where) for family, _, _, _, where in found))

    def _listen_on(self, family: int, where: Any, *, is_last: bool) -> None:
        try:
            listener = Listener(self, family, where)
        except OSError as error:
            # A name may have an address of a family that this machine does not have; one of them will do.
            if error.errno in _NOT_HERE and (self._listeners or not is_last):
                return
            raise
        self._listeners.append(listener)
        keep_from_children(listener.fileno())

    def _accept(self) -> None:
        self._rest = None
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.add_reader(listener.fileno(), listener.handle_request)

    def _pause_accepting(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener.fileno())

    def _living(self) -> bool:
        """Whether a thread lives; the others are forgotten."""
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        return bool(self._threads)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all connections: pings, and those who do not answer or do not read."""
        pause = min(self.settings.ping_interval, self.settings.ping_timeout, self.settings.write_timeout, 4.0) / 4
        self._heartbeat = loop.call_later(pause, self._beat, loop)
        self.now = loop.time()
        for connection in list(self.connections):
            try:
                connection.beat(self.now)
            except Exception:
                _log.exception("a connection could not be looked after")
        self._living()


class Listener(WebsocketServer):  # type: ignore[misc] # it has no types
    """One listening socket. Of the package's server it is the opening and the closing, and how a connection comes in.

    Its loop, its list of clients and its ways to send are not used: they wait for slow peers, and search for each one.
    """

    socket: Socket
    timeout = 0  # handle_request() is called when somebody is there
    request_queue_size = 1024  # the backlog

    def __init__(self, engine: ThreadedEngine, family: int, where: Any) -> None:
        self.engine, self.where = engine, where
        self.address_family = family
        self._is_bound = False
        self.allow_reuse_port = engine.settings.reuse_port
        super().__init__(*(("", 0) if family == socket.AF_UNIX else where[:2]), loglevel=logging.CRITICAL)
        self.socket.setblocking(False)  # who knocked may have gone before it is accepted

    def server_bind(self) -> None:
        """Bind as the server is told to."""
        self.server_address = self.where
        if self.address_family == socket.AF_UNIX:
            self.socket.close()
            self.socket = bind("HOST_ZEPH", self.where, SOCKET_MODE)
            self._is_bound = True
            return
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()

    def server_close(self) -> None:
        """Close it, and remove the file of a UNIX socket."""
        super().server_close()
        if self.address_family == socket.AF_UNIX and self._is_bound:
            self._is_bound = False
            with contextlib.suppress(OSError):
                os.unlink(self.where)

    def get_request(self) -> tuple[Socket, Any]:
        """Accept somebody. Raises OSError when nobody is there, or no descriptor is left."""
        try:
            return super().get_request()  # type: ignore[no-any-return]
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self.engine.rest(error)
            raise

    def process_request(self, request: Socket, client_address: Any) -> None:
        """Start the thread of a connection."""
        request.setblocking(True)
        if self.address_family != socket.AF_UNIX:
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.engine.welcome(self, request, client_address[0] if isinstance(client_address, tuple) else "")

    def handle_error(self, request: Socket, client_address: Any) -> None:
        """There is no thread for it, or it was gone before it came in; the package closes it."""
        error = sys.exc_info()[1]
        if isinstance(error, RuntimeError):
            self.engine.rest(error)
