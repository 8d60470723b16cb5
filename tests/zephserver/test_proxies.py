"""Who is believed about the address of a client."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zephserver.proxies import client_address

PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"), "unix")
PROXY, CLIENT = "10.0.0.1", "192.0.2.7"


@pytest.mark.parametrize("peer", ["192.0.2.1", "::1", "", "nonsense"])
def test_a_peer_that_is_not_trusted_is_the_client(peer: str) -> None:
    headers = {"x-forwarded-for": CLIENT, "forwarded": f"for={CLIENT}"}

    assert client_address(peer, headers, (ip_network("10.0.0.0/8"),)) == peer
    assert client_address(peer, headers, ()) == peer


@pytest.mark.parametrize("peer", [PROXY, "10.255.0.1", "2001:db8::5", "::ffff:10.0.0.1", ""])
def test_a_trusted_proxy_names_the_client(peer: str) -> None:
    assert client_address(peer, {"x-forwarded-for": CLIENT}, PROXIES) == CLIENT
    assert client_address(peer, {"forwarded": f"for={CLIENT}"}, PROXIES, "forwarded") == CLIENT


def test_a_trusted_proxy_that_names_nobody_is_the_client() -> None:
    assert client_address(PROXY, {}, PROXIES) == PROXY
    assert client_address(PROXY, {"x-forwarded-for": ""}, PROXIES) == PROXY
    assert client_address(PROXY, {"forwarded": "proto=https"}, PROXIES, "forwarded") == PROXY


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        ("192.0.2.1, 192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 10.0.0.9", "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7, 10.0.0.9,10.0.0.8", "192.0.2.7"),
        ("10.0.0.9", "10.0.0.9"),
        ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
        ("192.0.2.7, unknown", PROXY),
        ("192.0.2.7, unknown, 10.0.0.9", "10.0.0.9"),
        ("nonsense", PROXY),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("2001:db9::7", "2001:db9::7"),
        ("[2001:db9::7]", "2001:db9::7"),
        ("[2001:db9::7]:4711", "2001:db9::7"),
        ("[2001:DB9:0::7]:4711", "2001:db9::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        (",, 192.0.2.7 ,", "192.0.2.7"),
    ],
)
def test_the_last_address_that_is_no_proxy_is_the_client(hops: str, client: str) -> None:
    assert client_address(PROXY, {"x-forwarded-for": hops}, PROXIES) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("for=192.0.2.7", "192.0.2.7"),
        ("For=192.0.2.7;proto=https;by=10.0.0.1", "192.0.2.7"),
        ("proto=https;for=192.0.2.7", "192.0.2.7"),
        ('for="192.0.2.7:4711"', "192.0.2.7"),
        ('for="[2001:db9::7]:4711"', "2001:db9::7"),
        ("for=6.6.6.6, for=192.0.2.7", "192.0.2.7"),
        ("for=6.6.6.6, for=192.0.2.7;by=x, for=10.0.0.9", "192.0.2.7"),
        ("for=192.0.2.7, for=unknown", PROXY),
        ("for=192.0.2.7, for=_hidden", PROXY),
        ('for=""', PROXY),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(forwarded: str, client: str) -> None:
    assert client_address(PROXY, {"forwarded": forwarded, "x-forwarded-for": "6.6.6.6"}, PROXIES, "forwarded") == client


@pytest.mark.parametrize(
    "trick", ['host="a;for=6.6.6.6"', 'host="a,for=6.6.6.6;"', "xfor=6.6.6.6", 'host="\\";for=6.6.6.6"']
)
def test_a_host_header_that_a_proxy_repeats_cannot_name_the_client(trick: str) -> None:
    assert client_address(PROXY, {"forwarded": f"for={CLIENT};{trick}"}, PROXIES, "forwarded") == CLIENT


@pytest.mark.parametrize(("read", "written"), [("x-forwarded-for", "forwarded"), ("forwarded", "x-forwarded-for")])
def test_only_the_header_that_the_proxies_write_is_read(read: str, written: str) -> None:
    assert (
        client_address(PROXY, {written: "for=6.6.6.6" if written == "forwarded" else "6.6.6.6"}, PROXIES, read) == PROXY
    )


@given(st.text(max_size=40), st.sampled_from(["x-forwarded-for", "forwarded"]))
def test_whatever_the_header_says_an_address_comes_out(text: str, name: str) -> None:
    assert client_address(PROXY, {name: text}, PROXIES, name)


@given(st.text(st.characters(exclude_characters='"'), max_size=40))
def test_what_a_client_puts_in_front_has_no_effect(text: str) -> None:
    assert client_address(PROXY, {"x-forwarded-for": f"{text}, {CLIENT}"}, PROXIES) == CLIENT
