"""The opening request: ours beside http.server, which reads any request, and websockets, which reads handshakes."""

from __future__ import annotations

import io
import re
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import InvalidHandshake, InvalidHeaderFormat
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from tests.fuzz.engine import Target, promise
from zephserver.engines.handshake import Opening, RefusedRequest, find_end, read_opening, write_response

END = b"\r\n\r\n"
STATUSES = {400, 405, 426, 431}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_TEXT = re.compile(r"(?![\t ])[\t\x20-\x7e\x80-\xff]*")
# RFC 3986, 3.2.2 and 3.2.3, without user information (RFC 9110, 4.2.4) and with a name (RFC 9112, 3.2).
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?", re.ASCII)
_HTTP_SERVER_HEADERS = 99


class StandardRequest(BaseHTTPRequestHandler):
    """A request as the standard library reads it, without a socket."""

    def __init__(self, head: bytes) -> None:
        self.rfile, self.wfile = io.BytesIO(head + END), io.BytesIO()  # type: ignore[assignment]
        self.raw_requestline = self.rfile.readline(65_537)
        self.refused = ""
        if not self.parse_request() and not self.refused:
            self.refused = "not a request"

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Note the refusal."""
        self.refused = f"{code} {message} {explain}"

    def lines(self) -> list[tuple[str, str]]:
        """Names in lower case, and values without the white space around them."""
        return [(name.lower(), value.strip(" \t")) for name, value in self.headers.raw_items()]


def one_input(data: bytes) -> str:
    """Read a request as it comes from a socket."""
    try:
        end = find_end(data)
    except RefusedRequest as refused:
        _check_refusal(refused)
        _check_pieces(data, None)
        return str(refused)
    _check_pieces(data, end)
    if end < 0:
        return "more is needed"
    head = data[:end]
    try:
        opening = read_opening(head, "192.0.2.1")
    except RefusedRequest as refused:
        _check_refusal(refused)
        return str(refused)
    _check_form(opening)
    _check_with_http_server(opening, head)
    if opening.is_upgrade:
        _check_with_websockets(opening, head)
    protocol = "with a subprotocol" if opening.subprotocol else "without one"
    return f"{'upgrade' if opening.is_upgrade else opening.method}, {protocol}"


def _check_refusal(refused: RefusedRequest) -> None:
    promise(refused.response.status in STATUSES, "a status that is not documented", refused.response.status)
    answer = write_response(refused.response)
    head, _, body = answer.partition(END)
    promise(answer.startswith(b"HTTP/1.1 4") and b"\n" not in head.replace(b"\r\n", b""), "an answer that is none")
    promise(body == refused.response.body, "an answer with two ends", answer)


def _check_pieces(data: bytes, end: int | None) -> None:
    """The end is found at the same place when the request comes in pieces; None: it is refused, and stays so."""
    size = len(data)
    cuts = {size - 1, size - 2, size - 3, size // 2, size // 3, 8_192, 8_195, 65_536}
    if end is not None and end >= 0:
        cuts |= {end, end + 1, end + 2, end + 3}
    for cut in sorted(cuts):
        if not 0 <= cut < size:
            continue
        try:
            found = find_end(data[:cut])
        except RefusedRequest:
            promise(end is None, "what is refused in pieces is accepted as a whole", cut)
            return
        if end is not None:
            promise(found == (end if 0 <= end <= cut - 4 else -1), "a piece has another end", cut, found, end)


def _check_form(opening: Opening) -> None:
    handshake = opening.handshake
    headers = handshake.headers
    promise(opening.method in ("GET", "HEAD"), "a method that is not served", opening.method)
    promise(re.fullmatch(r"/[\x21-\x7e]*", handshake.path), "a path that is none", handshake.path)
    for name, value in headers.items():
        promise(_NAME.fullmatch(name), "a name that is no token", name)
        promise(_TEXT.fullmatch(value), "a value that is none", value)
    promise("transfer-encoding" not in headers, "a Transfer-Encoding was let in", headers)
    promise(re.fullmatch("0+", headers.get("content-length", "0")), "a Content-Length was let in", headers)
    if "host" in headers:
        promise(HOST.fullmatch(headers["host"]), "a Host that is none", headers["host"])
    cookies = _cookies(headers.get("cookie", ""))
    promise(handshake.cookies == cookies, "other cookies", handshake.cookies, cookies)


def _cookies(header: str) -> dict[str, str]:
    """RFC 6265, 4.2.1: white space is SP and HTAB; a cookie in UTF-8 may end with a byte that Unicode calls a space."""
    found = {}
    for pair in header.split(";"):
        name, equals, value = pair.partition("=")
        if equals and name.strip(" \t"):
            found[name.strip(" \t")] = value.strip(" \t").strip('"')
    return found


def _check_with_http_server(opening: Opening, head: bytes) -> None:
    lines = head.split(b"\r\n")
    if len(lines) - 1 > _HTTP_SERVER_HEADERS:
        return
    other = StandardRequest(head)
    promise(not other.refused, "http.server refuses what we accept", other.refused)
    promise(other.command == opening.method, "another method", other.command)
    joined: dict[str, str] = {}
    for name, value in other.lines():
        if name in joined:
            value = joined[name] + ("; " if name == "cookie" else ", ") + value
        joined[name] = value
    target = lines[0].split(b" ")[1].decode("ascii")
    path = target
    if not target.startswith("/"):
        url = urlsplit(target)
        joined["host"] = url.netloc
        rest = target[target.index("://") + 3 + len(url.netloc) :]
        path = rest if rest.startswith("/") else "/" + rest
    elif not target.startswith("//"):  # http.server makes one slash of two
        promise(other.path == target, "another path", other.path)
    promise(opening.handshake.path == path, "another path", opening.handshake.path, path)
    promise(dict(opening.handshake.headers) == joined, "other headers", opening.handshake.headers, joined)


def _check_with_websockets(opening: Opening, head: bytes) -> None:
    headers = opening.handshake.headers
    words = [word for word in (part.strip(" \t") for part in headers["upgrade"].split(",")) if word]
    promise("websocket" in map(str.lower, words), "an upgrade to something else", headers["upgrade"])
    if len(words) != 1:
        return  # RFC 9110, 7.8 allows a list; websockets takes one word
    reader = StreamReader()
    reader.feed_data(head + END)
    reading = Request.parse(reader.read_line)
    request = _result(reading)
    promise(isinstance(request, Request), "websockets cannot read what we accept", request)
    try:
        ServerProtocol().process_request(request)
    except InvalidHeaderFormat:
        pass  # a list with a word that is no token: we look only for the word that we know
    except InvalidHandshake as error:
        promise(False, "websockets refuses the handshake", error, dict(headers))


def _result(reading: Any) -> Any:
    """What a generator returns, or the error that it raises; it has all data."""
    try:
        next(reading)
    except StopIteration as stop:
        return stop.value
    except Exception as error:  # told in the finding
        return error
    return None


TARGET = Target(
    "handshake",
    one_input,
    frozenset(
        {
            "more is needed",
            "GET, without one",
            "HEAD, without one",
            "upgrade, without one",
            "upgrade, with a subprotocol",
            "not an HTTP request",
            "HTTP/1.1 is spoken here",
            "only GET and HEAD are answered here",
            "the path of the request is not a path",
            "a request here has no body",
            "the Host header is missing",
            "a header of the request is malformed",
            "the header host is there twice",
            "a request has at most 128 headers",
            "WebSocket version 13 is spoken here",
            "the Sec-WebSocket-Key is not 16 bytes in base64",
            "not a WebSocket handshake: GET, HTTP/1.1 and Connection: Upgrade are needed",
        }
    ),
    (
        *(b"GET ", b"HEAD ", b"POST ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"http://a/", b"https://[::1]:80?q", b"a@b"),
        *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\t", b" ", b"\r\n ", b": ", b":", b"\x00", b"\x85", b"\xa0", b"\x0b"),
        *(
            b"Host: a\r\n",
            b"Host",
            b"Upgrade: websocket\r\n",
            b"Connection: keep-alive, Upgrade\r\n",
            b"Content-Length: ",
        ),
        *(
            b"Transfer-Encoding: ",
            b"chunked",
            b"Sec-WebSocket-Version: 13\r\n",
            b"Cookie: a=b; c=\r\n",
            b"Origin: http://a\r\n",
        ),
        *(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Sec-WebSocket-Protocol: chat, x\r\n", b"X: y\r\n" * 40),
    ),
)
