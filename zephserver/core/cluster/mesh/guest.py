"""A program that is no server of the mesh, and gives commands to one of them."""

from __future__ import annotations

import itertools
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import zmq

from zephserver.core.cluster.engine import CALL
from zephserver.core.cluster.mesh import wire
from zephserver.core.cluster.mesh.sockets import Sockets, endpoint_of
from zephserver.core.cluster.mesh.watch import GAVE_UP, Watch
from zephserver.core.errors import CommandFailed, NoAnswer


class MeshGuest:
    """A socket to each server. Calls all that are there, and asks the one as before, or the first that answers.

    Two servers may take different times to have something said; one keeps the order. Any thread, one at a time.
    """

    def __init__(self, servers: Sequence[Mapping[str, Any]], *, secret: str | None = None) -> None:
        self._endpoints = [endpoint_of(server) for server in servers]
        self._sockets = Sockets(secret)
        self._links: list[Any] = []
        self._watches: list[Watch] = []  # they connect again where ZeroMQ gave up
        self._link: Any = None  # to the server that was asked last
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def ask(self, command: str, args: bytes, timeout: float) -> None:
        """Have one server do it; see Guest."""
        until = time.monotonic() + timeout
        if not self._lock.acquire(timeout=timeout):
            raise NoAnswer("the cluster is slow: others still wait for an answer")
        try:
            self._open()
            untried = list(self._links)
            while (link := self._find(untried, until)) is not None:
                why = self._ask(link, command, args, until)
                if why:
                    raise CommandFailed("refused", why)
                if why is not None:
                    return
                untried.remove(link)
        finally:
            self._lock.release()
        if len(untried) < len(self._endpoints):
            raise CommandFailed("unknown-command", f"no server of the cluster is ready to do {command!r}")
        raise NoAnswer("no server of the cluster can be reached; see CLUSTER_SERVER_LIST and CLUSTER_SECRET")

    def close(self) -> None:
        """Hang up; the next ask() connects again."""
        with self._lock:
            if self._links:
                self._links, self._watches, self._link = [], [], None
                self._sockets.close()

    def _open(self) -> None:
        for watch in self._watches:
            watch.hear()
        if not self._links:
            self._sockets.open()
            me = wire.identity(wire.GUEST, secrets.token_hex(8))
            made = [self._sockets.connect_watched(endpoint, me, GAVE_UP) for endpoint in self._endpoints]
            self._links, self._watches = [link for link, _ in made], [watch for _, watch in made]

    def _find(self, links: Sequence[Any], until: float) -> Any:
        """One of these at whose other end a server answers; None when there is none by then."""
        while links and (now := time.monotonic()) < until:
            number, call_until = next(self._numbers), min(until, now + CALL)
            for link in _ready(links, zmq.POLLOUT, call_until):
                self._send(link, {"t": "find", "i": number})
            found: list[Any] = []
            while self._link not in found and not (found and self._link not in links):
                heard = [link for link in _ready(links, zmq.POLLIN, call_until) if _answer(link)["i"] == number]
                if not heard and time.monotonic() >= call_until:
                    break
                found += heard
            if found:
                self._link = self._link if self._link in found else found[0]
                return self._link
        return None

    def _ask(self, link: Any, command: str, args: bytes, until: float) -> str | None:
        """What the server at the other end says. Raises NoAnswer."""
        number = next(self._numbers)
        self._send(link, {"t": "ask", "i": number, "c": command}, args)
        for _ in iter(lambda: list(_ready([link], zmq.POLLIN, until)), []):
            answer = _answer(link)
            if answer["i"] == number:  # not one that came too late
                why: str | None = answer["why"]
                return why
        raise NoAnswer(f"the server of the cluster at {link.last_endpoint.decode()} gave no answer in time")

    @staticmethod
    def _send(link: Any, head: dict[str, Any], args: bytes = b"") -> None:
        try:
            link.send_multipart([json.dumps({**head, "v": wire.VERSION}).encode(), args], zmq.NOBLOCK)
        except zmq.Again:  # it went away just now, and will not answer
            pass


def _ready(links: Sequence[Any], event: int, until: float) -> Iterator[Any]:
    """Those that can be written to, or read from, as soon as there are some; none at that time."""
    poller = zmq.Poller()
    for link in links:
        poller.register(link, event)
    for link, _ in poller.poll(max(0, int((until - time.monotonic()) * 1_000) + 1)):
        yield link


def _answer(link: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(link.recv_multipart(zmq.NOBLOCK)[0])
    return answer
