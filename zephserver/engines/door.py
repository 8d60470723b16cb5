"""The first seconds of a connection: its HTTP request is read, and answered or handed on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from zephserver.core.settings_page import Settings
from zephserver.engines.handshake import Opening, RefusedRequest, find_end, read_opening, refusal, write_response
from zephserver.engines.interface import Gateway
from zephserver.proxies import client_address

_log = logging.getLogger("zephserver.engine")

ANSWER_TIME = 5.0  # seconds for the peer to read an answer
CLOSE_TIME = 3.0  # seconds for the peer's half of the closing handshake
# A web server in front usually runs as another user; whoever can reach the folder of a UNIX socket may connect.
SOCKET_MODE = 0o666

# (what was asked, where it goes on, the bytes that came behind the request)
Upgrade = Callable[[Opening, asyncio.Transport, bytes], None]


class Door(asyncio.Protocol):
    """Reads the opening request within HANDSHAKE_TIMEOUT, asks the gateway, and lets a WebSocket in. Loop only.

    Every open door is in *doors*, so that the engine can shut them. When *is_crowded* says so, nobody is let in.
    """

    __slots__ = (
        "_address",
        "_buffer",
        "_deadline",
        "_doors",
        "_gateway",
        "_is_answered",
        "_is_crowded",
        "_settings",
        "_too_late",
        "_transport",
        "_upgrade",
    )

    def __init__(
        self,
        gateway: Gateway,
        upgrade: Upgrade,
        settings: Settings,
        doors: set[Door],
        is_crowded: Callable[[], bool],
    ) -> None:
        self._gateway, self._upgrade, self._settings, self._doors = gateway, upgrade, settings, doors
        self._is_crowded = is_crowded
        self._buffer = bytearray()
        self._is_answered = False
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._address = ""
        self._too_late = asyncio.get_running_loop().time() + settings.handshake_timeout  # that of TLS counts

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody knocks."""
        if self._is_crowded():
            # Not at once: aiofastnet watches the socket from behind this call, also one that was closed in it, and the
            # next connection with the same descriptor would never be heard.
            asyncio.get_running_loop().call_soon(cast(asyncio.Transport, transport).abort)
            return
        self._doors.add(self)
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else ""
        self._deadline = asyncio.get_running_loop().call_at(self._too_late, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """A part of the request, or all of it and more."""
        if self._is_answered or self._transport is None:
            return
        self._buffer += data
        try:
            end = find_end(self._buffer)
            if end < 0:
                return
            opening = read_opening(bytes(self._buffer[:end]), self._address)
            if self._settings.trusted_proxies:
                handshake = opening.handshake
                handshake.address = client_address(
                    self._address,
                    handshake.headers,
                    self._settings.trusted_proxies,
                    self._settings.proxy_header.lower(),
                )
            response = self._gateway.decide(opening.handshake, upgrade=opening.is_upgrade)
        except RefusedRequest as refused:
            self._answer(write_response(refused.response, with_body=not self._buffer.startswith(b"HEAD ")))
            return
        except Exception:
            _log.exception("a request could not be answered")
            self._answer(write_response(refusal(500, "internal error")))
            return
        if response is not None:
            self._answer(write_response(response, with_body=opening.method != "HEAD"))
            return
        transport, rest = self._transport, bytes(self._buffer[end + 4 :])
        self._close_door()
        self._upgrade(opening, transport, rest)

    def connection_lost(self, error: Exception | None) -> None:
        """It went away, or we closed it."""
        self._close_door()

    def shut(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()
        self._close_door()

    def _answer(self, data: bytes) -> None:
        """Send the answer, hear no more, and give the peer a moment to read it."""
        assert self._transport is not None
        assert self._deadline is not None
        self._is_answered = True
        self._deadline.cancel()
        self._transport.write(data)
        hang_up(self._transport)
        self._deadline = asyncio.get_running_loop().call_later(ANSWER_TIME, self.shut)

    def _too_slow(self) -> None:
        if self._buffer:
            self._answer(write_response(refusal(408, "the request took too long")))
        else:
            self.shut()

    def _close_door(self) -> None:
        """Nothing is to be done here any more."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._doors.discard(self)
        self._transport = None


def hang_up(transport: asyncio.Transport) -> None:
    """End our side of the connection when everything is sent, and let the peer end its own.

    Closing at once, while the peer still sends, would make the system answer with a reset, which can take our last
    words from the peer before it has read them. Whoever calls this sees to it that the peer has not for ever.
    """
    try:
        if transport.can_write_eof():
            transport.write_eof()
            return
    except OSError:  # browsers close their socket right behind their close frame, and our answer met a reset
        pass
    transport.close()
