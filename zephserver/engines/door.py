"""The first seconds of a connection: its HTTP request is read, and answered or handed on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from zephserver.core.settings import Settings
from zephserver.engines.handshake import Opening, RefusedRequest, find_end, read_opening, refusal, write_response
from zephserver.engines.interface import Gateway
from zephserver.proxies import client_address

_log = logging.getLogger("zephserver.engine")

# (what was asked, where it goes on, the bytes that came behind the request)
Upgrade = Callable[[Opening, asyncio.Transport, bytes], None]


class Door(asyncio.Protocol):
    """Reads the opening request within HANDSHAKE_TIMEOUT, asks the gateway, and lets a WebSocket in. Loop only.

    Every open door is in *doors*, so that the engine can shut them.
    """

    __slots__ = ("_address", "_buffer", "_deadline", "_doors", "_gateway", "_settings", "_transport", "_upgrade")

    def __init__(self, gateway: Gateway, upgrade: Upgrade, settings: Settings, doors: set[Door]) -> None:
        self._gateway, self._upgrade, self._settings, self._doors = gateway, upgrade, settings, doors
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody knocks."""
        self._doors.add(self)
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else ""
        self._deadline = asyncio.get_running_loop().call_later(self._settings.handshake_timeout, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """A part of the request, or all of it and more."""
        if self._transport is None:
            return  # it has been answered
        self._buffer += data
        try:
            end = find_end(self._buffer)
            if end < 0:
                return
            opening = read_opening(bytes(self._buffer[:end]), self._address)
            if self._settings.trusted_proxies:
                handshake = opening.handshake
                handshake.address = client_address(self._address, handshake.headers, self._settings.trusted_proxies)
            response = self._gateway.decide(opening.handshake, upgrade=opening.is_upgrade)
        except RefusedRequest as refused:
            self._answer(write_response(refused.response))
            return
        except Exception:
            _log.exception("a request could not be answered")
            self._answer(write_response(refusal(500, "internal error")))
            return
        if response is not None:
            self._answer(write_response(response, with_body=opening.method != "HEAD"))
            return
        transport, rest = self._leave(), bytes(self._buffer[end + 4 :])
        self._upgrade(opening, transport, rest)

    def connection_lost(self, error: Exception | None) -> None:
        """It went away, or we closed it."""
        if self._transport is not None:
            self._leave()

    def shut(self) -> None:
        """Hang up."""
        self._leave().abort()

    def _answer(self, data: bytes) -> None:
        transport = self._leave()
        transport.write(data)
        transport.close()

    def _too_slow(self) -> None:
        if self._buffer:
            self._answer(write_response(refusal(408, "the request took too long")))
        else:
            self.shut()

    def _leave(self) -> asyncio.Transport:
        """The connection is somebody else's now."""
        assert self._transport is not None
        assert self._deadline is not None
        self._deadline.cancel()
        self._doors.discard(self)
        transport, self._transport = self._transport, None
        return transport
