"""Compressed messages: what is agreed on, and what is written and read."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from zephserver.engines.deflate import (
    NAME,
    WINDOW_BITS,
    Deflate,
    InflateError,
    TooLarge,
    compress,
    inflate,
    negotiate,
)

ANSWER = f"{NAME}; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", Deflate(WINDOW_BITS, ANSWER)),
        ("Permessage-Deflate", Deflate(WINDOW_BITS, ANSWER)),
        ("permessage-deflate; client_max_window_bits", Deflate(WINDOW_BITS, ANSWER)),
        ("permessage-deflate;client_max_window_bits=9", Deflate(WINDOW_BITS, ANSWER)),
        ('permessage-deflate; client_max_window_bits="15"', Deflate(WINDOW_BITS, ANSWER)),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", Deflate(WINDOW_BITS, ANSWER)),
        ("permessage-deflate; server_max_window_bits=15", Deflate(12, f"{ANSWER}; server_max_window_bits=15")),
        ("permessage-deflate; server_max_window_bits=10", Deflate(10, f"{ANSWER}; server_max_window_bits=10")),
        ('permessage-deflate; server_max_window_bits="9"', Deflate(9, f"{ANSWER}; server_max_window_bits=9")),
        ("x-webkit-deflate-frame, permessage-deflate", Deflate(WINDOW_BITS, ANSWER)),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; client_max_window_bits",
            Deflate(WINDOW_BITS, ANSWER),
        ),
    ],
)
def test_an_offer_that_can_be_met_is_answered(offer: str, answer: Deflate) -> None:
    assert negotiate(offer) == answer


@pytest.mark.parametrize(
    "parameters",
    [
        "unknown",
        "server_max_window_bits",
        "server_max_window_bits=8",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=010",
        'server_max_window_bits=""',
        "client_max_window_bits=7",
        "client_max_window_bits=x",
        'client_max_window_bits=""',
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "client_max_window_bits; client_max_window_bits",
        "server_max_window_bits=10; server_max_window_bits=10",
        "",
        "a b",
        "=10",
    ],
)
def test_an_offer_with_a_wrong_parameter_is_declined(parameters: str) -> None:
    assert negotiate(f"permessage-deflate; {parameters}") is None


@pytest.mark.parametrize("offers", ["", ",", "x-webkit-deflate-frame", "permessage-bzip2", ";permessage-deflate"])
def test_without_an_offer_nothing_is_agreed_on(offers: str) -> None:
    assert negotiate(offers) is None


@pytest.mark.parametrize(
    ("offers", "agreed"),
    [
        (r'permessage-deflate; x="a\", permessage-deflate", permessage-deflate', True),
        (r'permessage-deflate; x="a, permessage-deflate"', False),
        ('permessage-deflate; x="no end', False),
    ],
)
def test_what_stands_in_quotes_is_no_offer(offers: str, agreed: bool) -> None:
    assert (negotiate(offers) is not None) == agreed


@given(
    st.none() | st.integers(9, 15),
    st.none() | st.just(True) | st.integers(9, 15),
    st.booleans(),
    st.booleans(),
)
def test_the_answer_is_one_that_another_library_accepts(
    server_bits: int | None, client_bits: bool | int | None, server_forgets: bool, client_forgets: bool
) -> None:
    client = ClientPerMessageDeflateFactory(
        server_no_context_takeover=server_forgets,
        client_no_context_takeover=client_forgets,
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits,
    )
    words = [name if value is None else f"{name}={value}" for name, value in client.get_request_params()]

    agreed = negotiate("; ".join([NAME, *words]))

    assert agreed is not None
    answer = [tuple(part.split("=")) for part in agreed.response.split("; ")[1:]]
    extension = client.process_response_params([(part[0], part[1] if len(part) > 1 else None) for part in answer], [])
    assert extension.remote_max_window_bits >= agreed.window_bits
    assert extension.remote_no_context_takeover
    assert extension.local_no_context_takeover


@given(st.binary(max_size=2_000), st.integers(9, 15))
def test_what_was_compressed_comes_back(payload: bytes, bits: int) -> None:
    assert inflate(compress(payload, bits), 2_000) == payload


def test_what_repeats_becomes_much_smaller() -> None:
    assert len(compress(b'{"task":"chat","data":"hello"}' * 100, WINDOW_BITS)) < 100


@given(st.binary(min_size=1, max_size=500))
def test_a_message_of_more_than_the_limit_is_too_large(payload: bytes) -> None:
    assert inflate(compress(payload, 12), len(payload)) == payload
    with pytest.raises(TooLarge, match=f"at most {len(payload) - 1} bytes"):
        inflate(compress(payload, 12), len(payload) - 1)


@given(st.binary(max_size=200))
def test_nonsense_is_read_or_refused_and_nothing_else(payload: bytes) -> None:
    try:
        assert len(inflate(payload, 1_000)) <= 1_000
    except (InflateError, TooLarge):
        pass


def test_a_message_of_a_peer_that_keeps_its_window_to_itself_is_read() -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = (deflater.compress(b"hello " * 50) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]

    assert inflate(payload, 300) == b"hello " * 50


def test_a_message_that_ends_its_stream_is_read() -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)

    assert inflate(deflater.compress(b"hello") + deflater.flush(zlib.Z_FINISH), 100) == b"hello"


def test_data_behind_the_end_of_a_stream_is_refused() -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = deflater.compress(b"hello") + deflater.flush(zlib.Z_FINISH)

    with pytest.raises(InflateError, match="after the last block"):
        inflate(payload + b"more", 100)
