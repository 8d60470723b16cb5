"""The loop's half of a connection of the threaded engine: all decisions, all timers, and all writing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zephserver.engines import door
from zephserver.engines.assembler import ABNORMAL, Close, read_close, write_close
from zephserver.engines.door import CLOSE_TIME
from zephserver.engines.frames import write_frame
from zephserver.engines.handshake import Opening, refusal, write_response
from zephserver.engines.interface import FrameCache, Handshake, HttpResponse, Receiver
from zephserver.engines.threaded.frames import Control, Fact
from zephserver.engines.threaded.package import (
    OPCODE_CLOSE_CONN,
    OPCODE_PING,
    OPCODE_PONG,
    OPCODE_TEXT,
    WebSocketHandler,
)
from zephserver.engines.threaded.writer import Writer
from zephserver.proxies import client_address

if TYPE_CHECKING:
    from zephserver.engines.threaded.engine import ThreadedEngine


_log = logging.getLogger("zephserver.engine")


class ThreadedConnection:
    """One connection, from the first byte to the last; see interface.Connection. Loop only, but for what is said.

    The socket is read by the thread (reader.Reader) and written and closed here, so frames never mix and no
    descriptor is closed under a thread that reads from it. Nothing here waits: what the system does not take at once
    is queued, at most SEND_QUEUE_BYTES.
    """

    handshake: Handshake

    def __init__(self, engine: ThreadedEngine, connection: socket.socket, address: str) -> None:
        self._engine, self.settings, self.portal = engine, engine.settings, engine.portal
        self.socket, self.address = connection, address
        # The thread reads these, and sets the last.
        self.is_deaf = False  # what the peer says does not count any more
        self.is_over = False  # nor does it get anything
        self.is_paused = False
        self.has_spoken = False
        self.turn = threading.Lock()  # the thread waits for it when it has handed something over
        self.turn.acquire()
        self._owes_turn = False
        self._receiver: Receiver | None = None
        self._closing: Close | None = None
        self._facts: deque[Fact] = deque()  # taken over, and not served while reading is paused
        self._is_serving = False
        self._writer = Writer(connection, self.settings.send_queue_bytes, self._on_drained, self._on_failed)
        self._has_ended = self._is_gone = False
        self._heard = self._said = engine.now
        self._ping_sent: float | None = None
        self._loop = asyncio.get_running_loop()
        self._deadline: asyncio.TimerHandle | None = None
        self._set_deadline(self.settings.handshake_timeout, self._too_slow)

    # -- what the server asks ---------------------------------------------------------------------------------------

    def send(self, payload: bytes, cache: FrameCache | None = None, *, binary: bool = False) -> None:
        """Send a text message; a client that does not read is cut off when its queue is full."""
        if binary:
            raise ValueError("the threaded engine has text messages only")
        if self._closing is None:
            self._said = self._engine.now
            self._write(write_frame(OPCODE_TEXT, payload))

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and give the peer a few seconds for its own."""
        if self._closing is not None:
            return
        self._closing = Close(code, reason)
        self._write(write_frame(OPCODE_CLOSE_CONN, write_close(code, reason)))
        self._set_deadline(CLOSE_TIME, self.abort)
        self.resume_reading()  # its messages do not count any more, but its close frame does

    def abort(self) -> None:
        """Hang up. The thread hears of it, and then this connection is forgotten."""
        if self._is_gone:
            return
        self.is_deaf = self.is_over = True
        self._writer.drop()
        self._facts.clear()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in recv()
        self._give_turn()
        if self._has_ended:
            self._forget()

    def pause_reading(self) -> None:
        """Take no more from the peer."""
        self.is_paused = self._closing is None

    def resume_reading(self) -> None:
        """Take messages again."""
        self.is_paused = False
        self._serve()

    def beat(self, now: float) -> None:
        """Ping a silent peer; give up on one that does not answer or does not read."""
        settings = self.settings
        blocked_since = self._writer.blocked_since
        if now - self._said > settings.ping_interval and self._closing is None and blocked_since is None:
            self._said = now
            if self._receiver is not None:
                self._receiver.idle()
        if blocked_since is not None and now - blocked_since > settings.write_timeout:
            self._cut_off(f"its queue was not read in {settings.write_timeout:g} s")
        elif self.is_paused:
            self._heard, self._ping_sent = now, None  # it cannot answer a ping that is not read
        elif self._ping_sent is not None:
            if now - self._ping_sent > settings.ping_timeout:
                self._closing = self._closing or Close(ABNORMAL, "no answer to a ping")
                self.abort()
        elif now - self._heard > settings.ping_interval and self._closing is None:
            self._ping_sent = now
            self._write(write_frame(OPCODE_PING, b""))

    # -- what the thread hands over ---------------------------------------------------------------------------------

    def refuse(self, response: HttpResponse, with_body: bool) -> None:
        """The request cannot be read."""
        self._owes_turn = True
        self._answer(response, with_body=with_body)
        self._give_turn()

    def decide(self, opening: Opening) -> None:
        """The request was read: the gateway answers it, or lets a WebSocket in."""
        self._owes_turn = True
        if not self.is_deaf:
            try:
                self._decide(opening)
            except Exception:
                _log.exception("a request could not be answered")
                if self in self._engine.connections:
                    self._fail(Close(1011, "internal error"))
                else:
                    self._answer(refusal(500, "internal error"))
        self._give_turn()

    def take(self, facts: Sequence[Fact]) -> None:
        """Messages and control frames, in order."""
        self._owes_turn = True
        self._heard = self._engine.now
        self._facts.extend(facts)
        self._serve()

    def ended(self, was_reset: bool) -> None:
        """The thread reads no more: the peer has ended its side, or the connection is lost. Its last call."""
        self._has_ended = True
        if was_reset or self.is_over or not self._writer.queued:
            self._forget()
            return
        self.is_deaf = True  # it may still read: a moment for what is queued
        self._closing = self._closing or Close(ABNORMAL, "the connection was lost")
        self._set_deadline(CLOSE_TIME, self.abort)

    # -- the opening ------------------------------------------------------------------------------------------------

    def _decide(self, opening: Opening) -> None:
        handshake = opening.handshake
        if self.settings.trusted_proxies:
            handshake.address = client_address(
                self.address, handshake.headers, self.settings.trusted_proxies, self.settings.proxy_header.lower()
            )
        response = self._engine.gateway.decide(handshake, upgrade=opening.is_upgrade)
        if response is not None:
            self._answer(response, with_body=opening.method != "HEAD")
            return
        self._set_deadline(None)
        self.handshake = handshake
        self._heard = self._said = self._engine.now
        self._write(_accept(opening))
        self._engine.connections.add(self)
        self._receiver = self._engine.gateway.opened(self)

    def _answer(self, response: HttpResponse, *, with_body: bool = True) -> None:
        """Send the answer, hear no more, and give the peer a moment to read it."""
        if self.is_deaf:
            return
        self._closing = self._closing or Close(ABNORMAL)
        self._writer.write(write_response(response, with_body=with_body), self._engine.now)
        self._hang_up()
        self._set_deadline(door.ANSWER_TIME, self.abort)

    def _too_slow(self) -> None:
        if self.has_spoken:
            self._answer(refusal(408, "the request took too long"))
        else:
            self.abort()

    # -- reading ----------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Go through what was taken over, as far as reading is not paused; then it is the thread's turn."""
        if self._is_serving:
            return
        self._is_serving = True
        try:
            while self._facts and not self.is_paused and not self.is_deaf:
                self._serve_one(self._facts.popleft())
        except Exception:
            _log.exception("a message could not be served")
            self._fail(Close(1011, "internal error"))
        finally:
            self._is_serving = False
        if self.is_deaf:
            self._facts.clear()
        if not self.is_paused or self.is_deaf:
            self._give_turn()

    def _serve_one(self, fact: Fact) -> None:
        if isinstance(fact, Close):
            self._fail(fact)
        elif isinstance(fact, Control) and fact.opcode == OPCODE_CLOSE_CONN:
            self._on_close_frame(fact.payload)
        elif self._closing is not None:
            pass
        elif isinstance(fact, str):
            assert self._receiver is not None
            self._receiver.received(fact)
        elif fact.opcode == OPCODE_PING:
            self._write(write_frame(OPCODE_PONG, fact.payload))
        else:
            self._ping_sent = None

    def _on_close_frame(self, payload: bytes) -> None:
        """RFC 6455, 5.5.1: answer with a close frame, unless ours was first; then the server hangs up."""
        if self._closing is None:
            self._closing = read_close(payload)
            self._write(write_frame(OPCODE_CLOSE_CONN, write_close(self._closing.code)))
            self._set_deadline(CLOSE_TIME, self.abort)
        self._hang_up()

    def _fail(self, close: Close) -> None:
        """The peer broke the protocol: say why and hear no more of it (RFC 6455, 7.1.7)."""
        self.close(close.code, close.reason)
        self._hang_up()

    def _give_turn(self) -> None:
        if self._owes_turn:
            self._owes_turn = False
            self.turn.release()

    # -- writing ----------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        """Send bytes of a WebSocket, unless too much was unread before. One message may be as long as it is."""
        if self._writer.blocked_since is not None and self._writer.queued > self.settings.send_queue_bytes:
            self._cut_off(f"more than {self.settings.send_queue_bytes} bytes unread")
        else:
            self._writer.write(data, self._engine.now)

    def _hang_up(self) -> None:
        """Nothing is left to say: hear no more, and end our side when everything is sent; the peer ends its own.

        Closing at once, while the peer still sends, would make the system answer with a reset, which can take our last
        words from the peer before it has read them.
        """
        self.is_deaf = True
        self._writer.end()

    def _on_drained(self) -> None:
        if self._has_ended:
            self._forget()

    def _on_failed(self) -> None:
        """The peer cannot be reached; the thread will hear why, behind what the peer said before."""
        self._set_deadline(CLOSE_TIME, self.abort)

    def _cut_off(self, why: str) -> None:
        """The peer does not read: a close frame would only join the queue."""
        self._closing = Close(4008, f"slow: {why}")
        self.abort()

    # -- the end ----------------------------------------------------------------------------------------------------

    def _set_deadline(self, seconds: float | None, act: Callable[[], None] = lambda: None) -> None:
        """One deadline at a time; None: there is none."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(seconds, act) if seconds is not None else None

    def _forget(self) -> None:
        """The connection is gone, and the thread does not need the socket any more."""
        if self._is_gone:
            return
        self._is_gone = self.is_deaf = self.is_over = True
        self._set_deadline(None)
        self._writer.drop()
        self.socket.close()
        self._engine.forget(self)
        if self._receiver is not None:
            closing = self._closing or Close(ABNORMAL, "the connection was lost")
            self._closing = closing
            self._receiver.closed(closing.code, closing.reason)


def _accept(opening: Opening) -> bytes:
    """The answer that makes it a WebSocket (RFC 6455, 4.2.2)."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {WebSocketHandler.calculate_response_key(opening.key)}",
    ]
    if opening.subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {opening.subprotocol}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
