"""Who the client is: only a trusted proxy is believed, and what a client wrote itself never counts.

An input has three lines: the peer's address, Forwarded, and X-Forwarded-For; an empty header is missing.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from tests.fuzz.engine import Target, lines_of, promise
from zephserver.proxies import client_address

TRUSTED = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("::1"), ip_network("fd00::/8"), "unix")
CLIENT = "203.0.113.7"
_NETWORKS = [network for network in TRUSTED if not isinstance(network, str)]


def one_input(data: bytes) -> str:
    """Ask for the client behind these headers."""
    peer, forwarded, x_forwarded_for = (line.strip("\r") for line in lines_of(data, 3))
    if peer and _parse(peer) is None:
        return "no peer"  # a socket says an address, or nothing
    headers = {"forwarded": forwarded, "x-forwarded-for": x_forwarded_for}
    headers = {name: value for name, value in headers.items() if value}
    header = "forwarded" if forwarded else "x-forwarded-for"
    found = client_address(peer, headers, TRUSTED, header)
    promise(client_address(peer, headers, ()) == peer, "believed without trust")
    if peer and not _is_trusted(peer):
        promise(found == peer, "a peer that is not trusted was believed", found)
        return "not trusted"
    promise(found == peer or found == str(ip_address(found)), "not an address", found)
    promise(found == peer or "%" not in found, "an address with a zone, which means nothing elsewhere", found)
    text = forwarded or x_forwarded_for
    if found != peer:
        promise(_is_named(found, text), "an address that nobody named", found, text)
    outcome = f"{'Forwarded' if forwarded else 'X-Forwarded-For'}, {_which(found, peer)}"
    _check_that_the_last_word_counts(peer, forwarded, x_forwarded_for)
    return outcome


def _check_that_the_last_word_counts(peer: str, forwarded: str, x_forwarded_for: str) -> None:
    """A proxy in front appends the client's address to whatever the client sent."""
    appended = client_address(peer, {"x-forwarded-for": f"{x_forwarded_for}, {CLIENT}"}, TRUSTED)
    promise(appended == CLIENT, "X-Forwarded-For of a client was believed", appended)
    for words in (f"for={CLIENT}", f'for="{CLIENT}:4711";proto=https', f'proto=https;by=10.0.0.1;For="{CLIENT}"'):
        appended = client_address(peer, {"forwarded": f"{forwarded}, {words}"}, TRUSTED, "forwarded")
        promise(appended in (CLIENT, peer), "Forwarded of a client was believed", appended, words)


def _which(found: str, peer: str) -> str:
    if found == peer:
        return "the peer"
    return f"a proxy, IPv{ip_address(found).version}" if _is_trusted(found) else f"IPv{ip_address(found).version}"


def _is_named(address: str, text: str) -> bool:
    """Whether some piece of the text is this address, however it is written."""
    for separator in ',;= "':
        text = text.replace(separator, "\n")
    pieces = [piece.strip() for piece in text.split("\n")]
    pieces += [piece.lstrip("[").partition("]")[0] for piece in pieces]
    pieces += [piece.rpartition(":")[0] for piece in pieces]
    return any(str(parsed) == address for parsed in map(_parse, pieces) if parsed is not None)


def _is_trusted(address: str) -> bool:
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in _NETWORKS)


def _parse(text: str) -> object:
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


TARGET = Target(
    "proxies",
    one_input,
    frozenset(
        {
            "no peer",
            "not trusted",
            "Forwarded, IPv4",
            "Forwarded, IPv6",
            "Forwarded, the peer",
            "Forwarded, a proxy, IPv4",
            "X-Forwarded-For, IPv4",
            "X-Forwarded-For, IPv6",
            "X-Forwarded-For, the peer",
            "X-Forwarded-For, a proxy, IPv6",
        }
    ),
    (
        *(
            b"127.0.0.1\n",
            b"10.1.2.3",
            b"203.0.113.9",
            b"2001:db8::1",
            b"[2001:db8::1]:80",
            b"::ffff:192.0.2.1",
            b"fd00::1",
        ),
        *(b"for=", b"For=", b'for="', b"for=unknown", b"for=_hidden", b";proto=https", b";by=", b"host=a", b'"', b"\\"),
        *(
            b",",
            b", ",
            b";",
            b"=",
            b":80",
            b"[",
            b"]",
            b"%eth0",
            b"\n",
            b"unknown",
            b"0x7f.1",
            b"127.1",
            b"\xa0",
            b"\t",
        ),
    ),
    longest=1_024,
)
