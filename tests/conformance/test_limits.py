"""What the table cannot say: memory, what the server's own code hears, and the negotiation as a function."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from tests.conformance.cases import (
    BINARY,
    CLOSE,
    DECLINED,
    MESSAGE_SIZES,
    OFFER,
    TEXT,
    Case,
    Frame,
    accepted_offers,
    bomb,
    close,
    deflate,
    noise,
    ping,
    text,
    words,
)
from tests.conformance.peer import Peer, Server, play, read_agreement
from zephserver.core.settings import make_settings
from zephserver.engines.deflate import InflateError, TooLarge, compress, inflate, negotiate
from zephserver.engines.interface import Connection, Handshake, HttpResponse
from zephserver.engines.picows.engine import PicowsEngine

Servers = Callable[..., Server]
MIB = 1_048_576


def test_every_offer_that_can_be_accepted_is_and_the_answer_honours_it() -> None:
    for offer in accepted_offers():
        agreed = negotiate(offer)

        assert agreed is not None, offer
        assert read_agreement(offer, agreed.response)[1] == []
        assert ("server_max_window_bits" in agreed.response) == ("server_max_window_bits" in offer)
        assert "client_max_window_bits" in offer or "client_max_window_bits" not in agreed.response
        said = agreed.response.partition("server_max_window_bits=")[2].partition(";")[0]
        assert 9 <= agreed.window_bits <= int(said or 15)


@pytest.mark.parametrize("parameter", DECLINED)
def test_an_offer_with_a_wrong_parameter_is_declined(parameter: str) -> None:
    wrong = f"permessage-deflate; {parameter}"

    assert negotiate(wrong) is None
    assert negotiate(f"{wrong}, permessage-deflate; client_max_window_bits") == negotiate("permessage-deflate")


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("size", MESSAGE_SIZES)
def test_what_is_compressed_fits_the_window_agreed_on(bits: int, size: int) -> None:
    for payload in (words(size), noise(size), bytes(size)):
        packed = compress(payload, bits)

        inflater = zlib.decompressobj(-bits)
        assert inflater.decompress(packed + b"\x00\x00\xff\xff") == payload
        assert inflate(packed, size) == payload


@pytest.mark.parametrize("bits", range(9, 16))
def test_whatever_window_the_client_has_its_messages_are_read(bits: int) -> None:
    assert inflate(deflate(words(70_000), bits), 70_000) == words(70_000)


def test_inflating_stops_at_the_limit() -> None:
    with pytest.raises(TooLarge):
        inflate(deflate(b"x" * 101), 100)
    with pytest.raises(InflateError):
        inflate(b"\xff\xff", 100)
    assert inflate(deflate(b"x" * 100), 100) == b"x" * 100


@pytest.mark.parametrize("length", [5, 50, 150, 299])
def test_a_message_that_ends_inside_a_block_is_no_message(length: int) -> None:
    """What zlib makes of it is not what was sent: even the empty block of RFC 7692, 7.2.2 may be taken for data."""
    with pytest.raises(InflateError):
        inflate(deflate(noise(300), level=0)[:length], MIB)


def test_a_bomb_costs_no_more_than_the_limit(servers: Servers) -> None:
    server = servers("picows", "default")
    case = Case("bomb", "a bomb", (Frame(BINARY, bomb(), rsv=4),), (), OFFER, reset_allowed=True)
    tracemalloc.start()
    try:
        heard = play(case, server)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert heard.code == 1009
    assert peak < 8 * MIB


def test_an_announced_giant_costs_nothing(servers: Servers) -> None:
    server = servers("picows", "raised")
    head = Frame(TEXT, length=31 * MIB).encode()
    tracemalloc.start()
    try:
        peers = [Peer(server) for _ in range(20)]
        for peer in peers:
            peer.open()
            peer.send(head, settle=True)
        peak = tracemalloc.get_traced_memory()[1]
        for peer in peers:
            with peer:
                peer.half_close()
                assert peer.pump(lambda: peer.is_over)  # noqa: B023 - it is called at once
    finally:
        tracemalloc.stop()

    assert peak < 8 * MIB


class _Notebook:
    """A gateway and the receiver of its one connection: what the server's own code hears."""

    takes_binary = True

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.closed_with: list[int] = []

    def decide(self, request: Handshake, *, upgrade: bool) -> HttpResponse | None:
        return None

    def opened(self, connection: Connection) -> _Notebook:
        return self

    def received(self, text: str) -> None:
        self.heard.append(text)

    def received_binary(self, data: bytes) -> None:
        self.heard.append(data.decode("latin-1"))

    def closed(self, code: int, reason: str) -> None:
        self.closed_with.append(code)


def _listen(notebook: _Notebook, talk: Callable[[Server], None]) -> None:
    """Run an engine with this gateway in a thread while *talk* talks to it."""
    ready, stopped = threading.Event(), threading.Event()
    found: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, tuple[str, int]]] = []

    async def main() -> None:
        engine = PicowsEngine(make_settings({"SERVICE_LIST": [], "PORT_ZEPH": 0}), notebook)
        await engine.listen()
        assert engine._server is not None
        stop = asyncio.Event()
        found.append((asyncio.get_running_loop(), stop, engine._server.sockets[0].getsockname()[:2]))
        ready.set()
        await stop.wait()
        await engine.close()
        stopped.set()

    thread = threading.Thread(target=asyncio.run, args=(main(),), name="notebook")
    thread.start()
    assert ready.wait(10.0)
    loop, stop, address = found[0]

    def settle() -> None:
        if loop.is_closed():
            return
        read = threading.Event()
        loop.call_soon_threadsafe(lambda: loop.call_soon(lambda: loop.call_soon(read.set)))
        assert read.wait(10.0)

    try:
        talk(Server(address, settle))
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10.0)
    assert stopped.is_set()


FATAL = {
    "a reserved opcode": Frame(3),
    "an invalid close code": close(999),
    "another invalid close code": close(1006),
    "a close frame of one byte": Frame(CLOSE, b"\x03"),
    "a reason that is not UTF-8": close(1000, b"\xff"),
    "a close frame with a reserved bit": Frame(CLOSE, b"\x03\xe8", rsv=2),
    "text that is not UTF-8": text(b"\xff"),
    "a reserved bit": Frame(TEXT, b"x", rsv=4),
    "a continuation without a start": Frame(0, b"x"),
    "an unmasked frame": Frame(TEXT, b"x", mask=None),
    "a close frame": close(),
}


@pytest.mark.parametrize("last", FATAL.values(), ids=list(FATAL))
def test_nothing_is_heard_after_the_connection_failed_or_closed(last: Frame) -> None:
    """RFC 6455, 7.1.7 and 1.4: what comes later is not for the server's own code."""
    notebook = _Notebook()

    def talk(server: Server) -> None:
        with Peer(server) as peer:
            peer.open()
            peer.send(text(b"before").encode(), settle=True)
            for frame in (last, text(b"late"), ping(), Frame(TEXT, b"later"), *[Frame(BINARY, b"latest")] * 3):
                peer.send(frame.encode(), settle=True)

    _listen(notebook, talk)

    assert notebook.heard == ["before"]
    assert len(notebook.closed_with) == 1


@pytest.mark.parametrize("first", ["nothing", "half a request", "a refused request", "a message", "a close frame"])
def test_an_engine_that_closes_leaves_no_connection_open(first: str) -> None:
    """Even one that was answered and not yet ended by its peer."""
    peers: list[Peer] = []

    def talk(server: Server) -> None:
        peers.append(peer := Peer(server))
        if first in ("a message", "a close frame"):
            peer.open()
            peer.send((text() if first == "a message" else close()).encode(), settle=True)
        elif first != "nothing":
            peer.send(b"POST / HTTP/1.1\r\n" + (b"\r\n" if first == "a refused request" else b""), settle=True)

    _listen(_Notebook(), talk)

    with peers[0] as peer:
        assert peer.pump(lambda: peer.is_over)


def test_a_lost_connection_is_told_once_as_1006() -> None:
    notebook = _Notebook()

    def talk(server: Server) -> None:
        with Peer(server) as peer:
            peer.open()
            peer.send(text(b"before").encode() + text(b"half of it").encode()[:8], settle=True)
            peer.half_close()
            assert peer.pump(lambda: peer.is_over)

    _listen(notebook, talk)

    assert (notebook.heard, notebook.closed_with) == (["before"], [1006])
