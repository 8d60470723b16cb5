"""What stands between picows and the things that it was not made for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Deaf(asyncio.Protocol):
    """Takes the place of picows when nothing counts any more but the end of the connection."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def connection_lost(self, error: Exception | None) -> None:
        """Now picows hears it."""
        self._protocol.connection_lost(error)


class Ear:
    """The logger that picows gets: what it would log is a peer's fault, and that is an event of ours.

    Nothing else tells that picows has found a fault, and is about to say so and to hang up.
    """

    name = "picows"

    def __init__(self, found_fault: Callable[[], object]) -> None:
        self._found_fault = found_fault

    def isEnabledFor(self, level: int) -> bool:
        """Never."""
        return False

    def log(self, *words: Any, **more: Any) -> None:
        """Nothing."""

    debug = info = warning = exception = critical = log

    def error(self, text: str, *words: Any) -> None:
        """Maybe a fault of the peer's."""
        if text.startswith("WS parser error"):
            self._found_fault()


class UnixTransport:
    """A transport on a UNIX socket, for picows, which sets TCP options on every socket and cannot bear a refusal."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the transport says, with a socket that takes TCP options and forgets them."""
        found = self._transport.get_extra_info(name, default)
        return _UnixSocket(found.fileno()) if name == "socket" else found


class _UnixSocket:
    """The little that picows asks of a socket."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def setsockopt(self, *option: Any) -> None:
        """There is no TCP here."""

    def getsockopt(self, *option: Any) -> int:
        """There is no TCP here."""
        return 0
