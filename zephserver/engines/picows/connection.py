"""One connection, between picows and the server."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import picows

from zephserver.engines.assembler import ABNORMAL, Assembler, Close, Opcode, read_close, write_close
from zephserver.engines.deflate import SMALLEST, Deflate, compress
from zephserver.engines.door import CLOSE_TIME, hang_up
from zephserver.engines.frames import write_frame
from zephserver.engines.interface import FrameCache, Handshake, Receiver
from zephserver.engines.picows.adapters import Deaf

if TYPE_CHECKING:
    from zephserver.engines.picows.engine import PicowsEngine

_log = logging.getLogger("zephserver.engine")

MOST_UNSENT = 65_536  # bytes to one client that wait for the end of the turn

TEXT, BINARY, CONTINUATION = picows.WSMsgType.TEXT, picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION
CLOSE, PING = picows.WSMsgType.CLOSE, picows.WSMsgType.PING


class PicowsConnection(picows.WSListener):
    """One connection; see interface.Connection."""

    __slots__ = (
        "_assembler",
        "_blocked_since",
        "_closing",
        "_deadline",
        "_deflate_bits",
        "_engine",
        "_heard",
        "_is_hearing",
        "_paused",
        "_ping_sent",
        "_receiver",
        "_said",
        "_transport",
        "_unsent",
        "_unsent_bytes",
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
        self._deadline: asyncio.TimerHandle | None = None  # for the peer's half of the closing handshake
        self._heard = self._said = engine.now
        self._paused = False
        self._ping_sent: float | None = None
        self._blocked_since: float | None = None
        self._is_hearing = False  # more frames of the peer are at hand, or the answer to the last of them
        self._unsent: list[bytes] | None = None  # frames of this turn of the loop
        self._unsent_bytes = 0

    # what the server asks

    def send(self, payload: bytes, cache: FrameCache | None = None, *, binary: bool = False) -> None:
        """Send a message; a connection that is closing takes it and forgets it."""
        if self._closing is not None:
            return
        bits = self._deflate_bits if len(payload) >= SMALLEST else 0
        frame = cache.get(bits) if cache is not None else None
        if frame is None:
            body = compress(payload, bits) if bits else payload
            frame = write_frame(Opcode.BINARY if binary else Opcode.TEXT, body, rsv1=bool(bits))
            if cache is not None:
                cache[bits] = frame
        self._put(frame)

    def flush(self) -> None:
        """Write what is unsent; a client that does not read is cut off when its queue is full."""
        frames, self._unsent, self._unsent_bytes = self._unsent, None, 0
        transport = self._transport.underlying_transport
        if frames is None or transport.is_closing() or self._transport.is_close_frame_sent:
            return  # the peer may have gone a moment ago, or picows has found a fault of it
        if self._blocked_since is not None and self._is_full():
            return
        self._said = self._engine.now
        if len(frames) == 1:
            transport.write(frames[0])
        else:
            transport.writelines(frames)

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and give the peer a few seconds for its own."""
        if self._closing is None:
            self.flush()
        if self._closing is not None:  # it was, or had to be cut off
            return
        self._closing = Close(code, reason)
        self._transport.send(CLOSE, write_close(code, reason))
        self._end_soon()

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
        if now - self._said > settings.ping_interval and self._closing is None and self._blocked_since is None:
            self._said = now
            self._receiver.idle()
        if self._blocked_since is not None and now - self._blocked_since > settings.write_timeout:
            self._cut_off(f"its queue was not read in {settings.write_timeout:g} s")
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
        self._is_hearing = True
        try:
            self._hear(transport, frame)
        finally:
            if frame.last_in_buffer:  # what is answered at once is sent at once, without another turn of the loop
                self._is_hearing = False
                if self._unsent is not None:
                    self.flush()

    def _hear(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
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
            try:
                self._receiver.received(text)
            except Exception:  # picows closes the connection with 1011, and says nothing
                _log.exception("a message could not be taken")
                raise
        elif kind in (TEXT, BINARY, CONTINUATION):
            self._on_part(frame)
        elif has_bits:
            self._fail(Close(1002, "a reserved bit without an extension"))
        elif kind == CLOSE:
            self._on_close_frame(frame.get_payload_as_bytes())
        elif kind == PING:
            self._put(write_frame(Opcode.PONG, frame.get_payload_as_bytes()))
        else:
            self._ping_sent = None

    def found_fault(self) -> None:
        """picows refuses what came, and is about to say so: hear no more, for it would keep all that still comes."""
        self.flush()
        asyncio.get_running_loop().call_soon(self._hang_up)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """The connection is gone."""
        self._engine.connections.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
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

    def _put(self, frame: bytes) -> None:
        """Have it sent at the end of this turn of the loop: one send(2) for all that the client is told in it."""
        self._unsent_bytes += len(frame)
        if self._unsent is None:
            self._unsent = [frame]
            if not self._is_hearing:
                self._engine.batch.add(self)
        else:
            self._unsent.append(frame)
            if self._unsent_bytes > MOST_UNSENT:
                self.flush()

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

    def _is_full(self) -> bool:
        """Whether too much was unread before this, and so the peer is cut off. One message may be as long as it is."""
        limit = self._engine.settings.send_queue_bytes
        is_full = self._transport.underlying_transport.get_write_buffer_size() > limit
        if is_full:
            self._cut_off(f"more than {limit} bytes unread")
        return is_full

    def _on_close_frame(self, payload: bytes) -> None:
        """RFC 6455, 5.5.1: answer with a close frame, unless ours was first; then the server hangs up."""
        self.flush()
        if self._closing is None:
            close = read_close(payload)
            self._closing = close
            self._transport.send(CLOSE, write_close(close.code))
            self._end_soon()
        self._hang_up()

    def _end_soon(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(CLOSE_TIME, self.abort)

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
