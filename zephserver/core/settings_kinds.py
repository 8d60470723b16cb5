"""What a value in the settings may look like: one function a kind. Pure: no I/O, no clock.

Each takes the value as it stands in the file and returns it as the program uses it, or raises ValueError with what was
expected, as in "expected a level such as 'INFO'".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar

from zephserver.core.cluster import address
from zephserver.core.lifecycle import Restart
from zephserver.core.service import ServicePath

T = TypeVar("T")

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# sun_path of sockaddr_un is 108 bytes with the closing NUL on Linux, 104 on macOS.
SOCKET_PATH_BYTES = 107
SHORTEST_SECRET = 32  # characters: RFC 7518, 3.2 wants a key as long as the hash, 32 bytes
LONGEST_TIME = 1e9  # seconds; a thread can wait for nine times that


def a_level(value: object) -> str:
    """A logging level by name."""
    if isinstance(value, str) and value.upper() in LEVELS:
        return value.upper()
    if isinstance(value, int) and logging.getLevelName(value) in LEVELS:
        return str(logging.getLevelName(value))
    raise ValueError("expected a level such as 'INFO'")


def a_text(value: object) -> str:
    """Text, not empty."""
    if isinstance(value, str) and value and "\0" not in value:
        return value
    raise ValueError("expected text")


def a_path(value: object) -> Path:
    """A path of a file; relative ones are taken from the folder of the settings file."""
    text = str(value) if isinstance(value, Path) else value
    return Path(_expected(a_text, text, "the path of a file"))


def a_log_path(value: object) -> Path | str:
    """A path, or '-' for stderr."""
    return "-" if value == "-" else a_path(value)


def a_socket(value: object) -> Path:
    """The path of a UNIX socket. A TCP address is refused with the reason."""
    if isinstance(value, (tuple, list)) or (isinstance(value, str) and re.fullmatch(r"[\w.\[\]:-]*:\d+", value)):
        raise ValueError(
            "expected the path of a UNIX socket; TCP is refused because any user and any web page of the machine "
            "can connect to a port, and only a socket file has an owner"
        )
    return a_path(_expected(a_path, value, "the path of a UNIX socket"))


def a_flag(value: object) -> bool:
    """True or False, and nothing that merely looks like it."""
    if isinstance(value, bool):
        return value
    raise ValueError("expected True or False")


def a_count(value: object) -> int:
    """A whole number, 1 or more."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError("expected a whole number, 1 or more")


def a_count_or_zero(value: object) -> int:
    """A whole number, 0 or more."""
    if value == 0 and not isinstance(value, bool):
        return 0
    return _expected(a_count, value, "a whole number, 0 or more")


def seconds(value: object) -> float:
    """A time-out in seconds, more than 0."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= LONGEST_TIME:
        return float(value)
    raise ValueError("expected a number of seconds, more than 0")


def seconds_or_zero(value: object) -> float:
    """A pause in seconds, 0 for none."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    return _expected(seconds, value, "a number of seconds, 0 or more")


def a_port(value: object) -> int:
    """A TCP port; 0 picks a free one."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
        return value
    raise ValueError("expected a port from 0 to 65535")


def a_service(value: object) -> str:
    """'path.to.module/ClassName'."""
    ServicePath.parse(value)
    return str(value)


def services(value: object) -> tuple[str, ...]:
    """A list of services, none of them twice."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("expected a list of 'path.to.module/ClassName'")
    names = [a_service(name) for name in value]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected each service once; {', '.join(twice)} is there twice")
    return tuple(names)


def tasks(value: object) -> dict[str, str]:
    """Task name -> 'path.to.module/ClassName'."""
    if not isinstance(value, dict):
        raise ValueError("expected a dict of task name -> 'path.to.module/ClassName'")
    for name, path in value.items():
        if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 255:
            raise ValueError(f"expected the name of a task, printable and of 1 to 255 characters, got {name!r}")
        try:
            a_service(path)
        except ValueError as error:
            raise ValueError(f"task {name!r}: {error}") from None
    return dict(value)


def texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) and v for v in value):
        raise ValueError("expected a list of texts")
    return tuple(value)


def a_rate(value: object) -> tuple[float, float]:
    """(messages a second, burst)."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        rate, burst = (seconds_like(v) for v in value)
        if burst >= 1:
            return rate, burst
    raise ValueError("expected (messages a second, burst), as in (100, 200)")


def seconds_like(value: object) -> float:
    """A number more than 0."""
    return _expected(seconds, value, "a number more than 0")


def histories(value: object) -> dict[str, tuple[int, float]]:
    """Pattern of rooms -> (messages, seconds)."""
    if not isinstance(value, dict):
        raise ValueError("expected a dict of pattern -> (messages, seconds), as in {'chat-*': (100, 300)}")
    parsed = {}
    for pattern, kept in value.items():
        try:
            most, keep = kept
            parsed[a_text(pattern)] = (a_count(most), seconds(keep))
        except (TypeError, ValueError):
            raise ValueError(f"{pattern!r}: expected (messages, seconds), as in (100, 300), got {kept!r}") from None
    return parsed


def a_secret(value: object) -> str:
    """A key for signatures."""
    text = _expected(a_text, value, "text of 32 characters or more; make one with: openssl rand -hex 32")
    if len(text) < SHORTEST_SECRET:
        raise ValueError("expected 32 characters or more; make a secret with: openssl rand -hex 32")
    return text


def nodes(value: object) -> tuple[dict[str, Any], ...]:
    """The servers of the cluster, {'hostname', 'address', 'port'} each."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("expected a list of {'hostname': ..., 'address': ..., 'port': ...}")
    keys = {"hostname", "address", "port"}
    for node in value:
        if not isinstance(node, dict) or set(node) != keys:
            raise ValueError(f"expected {{'hostname': ..., 'address': ..., 'port': ...}}, got {node!r}")
        a_text(node["hostname"])
        a_text(node["address"])
        a_port(node["port"])
    names = [node["hostname"] for node in value]
    if len(set(names)) < len(names):
        raise ValueError("expected each hostname once")
    owners: dict[tuple[str, int], str] = {}
    for node in value:
        place = node["address"], 0 if node["address"].startswith("unix:") else node["port"]
        owner = owners.setdefault(place, node["hostname"])
        if owner != node["hostname"]:
            raise ValueError(
                f"expected each address and port once, got the same for {owner!r} and {node['hostname']!r}"
            )
    return tuple(dict(node) for node in value)


def an_engine(value: object) -> str:
    """How a cluster is joined: 'mesh', or the URL of a broker. What is wrong is told without the value."""
    text = _expected(a_text, value, address.EXAMPLE)
    if text != address.MESH:
        address.parse(text)
    return text


def a_token(value: object) -> str:
    """A short name of letters and digits, which every broker takes."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        return value
    raise ValueError("expected 1 to 64 of A-Z, a-z, 0-9, _ and -")


def a_host(value: object) -> str:
    """An address to listen on, a host name, or 'unix:PATH'."""
    text = _expected(a_text, value, "an address such as '127.0.0.1', or 'unix:PATH'")
    if text == "unix:" or any(c.isspace() for c in text):
        raise ValueError("expected an address such as '127.0.0.1', or 'unix:PATH'")
    return text


def proxies(value: object) -> tuple[IPv4Network | IPv6Network | str, ...]:
    """Addresses and networks of proxies, and 'unix' for whoever connects to our UNIX socket."""
    try:
        return tuple(text if text == "unix" else ip_network(text) for text in texts(value))
    except ValueError as error:
        raise ValueError(f"expected a list of addresses, networks and 'unix': {error}") from None


def options(value: object) -> dict[str, dict[str, Any]]:
    """SERVICE_OPTIONS: service path -> options, whose keys stand in OPTIONS."""
    if not isinstance(value, dict):
        raise ValueError("expected a dict of service path -> options")
    return {a_service(name): _options_of(name, given) for name, given in value.items()}


def one_of(*words: str) -> Callable[[object], str]:
    """One of a few words."""

    def kind(value: object) -> str:
        if value in words:
            return str(value)
        raise ValueError(f"expected {' or '.join(repr(str(word)) for word in words)}")

    return kind


def optional(kind: Callable[[object], Any]) -> Callable[[object], Any]:
    """None, or what *kind* takes."""

    def or_none(value: object) -> Any:
        return None if value is None else kind(value)

    return or_none


OPTIONS: dict[str, Callable[[object], Any]] = {
    "restart": one_of(*Restart),
    "requires": services,
    "essential": a_flag,
    "start_timeout": seconds,
    "stop_timeout": seconds,
    "restart_delay": seconds,
    "restart_max_delay": seconds,
    "restart_intensity": a_count_or_zero,
    "restart_period": seconds,
}


def _options_of(name: str, given: object) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(f"{name}: expected a dict of options")
    parsed = {}
    for key, value in given.items():
        if key not in OPTIONS:
            raise ValueError(f"{name}: no option {key!r}; there are {', '.join(OPTIONS)}")
        try:
            parsed[key] = OPTIONS[key](value)
        except ValueError as error:
            raise ValueError(f"{name}: {key}: {error}") from None
    return parsed


def _expected(kind: Callable[[object], T], value: object, what: str) -> T:
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"expected {what}") from None
