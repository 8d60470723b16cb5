"""Sec-WebSocket-Extensions: ours beside websockets, which reads the offers, and as a client reads our answer."""

from __future__ import annotations

import re

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.headers import parse_extension

from tests.fuzz.engine import Target, promise
from zephserver.engines.deflate import NAME, WINDOW_BITS, Deflate, compress, negotiate

# A number with a backslash in it is declined, and so is space around '=' (RFC 7230, 3.2.3): websockets takes both.
_ODD = re.compile(r"\\|[ \t]=|=[ \t]")

Parameters = list[tuple[str, str | None]]


def one_input(data: bytes) -> str:
    """Read the header of a request."""
    header = data.decode("latin-1")
    if any(character in header for character in "\0\r\n"):
        return "no header"
    agreed = negotiate(header)
    try:
        offers = [(name.lower(), offer) for name, offer in parse_extension(header)]
    except InvalidHeader:
        offers = None
    if agreed is not None:
        _check_answer(agreed)
    if offers is None or _ODD.search(header):
        return f"{'malformed' if offers is None else 'odd'}, {'accepted' if agreed else 'declined'}"
    acceptable = [offer for name, offer in offers if name == NAME and _is_acceptable(offer)]
    promise(bool(acceptable) == (agreed is not None), "another decision", acceptable, agreed)
    if agreed is None:
        return "declined"
    _check_offer(acceptable[0], agreed)
    return f"accepted, window {agreed.window_bits}"


def _is_acceptable(offer: Parameters) -> bool:
    if ("server_max_window_bits", "8") in offer:
        return False  # zlib cannot compress so; websockets does not decline it, but makes 9 of it
    try:
        ServerPerMessageDeflateFactory(True, True).process_request_params(offer, [])
    except NegotiationError:
        return False
    return True


def _check_answer(agreed: Deflate) -> None:
    [(name, _)] = parse_extension(agreed.response)
    promise(name == NAME, "an answer for another extension", agreed)
    promise(9 <= agreed.window_bits <= WINDOW_BITS, "another window", agreed)
    promise(compress(b"Hello", agreed.window_bits), "a window that cannot be used", agreed)


def _check_offer(offer: Parameters, agreed: Deflate) -> None:
    """The client that made the offer accepts the answer (RFC 7692, 7.1)."""
    asked = dict(offer)
    server_bits, client_bits = asked.get("server_max_window_bits"), asked.get("client_max_window_bits")
    client = ClientPerMessageDeflateFactory(
        server_no_context_takeover="server_no_context_takeover" in asked,
        client_no_context_takeover="client_no_context_takeover" in asked,
        server_max_window_bits=int(server_bits) if server_bits else None,
        client_max_window_bits=max(9, int(client_bits)) if client_bits else "client_max_window_bits" in asked or None,
    )
    [(_, answer)] = parse_extension(agreed.response)
    try:
        extension = client.process_response_params(answer, [])
    except NegotiationError as error:
        promise(False, "the client refuses our answer", error, offer, agreed)
    promise(extension.remote_no_context_takeover, "the client keeps our context", agreed)
    promise(extension.local_no_context_takeover, "the client keeps its context", agreed)
    promise(agreed.window_bits <= extension.remote_max_window_bits, "a window that the client has not", agreed)


TARGET = Target(
    "negotiate",
    one_input,
    frozenset({"declined", "malformed, accepted", "malformed, declined", "accepted, window 9", "accepted, window 12"}),
    (
        *(
            b"permessage-deflate",
            b"Permessage-Deflate",
            b"; ",
            b", ",
            b"=",
            b'"',
            b"\\",
            b" ",
            b"\t",
            b"\xa0",
            b"x-other",
        ),
        *(
            b"server_no_context_takeover",
            b"client_no_context_takeover",
            b"server_max_window_bits",
            b"client_max_window_bits",
        ),
        *(b'="10"', b"=8", b"=9", b"=15", b"=16", b"=09", b'="1\\5"', b'="a,b;c"', b";;", b",,"),
    ),
)
