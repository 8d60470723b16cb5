"""The opening request (RFC 9112, RFC 6455 section 4.2): read as it is written, refused in words, bounded in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.cases import close, ping, text
from tests.conformance.peer import ACCEPT, KEY, Heard, Peer, Server
from zephserver.engines.handshake import (
    LONGEST_HEAD,
    LONGEST_LINE,
    MOST_HEADERS,
    Opening,
    RefusedRequest,
    find_end,
    read_opening,
    refusal,
    write_response,
)
from zephserver.engines.interface import HttpResponse

Servers = Callable[..., Server]
UPGRADE = (
    "Host: example.org",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {KEY}",
)


def opening(*more: str, line: str = "GET / HTTP/1.1", without: str = "", upgrade: bool = True) -> bytes:
    """A request with these further header lines, and without those that begin so."""
    lines = [name for name in (UPGRADE if upgrade else UPGRADE[:1]) if not (without and name.startswith(without))]
    return "\r\n".join([line, *lines, *more, "", ""]).encode("latin-1")


def padded(count: int) -> bytes:
    """A request with so many headers."""
    return opening(*(f"X-{number}: y" for number in range(count - len(UPGRADE))))


def long_line(size: int) -> bytes:
    """A request with a header line of so many bytes."""
    return opening("X-Long: " + "y" * (size - 8))


def long_head(size: int) -> bytes:
    """A request whose head has so many bytes without its end."""
    lines = ["X: " + "y" * 8_000] * (size // 8_005)
    return opening(*lines, "X: " + "y" * (size - len(opening(*lines, "X: ")) + 4))


KEYLESS: dict[str, Any] = {"without": "Sec-WebSocket-Key"}
ACCEPTED = {
    "an ordinary one": opening(),
    "a path with a query": opening(line="GET /chat?room=1&x=%20 HTTP/1.1"),
    "an absolute target": opening(line="GET http://example.org/chat HTTP/1.1"),
    "an absolute target without a path": opening(line="GET http://example.org HTTP/1.1"),
    "an absolute target in capitals": opening(line="GET HTTP://example.org/ HTTP/1.1"),
    "Connection: keep-alive, Upgrade": opening("Connection: keep-alive, Upgrade", without="Connection"),
    "Connection in two headers": opening("Connection: keep-alive"),
    "Connection in small letters": opening("connection: upgrade", without="Connection"),
    "Upgrade: WebSocket": opening("Upgrade: WebSocket", without="Upgrade"),
    "UPGRADE: WEBSOCKET": opening("UPGRADE: WEBSOCKET", without="Upgrade"),
    "Upgrade: h2c, websocket": opening("Upgrade: h2c, websocket", without="Upgrade"),
    "no space after a colon": opening(f"Sec-WebSocket-Key:{KEY}", **KEYLESS),
    "spaces and tabs around a value": opening(f"Sec-WebSocket-Key: \t {KEY} \t ", **KEYLESS),
    "an empty value": opening("X-Empty:"),
    "a value with Latin-1 in it": opening("X-Name: caf\xe9"),
    "a value with a tab": opening("X-Tab: a\tb"),
    "two cookies": opening("Cookie: a=1", "Cookie: b=2"),
    "a repeated header": opening("Accept: a", "Accept: b"),
    "Content-Length: 0": opening("Content-Length: 0"),
    "the most headers": padded(MOST_HEADERS),
    "the longest line": long_line(LONGEST_LINE),
    "the longest head": long_head(LONGEST_HEAD),
    "an origin": opening("Origin: http://example.org"),
}
REFUSED: dict[str, tuple[int, bytes]] = {
    "nothing": (400, b"\r\n\r\n"),
    "no HTTP": (400, b"hello\r\n\r\n"),
    "two words": (400, opening(line="GET /")),
    "four words": (400, opening(line="GET / x HTTP/1.1")),
    "two spaces": (400, opening(line="GET  / HTTP/1.1")),
    "a tab": (400, opening(line="GET\t/ HTTP/1.1")),
    "a method that is no token": (400, opening(line="G(T / HTTP/1.1")),
    "HTTP/2 prior knowledge": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/0.9": (400, opening(line="GET / HTTP/0.9")),
    "HTTP/1.10": (400, opening(line="GET / HTTP/1.10")),
    "http/1.1 in small letters": (400, opening(line="GET / http/1.1")),
    "TLS on a plain port": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "a target without a slash": (400, opening(line="GET chat HTTP/1.1")),
    "the target *": (400, opening(line="GET * HTTP/1.1")),
    "an empty target": (400, opening(line="GET  HTTP/1.1")),
    "a target with a control character": (400, opening(line="GET /\x01 HTTP/1.1")),
    "a target that is not ASCII": (400, opening(line="GET /caf\xe9 HTTP/1.1")),
    "POST": (405, opening(line="POST / HTTP/1.1")),
    "OPTIONS": (405, opening(line="OPTIONS / HTTP/1.1")),
    "get in small letters": (405, opening(line="get / HTTP/1.1")),
    "an invented method": (405, opening(line="BREW / HTTP/1.1")),
    "HEAD that wants a WebSocket": (400, opening(line="HEAD / HTTP/1.1")),
    "HTTP/1.0 that wants a WebSocket": (400, opening(line="GET / HTTP/1.0")),
    "no Host": (400, opening(without="Host")),
    "an empty Host": (400, opening("Host:", without="Host")),
    "two hosts": (400, opening("Host: example.org")),
    "two origins": (400, opening("Origin: http://a.example", "Origin: http://b.example")),
    "two lengths": (400, opening("Content-Length: 0", "Content-Length: 0")),
    "two keys": (400, opening(f"Sec-WebSocket-Key: {KEY}")),
    "two versions": (400, opening("Sec-WebSocket-Version: 13")),
    "Content-Length: 5": (400, opening("Content-Length: 5") + b"hello"),
    "Content-Length: -1": (400, opening("Content-Length: -1")),
    "Content-Length: +0": (400, opening("Content-Length: +0")),
    "Content-Length: 0, 5": (400, opening("Content-Length: 0, 5")),
    "Transfer-Encoding: chunked": (400, opening("Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    "Transfer-Encoding: identity": (400, opening("Transfer-Encoding: identity")),
    "both lengths": (400, opening("Transfer-Encoding: chunked", "Content-Length: 0")),
    "a bare LF between headers": (400, opening("X-A: b\nX-C: d")),
    "a bare CR in a header": (400, opening("X-A: b\rX-C: d")),
    "a NUL in a header": (400, opening("X-A: b\x00c")),
    "a vertical tab in a header": (400, opening("X-A: b\x0bc")),
    "a form feed at the end of a header": (400, opening("X-A: b\x0c")),
    "a DEL in a header": (400, opening("X-A: b\x7fc")),
    "a folded line": (400, opening("X-A: b", " c")),
    "a line folded with a tab": (400, opening("X-A: b", "\tc")),
    "a folded line first": (400, opening(without="H", line="GET / HTTP/1.1\r\n Host: x")),
    "a space before the colon": (400, opening("X-A : b")),
    "a name that is no token": (400, opening("X(A): b")),
    "a name that is not ASCII": (400, opening("X\xe9: b")),
    "no name": (400, opening(": b")),
    "no colon": (400, opening("X-A")),
    "a header too many": (431, padded(MOST_HEADERS + 1)),
    "a thousand headers": (431, padded(1_000)),
    "a header line too long": (431, long_line(LONGEST_LINE + 1)),
    "a request line too long": (431, opening(line=f"GET /{'x' * LONGEST_LINE} HTTP/1.1")),
    "a head too long": (431, long_head(LONGEST_HEAD + 1)),
    "version 12": (426, opening("Sec-WebSocket-Version: 12", without="Sec-WebSocket-Version")),
    "version 14": (426, opening("Sec-WebSocket-Version: 14", without="Sec-WebSocket-Version")),
    "version 8, 13": (426, opening("Sec-WebSocket-Version: 8, 13", without="Sec-WebSocket-Version")),
    "no version": (426, opening(without="Sec-WebSocket-Version")),
    "no key": (400, opening(**KEYLESS)),
    "an empty key": (400, opening("Sec-WebSocket-Key:", **KEYLESS)),
    "a short key": (400, opening("Sec-WebSocket-Key: c2hvcnQ=", **KEYLESS)),
    "a long key": (400, opening(f"Sec-WebSocket-Key: {'QUFB' * 6}", **KEYLESS)),
    "a key that is not base64": (400, opening(f"Sec-WebSocket-Key: {KEY[:-4]}!!==", **KEYLESS)),
    "a key that is not ASCII": (400, opening(f"Sec-WebSocket-Key: {KEY[:-1]}\xe9", **KEYLESS)),
    "a key without its padding": (400, opening(f"Sec-WebSocket-Key: {KEY.rstrip('=')}", **KEYLESS)),
    "no Connection": (400, opening(without="Connection")),
    "Connection: keep-alive": (400, opening("Connection: keep-alive", without="Connection")),
    "Connection: Upgraded": (400, opening("Connection: Upgraded", without="Connection")),
}


def read(request: bytes) -> Opening | int:
    """What is made of a request: an Opening, or the status it is refused with."""
    try:
        end = find_end(request)
        assert end >= 0, "it waits for more"
        return read_opening(request[:end], "192.0.2.1")
    except RefusedRequest as refused:
        return refused.response.status


def refused_with(head: bytes | bytearray) -> int:
    """The status that find_end() refuses this beginning with, 0 when it does not."""
    try:
        find_end(head)
    except RefusedRequest as refused:
        return refused.response.status
    return 0


@pytest.mark.parametrize("request_", ACCEPTED.values(), ids=list(ACCEPTED))
def test_a_handshake_is_read(request_: bytes) -> None:
    found = read(request_)

    assert isinstance(found, Opening)
    assert (found.is_upgrade, found.key, found.method) == (True, KEY, "GET")
    assert found.handshake.address == "192.0.2.1"


@pytest.mark.parametrize(("status", "request_"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_handshake_is_refused(status: int, request_: bytes) -> None:
    assert read(request_) == status


@pytest.mark.parametrize("at", [0, 1, 10, 40, -5, -4, -3, -2, -1])
def test_an_unfinished_head_needs_more(at: int) -> None:
    assert find_end(opening()[:at]) == -1


def test_what_follows_the_head_is_not_looked_at() -> None:
    whole = opening()

    assert find_end(whole + b"\r\n" * 500 + b"x" * 100_000) == len(whole) - 4


@pytest.mark.parametrize("name", [name for name, (status, _) in REFUSED.items() if status == 431])
def test_a_head_is_refused_however_it_arrives(name: str) -> None:
    """Whole or by and by: the same limit."""
    whole = REFUSED[name][1]

    found = {refused_with(whole[:size]) for size in (*range(1_000, len(whole), 1_000), len(whole))}

    assert 431 in found
    assert found <= {0, 431}


@pytest.mark.parametrize("name", ["the most headers", "the longest line", "the longest head"])
def test_a_head_is_taken_however_it_arrives(name: str) -> None:
    whole = ACCEPTED[name]

    ends = [find_end(whole[:size]) for size in range(max(0, len(whole) - 9_000), len(whole))]

    assert set(ends) == {-1}
    assert find_end(whole) == len(whole) - 4


def test_a_head_without_an_end_is_not_kept_for_ever() -> None:
    lines = b"X: " + b"y" * 4_000 + b"\r\n"
    endless = opening()[:-2] + lines * (LONGEST_HEAD // len(lines) + 1)

    with pytest.raises(RefusedRequest):
        find_end(endless)


@pytest.mark.parametrize("filling", [b"\n", b"\r", b"\n\r\r", b"\n\n\n", b"x", b"\x00", b" "])
@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_no_filling_lasts_for_ever(start: bytes, filling: bytes) -> None:
    """Whatever it is, a head without an end is refused before it fills the memory."""
    assert refused_with(start + filling * (2 * LONGEST_HEAD)) == 431


def test_repeated_headers_are_joined() -> None:
    found = read(opening("Accept: a", "accept: b", "Cookie: a=1", "Cookie: b=2"))

    assert isinstance(found, Opening)
    assert found.handshake.headers["accept"] == "a, b"
    assert found.handshake.cookies == {"a": "1", "b": "2"}


def test_the_path_is_kept_as_it_came() -> None:
    found = read(opening(line="GET /a/../b?c=%2F&d HTTP/1.1"))

    assert isinstance(found, Opening)
    assert found.handshake.path == "/a/../b?c=%2F&d"


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("http://other.example/chat?x=1", "/chat?x=1", "other.example"),
        ("https://other.example:8443/", "/", "other.example:8443"),
        ("http://other.example", "/", "other.example"),
        ("http://other.example?x", "/?x", "other.example"),
    ],
)
def test_an_absolute_target_names_path_and_host(target: str, path: str, host: str) -> None:
    """RFC 9112, 3.2.2: a server must accept it, and take the host from it instead of the header."""
    found = read(opening(line=f"GET {target} HTTP/1.1"))

    assert isinstance(found, Opening)
    assert (found.handshake.path, found.handshake.headers["host"]) == (path, host)


@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "HEAD / HTTP/1.1", "GET / HTTP/1.0", "HEAD /x HTTP/1.0"])
def test_a_plain_request_is_read(line: str) -> None:
    found = read(opening(line=line, upgrade=False))

    assert isinstance(found, Opening)
    assert (found.is_upgrade, found.key, found.method) == (False, "", line.split(" ")[0])


def test_http_1_0_needs_no_host() -> None:
    assert isinstance(read(b"GET / HTTP/1.0\r\n\r\n"), Opening)
    assert read(b"GET / HTTP/1.1\r\n\r\n") == 400


def test_another_upgrade_is_a_plain_request() -> None:
    found = read(opening("Upgrade: h2c", without="Upgrade"))

    assert isinstance(found, Opening)
    assert not found.is_upgrade


@pytest.mark.parametrize(
    ("offered", "answer"),
    [("chat", "chat"), ("chat, super", "chat"), ("", ""), ("ch at, super", ""), ("\xe9", ""), (", super", "")],
)
def test_the_first_subprotocol_goes_back_if_it_is_one(offered: str, answer: str) -> None:
    found = read(opening(f"Sec-WebSocket-Protocol: {offered}"))

    assert isinstance(found, Opening)
    assert found.subprotocol == answer


def test_a_refusal_is_one_line() -> None:
    answer = write_response(refusal(405, "not here", Allow="GET"))

    assert answer == (
        b"HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain; charset=utf-8\r\nAllow: GET\r\n"
        b"Content-Length: 9\r\nConnection: close\r\n\r\nnot here\n"
    )


def test_head_gets_the_length_without_the_body() -> None:
    answer = write_response(HttpResponse(200, b"hello", {"Content-Type": "text/html"}), with_body=False)

    assert answer.endswith(b"Content-Type: text/html\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")


def test_not_modified_has_no_length() -> None:
    assert b"Content-Length" not in write_response(HttpResponse(304, headers={"ETag": "x"}))


@settings(max_examples=150, deadline=None, database=None)
@given(st.data())
def test_a_mutilated_head_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from([*ACCEPTED.values(), *(request for _, request in REFUSED.values())])))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(whole)))
        whole[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))

    if refused_with(whole) == 0 and find_end(whole) >= 0:
        found = read(bytes(whole))
        assert found in (400, 405, 426) if isinstance(found, int) else found.handshake.path.startswith("/")


# The same on the wire.


def ask(server: Server, request: bytes, *, cut: int = 0) -> Heard:
    """Send a request and hear the answer."""
    with Peer(server) as peer:
        for at in range(0, len(request), cut or len(request)):
            peer.send(request[at : at + (cut or len(request))], settle=bool(cut))
        return peer.read_answer()


@pytest.mark.parametrize("request_", ACCEPTED.values(), ids=list(ACCEPTED))
def test_the_server_accepts_a_handshake(servers: Servers, request_: bytes) -> None:
    heard = ask(servers("picows", "default"), request_)

    assert (heard.status, heard.headers.get("sec-websocket-accept")) == (101, ACCEPT)
    assert heard.headers["upgrade"].lower() == "websocket"
    assert heard.headers["connection"].lower() == "upgrade"


@pytest.mark.parametrize(("status", "request_"), REFUSED.values(), ids=list(REFUSED))
def test_the_server_refuses_and_hangs_up(servers: Servers, status: int, request_: bytes) -> None:
    heard = ask(servers("picows", "default"), request_)

    assert (heard.status, heard.ending) == (status, "eof")
    assert heard.headers["connection"].lower().startswith("close")
    head = request_.startswith(b"HEAD ")
    assert len(heard.body) == (0 if head else int(heard.headers["content-length"]))


def test_post_is_told_what_is_allowed(servers: Servers) -> None:
    heard = ask(servers("picows", "default"), opening("Content-Length: 5", line="POST / HTTP/1.1") + b"hello")

    assert (heard.status, heard.headers["allow"]) == (405, "GET, HEAD")


def test_another_version_is_told_ours(servers: Servers) -> None:
    """RFC 6455, 4.4; and RFC 9110, 15.5.22 and 7.8: a 426 must have an Upgrade header, named in Connection."""
    heard = ask(servers("picows", "default"), REFUSED["version 12"][1])

    assert heard.headers["sec-websocket-version"] == "13"
    assert heard.headers["upgrade"].lower() == "websocket"
    assert {word.strip().lower() for word in heard.headers["connection"].split(",")} == {"close", "upgrade"}


def test_a_refused_head_request_gets_no_body(servers: Servers) -> None:
    heard = ask(servers("picows", "default"), opening("X(A): b", line="HEAD / HTTP/1.1", upgrade=False))

    assert (heard.status, heard.body) == (400, b"")


@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "HEAD / HTTP/1.1", "GET / HTTP/1.0"])
def test_a_plain_request_is_asked_to_upgrade(servers: Servers, line: str) -> None:
    heard = ask(servers("picows", "default"), opening(line=line, upgrade=False))

    assert (heard.status, heard.ending) == (426, "eof")
    assert heard.headers["upgrade"] == "websocket"
    assert (heard.body == b"") == line.startswith("HEAD")


def test_a_refusal_is_heard_by_one_who_goes_on_talking(servers: Servers) -> None:
    """RFC 9112, 9.6: who closes with unread data resets the connection, and the answer may be lost."""
    heard = ask(servers("picows", "default"), opening(line="POST / HTTP/1.1") + b"x" * 2_000_000)

    assert (heard.status, heard.ending) == (405, "eof")


@pytest.mark.parametrize("cut", [1, 7, 64])
def test_a_request_may_dribble(servers: Servers, cut: int) -> None:
    assert ask(servers("picows", "default"), opening(), cut=cut).status == 101


def test_a_request_that_never_ends_is_cut_off(servers: Servers) -> None:
    with Peer(servers("picows", "hasty"), limit=5.0) as peer:
        began = time.monotonic()
        whole = opening()
        for at in range(len(whole) - 1):  # a byte every few milliseconds: progress does not buy time
            peer.send(whole[at : at + 1])
            if peer.pump(lambda: peer.is_over, 0.01):
                break
        heard = peer.read_answer()
        took = time.monotonic() - began

    assert (heard.status, heard.ending) == (408, "eof")
    assert 0.25 < took < 4.0


def test_a_request_with_bare_line_feeds_is_refused_or_cut_off(servers: Servers) -> None:
    with Peer(servers("picows", "hasty"), limit=5.0) as peer:
        peer.send(opening().replace(b"\r\n", b"\n"))
        heard = peer.read_answer()

    assert heard.status in (400, 408)
    assert heard.ending == "eof"


def test_a_connection_that_says_nothing_is_closed(servers: Servers) -> None:
    with Peer(servers("picows", "hasty"), limit=5.0) as peer:
        assert peer.pump(lambda: peer.is_over)

    assert (peer.heard.status, peer.heard.ending) == (0, "eof")


def test_an_open_connection_is_not_cut_off_by_the_handshake_timeout(servers: Servers) -> None:
    with Peer(servers("picows", "hasty"), limit=5.0) as peer, Peer(servers("picows", "hasty"), limit=5.0) as silent:
        peer.open()
        assert silent.pump(lambda: silent.is_over)  # so the time is over for both
        peer.send(ping(b"still there?").encode())

        assert peer.pump(lambda: peer.heard.events == [("pong", b"still there?")])


@pytest.mark.parametrize("size", [0, 5, 5_000, 200_000])
def test_frames_that_come_with_the_request_are_served(servers: Servers, size: int) -> None:
    payload = b"x" * size
    with Peer(servers("picows", "default")) as peer:
        peer.send(opening() + text(payload).encode() + ping(b"!").encode())
        heard = peer.read_answer()
        peer.pump(lambda: len(heard.events) == 2)
        peer.send(close().encode())
        peer.close_sent = True
        peer.end()

    assert heard.events == [("text", payload), ("pong", b"!")]
    assert (heard.code, heard.ending, heard.faults) == (1000, "eof", [])


def test_a_whole_conversation_in_one_segment(servers: Servers) -> None:
    with Peer(servers("picows", "default")) as peer:
        peer.send(opening() + text().encode() + close().encode())
        peer.close_sent = True
        heard = peer.read_answer()
        peer.end()

    assert (heard.events, heard.code, heard.ending) == ([("text", b"hello")], 1000, "eof")


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_the_last_bytes_of_the_request_may_come_with_the_first_frame(servers: Servers, at: int) -> None:
    whole = opening() + text().encode()
    border = len(opening()) - at
    with Peer(servers("picows", "default")) as peer:
        peer.send(whole[:border], settle=True)
        peer.send(whole[border:])
        heard = peer.read_answer()

        assert peer.pump(lambda: heard.events == [("text", b"hello")])


def test_a_client_that_leaves_within_its_request_is_forgotten(servers: Servers) -> None:
    with Peer(servers("picows", "default")) as peer:
        peer.send(opening()[:40], settle=True)
        peer.half_close()

        assert peer.pump(lambda: peer.is_over)
    assert peer.heard.ending == "eof"
