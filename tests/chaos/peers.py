"""WebSocket clients of bare sockets, thousands in one thread: a crowd has one epoll, a peer does what its row says.

A row makes a class of Peer and says there what happens at the opening, at a text and at the end. Nothing here is
checked; a peer notes what it hears and lets the row judge.
"""

from __future__ import annotations

import itertools
import json
import resource
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.conformance.cases import CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, close
from tests.conformance.peer import KEY

PATIENCE = 30.0  # seconds that anything here may take before it counts as hung
CHUNK = 32_768
RESERVE = 200  # descriptors that the test process keeps for itself
IN, OUT = select.EPOLLIN, select.EPOLLOUT
# Linux, ip(7): the port is chosen at connect(), so that one port serves many pairs of addresses.
IP_BIND_ADDRESS_NO_PORT = 24
# A pair of addresses has 28,232 ports, and those of closed connections rest for a minute.
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 202)]
P = TypeVar("P", bound="Peer")


def opening(*lines: str, path: str = "/ws", host: str = "127.0.0.1") -> bytes:
    """An opening request with more headers."""
    head = (
        f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}", *lines,
    )  # fmt: skip
    return "\r\n".join([*head, "", ""]).encode("latin-1")


def message(**fields: Any) -> bytes:
    """A text frame with a JSON message."""
    return Frame(TEXT, json.dumps(fields).encode()).encode()


def room_for(wanted: int) -> int:
    """How many of so many connections this process may hold, after its soft file limit was raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, hard - RESERVE)


class Peer:
    """One connection: sends its request, and then what it is told to; answers pings and close frames. A row inherits.

    `status` is the answer to the request, `code` what the close frame of the server said, and `ending` says how the
    server hung up: 'eof' or 'reset'. They are 0, 0 and '' before.
    """

    request = opening()
    is_deaf = False  # reads nothing
    is_mute = False  # answers no ping and no close frame
    is_brief = False  # ends its side when everything is sent
    buffer = 0  # bytes that the system keeps unread; 0: as many as it likes

    def __init__(self) -> None:
        self.status = self.code = 0
        self.ending = ""
        self.began = self.ended = 0.0
        self.answer = b""
        self.socket: socket.socket
        self.crowd: Crowd
        self._out = bytearray()
        self._in = bytearray()
        self._mask = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: status {self.status}, code {self.code}, ending {self.ending!r}>"

    def opened(self) -> None:
        """The server has said 101."""

    def heard(self, payload: bytes) -> None:
        """A text came."""

    def ponged(self, payload: bytes) -> None:
        """A pong came."""

    def over(self) -> None:
        """The server hung up, or we did."""

    @property
    def is_over(self) -> bool:
        """Whether the connection is gone."""
        return self.ended > 0

    @property
    def unsent(self) -> int:
        """Bytes that the system has not taken yet."""
        return len(self._out)

    def send(self, data: bytes) -> None:
        """Send, now or when there is room. What can no longer be sent is forgotten."""
        if self.is_over:
            return
        if not self._out:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                pass
            except OSError:  # the end is read from the socket, with what was said before it
                return
        self._out += data
        self.listen()

    def send_close(self, code: int = 1000) -> None:
        """Begin the closing handshake; the server's close frame is not answered then."""
        self.is_mute = True
        self.send(close(code).encode())

    def half_close(self) -> None:
        """Say that nothing more comes."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # it is gone
            pass

    def reset(self) -> None:
        """Hang up with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end("")

    def end(self, how: str = "") -> None:
        """Hang up, or note that the server did."""
        if not self.is_over:
            self.ending, self.ended = how, time.monotonic()
            self.crowd.forget(self)
            self.socket.close()
            if not self.crowd.is_over:
                self.over()

    def listen(self) -> None:
        """Ask for the events that matter now."""
        mask = (0 if self.is_deaf and self.status else IN) | (OUT if self._out else 0)
        if mask != self._mask and not self.is_over:
            self._mask = mask
            self.crowd.watch(self, mask)

    def connect(self, address: tuple[str, int], source: str) -> None:
        """Begin to connect, and have the request sent."""
        self.began = time.monotonic()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer)
        if source:
            self.socket.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            self.socket.bind((source, 0))
        self._out += self.request
        self.socket.connect_ex(address)
        self.listen()

    def ready(self, events: int) -> None:
        """What epoll says."""
        if events & OUT and self._out:
            self._flush()
            if self.is_brief and not self._out:
                self.half_close()
        if events & ~OUT and not self.is_over:
            self._read()
        self.listen()

    def _flush(self) -> None:
        try:
            del self._out[: self.socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()

    def _read(self) -> None:
        try:
            data = self.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.end("reset")
            return
        if not data:
            self.end("eof")
            return
        self._in += data
        if not self.status:
            self._read_head()
        if self.status == 101:
            self._read_frames()

    def _read_head(self) -> None:
        head, end, rest = self._in.partition(b"\r\n\r\n")
        if end:
            self.status = int(head.split(b" ", 2)[1])
            self.answer = bytes(head)
            self._in = rest
            if self.status == 101:
                self.opened()

    def _read_frames(self) -> None:
        at, data = 0, self._in
        while not self.is_over and len(data) - at >= 2:
            opcode, length, start = data[at] & 0xF, data[at + 1] & 0x7F, at + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                if len(data) < start:
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
            if len(data) < start + length:
                break
            at = start + length
            self._take(opcode, bytes(data[start:at]))
        del data[:at]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode in (TEXT, CONTINUATION):
            self.heard(payload)
        elif opcode == PONG:
            self.ponged(payload)
        elif opcode == PING and not self.is_mute:
            self.send(Frame(PONG, payload).encode())
        elif opcode == CLOSE:
            self.code = int.from_bytes(payload[:2], "big") if payload else 1005
            if not self.is_mute:
                self.send(Frame(CLOSE, payload).encode())


class Crowd:
    """The peers of one row. Use it in a with statement: whoever is left at the end is hung up."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._poll = select.epoll()
        self.peers: dict[int, Peer] = {}
        self.is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_over = True
        self.hang_up()
        self._poll.close()

    def hang_up(self) -> None:
        """End everybody at once."""
        for peer in list(self.peers.values()):
            peer.end()

    def join(self, peer: P, source: str = "") -> P:
        """Let a peer connect."""
        peer.crowd, peer.socket = self, socket.socket()
        descriptor = peer.socket.fileno()
        self.peers[descriptor] = peer
        self._poll.register(descriptor, 0)
        peer.connect(self._address, source)
        return peer

    def watch(self, peer: Peer, mask: int) -> None:
        """Whether to read, to write, or to wait for the end only."""
        self._poll.modify(peer.socket.fileno(), mask)

    def forget(self, peer: Peer) -> None:
        """It is over."""
        descriptor = peer.socket.fileno()
        if self.peers.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def turn(self, wait: float = 0.05) -> None:
        """Serve whoever has something to say now."""
        for descriptor, events in self._poll.poll(wait, 1_024):
            peer = self.peers.get(descriptor)
            if peer is not None:
                peer.ready(events)

    def run(self, done: Callable[[], object], what: str, within: float = PATIENCE) -> float:
        """Serve them until something is so; the seconds it took."""
        began = time.monotonic()
        while not done():
            assert time.monotonic() - began < within, f"not within {within:g} s: {what}"
            self.turn()
        return time.monotonic() - began

    def play(
        self, peers: Iterable[Peer], at_once: int, settled: Callable[[Peer], bool], within: float = PATIENCE
    ) -> None:
        """Let them all come, from many addresses, and at most so many at once who are neither *settled* nor over."""
        end = time.monotonic() + within
        waiting = zip(peers, itertools.cycle(ADDRESSES))
        busy: list[Peer] = []
        while True:
            busy += [self.join(*pair) for pair in itertools.islice(waiting, at_once - len(busy))]
            if not busy:
                return
            assert time.monotonic() < end, f"not within {within:g} s: {len(busy)} of them settle, as {busy[0]}"
            self.turn()
            busy = [peer for peer in busy if not (peer.is_over or settled(peer))]
