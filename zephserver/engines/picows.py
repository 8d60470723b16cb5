"""The default engine: picows moves the frames, on the event loop of the WebSocket service."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import ssl

import aiofastnet
import picows
from picows.picows import WSProtocol  # type: ignore[attr-defined] # what ws_create_server() makes; not in the stubs

from zephserver.core.files import forget, keep_from_children, no_fork
from zephserver.core.settings_page import Settings
from zephserver.core.unix_socket import bind, make_room
from zephserver.engines.assembler import ABNORMAL, Assembler, Close, read_close, write_close
from zephserver.engines.deflate import SMALLEST, Deflate, compress, negotiate
from zephserver.engines.door import Door, hang_up
from zephserver.engines.handshake import Opening
from zephserver.engines.interface import Address, DeflateCache, Gateway, Handshake, Receiver
from zephserver.engines.picows_adapters import Deaf, Silence, UnixTransport
from zephserver.engines.tls import load_certificate, make_tls

CLOSE_TIME = 3.0  # seconds for the peer's half of the closing handshake
# Half the memory of an idle connection; the buffer grows with the messages.
READ_BUFFER_BYTES = 2_048
# A web server in front usually runs as another user; whoever can reach the folder may connect.
SOCKET_MODE = 0o666

TEXT, BINARY, CONTINUATION = picows.WSMsgType.TEXT, picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION
CLOSE, PING = picows.WSMsgType.CLOSE, picows.WSMsgType.PING

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
        self.connections: set[PicowsConnection] = set()
        self.now = 0.0  # the loop's time at the last beat: one clock reading for all connections

    async def listen(self) -> Address:
        """Open the port or the UNIX socket. Raises OSError, FileRefused."""
        self._tls = make_tls(self.settings)
        with no_fork():
            self._server = await self._make_server()
            self._descriptors = [listener.fileno() for listener in self._server.sockets]
            for descriptor in self._descriptors:
                keep_from_children(descriptor)
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
        make_door = functools.partial(Door, self.gateway, self._open, settings, self._doors)
        tls_time = settings.handshake_timeout if self._tls is not None else None
        if settings.host_zeph.startswith("unix:"):
            path = str(settings.folder / settings.host_zeph.removeprefix("unix:"))
            make_room("HOST_ZEPH", path)
            listener = bind("HOST_ZEPH", path, SOCKET_MODE)
            self._socket_path = path
            return await aiofastnet.create_unix_server(
                loop, make_door, sock=listener, ssl=self._tls, ssl_handshake_timeout=tls_time
            )
        return await aiofastnet.create_server(
            loop,
            make_door,
            settings.host_zeph,
            settings.port_zeph,
            reuse_address=True,
            reuse_port=settings.reuse_port,
            ssl=self._tls,
            ssl_handshake_timeout=tls_time,
            backlog=1024,
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
            Silence(),
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

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all connections: pings, and those who do not answer or do not read."""
        pause = min(self.settings.ping_interval, self.settings.ping_timeout, self.settings.write_timeout, 4.0) / 4
        self.now = loop.time()
        for connection in list(self.connections):
            connection.beat(self.now)
        self._heartbeat = loop.call_later(pause, self._beat, loop)


class PicowsConnection(picows.WSListener):
    """One connection; see interface.Connection."""

    __slots__ = (
        "_assembler",
        "_blocked_since",
        "_closing",
        "_deflate_bits",
        "_engine",
        "_heard",
        "_paused",
        "_ping_sent",
        "_receiver",
        "_transport",
        "handshake",
    )

    _receiver: Receiver
    _transport: picows.WSTransport

    def __init__(self, engine: PicowsEngine, handshake: Handshake, deflate: Deflate | None) -> None:
        self._engine = engine
        self.handshake = handshake
        self._deflate_bits = deflate.window_bits if deflate is not None else 0
        self._assembler: Assembler | None = None  # made when the first message comes that is not one plain text frame
        self._closing: Close | None = None
        self._heard = engine.now
        self._paused = False
        self._ping_sent: float | None = None
        self._blocked_since: float | None = None

    # what the server asks

    def send(self, payload: bytes, cache: DeflateCache | None = None, *, binary: bool = False) -> None:
        """Send a message; a client that does not read is cut off when its queue is full."""
        if self._closing is not None:
            return
        kind = BINARY if binary else TEXT
        if self._deflate_bits and len(payload) >= SMALLEST:
            self._transport.send(kind, self._deflated(payload, cache), True, True)
        else:
            self._transport.send(kind, payload)
        if self._blocked_since is not None:
            queued = self._transport.underlying_transport.get_write_buffer_size()
            if queued > self._engine.settings.send_queue_bytes:
                self._cut_off(f"more than {self._engine.settings.send_queue_bytes} bytes unread")

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and give the peer a few seconds for its own."""
        if self._closing is not None:
            return
        self._closing = Close(code, reason)
        self._transport.send(CLOSE, write_close(code, reason))
        asyncio.get_running_loop().call_later(CLOSE_TIME, self.abort)

    def abort(self) -> None:
        """Hang up."""
        if not self._transport.is_disconnected:
            self._transport.disconnect(False)

    def pause_reading(self) -> None:
        """Take no more from the peer."""
        self._paused = True
        self._transport.underlying_transport.pause_reading()

    def resume_reading(self) -> None:
        """Take messages again."""
        self._paused = False
        if not self._transport.is_disconnected:
            self._transport.underlying_transport.resume_reading()

    def beat(self, now: float) -> None:
        """Ping a silent peer; give up on one that does not answer or does not read."""
        settings = self._engine.settings
        if self._blocked_since is not None and now - self._blocked_since > settings.write_timeout:
            self._cut_off(f"nothing read for {settings.write_timeout:g} s")
        elif self._paused:
            self._heard, self._ping_sent = now, None  # it cannot answer a ping that is not read
        elif self._ping_sent is not None:
            if now - self._ping_sent > settings.ping_timeout:
                self._closing = self._closing or Close(ABNORMAL, "no answer to a ping")
                self.abort()
        elif now - self._heard > settings.ping_interval and self._closing is None:
            self._ping_sent = now
            self._transport.send_ping()

    # what picows tells

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """The handshake is done."""
        self._transport = transport
        queue = self._engine.settings.send_queue_bytes
        transport.underlying_transport.set_write_buffer_limits(high=min(64 * 1024, queue))
        self._engine.connections.add(self)
        self._receiver = self._engine.gateway.opened(self)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Any frame, whole and unmasked; picows has refused those that RFC 6455 does not know."""
        self._heard = self._engine.now
        kind = frame.msg_type
        if transport.is_close_frame_sent or (self._closing is not None and kind != CLOSE):
            return  # picows closes it for a fault of the peer's, or we do
        has_bits = frame.rsv1 or frame.rsv2 or frame.rsv3
        if kind == TEXT and frame.fin and not has_bits and (self._assembler is None or self._assembler.is_idle):
            try:
                text = frame.get_payload_as_utf8_text()
            except UnicodeDecodeError:
                self._fail(Close(1007, "text that is not UTF-8"))
                return
            self._receiver.received(text)
        elif kind in (TEXT, BINARY, CONTINUATION):
            self._on_part(frame)
        elif has_bits:
            self._fail(Close(1002, "a reserved bit without an extension"))
        elif kind == CLOSE:
            self._on_close_frame(frame.get_payload_as_bytes())
        elif kind == PING:
            self._transport.send_pong(frame.get_payload_as_bytes())
        else:
            self._ping_sent = None

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """The connection is gone."""
        self._engine.connections.discard(self)
        if self._closing is None:
            said = transport.close_handshake.sent if transport.close_handshake is not None else None
            if said is not None:  # picows found the fault, and said so
                self._closing = Close(said.code.value, said.reason)
            else:
                self._closing = Close(ABNORMAL, "the connection was lost")
        self._receiver.closed(self._closing.code, self._closing.reason)

    def pause_writing(self) -> None:
        """The peer reads slower than we send."""
        self._blocked_since = self._engine.now

    def resume_writing(self) -> None:
        """It has caught up."""
        self._blocked_since = None

    # within

    def _on_part(self, frame: picows.WSFrame) -> None:
        """A frame that is not a whole plain text message by itself."""
        if self._assembler is None:
            settings = self._engine.settings
            self._assembler = Assembler(
                settings.max_message_bytes,
                settings.max_fragments,
                deflate=bool(self._deflate_bits),
                binary=self._engine.gateway.takes_binary,
            )
        outcome = self._assembler.receive(
            frame.msg_type.value,
            frame.get_payload_as_bytes(),
            fin=frame.fin,
            rsv1=frame.rsv1,
            rsv23=frame.rsv2 or frame.rsv3,
        )
        if isinstance(outcome, str):
            self._receiver.received(outcome)
        elif isinstance(outcome, bytes):
            self._receiver.received_binary(outcome)
        elif outcome is not None:
            self._fail(outcome)

    def _deflated(self, payload: bytes, cache: DeflateCache | None) -> bytes:
        if cache is None:
            return compress(payload, self._deflate_bits)
        found = cache.get(self._deflate_bits)
        if found is None:
            found = cache[self._deflate_bits] = compress(payload, self._deflate_bits)
        return found

    def _on_close_frame(self, payload: bytes) -> None:
        """RFC 6455, 5.5.1: answer with a close frame, unless ours was first; then the server hangs up."""
        if self._closing is None:
            close = read_close(payload)
            self._closing = close
            self._transport.send(CLOSE, write_close(close.code))
            asyncio.get_running_loop().call_later(CLOSE_TIME, self.abort)
        self._hang_up()

    def _fail(self, close: Close) -> None:
        """The peer broke the protocol: say why and hear no more of it (RFC 6455, 7.1.7)."""
        self.close(close.code, close.reason)
        self._hang_up()

    def _hang_up(self) -> None:
        """Nothing is left to say: hear no more, and end the connection when the peer does."""
        transport = self._transport.underlying_transport
        transport.set_protocol(Deaf(transport.get_protocol()))
        hang_up(transport)

    def _cut_off(self, why: str) -> None:
        """The peer does not read: a close frame would only join the queue."""
        self._closing = Close(4008, f"slow: {why}")
        self.abort()
