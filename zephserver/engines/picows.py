"""The default engine: picows moves the frames, on the event loop of the WebSocket service."""

from __future__ import annotations

import asyncio
import logging
import ssl
from http import HTTPStatus
from typing import Any

import picows

from zephserver.core.settings import Settings
from zephserver.engines.assembler import ABNORMAL, Assembler, Close, read_close, write_close
from zephserver.engines.interface import Gateway, Handshake, HttpResponse, Receiver

CLOSE_TIME = 3.0  # seconds for the peer's half of the closing handshake
# Half the memory of an idle connection; the buffer grows with the messages.
READ_BUFFER_BYTES = 2_048

TEXT, CLOSE = picows.WSMsgType.TEXT, picows.WSMsgType.CLOSE
PING, PONG = picows.WSMsgType.PING, picows.WSMsgType.PONG

_log = logging.getLogger("zephserver.engine")
_log_of_picows = logging.getLogger("zephserver.engine.picows")
_log_of_picows.setLevel(logging.CRITICAL)  # what it logs is a peer's fault, and that is an event of ours


class PicowsEngine:
    """Listens with picows. Loop only."""

    def __init__(self, settings: Settings, gateway: Gateway) -> None:
        self._settings, self._gateway = settings, gateway
        self._server: asyncio.Server | None = None
        self._heartbeat: asyncio.TimerHandle | None = None
        self.connections: set[PicowsConnection] = set()
        self.now = 0.0  # the loop's time at the last beat: one clock reading for all connections

    async def listen(self) -> tuple[str, int]:
        """Open the port. Raises OSError."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        self._server = await picows.ws_create_server(
            self._on_request,
            settings.host_zeph,
            settings.port_zeph,
            websocket_handshake_timeout=settings.handshake_timeout,
            max_frame_size=settings.max_message_bytes,
            read_buffer_init_size=READ_BUFFER_BYTES,
            logger_name=_log_of_picows,
            ssl=_tls(settings),
            backlog=1024,
            reuse_address=True,
        )
        self.now = loop.time()
        self._beat(loop)
        host, port, *_ = self._server.sockets[0].getsockname()
        return host, port

    def stop_listening(self) -> None:
        """Accept nobody any more."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """End what is still open, without a handshake."""
        self.stop_listening()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        for connection in list(self.connections):
            connection.abort()
        while self.connections:
            await asyncio.sleep(0.01)

    def _on_request(self, request: picows.WSUpgradeRequest) -> Any:
        headers = request.headers
        upgrade = headers.get("Upgrade", "").lower() == "websocket"
        try:
            path = request.path.decode("ascii")
            response = self._gateway.decide(Handshake(path, headers), upgrade=upgrade)
        except UnicodeDecodeError:
            response = HttpResponse(400, b"the path is not ASCII\n")
        except Exception:
            _log.exception("a request could not be answered")
            response = HttpResponse(500, b"internal error\n")
        if response is None:
            # picows wants the header to be this one word; browsers may send "keep-alive, Upgrade" (RFC 6455, 4.2.1).
            if "upgrade" in [word.strip().lower() for word in headers.get("Connection", "").split(",")]:
                headers["Connection"] = "Upgrade"
            return PicowsConnection(self, path)
        return picows.WSUpgradeResponseWithListener(_response(response), None)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all connections: pings, and those who do not answer or do not read."""
        pause = min(self._settings.ping_interval, self._settings.ping_timeout, self._settings.write_timeout, 4.0) / 4
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
        "_engine",
        "_heard",
        "_ping_sent",
        "_receiver",
        "_transport",
        "handshake",
    )

    _receiver: Receiver
    _transport: picows.WSTransport

    def __init__(self, engine: PicowsEngine, path: str) -> None:
        self._engine = engine
        self.handshake = Handshake(path, {})
        self._assembler: Assembler | None = None  # made when the first fragment comes
        self._closing: Close | None = None
        self._heard = engine.now
        self._ping_sent: float | None = None
        self._blocked_since: float | None = None

    # what the server asks

    def send(self, payload: bytes) -> None:
        """Send a text message; a client that does not read is cut off when its queue is full."""
        if self._closing is not None:
            return
        self._transport.send(TEXT, payload)
        if self._blocked_since is not None:
            queued = self._transport.underlying_transport.get_write_buffer_size()
            if queued > self._engine._settings.send_queue_bytes:
                self._cut_off(f"more than {self._engine._settings.send_queue_bytes} bytes unread")

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
        self._transport.underlying_transport.pause_reading()

    def resume_reading(self) -> None:
        """Take messages again."""
        if not self._transport.is_disconnected:
            self._transport.underlying_transport.resume_reading()

    def beat(self, now: float) -> None:
        """Ping a silent peer; give up on one that does not answer or does not read."""
        settings = self._engine._settings
        if self._blocked_since is not None and now - self._blocked_since > settings.write_timeout:
            self._cut_off(f"nothing read for {settings.write_timeout:g} s")
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
        peer = transport.underlying_transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else ""
        self.handshake = Handshake(self.handshake.path, transport.request.headers, address)
        self._engine.connections.add(self)
        self._receiver = self._engine._gateway.opened(self)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Any frame but a ping, which picows answers."""
        self._heard = self._engine.now
        kind = frame.msg_type
        if self._closing is not None and kind != CLOSE:
            return
        if kind in (PONG, PING):
            self._ping_sent = None
        elif kind == CLOSE:
            self._on_close_frame(frame.get_payload_as_bytes())
        elif kind == TEXT and frame.fin and self._assembler is None and not (frame.rsv1 or frame.rsv2 or frame.rsv3):
            try:
                text = frame.get_payload_as_utf8_text()
            except UnicodeDecodeError:
                self._fail(Close(1007, "text that is not UTF-8"))
                return
            self._receiver.received(text)
        else:
            self._on_fragment(frame)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """The connection is gone."""
        self._engine.connections.discard(self)
        closing = self._closing or Close(ABNORMAL, "the connection was lost")
        self._closing = closing
        self._receiver.closed(closing.code, closing.reason)

    def pause_writing(self) -> None:
        """The peer reads slower than we send."""
        self._blocked_since = self._engine.now

    def resume_writing(self) -> None:
        """It has caught up."""
        self._blocked_since = None

    # within

    def _on_fragment(self, frame: picows.WSFrame) -> None:
        if self._assembler is None:
            settings = self._engine._settings
            self._assembler = Assembler(settings.max_message_bytes, settings.max_fragments)
        outcome = self._assembler.receive(
            frame.msg_type.value,
            frame.get_payload_as_bytes(),
            fin=frame.fin,
            rsv=frame.rsv1 or frame.rsv2 or frame.rsv3,
        )
        if isinstance(outcome, Close):
            self._fail(outcome)
        elif outcome is not None:
            self._assembler = None
            self._receiver.received(outcome)

    def _on_close_frame(self, payload: bytes) -> None:
        """RFC 6455, 5.5.1: answer with a close frame, unless ours was first; then the server hangs up."""
        if self._closing is None:
            close = read_close(payload)
            self._closing = close
            self._transport.send(CLOSE, write_close(close.code))
        self._transport.disconnect()

    def _fail(self, close: Close) -> None:
        """The peer broke the protocol: say why, take nothing more, hang up soon."""
        self.close(close.code, close.reason)

    def _cut_off(self, why: str) -> None:
        """The peer does not read: a close frame would only join the queue."""
        self._closing = Close(4008, f"slow: {why}")
        self.abort()


def _response(response: HttpResponse) -> Any:
    answer = picows.WSUpgradeResponse.create_ok_response(response.body or None, response.headers)
    answer.status = HTTPStatus(response.status)
    if not response.body:
        answer.headers["Content-Length"] = "0"
    return answer


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """TLS 1.2 and newer with Python's defaults, or None. Raises OSError when certificate and key do not fit."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    return context
