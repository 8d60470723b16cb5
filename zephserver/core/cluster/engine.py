"""What an engine of the cluster has to do, and a guest."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

CALL = 0.25  # seconds that a guest waits for the server as before, and between two calls while none answers


class Listener(Protocol):
    """Who is told what an engine hears. Called in one thread of the engine's own, named `cluster`; has to be quick."""

    def heard(self, peer: str, event: str, payload: bytes) -> None:
        """Another server said this. Events of one server come in the order in which it said them, each once."""

    def came(self, peer: str) -> None:
        """What is published from now on reaches that server. Told again when the server has begun a new life."""

    def went(self, peer: str, why: str) -> None:
        """A server that came cannot be reached any more."""

    def lost(self, peer: str, count: int) -> None:
        """So many events of that server will never come."""

    def asked(self, command: str, args: bytes) -> str | None:
        """A guest gives a command, with arguments in JSON: '' when it is done, why it is not, None when another server
        should be asked."""


class ClusterEngine(Protocol):
    """Carries events, as bytes, from this server to others. Any thread may publish, follow and unfollow."""

    name: str

    def start(self, listener: Listener) -> None:
        """Join the cluster. Raises ClusterError when this server cannot take its place in it."""

    def publish(self, event: str, payload: bytes, to: Collection[str] | None = None, topic: str | None = None) -> None:
        """Send to all other servers, or to those named in *to*. Never waits for a slow or dead one.

        With a *topic*, exactly the servers in *to* follow it, as far as this one knows: an engine with a broker may say
        it once on that topic. Such events have no order with others, and are not said again after an outage.
        """

    def follow(self, topic: str) -> None:
        """Hear what is said on this topic."""

    def unfollow(self, topic: str) -> None:
        """Hear it no more."""

    def rows(self) -> list[dict[str, Any]]:
        """The other servers. Any thread. Each has `name`, `address`, `up`, `silent` (seconds), `queued` and
        `queued_bytes`, `lag` (seconds that the oldest of those has waited), `dropped`, `lost`, and `problem`: what is
        wrong with it, or ''."""

    def state(self) -> str:
        """'' when others can be reached, as far as it depends on this server; otherwise why not, in one line, as in
        "connecting: nats://127.0.0.1:4222 does not answer". Any thread."""

    def lost_for(self) -> float:
        """Seconds for which state() has told what is wrong; 0.0 when all is well. Any thread."""

    def stop(self) -> None:
        """Leave the cluster; the listener is not called any more when this returns."""


class Guest(Protocol):
    """A program that is no server of the cluster, and gives commands to one of them. Any thread."""

    def ask(self, command: str, args: bytes, timeout: float) -> None:
        """Have one server, any of them, do a command that is for guests. Done once, or, after an error, maybe once.

        *args* are JSON, *timeout* is in seconds. Raises NoAnswer when no server has answered by then, CommandFailed
        with the server's reason, ClusterError when the cluster cannot be reached.
        """

    def close(self) -> None:
        """Hang up; the next ask() connects again."""
