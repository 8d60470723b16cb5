"""Random harm done to right scripts: a server closes with a code of its documents, and the others live on.

Short in CI; `ZEPH_CHAOS=full` goes on for hours.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.cases import (
    ABNORMAL,
    BINARY,
    FULL,
    NO_CODE,
    OFFER,
    PONG,
    TEXT,
    VALID_CODES,
    Frame,
    Message,
    close,
    fragments,
    noise,
    ping,
    text,
    words,
)
from tests.conformance.peer import Peer, Server

Servers = Callable[..., Server]
# What may be heard: nothing (the harm made the rest a part of one long frame), or the codes of docs and RFCs.
# A client's own code comes back, and the harm may have changed it.
CODES = {ABNORMAL, NO_CODE, 1009, *VALID_CODES, *range(3_000, 5_000)}
WHOLE = [
    [text(), ping(b"!"), text(words(300)), close()],
    [*fragments(TEXT, b"one ", b"two ", b"three"), Frame(PONG, b"?"), close(1001, b"bye")],
    [Frame(BINARY, noise(200)), *fragments(BINARY, noise(70), b"", noise(130)), ping(noise(125)), close(None)],
    [*Message(TEXT, words(2_000), parts=3, between=ping(b"in")).frames(15), text(b"plain"), close(4000, b"mine")],
    [*Message(BINARY, noise(700)).frames(15), *Message(TEXT, b"").frames(15), close()],
    [text("κόσμε 🙂".encode()), Frame(TEXT, words(130), mask=bytes(4)), Frame(TEXT, words(66_000)), close(3000)],
]


def harmed(data: st.DataObject) -> bytes:
    """The bytes of a script after a few mutations."""
    frames = [frame.encode() for frame in data.draw(st.sampled_from(WHOLE))]
    script = bytearray(b"".join(frames))
    heads = [sum(map(len, frames[:number])) for number in range(len(frames))]
    for _ in range(data.draw(st.integers(1, 4))):
        if not script:
            break
        near = data.draw(st.sampled_from(heads)) + data.draw(st.integers(0, 14))  # most of the harm is done to heads
        at = data.draw(st.one_of(st.just(near), st.integers(0, len(script) - 1))) % len(script)
        end = at + data.draw(st.integers(0, 20))
        match data.draw(st.sampled_from(("flip", "set", "cut", "insert", "double", "end", "swap"))):
            case "flip":
                script[at] ^= 1 << data.draw(st.integers(0, 7))
            case "set":
                script[at] = data.draw(st.integers(0, 255))
            case "cut":
                del script[at:end]
            case "insert":
                script[at:at] = data.draw(st.binary(min_size=1, max_size=20))
            case "double":
                script[at:at] = script[at:end]
            case "end":
                del script[at:]
            case "swap":
                script[at:end] = script[at:end][::-1]
    return bytes(script)


@pytest.mark.timeout(100_000 if FULL else 120)
@settings(max_examples=20_000 if FULL else 120, deadline=None, database=None)
@given(data=st.data())
def test_a_harmed_script_harms_nobody_else(servers: Servers, data: st.DataObject) -> None:
    server = servers("picows", "default")
    script = harmed(data)
    step = data.draw(st.sampled_from((len(script) or 1, 1 + len(script) // 7, 1 + len(script) // 30)))
    with Peer(server) as witness, Peer(server) as peer:
        witness.open(OFFER)
        heard = peer.open(data.draw(st.sampled_from(("", OFFER))))

        for at in range(0, len(script), step):
            peer.send(script[at : at + step], settle=True)
        peer.half_close()
        peer.pump(lambda: peer.is_over)
        witness.send(text(b"and you?").encode() + ping(b"?").encode())

        assert heard.ending in ("eof", "reset")
        assert heard.code in CODES
        assert not heard.faults
        assert witness.pump(lambda: witness.heard.events == [("text", b"and you?"), ("pong", b"?")])


@pytest.mark.timeout(100_000 if FULL else 120)
@settings(max_examples=20_000 if FULL else 60, deadline=None, database=None)
@given(noise=st.binary(min_size=1, max_size=2_000), offer=st.sampled_from(("", OFFER)))
def test_noise_after_the_handshake_ends_the_connection(servers: Servers, noise: bytes, offer: str) -> None:
    with Peer(servers("picows", "default")) as peer:
        heard = peer.open(offer)
        peer.send(noise)
        peer.half_close()

        assert peer.pump(lambda: peer.is_over)
    assert heard.code in CODES
    assert not heard.faults
