"""Who is really at the other end, when a proxy stands between. Pure: no I/O, no clock."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network

X_FORWARDED_FOR, FORWARDED = "x-forwarded-for", "forwarded"  # the latter is RFC 7239

# One pair of a Forwarded header (RFC 7239, 4) and what follows it: a value may be quoted and hold anything then.
_PAIR = re.compile(r'\s*([^\s=;,"]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*([;,]|$)')


def client_address(
    peer: str, headers: Mapping[str, str], trusted: Sequence[Network | str], header: str = X_FORWARDED_FOR
) -> str:
    """The address of the client: the peer's, unless the peer is a trusted proxy that names another.

    Only *header* is read, the one that the proxies write: another would be as its client wrote it. Proxies append, so
    the list is read from its end, and the first address that is not a trusted proxy is the client's: what a client
    itself put in front has no effect. A peer on a UNIX socket has the address '' and is trusted if 'unix' is.
    """
    if not _is_trusted(peer, trusted):
        return peer
    address = peer
    for hop in reversed(_hops(headers, header)):
        found = _address(hop)
        if found is None:
            break  # 'unknown', or nonsense: what stands before it cannot be believed
        address = found
        if not _is_trusted(found, trusted):
            break
    return address


def _hops(headers: Mapping[str, str], header: str) -> list[str]:
    value = headers.get(header, "")
    if header == FORWARDED:
        return _forwarded(value) if value else []
    return [hop.strip() for hop in value.split(",") if hop.strip()]


def _forwarded(value: str) -> list[str]:
    """What each proxy wrote as `for=`, '' where it wrote none; [''] when the header cannot be read."""
    hops = [""]
    position = 0
    while position < len(value):
        pair = _PAIR.match(value, position)
        if pair is None:
            return [""]
        if pair[1].lower() == "for":
            hops[-1] = pair[2] if pair[2] is not None else pair[3]
        if pair[4] == ",":
            hops.append("")
        position = pair.end()
    return hops


def _address(hop: str) -> str | None:
    """The IP address in '192.0.2.1', '192.0.2.1:80', '2001:db8::1' or '[2001:db8::1]:80'."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    parsed = _parse(hop) if "%" not in hop else None  # a zone means nothing on another machine
    return str(parsed) if parsed is not None else None


def _is_trusted(address: str, trusted: Sequence[Network | str]) -> bool:
    if not address:
        return "unix" in trusted
    parsed = _parse(address)
    return parsed is not None and any(not isinstance(network, str) and parsed in network for network in trusted)


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed  # ::ffff:192.0.2.1 is what a socket for both families says of 192.0.2.1
