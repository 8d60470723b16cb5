"""Where the broker of a cluster is: the URLs of CLUSTER_ENGINE. Pure: no I/O, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

MESH = "mesh"
LONGEST_NODE = 255  # characters of the name of a server
PORTS = {"nats": 4222, "tls": 4222, "redis": 6379, "rediss": 6379, "unix": None}
NATS = ("nats", "tls")
SHORTEST = 4  # characters; to star what is shorter would make a log unreadable
EXAMPLE = "'mesh', or a URL such as 'nats://user:password@host:4222' or 'redis://host:6379/0'"

_CREDENTIALS = re.compile(r"//[^/?#,]*@")


@dataclass(frozen=True, slots=True)
class Address:
    """One broker."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""  # of a UNIX socket
    database: int = 0  # of Redis
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def is_tls(self) -> bool:
        """Whether what goes there is encrypted."""
        return self.scheme in ("tls", "rediss")

    def __str__(self) -> str:
        """As it may be shown: without user and password."""
        if self.scheme == "unix":
            return f"unix://{self.path}"
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse(text: str) -> tuple[Address, ...]:
    """The brokers that CLUSTER_ENGINE names. Raises ValueError without what stood in it, which may be a password."""
    addresses = tuple(_address(part.strip()) for part in text.split(","))
    schemes = {address.scheme for address in addresses}
    if len(addresses) > 1 and not schemes <= set(NATS):
        raise ValueError("expected one URL; several, with commas, are for nats:// and tls:// only")
    if len(schemes) > 1:
        raise ValueError("expected nats:// or tls:// for all of the URLs, not both")
    return addresses


def shown(text: str) -> str:
    """A value of CLUSTER_ENGINE with its users and passwords starred."""
    return _CREDENTIALS.sub("//***@", text)


def secrets_of(text: str) -> list[str]:
    """What in a value of CLUSTER_ENGINE nobody may see: passwords and tokens, as they stand there and as they are."""
    found: list[str] = []
    for credentials in _CREDENTIALS.findall(text):
        user, colon, password = credentials[2:-1].partition(":")
        secret = password if colon else user  # nats://token@host
        found += [part for part in dict.fromkeys((secret, unquote(secret))) if len(part) >= SHORTEST]
    return found


def _address(url: str) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"expected {EXAMPLE}; host or port of the URL are none") from None
    if parts.scheme not in PORTS:
        raise ValueError(f"expected {EXAMPLE}")
    if parts.query or parts.fragment:
        raise ValueError("expected a URL without '?' and '#'; in a password write them as %3F and %23")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password is not None else None
    if parts.scheme == "unix":
        if not parts.path.startswith("/") or parts.path == "/" or parts.hostname:
            raise ValueError("expected the path of Redis' socket, as in 'unix:///run/redis/redis.sock'")
        return Address("unix", path=unquote(parts.path), user=user, password=password)
    if not parts.hostname:
        raise ValueError(f"expected {EXAMPLE}; the URL names no host")
    default = PORTS[parts.scheme]
    assert default is not None
    database = parts.path.removeprefix("/")
    if database and (parts.scheme in NATS or not re.fullmatch(r"[0-9]{1,6}", database)):
        raise ValueError("expected nothing behind the port, or for Redis the number of a database, as in '/0'")
    return Address(parts.scheme, parts.hostname, port or default, "", int(database or 0), user, password)
