"""Which web pages may connect: the Origin rule against cross-site WebSocket hijacking. Pure: no I/O, no clock."""

from __future__ import annotations

import re
from collections.abc import Sequence

# An origin is scheme, host and port and nothing else (RFC 6454, 7): what has more is not an origin.
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/\s?#@\\]+)")
_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}


def is_allowed(origin: str | None, host: str, allowed: Sequence[str] | None) -> bool:
    """Whether a page of *origin* may connect to *host* (the Host header).

    Without *allowed* the page must come from the same host and port. Patterns such as 'https://*.example.com' are
    matched whole; '*' allows every page. A client without an Origin header is not a browser and may connect.
    """
    if origin is None or (allowed is not None and "*" in allowed):
        return True
    origin = origin.lower()
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return False
    if allowed is not None:
        return any(_matches(origin, pattern.lower()) for pattern in allowed)
    default = _PORTS.get(found[1], "")
    return _with_port(found[2], default) == _with_port(host.lower(), default)


def _matches(origin: str, pattern: str) -> bool:
    """Only '*' is special: the brackets of an IPv6 address are meant as they stand."""
    first, *pieces = pattern.split("*")
    if not pieces:
        return origin == pattern
    last = pieces.pop()
    at, end = len(first), len(origin) - len(last)
    if not origin.startswith(first) or not origin.endswith(last):
        return False
    for piece in pieces:  # the first place is as good as any: no backtracking, which an origin of 8 KiB could make long
        at = origin.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return at <= end


def _with_port(host: str, default: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):  # no port, or the end of an IPv6 address in brackets
        return host, default
    return name, port
