"""The other end of benchmarks/websocket.py: many WebSocket clients in one process, which prints one line of JSON.

A bare epoll loop, because whoever measures must be faster than what is measured. Every frame is made and masked before
the clock runs; each carries a number, from which the answer's latency is known.

    echo     every connection keeps --depth messages under way
    fanout   the first connection does; everybody in the room gets them
    idle     everybody joins a room and is silent
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import select
import socket
import statistics
import time
import zlib
from pathlib import Path
from typing import Any

from websocket_peers.processes import cpu_of, family, memory_of

RING = 4_096  # messages that may be under way: their numbers come round again
MARK = b"#"  # stands before the number; nothing else that is measured contains it
MASK = b"\x5a\x21\xc4\x7e"
KNOCKING = 40  # connections that are being opened at once
CLOCK = time.perf_counter_ns
WORDS = ["trees", "bow", "down", "their", "heads", "when", "the", "wind", "is", "passing", "by", "unseen"]  # fmt: skip
INFLATED = 25  # every so many-th connection reads what is compressed; the others count it
ENOUGH, PATIENCE = (
    3,
    20.0,
)  # messages for a figure to mean something, a connection in a fan-out; seconds to wait for them
QUIET = 0.3  # seconds without a message after which the rooms have settled

# How to speak to a server: its path, what is said first and the word that answers each, and a message.
JOIN = '{"session_id": {"id": %(user)d, "username": "user %(user)d"}, "room": "room-%(room)d"}'
TASK = '{"task": "%s", "data": {"text": %s}}'
DIALECTS: dict[str, tuple[str, list[tuple[str, bytes]], str]] = {
    "zephserver": ("/ws", [(JOIN, b'"user_list"')], TASK),
    "json": ("/ws", [(JOIN, b'"joined"')], TASK),
    "socketio": (
        "/ws/?EIO=4&transport=websocket",
        [("40", b'"sid"'), ('42["join", {"room": "room-%(room)d"}]', b'"joined"')],
        '42["%s", {"text": %s}]',
    ),
}


class LoadError(Exception):
    """The server did not do what was asked: the row would be worth nothing."""


def write_frame(text: str) -> bytes:
    """A text frame as a client sends it (RFC 6455, 5.2)."""
    payload = text.encode()
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    stream = (MASK * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")
    return b"\x81" + head + MASK + masked


def read_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames at the beginning, each its first byte and its payload, and the bytes that are left."""
    frames, at, end = [], 0, len(data)
    while end - at >= 2:
        size, start = data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif size == 127:
            size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        stop = start + size
        if stop > end or start > end:
            break
        frames.append((data[at], data[start:stop]))
        at = stop
    return frames, data[at:] if at else data


class Client:
    """One connection, from its first SYN to the room."""

    __slots__ = ("inflate", "is_sender", "number", "port", "recv_into", "send", "socket", "step", "tail")

    def __init__(self, number: int, port: int) -> None:
        self.number, self.port = number, port
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.recv_into, self.send = self.socket.recv_into, self.socket.send
        self.step = -2  # -2: connecting, -1: handshake, then how many words of the dialect were answered
        self.tail = b""
        self.is_sender = False
        self.inflate: Any = None
        outcome = self.socket.connect_ex(("127.0.0.1", port))
        if outcome not in (0, errno.EINPROGRESS):
            raise LoadError(f"connection {number}: {os.strerror(outcome)}")


class Load:
    """All connections, and what came back."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.path, self.words, self.message = DIALECTS[options.dialect]
        self.cookies: list[str] = json.loads(Path(options.cookies).read_text()) if options.cookies else []
        self.epoll = select.epoll()
        self.buffer = memoryview(bytearray(262_144))  # of its own, or every read would map and unmap as much
        self.clients: dict[int, Client] = {}
        self.ready = 0
        self.ring = [write_frame(self.message % (options.task, json.dumps(self._text(n)))) for n in range(RING)]
        self.sent_at = [0] * RING
        self.next = 0
        self.latencies: list[int] = []
        self.received = 0
        self.others = 0  # what nobody asked for: presence, heartbeats

    def _text(self, number: int) -> str:
        """A number, and words up to the size."""
        words = random.Random(number)
        text = f"{MARK.decode()}{number:04d}"
        while len(text) < self.options.size:
            text += " " + words.choice(WORDS)
        return text[: self.options.size]

    # -- until everybody is in the room

    def connect(self) -> float:
        """Open every connection and join; seconds."""
        began = time.perf_counter()
        end = began + 60.0
        while self.ready < self.options.connections:
            while len(self.clients) < min(self.ready + KNOCKING, self.options.connections):
                number = len(self.clients)
                client = Client(number, self.options.port[number % len(self.options.port)])
                self.clients[client.socket.fileno()] = client
                self.epoll.register(client.socket, select.EPOLLOUT)
            for descriptor, _ in self.epoll.poll(1.0, 1024):
                self._advance(self.clients[descriptor])
            if time.perf_counter() > end:
                raise LoadError(f"{self.ready} of {self.options.connections} connections are ready after 60 s")
        return time.perf_counter() - began

    def _advance(self, client: Client) -> None:
        """One more step of a connection that is being opened."""
        if client.step == -2:
            problem = client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem:
                raise LoadError(f"connection {client.number}: {os.strerror(problem)}")
            client.step = -1
            self.epoll.modify(client.socket, select.EPOLLIN)
            deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if self.options.deflate else ""
            cookie = f"Cookie: {self.cookies[client.number]}\r\n" if self.cookies else ""
            head = (
                f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                f"{deflate}{cookie}\r\n"
            )
            client.send(head.encode())
            return
        data = client.tail + self._receive(client)
        if client.step == -1:
            head_bytes, found, data = data.partition(b"\r\n\r\n")
            if not found:
                client.tail = head_bytes
                return
            self._opened(client, head_bytes)
        frames, client.tail = read_frames(data)
        for first, payload in frames:
            self._heard(client, first, payload)

    def _opened(self, client: Client, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 101"):
            raise LoadError(f"connection {client.number}: {head[:80]!r}")
        if self.options.deflate:
            if b"permessage-deflate" not in head:
                raise LoadError("the server does not compress")
            if client.number % INFLATED == 0:
                client.inflate = zlib.decompressobj(-15)
        client.step = 0
        self._say(client)

    def _heard(self, client: Client, first: int, payload: bytes) -> None:
        if first & 0x40 and client.inflate is not None:
            payload = client.inflate.decompress(payload + b"\x00\x00\xff\xff")
        if client.step < len(self.words):
            is_unread = first & 0x40 and client.inflate is None
            if self.words[client.step][1] in payload or is_unread:
                client.step += 1
                if client.step == len(self.words):
                    self.ready += 1
                else:
                    self._say(client)

    def _say(self, client: Client) -> None:
        who = {"user": client.number % self.options.users, "room": client.number // self.options.per_room}
        client.send(write_frame(self.words[client.step][0] % who))

    # -- messages

    def settle(self) -> None:
        """Read on until the rooms have nothing more to tell."""
        while events := self.epoll.poll(QUIET, 1024):
            for descriptor, _ in events:
                self._read(self.clients[descriptor])

    def start(self) -> None:
        """The first messages."""
        senders = list(self.clients.values())
        for client in senders if self.options.mode == "echo" else senders[:1]:
            client.is_sender = True
            self._transmit(client, self.options.depth, CLOCK())

    def pump(self, seconds: float) -> None:
        """Answer what comes for so long."""
        poll, clients, read = self.epoll.poll, self.clients, self._read
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for descriptor, _ in poll(0.05, 1024):
                read(clients[descriptor])

    def _read(self, client: Client) -> None:
        data = self._receive(client)
        frames, client.tail = read_frames(client.tail + data if client.tail else data)
        moment, came = CLOCK(), 0
        for first, payload in frames:
            if first & 0x40:
                if client.inflate is None:
                    self.received += 1
                    continue
                payload = client.inflate.decompress(payload + b"\x00\x00\xff\xff")
            at = payload.find(MARK)
            if at < 0:
                self._other(client, payload)
                continue
            came += 1
            self.latencies.append(moment - self.sent_at[int(payload[at + 1 : at + 5])])
        self.received += came
        if client.is_sender and came:
            self._transmit(client, came, moment)

    def _other(self, client: Client, payload: bytes) -> None:
        self.others += 1
        if payload == b"2":  # engine.io asks whether we live
            client.send(write_frame("3"))

    def _receive(self, client: Client) -> bytes:
        size = client.recv_into(self.buffer)
        if not size:
            raise LoadError(f"connection {client.number} was closed by the server")
        return bytes(self.buffer[:size])

    def _transmit(self, client: Client, count: int, moment: int) -> None:
        frames = []
        for _ in range(count):
            number = self.next
            self.next = (number + 1) % RING
            self.sent_at[number] = moment
            frames.append(self.ring[number])
        data = b"".join(frames)
        if client.send(data) != len(data):
            raise LoadError(f"connection {client.number}: the server does not read")


def quantiles(latencies: list[int]) -> tuple[float, float]:
    """Median and 99 % of the latencies, in seconds."""
    ordered = sorted(latencies) or [0]
    return statistics.median(ordered) / 1e9, ordered[int(len(ordered) * 0.99)] / 1e9


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Connect, warm up, measure."""
    pids = [one for pid in options.pid for one in family(pid)]
    memory, cpu = memory_of(pids), cpu_of(pids)
    load = Load(options)
    own = time.process_time()
    seconds = load.connect()
    own_share = (time.process_time() - own) / seconds
    connects = {"connect_seconds": seconds, "connect_cpu": cpu_of(pids) - cpu, "connect_client_share": own_share}
    load.settle()
    if options.mode == "idle":
        return connects | {"bytes_per_connection": (memory_of(pids) - memory) / options.connections}
    load.start()
    load.pump(options.warm_up)
    load.latencies, load.received, load.others = [], 0, 0
    began, cpu, own = time.perf_counter(), cpu_of(pids), time.process_time()
    load.pump(options.seconds)
    enough = ENOUGH * options.connections if options.mode == "fanout" else ENOUGH
    while load.received < enough and time.perf_counter() - began < PATIENCE:
        load.pump(options.seconds)
    span, cpu, own = time.perf_counter() - began, cpu_of(pids) - cpu, time.process_time() - own
    if load.received < enough:
        raise LoadError(f"only {load.received} messages came back in {span:.1f} s")
    middle, late = quantiles(load.latencies)
    return connects | {
        "received": load.received,
        "others": load.others,
        "per_second": load.received / span,
        "p50": middle,
        "p99": late,
        "cpu_per_message": cpu / load.received,
        "server_share": cpu / span,
        "client_share": own / span,
    }


def main() -> int:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("mode", choices=["echo", "fanout", "idle"])
    parser.add_argument("--port", type=int, nargs="+", required=True, help="of several, the connections take turns")
    parser.add_argument(
        "--pid", type=int, nargs="+", required=True, help="the processes whose CPU and memory are measured"
    )
    parser.add_argument("--dialect", choices=list(DIALECTS), default="json")
    parser.add_argument("--task", default="echo")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--per-room", type=int, default=1_000_000, help="connections in a room")
    parser.add_argument("--users", type=int, default=1_000_000, help="users that the connections are of")
    parser.add_argument("--depth", type=int, default=1, help="messages that a sender has under way")
    parser.add_argument("--size", type=int, default=64, help="characters of a message's text")
    parser.add_argument("--cookies", metavar="FILE", help="a JSON list with the header of each connection")
    parser.add_argument("--deflate", action="store_true", help="offer permessage-deflate")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--warm-up", type=float, default=0.5)
    try:
        print(json.dumps(measure(parser.parse_args())))
    except (LoadError, OSError) as error:
        print(json.dumps({"error": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
