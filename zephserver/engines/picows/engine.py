"""Listens, and lets picows take over the connections whose handshake was accepted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import ssl

import aiofastnet
import picows
from picows.picows import WSProtocol  # type: ignore[attr-defined] # what ws_create_server() makes; not in the stubs

from zephserver.core.files import forget, keep_from_children, no_fork
from zephserver.core.settings_page import Settings
from zephserver.core.unix_socket import bind, make_room
from zephserver.engines.deflate import negotiate
from zephserver.engines.door import SOCKET_MODE, Door
from zephserver.engines.handshake import Opening
from zephserver.engines.interface import Address, Gateway
from zephserver.engines.picows.adapters import Ear, UnixTransport
from zephserver.engines.picows.batch import Batch
from zephserver.engines.picows.connection import PicowsConnection
from zephserver.engines.tls import load_certificate, make_tls

_log = logging.getLogger("zephserver.engine")

# Half the memory of an idle connection; the buffer grows with the messages.
READ_BUFFER_BYTES = 2_048
# asyncio accepts as many as the backlog has in one turn of the loop, before any of them can be counted; so it is told
# of a short one, and the system of a long one. At the limit of descriptors it would spin.
ACCEPTED_AT_ONCE, BACKLOG = 8, 1_024
RESERVE = 56  # descriptors; MAX_CONNECTIONS leaves more, so who comes then is answered with 503 as long as it can be
BEATEN_AT_ONCE = 256  # connections in one turn of the loop: 10,000 pings at once would hold up everybody for 0.1 s

_HEAD = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)


class PicowsEngine:
    """Listens with picows. Loop only."""

    def __init__(self, settings: Settings, gateway: Gateway) -> None:
        self.settings, self.gateway = settings, gateway
        self._server: asyncio.Server | None = None
        self._heartbeat: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLContext | None = None
        self._socket_path: str | None = None
        self._descriptors: list[int] = []  # of the listening sockets
        self._doors: set[Door] = set()
        self._most_descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVE
        self.connections: set[PicowsConnection] = set()
        self.batch = Batch()
        self.now = 0.0  # the loop's time at the last beat: one clock reading for all connections

    async def listen(self) -> Address:
        """Open the port or the UNIX socket. Raises OSError, FileRefused."""
        self._tls = make_tls(self.settings)
        with no_fork():
            self._server = await self._make_server()
            self._descriptors = [listener.fileno() for listener in self._server.sockets]
            for descriptor in self._descriptors:
                keep_from_children(descriptor)
                with socket.socket(fileno=os.dup(descriptor)) as listener:
                    listener.listen(BACKLOG)
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        self._beat(loop)
        if self._socket_path is not None:
            return Address(self._socket_path, None, self._tls is not None)
        host, port, *_ = self._server.sockets[0].getsockname()
        return Address(host, port, self._tls is not None)

    async def _make_server(self) -> asyncio.Server:
        settings = self.settings
        loop = asyncio.get_running_loop()
        tls_time = settings.handshake_timeout if self._tls is not None else None
        if settings.host_zeph.startswith("unix:"):
            path = str(settings.folder / settings.host_zeph.removeprefix("unix:"))
            make_room("HOST_ZEPH", path)
            listener = bind("HOST_ZEPH", path, SOCKET_MODE)
            self._socket_path = path
            return await aiofastnet.create_unix_server(
                loop, self._make_door, sock=listener, ssl=self._tls, ssl_handshake_timeout=tls_time
            )
        return await aiofastnet.create_server(
            loop,
            self._make_door,
            settings.host_zeph,
            settings.port_zeph,
            reuse_address=True,
            reuse_port=settings.reuse_port,
            ssl=self._tls,
            ssl_handshake_timeout=tls_time,
            backlog=ACCEPTED_AT_ONCE,
        )

    def reload(self) -> None:
        """Read the TLS certificate anew; connections that are open keep theirs. Raises OSError."""
        if self._tls is not None:
            load_certificate(self._tls, self.settings)

    def stop_listening(self) -> None:
        """Accept nobody any more."""
        if self._server is not None:
            for descriptor in self._descriptors:
                forget(descriptor)
            self._descriptors = []
            self._server.close()
        if self._socket_path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._socket_path)
            self._socket_path = None

    async def close(self) -> None:
        """End what is still open, without a handshake."""
        self.stop_listening()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        for _ in range(3):  # whoever was accepted a moment ago gets a door in one of the next turns of the loop
            await asyncio.sleep(0)
        for door in list(self._doors):
            door.shut()
        for connection in list(self.connections):
            connection.abort()
        while self.connections:
            await asyncio.sleep(0.01)

    def _open(self, opening: Opening, transport: asyncio.Transport, rest: bytes) -> None:
        """Let picows take over a connection whose handshake was accepted."""
        offers = opening.handshake.headers.get("sec-websocket-extensions", "")
        deflate = negotiate(offers) if offers and self.settings.compression else None
        connection = PicowsConnection(self, opening.handshake, deflate)
        extra = {}
        if deflate is not None:
            extra["Sec-WebSocket-Extensions"] = deflate.response
        if opening.subprotocol:
            extra["Sec-WebSocket-Protocol"] = opening.subprotocol
        answer = picows.WSUpgradeResponseWithListener(picows.WSUpgradeResponse.create_101_response(extra), connection)
        protocol = WSProtocol(
            None,
            None,
            False,  # the server's side
            lambda request: answer,
            Ear(connection.found_fault),
            True,  # an exception in a listener closes the connection
            None,
            *(False, 0, 0, picows.WSAutoPingStrategy.PING_WHEN_IDLE),  # the engine pings, with one timer for all
            False,  # pings are answered below, where their reserved bits are looked at
            self.settings.max_message_bytes,
            None,
            READ_BUFFER_BYTES,
        )
        transport.set_protocol(protocol)
        is_unix = self._socket_path is not None
        protocol.connection_made(UnixTransport(transport) if is_unix else transport)
        # The request has been read; picows gets the least that makes it answer, and keeps no headers alive.
        head = _HEAD % opening.key.encode()
        view = memoryview(head + rest)
        while view and not transport.is_closing():
            buffer = protocol.get_buffer(-1)
            size = min(len(buffer), len(view))
            buffer[:size] = view[:size]
            view = view[size:]
            protocol.buffer_updated(size)

    def _make_door(self) -> Door:
        """For one who was accepted. With TLS the handshake comes first, and its door counts only when it is done."""
        # aiofastnet has no public name for those who have a descriptor of this server.
        if self._tls is not None and len(getattr(self._server, "_clients", ())) >= self._most_descriptors:
            raise ConnectionAbortedError("too few descriptors are left")  # which closes the socket
        return Door(self.gateway, self._open, self.settings, self._doors, self._is_crowded)

    def _is_crowded(self) -> bool:
        """Whether so few descriptors are left that a file, a database or the control socket might not get one."""
        return len(self._doors) + len(self.connections) >= self._most_descriptors

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all connections: pings, and those who do not answer or do not read."""
        pause = min(self.settings.ping_interval, self.settings.ping_timeout, self.settings.write_timeout, 4.0) / 4
        before, self.now = self.now, loop.time()
        self._heartbeat = loop.call_later(pause, self._beat, loop)
        if self.now - before > 2 * pause + 1.0:
            return  # the process stood still, and the pongs of that time are still to be read
        self._beat_some(list(self.connections), loop)

    def _beat_some(self, connections: list[PicowsConnection], loop: asyncio.AbstractEventLoop) -> None:
        for connection in connections[:BEATEN_AT_ONCE]:
            try:
                connection.beat(self.now)
            except Exception:  # one connection's fault must not end the heartbeat of all
                _log.exception("the heartbeat of a connection raised")
        if len(connections) > BEATEN_AT_ONCE:
            loop.call_soon(self._beat_some, connections[BEATEN_AT_ONCE:], loop)
