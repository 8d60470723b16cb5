"""What a session manager reads in a handshake."""

from __future__ import annotations

import pytest

from zephserver.engines.interface import Address, Handshake, HttpResponse


def cookies_of(header: str) -> dict[str, str]:
    """The cookies of a handshake with this header."""
    return Handshake("/ws", {"cookie": header}).cookies


def test_a_handshake_without_a_cookie_has_none() -> None:
    assert Handshake("/ws", {}).cookies == {}
    assert cookies_of("") == {}


def test_the_cookies_of_a_browser_are_found_by_name() -> None:
    assert cookies_of("csrftoken=a-b_c; sessionid=x1y2") == {"csrftoken": "a-b_c", "sessionid": "x1y2"}
    assert cookies_of('theme="dark"') == {"theme": "dark"}


@pytest.mark.parametrize("header", ["sessionid", ";;;", "=", "a[b]=1", "a/b=1", "\x00"])
def test_cookies_that_cannot_be_read_are_none(header: str) -> None:
    assert "sessionid" not in cookies_of(header)


@pytest.mark.parametrize(
    "neighbour",
    ['settings={"a":1}', "a[b]=1", "name=ann smith", "é=1", "flag", "expires=1", "=1", "a/b=1"],
)
def test_a_strange_cookie_of_another_program_does_not_hide_the_session(neighbour: str) -> None:
    assert cookies_of(f"{neighbour}; sessionid=x1y2").get("sessionid") == "x1y2"
    assert cookies_of(f"sessionid=x1y2; {neighbour}").get("sessionid") == "x1y2"


def test_each_answer_has_headers_of_its_own() -> None:
    HttpResponse(200).headers["X"] = "1"

    assert HttpResponse(200).headers == {}


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (Address("127.0.0.1", 80), "http://127.0.0.1:80/"),
        (Address("127.0.0.1", 443, is_secure=True), "https://127.0.0.1:443/"),
        (Address("::1", 8080), "http://[::1]:8080/"),
        (Address("/run/zeph.sock", None), "unix:/run/zeph.sock"),
    ],
)
def test_an_address_is_written_as_a_person_types_it(address: Address, url: str) -> None:
    assert address.url == url
