"""What fuzzing found, one test each, so that it stays mended."""

from __future__ import annotations

import time
from ipaddress import ip_network

import pytest

from zephserver.core import wire
from zephserver.core.errors import BadRequest
from zephserver.engines.deflate import InflateError, inflate, negotiate
from zephserver.engines.handshake import Opening, RefusedRequest, read_opening
from zephserver.origins import is_allowed
from zephserver.proxies import client_address

UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def read(*headers: str, line: str = "GET /ws HTTP/1.1", host: str = "example.com") -> Opening:
    """Read a request with these headers."""
    return read_opening("\r\n".join([line, f"Host: {host}", *headers]).encode("latin-1"), "192.0.2.1")


def status_of(*headers: str, **more: str) -> int:
    """How a request is refused."""
    with pytest.raises(RefusedRequest) as refused:
        read(*headers, **more)
    return refused.value.response.status


# -- the handshake ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["a b", "a/b", "user@example.com", "a:b", "[::1", 'a"', "\xe9", "a%2", ":80"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    assert status_of(host=host) == 400  # RFC 9112, 3.2


@pytest.mark.parametrize(
    "host", ["example.com", "a_b:8080", "[2001:db8::1]:80", "192.0.2.1", "xn--bcher-kva.de:", "a%20b"]
)
def test_a_host_that_is_one_is_read(host: str) -> None:
    assert read(host=host).handshake.headers["host"] == host


def test_a_request_to_a_user_at_a_host_is_refused() -> None:
    assert status_of(line="GET http://user@example.com/ws HTTP/1.1") == 400  # RFC 9110, 4.2.4


@pytest.mark.parametrize("header", ["Transfer-Encoding:", "Transfer-Encoding: \t", "Content-Length:"])
def test_an_empty_header_about_a_body_is_refused(header: str) -> None:
    assert status_of(header) == 400  # a proxy may see a body there


@pytest.mark.parametrize("space", ["\xa0", "\x85"])
def test_only_blanks_and_tabs_stand_around_a_word(space: str) -> None:
    assert not read(*UPGRADE[1:], f"Upgrade: {space}websocket").is_upgrade
    assert status_of(UPGRADE[0], *UPGRADE[2:], f"Connection: Upgrade{space}") == 400
    assert read(*UPGRADE, f"Sec-WebSocket-Protocol: {space}chat").subprotocol == ""


@pytest.mark.parametrize("word", ["voilà", "Å", "æ…"])
def test_a_cookie_in_utf_8_keeps_its_last_letter(word: str) -> None:
    opening = read(f"Cookie: a={word.encode().decode('latin-1')}; b=c")

    assert opening.handshake.cookies["a"].encode("latin-1").decode() == word


# -- compression ------------------------------------------------------------------------------------------------------


def test_what_is_put_behind_a_message_is_no_part_of_it() -> None:
    stored_block_of_nine_bytes_that_are_not_there = b"\x01\x09\x00\xf6\xff"

    with pytest.raises(InflateError):
        inflate(stored_block_of_nine_bytes_that_are_not_there, 100)


def test_a_list_of_extensions_that_is_ten_times_as_long_takes_ten_times_as_long() -> None:
    def seconds(length: int) -> float:
        begin = time.thread_time()
        assert negotiate('"' + "," * length + '"') is None
        return time.thread_time() - begin

    short, long = (min(seconds(length) for _ in range(5)) for length in (6_500, 65_000))

    assert long < 40 * short  # it was a hundred times


# -- who may connect --------------------------------------------------------------------------------------------------


def test_a_pattern_with_many_stars_is_matched_in_no_time() -> None:
    begin = time.thread_time()

    assert not is_allowed("https://" + "." * 700, "example.com", ["https://*.*.*.example.com"])

    assert time.thread_time() - begin < 0.1


@pytest.mark.parametrize(
    ("pattern", "origin", "fits"),
    [
        ("https://*.*.example.com", "https://a.b.example.com", True),
        ("https://*.*.example.com", "https://a.example.com", False),
        ("https://*.example.com:*", "https://a.example.com:99", True),
        ("https://a*a", "https://a", False),
        ("https://a*a", "https://aa", True),
        ("https://*ab*b", "https://ab", False),
        ("https://*ab*b", "https://abab", True),
    ],
)
def test_a_pattern_with_stars_is_matched_whole(pattern: str, origin: str, fits: bool) -> None:
    assert is_allowed(origin, "elsewhere.net", [pattern]) is fits


@pytest.mark.parametrize("hop", ["fe80::1%eth0", "[2001:db8::1%\x1b[31m]", "2001:db8::1%25x y"])
def test_an_address_has_no_zone_that_somebody_wrote_into_a_header(hop: str) -> None:
    found = client_address("127.0.0.1", {"x-forwarded-for": hop}, [ip_network("127.0.0.0/8")])

    assert found == "127.0.0.1"


# -- the control socket -----------------------------------------------------------------------------------------------


def test_true_is_no_id() -> None:
    with pytest.raises(BadRequest, match="number or a text"):
        wire.parse_request(b'{"command": "status", "id": true}')


HARM = "\x1b]0;owned\x07 \x1b[2J \r \x85 \u2028 \u202e"  # as a client may name its room


@pytest.mark.parametrize("value", [[{"name": HARM}], [HARM], {"name": HARM}, {HARM: 1}, {"text": HARM}, HARM], ids=repr)
def test_a_plain_answer_says_nothing_to_the_terminal(value: object) -> None:
    text = wire.plain_text(value).decode()

    assert text.replace("\n", "").replace("\t", "").isprintable()
    assert "owned" in text


def test_a_plain_error_says_nothing_to_the_terminal() -> None:
    assert wire.plain_error(BadRequest(HARM)).decode().removesuffix("\n").isprintable()
