"""Why there is no link to another server, from what ZeroMQ tells of the socket to it."""

from __future__ import annotations

import contextlib
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

GAVE_UP = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH  # and does not try again by itself
_REFUSED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | GAVE_UP
EVERYTHING = (
    _REFUSED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED
)


class Watch:
    """What was the matter with the last attempt: `why`. One thread at a time."""

    def __init__(self, socket: Any, told: Any, endpoint: str) -> None:
        self._socket, self._told, self._endpoint = socket, told, endpoint
        self._had_address = False  # the attempt got so far
        self.begin()

    def begin(self) -> None:
        """Whatever was the matter, there is a link now."""
        self.why = f"{self._endpoint} does not answer"

    def hear(self) -> bool:
        """Take what has been told, and have it tried again; whether there is a new link."""
        is_new = gave_up = False
        while (event := self._next()) is not None:
            gave_up = gave_up or bool(event & GAVE_UP)
            if event == zmq.EVENT_CONNECT_RETRIED:
                if not self._had_address:  # libzmq has no event of its own for that
                    self.why = f"the name in {self._endpoint} does not resolve"
                self._had_address = False
                continue
            self._had_address, is_new = True, event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            if is_new:
                self.why = f"{self._endpoint} answers, but not to this server; is it in CLUSTER_SERVER_LIST there?"
            elif event == zmq.EVENT_CLOSED:
                self.why = f"nothing answers at {self._endpoint}"
            elif event & _REFUSED:
                self.why = f"{self._endpoint} refuses the connection; is CLUSTER_SECRET the same there?"
        if gave_up:
            with contextlib.suppress(zmq.ZMQError):
                self._socket.disconnect(self._endpoint)
            self._socket.connect(self._endpoint)
        return is_new

    def _next(self) -> int | None:
        try:
            return int(recv_monitor_message(self._told, zmq.NOBLOCK)["event"])
        except zmq.Again:
            return None
