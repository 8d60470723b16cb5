"""Which pages may connect."""

from __future__ import annotations

import pytest

from zephserver.origins import is_allowed


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://example.com", "example.com"),
        ("http://example.com", "example.com:80"),
        ("http://example.com:80", "example.com"),
        ("https://example.com", "example.com"),
        ("https://example.com", "example.com:443"),
        ("https://example.com:443", "example.com"),
        ("http://example.com:8080", "example.com:8080"),
        ("ws://example.com", "example.com:80"),
        ("wss://example.com", "example.com:443"),
        ("HTTP://EXAMPLE.com", "Example.COM"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]", "[::1]"),
        ("http://[::1]", "[::1]:80"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("app://local", "local"),
    ],
)
def test_a_page_of_the_same_host_and_port_may_connect(origin: str, host: str) -> None:
    assert is_allowed(origin, host, None)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.com", "example.com"),
        ("http://example.com.evil.com", "example.com"),
        ("http://evilexample.com", "example.com"),
        ("http://sub.example.com", "example.com"),
        ("http://example.com", "sub.example.com"),
        ("http://example.com:81", "example.com"),
        ("http://example.com", "example.com:8080"),
        ("https://example.com", "example.com:80"),
        ("http://example.com:443", "example.com"),
        ("http://[::1]", "[::2]"),
        ("http://[::1]:1", "[::1]:2"),
        ("http://[::1]:8080", "[::1]"),
        ("http://example.com", ""),
        ("app://local:1", "local"),
    ],
)
def test_a_page_of_another_host_or_port_may_not(origin: str, host: str) -> None:
    assert not is_allowed(origin, host, None)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "example.com",
        "//example.com",
        "http://",
        "http:/example.com",
        "http://example.com/",
        "http://example.com/path",
        "http://example.com?x",
        "http://example.com#x",
        "http://user@example.com",
        "http://example.com\\",
        "http://example.com http://example.com",
        "http://example.com\n",
        " http://example.com",
        "1http://example.com",
    ],
)
@pytest.mark.parametrize("allowed", [None, ["*.com"], ["http://*"], ["http*"], ["null"], [""]])
def test_what_is_not_an_origin_may_not_connect(origin: str, allowed: list[str] | None) -> None:
    assert not is_allowed(origin, "example.com", allowed)


@pytest.mark.parametrize("allowed", [None, [], ["https://example.com"], ["*"]])
def test_a_client_without_an_origin_is_no_browser_and_may_connect(allowed: list[str] | None) -> None:
    assert is_allowed(None, "example.com", allowed)


@pytest.mark.parametrize("origin", ["http://evil.com", "null", "", "garbage"])
def test_a_star_opens_the_door_to_every_page(origin: str) -> None:
    assert is_allowed(origin, "example.com", ["https://example.com", "*"])


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "https://a.example.org",
        "https://a.b.example.org",
        "http://dev:3000",
        "HTTPS://EXAMPLE.COM",
    ],
)
def test_a_page_that_matches_a_pattern_may_connect(origin: str) -> None:
    assert is_allowed(origin, "elsewhere.net", ["https://Example.com", "https://*.example.org", "http://dev:*"])


@pytest.mark.parametrize(
    "origin",
    [
        "http://example.com",
        "https://example.com:444",
        "https://example.com.evil.com",
        "https://evil.com",
        "https://evilexample.org",
        "https://example.org",
        "https://evil.com/.example.org",
        "https://evil.com#.example.org",
        "https://evil.com?.example.org",
        "https://evil.com\\.example.org",
        "https://evil.com@a.example.org",
        "https://a.example.org.evil.com",
    ],
)
def test_a_pattern_is_matched_whole_and_cannot_be_tricked(origin: str) -> None:
    assert not is_allowed(origin, "elsewhere.net", ["https://example.com", "https://*.example.org"])


def test_a_list_replaces_the_rule_of_the_same_host() -> None:
    assert not is_allowed("http://example.com", "example.com", ["https://other.net"])
    assert not is_allowed("http://example.com", "example.com", [])


def test_the_address_of_an_ipv6_host_may_stand_in_the_list() -> None:
    assert is_allowed("http://[::1]:8080", "elsewhere.net", ["http://[::1]:8080"])
    assert not is_allowed("http://1:8080", "elsewhere.net", ["http://[::1]:8080"])
