"""The opening HTTP request: read strictly, answered in one line. Pure: no I/O, no clock.

RFC 9112 says how a request looks, RFC 6455 section 4.2 what makes it a WebSocket handshake. Where a lenient parser
and a proxy could read a request differently (bare LF, folded lines, odd characters, two lengths), it is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from http import HTTPStatus

from zephserver.engines.interface import Handshake, HttpResponse

LONGEST_LINE = 8_192  # bytes
MOST_HEADERS = 128
LONGEST_HEAD = 65_536  # bytes of the whole request

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ABSOLUTE = re.compile(rb"https?://([^/?#\x00-\x20\x7f-\xff]+)([\x21-\x7e]*)", re.IGNORECASE)
_TARGET = re.compile(rb"/[\x21-\x7e]*")
_NO_LENGTH = re.compile("0+")
# RFC 3986, 3.2.2 and 3.2.3, without user information.
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9_.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
# Repeated headers are joined with a comma (RFC 9110, 5.3), cookies with a semicolon; these must not be repeated.
_ONCE = frozenset({"host", "origin", "content-length", "sec-websocket-key", "sec-websocket-version"})


class RefusedRequest(Exception):
    """The request is not served; `response` says so to the peer."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.response = refusal(status, why, **{name.replace("_", "-"): value for name, value in headers.items()})


@dataclass(frozen=True, slots=True)
class Opening:
    """A request that was read: what the server decides about, and what the engine needs to know."""

    handshake: Handshake
    method: str
    key: str = ""  # Sec-WebSocket-Key of an upgrade, '' for a plain request

    @property
    def subprotocol(self) -> str:
        """What goes back as Sec-WebSocket-Protocol, or some browsers hang up: the first one offered; or ''."""
        first = self.handshake.headers.get("sec-websocket-protocol", "").partition(",")[0].strip(" \t")
        return first if _TOKEN.fullmatch(first.encode("latin-1")) else ""

    @property
    def is_upgrade(self) -> bool:
        """Whether the peer wants a WebSocket."""
        return bool(self.key)


def refusal(status: int, why: str, **headers: str) -> HttpResponse:
    """An answer of one line."""
    return HttpResponse(status, f"{why}\n".encode(), dict(headers))


def find_end(data: bytes | bytearray) -> int:
    """Where the head of the request ends, -1 when more is needed. Raises RefusedRequest when it is already too long."""
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    slack = 3 if end < 0 else 0  # of the empty line that ends the head, three bytes may be there
    if head.count(b"\r\n") > MOST_HEADERS + (end < 0):
        raise RefusedRequest(431, f"a request has at most {MOST_HEADERS} headers")
    if len(head) > LONGEST_HEAD + slack:
        raise RefusedRequest(431, f"a request has at most {LONGEST_HEAD} bytes")
    if len(head) > LONGEST_LINE and max(map(len, head.split(b"\r\n"))) > LONGEST_LINE + slack:
        raise RefusedRequest(431, f"a line of the request has at most {LONGEST_LINE} bytes")
    return end


def read_opening(head: bytes, address: str) -> Opening:
    """Read a request without its closing empty line. Raises RefusedRequest."""
    line, *fields = head.split(b"\r\n")
    words = line.split(b" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]):
        raise RefusedRequest(400, "not an HTTP request")
    method, target, version = words
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise RefusedRequest(400, "HTTP/1.1 is spoken here")
    if method not in (b"GET", b"HEAD"):
        raise RefusedRequest(405, "only GET and HEAD are answered here", Allow="GET, HEAD")
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:  # as proxies write it; its host counts, not that of the header (RFC 9112, 3.2.2)
        target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    if not _TARGET.fullmatch(target):
        raise RefusedRequest(400, "the path of the request is not a path")
    headers = _read_headers(fields)
    if "transfer-encoding" in headers or not _NO_LENGTH.fullmatch(headers.get("content-length", "0")):
        raise RefusedRequest(400, "a request here has no body")
    if version == b"HTTP/1.1" and not headers.get("host"):
        raise RefusedRequest(400, "the Host header is missing")
    if absolute is not None:
        headers["host"] = absolute[1].decode("ascii")
    if "host" in headers and not _HOST.fullmatch(headers["host"]):  # RFC 9112, 3.2
        raise RefusedRequest(400, "the Host header is not a host")
    handshake = Handshake(target.decode("ascii"), headers, address)
    wants_upgrade = "websocket" in _words(headers.get("upgrade", ""))
    key = _read_key(headers, method, version) if wants_upgrade else ""
    return Opening(handshake, method.decode("ascii"), key)


def write_response(response: HttpResponse, *, with_body: bool = True) -> bytes:
    """The bytes of an answer, after which the connection is closed. HEAD gets it without the body."""
    headers = {"Content-Type": "text/plain; charset=utf-8", **response.headers}
    # RFC 9110, 7.8: whoever sends Upgrade names it in Connection too.
    headers |= {
        "Content-Length": str(len(response.body)),
        "Connection": "close, Upgrade" if "Upgrade" in headers else "close",
    }
    if response.status == HTTPStatus.NOT_MODIFIED:  # RFC 9110, 15.4.5: no content, and no length of any
        del headers["Content-Length"]
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (response.body if with_body else b"")


def _read_headers(fields: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in fields:
        raw_name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _TOKEN.fullmatch(raw_name) or not _VALUE.fullmatch(value):
            raise RefusedRequest(400, "a header of the request is malformed")
        name = raw_name.decode("ascii").lower()
        text = value.decode("latin-1")
        if name not in headers:
            headers[name] = text
        elif name in _ONCE:
            raise RefusedRequest(400, f"the header {name} is there twice")
        else:
            headers[name] += ("; " if name == "cookie" else ", ") + text
    return headers


def _read_key(headers: dict[str, str], method: bytes, version: bytes) -> str:
    """The key of a handshake that is one (RFC 6455, 4.2.1)."""
    if method != b"GET" or version != b"HTTP/1.1" or "upgrade" not in _words(headers.get("connection", "")):
        raise RefusedRequest(400, "not a WebSocket handshake: GET, HTTP/1.1 and Connection: Upgrade are needed")
    if headers.get("sec-websocket-version") != "13":
        raise RefusedRequest(
            426, "WebSocket version 13 is spoken here", Upgrade="websocket", Sec_WebSocket_Version="13"
        )
    key = headers.get("sec-websocket-key", "")
    try:
        length = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        length = 0
    if length != 16:
        raise RefusedRequest(400, "the Sec-WebSocket-Key is not 16 bytes in base64")
    return key


def _words(value: str) -> list[str]:
    return [word.strip(" \t").lower() for word in value.split(",")]
