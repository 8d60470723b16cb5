"""A WebSocket client of bare bytes: it sends what a case says, right or wrong, and notes what it hears.

Standard library only. Everything has a time limit; nothing waits for less than a fact.
"""

from __future__ import annotations

import base64
import hashlib
import re
import select
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.conformance.cases import (
    ABNORMAL,
    BINARY,
    CLOSE,
    CONTINUATION,
    NO_CODE,
    PER_FRAME,
    PING,
    PONG,
    TEXT,
    WHOLE,
    Await,
    Case,
    Event,
    Frame,
    Message,
    close,
)

KEY = base64.b64encode(b"zephserver tests").decode()
ACCEPT = base64.b64encode(hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
# A server that failed the connection may hang up without our close frame (RFC 6455, 7.1.7): so long we let it.
GRACE = 0.025
# Seconds to end the TCP connection once both close frames are sent: 7.1.1 says at once.
DROP = 2.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is, and how to let it read what was sent."""

    address: tuple[str, int]
    settle: Callable[[], None]


@dataclass(slots=True)
class Agreement:
    """The parameters of permessage-deflate in the server's answer."""

    server_bits: int = 15
    client_bits: int = 15
    server_forgets: bool = False


@dataclass(slots=True)
class Heard:
    """What a server said."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    events: list[Event] = field(default_factory=list)
    code: int = ABNORMAL
    ending: str = "open"  # then "eof" or "reset"
    answered: bool = False  # our close frame was the second
    agreement: Agreement | None = None
    faults: list[str] = field(default_factory=list)  # of the server's own bytes

    def __str__(self) -> str:
        events = ", ".join(f"{kind} {_short(payload)}" for kind, payload in self.events[:12])
        more = f" and {len(self.events) - 12} more" if len(self.events) > 12 else ""
        faults = "".join(f"; {fault}" for fault in self.faults)
        return f"{self.status}: [{events}{more}], close {self.code}, {self.ending}{faults}"


class Peer:
    """A connection to a server. Use it in a with statement."""

    def __init__(self, server: Server, *, limit: float = 10.0, small_buffer: bool = False) -> None:
        self._server = server
        self.deadline = time.monotonic() + limit
        self.heard = Heard()
        self._socket = socket.socket()
        if small_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._socket.settimeout(limit)
        self._socket.connect(server.address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._buffer = bytearray()
        self._frames = FrameReader(self.heard)
        self.close_sent = False
        self._answer: bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._server.settle()  # so that the other end is gone, too, when a test looks for what is left

    @property
    def is_over(self) -> bool:
        """Whether the server hung up."""
        return self.heard.ending != "open"

    def send(self, data: bytes, *, deaf: bool = False, settle: bool = False) -> None:
        """Send all of it, and read meanwhile unless *deaf*. What can no longer be sent is forgotten."""
        view = memoryview(data)
        while view and not self.is_over:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                self._wait(select.POLLOUT if deaf else select.POLLOUT | select.POLLIN, self.deadline)
                if not deaf:
                    self._receive()
            except OSError:
                self.pump(lambda: self.is_over)  # it hung up; what it said before is still to be read
        if settle and not self.is_over:
            self._server.settle()

    def pump(self, done: Callable[[], bool], within: float | None = None) -> bool:
        """Read until *done*, the end, or the time is up; whether it is done."""
        until = self.deadline if within is None else min(self.deadline, time.monotonic() + within)
        self._receive()
        while not done() and not self.is_over:
            if not self._wait(select.POLLIN, until):
                break
            self._receive()
        return done()

    def half_close(self) -> None:
        """Say that nothing more comes."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # it hung up already
            pass

    def read_answer(self, *, of_head: bool = False) -> Heard:
        """The answer to the opening request; with its body when it is not a 101."""
        self.pump(lambda: b"\r\n\r\n" in self._buffer)
        head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not end:
            return self.heard
        line, *fields = head.decode("latin-1").split("\r\n")
        self.heard.status = int(line.split(" ")[1])
        self.heard.headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
        if self.heard.status == 101:
            self._buffer.clear()
            self._frames.feed(rest)
            self._answer = rest
            return self.heard
        self.pump(lambda: False)
        self.heard.body = bytes(self._buffer)[len(head) + 4 :]
        return self.heard

    def open(self, offer: str = "", path: str = "/") -> Heard:
        """The opening handshake."""
        extension = f"Sec-WebSocket-Extensions: {offer}\r\n" if offer else ""
        host, port = self._server.address
        self.send(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extension}\r\n".encode()
        )
        heard = self.read_answer()
        if heard.status == 101:
            if heard.headers.get("sec-websocket-accept") != ACCEPT:
                heard.faults.append("Sec-WebSocket-Accept is wrong")
            answer = heard.headers.get("sec-websocket-extensions", "")
            heard.agreement, faults = read_agreement(offer, answer)
            heard.faults += faults
            self._frames.agreement = heard.agreement
        return heard

    def end(self, reply: bytes | None = None) -> None:
        """The client's half of the closing handshake, and then the server's end of the connection."""
        heard = self.heard
        self.pump(lambda: heard.code != ABNORMAL)
        if heard.code != ABNORMAL and not self.close_sent and not self.pump(lambda: self.is_over, GRACE):
            code = None if heard.code == NO_CODE else heard.code
            frame = close(code) if reply is None else Frame(CLOSE, reply)
            heard.answered = True
            self.send(frame.encode())
        self.pump(lambda: self.is_over, DROP if heard.code != ABNORMAL else None)
        self._frames.finish()

    def _wait(self, events: int, until: float) -> bool:
        self._poll.register(self._socket, events)
        return bool(self._poll.poll(max(0.0, until - time.monotonic()) * 1000)) and time.monotonic() < until

    def _receive(self) -> None:
        """All that is there now."""
        while not self.is_over:
            try:
                data = self._socket.recv(1_048_576)
            except BlockingIOError:
                return
            except OSError:
                self.heard.ending = "reset"
                return
            if not data:
                self.heard.ending = "eof"
            elif self._answer is None:
                self._buffer += data
            else:
                self._frames.feed(data)


def play(case: Case, server: Server, limit: float | None = None) -> Heard:
    """Play a case; what the server said, within the limit of the case or another one."""
    with Peer(server, limit=limit or case.limit, small_buffer=case.deaf) as peer:
        heard = peer.open(case.offer)
        if heard.status != 101:
            return heard
        bits = heard.agreement.client_bits if heard.agreement is not None else None
        for pieces, events in _segments(case, bits):
            for data, is_close in pieces:
                peer.send(data, deaf=case.deaf, settle=case.cut != WHOLE)
                peer.close_sent = peer.close_sent or is_close
            peer.pump(lambda: len(heard.events) >= events or heard.code != ABNORMAL)  # noqa: B023 - it is called at once
            if peer.is_over:
                break
        peer.end(case.reply)
        return heard


def _segments(case: Case, bits: int | None) -> Iterator[tuple[list[tuple[bytes, bool]], int]]:
    """The bytes as they are cut, each with whether a close frame is in them; up to an Await, and what it awaits."""
    frames: list[bytes] = []
    has_close = False
    for item in (*case.script, Await(0)):
        if isinstance(item, Await):
            yield _cut(frames, case.cut, has_close), item.events
            frames, has_close = [], False
        elif isinstance(item, bytes):
            frames.append(item)
        elif isinstance(item, Message):
            frames += [frame.encode() for frame in item.frames(bits)]
        else:
            frames.append(item.encode())
            has_close = has_close or item.opcode == CLOSE


def _cut(frames: list[bytes], cut: int, has_close: bool) -> list[tuple[bytes, bool]]:
    if cut == PER_FRAME:
        return [(frame, has_close) for frame in frames]
    whole = b"".join(frames)
    if cut == WHOLE:
        return [(whole, has_close)]
    return [(whole[at : at + cut], has_close) for at in range(0, len(whole), cut)]


class FrameReader:
    """The server's frames become events; what a server must not send becomes a fault."""

    def __init__(self, heard: Heard) -> None:
        self.agreement: Agreement | None = None
        self._heard = heard
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._opcode = 0  # of the message under way
        self._compressed = False
        self._inflater = zlib.decompressobj(-15)

    def feed(self, data: bytes) -> None:
        """Bytes of the server."""
        self._buffer += data
        while (frame := self._next()) is not None:
            self._take(*frame)

    def finish(self) -> None:
        """No more comes."""
        if self._buffer and self._heard.ending == "eof":
            self._heard.faults.append(f"{len(self._buffer)} bytes of an unfinished frame")

    def _next(self) -> tuple[int, bool, int, bytes] | None:
        data = self._buffer
        if len(data) < 2:
            return None
        length, width = data[1] & 0x7F, {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
        if len(data) < 2 + width:
            return None
        if width:
            length = int.from_bytes(data[2 : 2 + width], "big")
            if length < 126 or (width == 8 and length < 65_536):
                self._heard.faults.append(f"a length of {length} in {width} bytes")
        if data[1] & 0x80:
            self._heard.faults.append("a masked frame")
        if len(data) < 2 + width + length:
            return None
        first, payload = data[0], bytes(data[2 + width : 2 + width + length])
        del data[: 2 + width + length]
        return first & 0xF, bool(first & 0x80), first >> 4 & 7, payload

    def _take(self, opcode: int, fin: bool, rsv: int, payload: bytes) -> None:
        faults = self._heard.faults
        if self._heard.code != ABNORMAL:
            faults.append(f"opcode {opcode} after the close frame")
        elif opcode in (TEXT, BINARY, CONTINUATION):
            self._take_data(opcode, fin, rsv, payload)
        elif not fin or rsv or len(payload) > 125:
            faults.append(f"a wrong control frame, opcode {opcode}")
        elif opcode == PONG:
            self._heard.events.append(("pong", payload))
        elif opcode == CLOSE:
            self._heard.code = int.from_bytes(payload[:2], "big") if payload else NO_CODE
            if len(payload) == 1 or not _is_utf8(payload[2:]):
                faults.append("a wrong close frame")
        elif opcode != PING:
            faults.append(f"opcode {opcode}")

    def _take_data(self, opcode: int, fin: bool, rsv: int, payload: bytes) -> None:
        faults = self._heard.faults
        if (opcode == CONTINUATION) != bool(self._opcode):
            faults.append("fragments out of order")
        if rsv & 3 or (rsv and (opcode == CONTINUATION or self.agreement is None)):
            faults.append(f"the reserved bits {rsv:03b}")
        if opcode != CONTINUATION:
            self._opcode, self._parts, self._compressed = opcode, [], bool(rsv & 4)
        self._parts.append(payload)
        if fin:
            whole = b"".join(self._parts)
            kind = "text" if self._opcode == TEXT else "binary"
            self._opcode = 0
            try:
                whole = self._inflate(whole) if self._compressed else whole
            except zlib.error as error:
                faults.append(f"a message that cannot be inflated: {error}")
            if kind == "text" and not _is_utf8(whole):
                faults.append("text that is not UTF-8")
            self._heard.events.append((kind, whole))

    def _inflate(self, data: bytes) -> bytes:
        agreement = self.agreement
        if agreement is not None and (agreement.server_forgets or self._inflater is None):
            self._inflater = zlib.decompressobj(-agreement.server_bits)
        return self._inflater.decompress(data + b"\x00\x00\xff\xff")


_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*;\s*({_TOKEN})(?:=(?:({_TOKEN})|"([^"]*)"))?')


def read_agreement(offer: str, answer: str) -> tuple[Agreement | None, list[str]]:
    """What the server agreed to, and in what its answer goes beyond RFC 7692, 7.1, given the *offer*."""
    if not answer:
        return None, []
    faults: list[str] = []
    name, _, _ = answer.partition(";")
    found = _PARAMETER.findall(answer)
    parameters = {key: token or quoted for key, token, quoted in found}
    if name.strip() != "permessage-deflate" or "," in answer:
        faults.append(f"not one permessage-deflate: {answer}")
    if len(parameters) != len(found) or name + "".join(m[0] for m in _PARAMETER.finditer(answer)) != answer.rstrip():
        faults.append(f"malformed: {answer}")
    flags = {"server_no_context_takeover", "client_no_context_takeover"}
    bits = {"server_max_window_bits", "client_max_window_bits"}
    for key, value in parameters.items():
        if (
            (key in flags and value)
            or (key in bits and not re.fullmatch("[89]|1[0-5]", value))
            or key not in flags | bits
        ):
            faults.append(f"a wrong parameter: {key}={value}")
    offers = [dict(_offer_of(part)) for part in offer.split(",") if "permessage-deflate" in part.lower()]
    if not faults and not any(_fits(parameters, asked) for asked in offers):
        faults.append(f"the answer {answer} fits no offer of {offer}")
    return Agreement(
        int(parameters.get("server_max_window_bits") or 15),
        int(parameters.get("client_max_window_bits") or 15),
        "server_no_context_takeover" in parameters,
    ), faults


def _offer_of(part: str) -> list[tuple[str, str]]:
    return [(key, token or quoted) for key, token, quoted in _PARAMETER.findall(part)]


def _fits(answer: dict[str, str], asked: dict[str, str]) -> bool:
    """RFC 7692, 7.1.1 and 7.1.2, for an answer whose values are right in themselves."""
    if "server_no_context_takeover" in asked and "server_no_context_takeover" not in answer:
        return False
    limits = [(name, asked[name]) for name in ("server_max_window_bits", "client_max_window_bits") if name in asked]
    if any(value and not re.fullmatch("[89]|1[0-5]", value) for _, value in limits):
        return False  # that offer must be declined
    if asked.get("server_max_window_bits") and "server_max_window_bits" not in answer:
        return False
    if "client_max_window_bits" in answer and "client_max_window_bits" not in asked:
        return False
    return all(int(answer.get(name, 8)) <= int(value or 15) for name, value in limits)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _short(payload: bytes) -> str:
    return repr(payload) if len(payload) <= 24 else f"{payload[:16]!r}... ({len(payload)} bytes)"
