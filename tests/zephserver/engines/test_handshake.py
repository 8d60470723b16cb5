"""The opening request is read strictly, and what is wrong is answered with the right status."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {
    "Host": "example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def read(line: str = "GET /ws HTTP/1.1", *extra: str, **headers: str | None) -> Opening:
    """Read a handshake with these changes; a header that is None is left out, *extra* are whole lines."""
    changes = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = [f"{name}: {value}" for name, value in (UPGRADE | changes).items() if value is not None]
    return read_opening("\r\n".join([line, *fields, *extra]).encode("latin-1"), "192.0.2.1")


def status_of(head: bytes) -> int:
    """How this request is refused."""
    with pytest.raises(RefusedRequest) as refused:
        read_opening(head, "")
    return refused.value.response.status


def test_a_handshake_is_read() -> None:
    opening = read("GET /ws?room=a HTTP/1.1", Cookie="a=1")

    assert opening.is_upgrade
    assert opening.key == KEY
    assert (opening.handshake.path, opening.handshake.address) == ("/ws?room=a", "192.0.2.1")
    assert opening.handshake.cookies == {"a": "1"}
    assert opening.handshake.headers["host"] == "example.com"


@pytest.mark.parametrize(
    "connection", ["Upgrade", "upgrade", "keep-alive, Upgrade", "Upgrade,keep-alive", "a , UPGRADE"]
)
@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "h2c, websocket"])
def test_a_browser_may_say_it_in_its_own_way(connection: str, upgrade: str) -> None:
    assert read(Connection=connection, Upgrade=upgrade).is_upgrade


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_a_request_for_a_page_is_read(method: str, version: str) -> None:
    opening = read_opening(f"{method} /page HTTP/1.1\r\nHost: x".replace("HTTP/1.1", version).encode(), "")

    assert not opening.is_upgrade
    assert (opening.method, opening.handshake.path, opening.subprotocol) == (method, "/page", "")


def test_http_1_0_needs_no_host() -> None:
    assert read_opening(b"GET / HTTP/1.0", "").handshake.headers == {}


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [("http://a:80/ws?x", "/ws?x", "a:80"), ("http://a", "/", "a"), ("http://a?x=1", "/?x=1", "a")],
)
def test_a_whole_address_is_read_and_its_host_counts(target: str, path: str, host: str) -> None:
    handshake = read(f"GET {target} HTTP/1.1").handshake

    assert (handshake.path, handshake.headers["host"]) == (path, host)


@pytest.mark.parametrize("line", ["POST / HTTP/1.1", "OPTIONS * HTTP/1.1", "get / HTTP/1.1", "PRI * HTTP/1.1"])
def test_another_method_is_405_with_those_that_are_allowed(line: str) -> None:
    with pytest.raises(RefusedRequest) as refused:
        read(line)

    assert refused.value.response.status == 405
    assert refused.value.response.headers == {"Allow": "GET, HEAD"}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET",
        b"GET /",
        b"GET / ",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET / HTTP/2.0",
        b"GET / HTTP/0.9",
        b"GET / http/1.1",
        b"PRI * HTTP/2.0",
        b"G\xc3T / HTTP/1.1",
        b"GET x HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\xc3\xbc HTTP/1.1",
        b"GET /a\tb HTTP/1.1",
        b"GET / HTTP/1.1\nHost: x",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_a_line_that_is_no_request_is_400(line: bytes) -> None:
    assert status_of(line + b"\r\nHost: x") == 400


@pytest.mark.parametrize(
    "field",
    [
        b"no colon",
        b": no name",
        b"Name : value",
        b" Folded: value",
        b"\tfolded",
        b"N\x00me: value",
        b"Name: v\x00lue",
        b"Name: v\x0blue",
        b"Name: v\nlue",
        b"Name: v\rlue",
        b"Name: v\x7flue",
        b"N\xe4me: value",
        b"",
        b"Host: y",
        b"Origin: a\r\nOrigin: a",
        b"Content-Length: 0\r\nContent-Length: 0",
        b"Content-Length: 1",
        b"Content-Length: -0",
        b"Content-Length: x",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
    ],
)
def test_a_header_that_could_be_read_in_two_ways_is_400(field: bytes) -> None:
    assert status_of(b"GET / HTTP/1.1\r\nHost: x\r\n" + field) == 400


@pytest.mark.parametrize("field", [b"Content-Length: 0", b"Content-Length: 00", b"X: \xe4\xff\t!", b"X:", b"X:\t y \t"])
def test_a_harmless_header_is_read(field: bytes) -> None:
    assert read_opening(b"GET / HTTP/1.1\r\nHost: x\r\n" + field, "")


def test_http_1_1_needs_a_host() -> None:
    assert status_of(b"GET / HTTP/1.1\r\nAccept: x") == 400
    assert status_of(b"GET / HTTP/1.1\r\nHost:") == 400


def test_headers_that_are_there_twice_are_joined() -> None:
    opening = read("GET / HTTP/1.1", "Cookie: a=1", "X-Forwarded-For: 1", "cookie: b=2", "x-forwarded-for: 2")

    assert opening.handshake.headers["x-forwarded-for"] == "1, 2"
    assert opening.handshake.cookies == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    "changes",
    [
        {"Connection": None},
        {"Connection": "keep-alive"},
        {"Connection": "upgraded"},
        {"Sec_WebSocket_Key": None},
        {"Sec_WebSocket_Key": ""},
        {"Sec_WebSocket_Key": "short"},
        {"Sec_WebSocket_Key": base64.b64encode(b"x" * 15).decode()},
        {"Sec_WebSocket_Key": base64.b64encode(b"x" * 17).decode()},
        {"Sec_WebSocket_Key": KEY + "\x80"},
        {"Sec_WebSocket_Key": "!" + KEY},
    ],
)
def test_half_a_handshake_is_400(changes: dict[str, Any]) -> None:
    with pytest.raises(RefusedRequest) as refused:
        read(**changes)

    assert refused.value.response.status == 400


@pytest.mark.parametrize("line", ["HEAD /ws HTTP/1.1", "GET /ws HTTP/1.0"])
def test_a_handshake_is_a_get_of_http_1_1(line: str) -> None:
    with pytest.raises(RefusedRequest) as refused:
        read(line)

    assert refused.value.response.status == 400


@pytest.mark.parametrize("version", [None, "8", "14", "13, 8"])
def test_another_version_of_websocket_is_426_with_ours(version: str | None) -> None:
    with pytest.raises(RefusedRequest) as refused:
        read(Sec_WebSocket_Version=version)

    assert refused.value.response.status == 426
    assert refused.value.response.headers == {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


@pytest.mark.parametrize("upgrade", [None, "h2c", "", "websockets"])
def test_an_upgrade_to_something_else_is_a_request_for_a_page(upgrade: str | None) -> None:
    assert not read(Upgrade=upgrade).is_upgrade


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("chat", "chat"), ("chat, other", "chat"), (" a , b", "a"), ("", ""), ("a b", ""), ("\xe4", ""), (",a", "")],
)
def test_the_first_subprotocol_is_chosen_if_it_can_be_said_back(offered: str, chosen: str) -> None:
    assert read(Sec_WebSocket_Protocol=offered).subprotocol == chosen


def test_the_end_of_the_head_is_found() -> None:
    assert find_end(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest\r\n\r\n") == 23
    assert find_end(bytearray(b"GET / HTTP/1.1\r\nHost: x\r\n")) == -1
    assert find_end(b"") == -1
    assert find_end(b"GET / HTTP/1.1\n\n") == -1


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""])
def test_a_head_of_the_limits_passes(end: bytes) -> None:
    line = b"GET / HTTP/1.1"

    assert find_end(b"X" * LONGEST_LINE + end) in (LONGEST_LINE, -1)
    assert find_end(b"\r\n".join([line, *[b"X: 1"] * MOST_HEADERS]) + end) in (len(line) + 6 * MOST_HEADERS, -1)


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""])
@pytest.mark.parametrize(
    "head",
    [
        b"X" * (LONGEST_LINE + 4),
        b"GET / HTTP/1.1\r\nX: " + b"x" * (LONGEST_LINE + 1),
        b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * (MOST_HEADERS + 2),
        (b"X: " + b"x" * 8_000 + b"\r\n") * 9,
        b"x" * (LONGEST_HEAD + 1),
    ],
    ids=["line", "header", "headers", "head", "one line"],
)
def test_a_head_beyond_the_limits_is_431_even_before_its_end(head: bytes, end: bytes) -> None:
    with pytest.raises(RefusedRequest) as refused:
        find_end(head + end)

    assert refused.value.response.status == 431


def test_one_header_more_than_the_limit_is_431() -> None:
    with pytest.raises(RefusedRequest):
        find_end(b"\r\n".join([b"GET / HTTP/1.1", *[b"X: 1"] * (MOST_HEADERS + 1)]) + b"\r\n\r\n")


def test_what_comes_behind_the_head_is_not_counted() -> None:
    assert find_end(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 100_000) == 14


def test_an_answer_is_written_with_length_and_type_and_closes() -> None:
    data = write_response(HttpResponse(200, b"hello", {"ETag": '"1"', "Content-Type": "text/css"}))

    head, _, body = data.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: text/css",
        b'ETag: "1"',
        b"Content-Length: 5",
        b"Connection: close",
    ]
    assert body == b"hello"


def test_head_gets_the_length_without_the_body() -> None:
    data = write_response(HttpResponse(200, b"hello"), with_body=False)

    assert b"Content-Length: 5\r\n" in data
    assert data.endswith(b"\r\n\r\n")


def test_an_answer_that_nothing_has_changed_has_no_length() -> None:
    assert b"Content-Length" not in write_response(HttpResponse(304))


def test_a_refusal_is_one_line() -> None:
    assert refusal(503, "come later", Retry_After="5") == HttpResponse(503, b"come later\n", {"Retry_After": "5"})


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused_and_nothing_else(head: bytes) -> None:
    for data in (head, b"GET / HTTP/1.1\r\nHost: x\r\n" + head, b"GET /" + head + b" HTTP/1.1\r\nHost: x"):
        try:
            find_end(data)
            status = 200 if read_opening(data, "").subprotocol.isascii() else 500
        except RefusedRequest as refused:
            status = refused.response.status
        assert status in (200, 400, 405, 426, 431)
