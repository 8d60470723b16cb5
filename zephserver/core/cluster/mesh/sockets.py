"""ZeroMQ sockets as the mesh wants them: bounded, encrypted, and open to nobody who does not know the secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zmq
from zmq.utils import z85

from zephserver.core.cluster.mesh.keys import private_key
from zephserver.core.cluster.mesh.watch import EVERYTHING, Watch

_OPTIONS = (
    (zmq.LINGER, 0),
    (zmq.SNDHWM, 0),  # how much is under way is limited in bytes, by the engine
    (zmq.RCVHWM, 0),
    (zmq.IPV6, 1),
    (zmq.HEARTBEAT_IVL, 2_000),
    (zmq.HEARTBEAT_TIMEOUT, 6_000),
    (zmq.RECONNECT_IVL, 100),
    (zmq.RECONNECT_IVL_MAX, 2_000),
    (zmq.CONNECT_TIMEOUT, 3_000),
    (zmq.TCP_MAXRT, 6_000),  # what is not acknowledged: TCP itself would try again after 26 s when 30 s were lost
    (zmq.MAXMSGSIZE, 33_554_432),
)


class Sockets:
    """All sockets of one engine. One thread at a time."""

    def __init__(self, secret: str | None) -> None:
        self._keys = _keys(secret) if secret is not None else None  # public and private, the same for all servers
        self._context: Any = None
        self._made: list[Any] = []
        self.zap: Any = None  # where ZeroMQ asks who may connect; None without a secret

    def open(self) -> None:
        """Begin."""
        self._context = zmq.Context()

    def listen(self, endpoint: str) -> Any:
        """A socket on which others are heard. Raises zmq.ZMQError."""
        if self._keys is not None:  # ZeroMQ RFC 27
            self.zap = self._context.socket(zmq.REP)
            self._made.append(self.zap)
            self.zap.bind("inproc://zeromq.zap.01")
        router = self._make(zmq.ROUTER)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a peer that came back takes the place of its dead link
        if self._keys is not None:
            router.curve_server = True
        router.bind(endpoint)
        return router

    def connect(self, endpoint: str, identity: str) -> Any:
        """A socket on which one other is spoken to."""
        dealer = self._dealer(identity)
        dealer.connect(endpoint)
        return dealer

    def connect_watched(self, endpoint: str, identity: str, events: int = EVERYTHING) -> tuple[Any, Watch]:
        """The same, and why it has no link, as far as these *events* tell."""
        dealer = self._dealer(identity)
        place = f"inproc://watch-{len(self._made)}"
        dealer.monitor(place, events)
        told = self._context.socket(zmq.PAIR)
        self._made.append(told)
        told.setsockopt(zmq.RCVHWM, 0)  # what nobody reads for a while must not hold up the sockets
        told.connect(place)
        dealer.connect(endpoint)
        return dealer, Watch(dealer, told, endpoint)

    def answer_who_may_connect(self) -> None:
        """Only who has the key that the secret stands for (ZeroMQ RFC 27)."""
        version, request, _, _, _, mechanism, *credentials = self.zap.recv_multipart()
        key = z85.encode(credentials[0]) if credentials else b""
        is_known = mechanism == b"CURVE" and self._keys is not None and key == self._keys[0]
        status = (b"200", b"OK") if is_known else (b"400", b"not of this cluster")
        self.zap.send_multipart([version, request, *status, b"", b""])

    def close(self) -> None:
        """Close all of them; what was not sent is gone."""
        for socket in self._made:
            socket.close(0)
        self._made.clear()
        self._context.term()

    def _dealer(self, identity: str) -> Any:
        dealer = self._make(zmq.DEALER)
        dealer.setsockopt(zmq.IDENTITY, identity.encode())
        dealer.setsockopt(zmq.IMMEDIATE, 1)  # nothing waits in ZeroMQ for a peer that is not there
        if self._keys is not None:
            dealer.curve_serverkey = self._keys[0]
        return dealer

    def _make(self, kind: int) -> Any:
        made = self._context.socket(kind)
        self._made.append(made)
        for option, value in _OPTIONS:
            made.setsockopt(option, value)
        if self._keys is not None:
            made.curve_publickey, made.curve_secretkey = self._keys
        return made


def endpoint_of(server: Mapping[str, Any]) -> str:
    """Where a server of the list listens, as ZeroMQ writes it."""
    address = str(server["address"])
    if address.startswith("unix:"):
        return f"ipc://{address.removeprefix('unix:')}"
    return f"tcp://{f'[{address}]' if ':' in address else address}:{server['port']}"


def _keys(secret: str) -> tuple[bytes, bytes]:
    private = z85.encode(private_key(secret))
    return zmq.curve_public(private), private
