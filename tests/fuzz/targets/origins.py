"""Which pages may connect: what is allowed has the same scheme, host and port, or fits a pattern literally.

An input has lines: Origin, Host, and a pattern in each further line.
"""

from __future__ import annotations

from fnmatch import translate
from re import DOTALL, compile
from urllib.parse import urlsplit

from tests.fuzz.engine import Target, lines_of, promise
from tests.fuzz.targets.handshake import HOST
from zephserver.origins import is_allowed

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
STARS = 2  # a pattern with more is matched in time, but the reference is not


def one_input(data: bytes) -> str:
    """Ask whether a page may connect."""
    origin, host, *rest = lines_of(data, 3)
    patterns = [pattern for pattern in rest[0].split("\n") if pattern and pattern.count("*") <= STARS]
    promise(is_allowed(None, host, patterns), "a client without Origin was refused")
    promise(is_allowed(origin, host, ["*"]), "'*' does not allow every page")
    same, fits = is_allowed(origin, host, None), is_allowed(origin, host, patterns)
    promise(not is_allowed(origin, host, ()), "allowed by no pattern")
    if same and HOST.fullmatch(host):  # no other one is let in
        scheme = origin.partition("://")[0]
        promise(_authority(origin) == _authority(f"{scheme}://{host}"), "another host", origin, host)
    if fits and "*" not in patterns:
        promise(any(_fits(origin, pattern) for pattern in patterns), "no pattern fits", origin, patterns)
        promise(not set(origin[origin.index("://") + 3 :]) & set("/?#@\\ "), "more than an origin", origin)
    return f"{'the same' if same else 'another'}, {'fits' if fits else 'does not fit'}"


def _authority(url: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(url)
    except ValueError:  # half an IPv6 address: nobody is there, but both say the same
        return url.partition("://")[2].lower(), None
    promise(parts.username is None, "a user in an origin", url)
    return parts.netloc.lower().removesuffix(f":{_PORTS.get(parts.scheme, '')}"), _PORTS.get(parts.scheme)


def _fits(origin: str, pattern: str) -> bool:
    """As the shell matches names, but only '*' is special."""
    plain = pattern.lower().replace("[", "[[]").replace("?", "[?]")
    return compile(translate(plain), DOTALL).match(origin.lower()) is not None


TARGET = Target(
    "origins",
    one_input,
    frozenset({"the same, fits", "the same, does not fit", "another, fits", "another, does not fit"}),
    (
        *(b"http://", b"https://", b"ws://", b"wss://", b"null", b"\n", b"example.com", b".example.com", b"*", b"*."),
        *(
            b":80",
            b":443",
            b":8080",
            b":",
            b"[::1]",
            b"[",
            b"]",
            b"@",
            b"/",
            b"\\",
            b"?",
            b"#",
            b" ",
            b"\t",
            b"\xa0",
            b"\xdf",
        ),
        *(b"https://*.example.com", b"https://*", b"https://*.example.com:*"),
    ),
    longest=512,
)
