"""Between an engine and the server: what each may ask of the other."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Handshake:
    """The HTTP request that opened a connection: `instance` in get_user_session(instance, message)."""

    path: str
    headers: Mapping[str, str]  # by name, in lower case
    address: str = ""  # of the peer: an IP address, or '' for a UNIX socket

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name, read as browsers write them: an odd one hides no other (RFC 6265, 5.4)."""
        pairs = (pair.partition("=") for pair in self.headers.get("cookie", "").split(";"))
        found = {name.strip(" \t"): value.strip(" \t").strip('"') for name, equals, value in pairs if equals}
        found.pop("", None)
        return found


@dataclass(slots=True)
class HttpResponse:
    """An answer that ends the connection: a file, a health check, or a refusal."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


FrameCache = dict[int, bytes]  # a message as a frame, by the window bits of its compression; 0 without


class Connection(Protocol):
    """One open WebSocket connection. Loop only."""

    handshake: Handshake

    def send(self, payload: bytes, cache: FrameCache | None = None, *, binary: bool = False) -> None:
        """Send a text message, UTF-8 encoded, or a binary one. A connection that is closing takes it and forgets it.

        Whoever sends one payload to many hands each the same *cache*, so that its frame is made once. What is sent in
        one turn of the loop may be written at the end of it, together.
        """

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455, 7.1.2); the peer gets a few seconds for its half."""

    def pause_reading(self) -> None:
        """Take no more messages from the peer until resume_reading()."""

    def resume_reading(self) -> None:
        """Take messages again."""


class Receiver(Protocol):
    """The server's side of a connection. Loop only."""

    def received(self, text: str) -> None:
        """A whole text message came."""

    def received_binary(self, data: bytes) -> None:
        """A whole binary message came; only where the gateway takes them."""

    def idle(self) -> None:
        """Nothing was sent to the peer for PING_INTERVAL; called once for each such time."""

    def closed(self, code: int, reason: str) -> None:
        """The connection is gone, for whatever reason; called once. 1006 when it was not closed properly."""


class Gateway(Protocol):
    """The server, as an engine sees it. Loop only."""

    takes_binary: bool

    def decide(self, request: Handshake, *, upgrade: bool) -> HttpResponse | None:
        """Answer a GET request, or None to let it become a WebSocket connection (only if it asked for *upgrade*)."""

    def opened(self, connection: Connection) -> Receiver:
        """A connection is open; who takes its messages."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine listens. A UNIX socket has its path as host, and no port."""

    host: str
    port: int | None
    is_secure: bool = False

    @property
    def url(self) -> str:
        """As a person types it."""
        if self.port is None:
            return f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.is_secure else ''}://{host}:{self.port}/"


class Engine(Protocol):
    """Listens and moves bytes. Loop only."""

    @property
    def batch(self) -> AbstractContextManager[None]:
        """What is sent within may be written at the end of it, together."""

    async def listen(self) -> Address:
        """Open the port, or the UNIX socket; where it listens. Raises OSError, or FileRefused for a UNIX socket."""

    def reload(self) -> None:
        """Read the TLS certificate anew, for the connections that come from now on. Raises OSError."""

    def stop_listening(self) -> None:
        """Accept nobody any more; open connections stay."""

    async def close(self) -> None:
        """End every connection at once and wait until they are gone."""
