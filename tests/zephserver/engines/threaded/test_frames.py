"""Bytes of a peer become messages: the same however they are cut, and refused from the head of a frame on."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.cases import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, close, fragments, ping, text
from zephserver.engines.assembler import Close
from zephserver.engines.frames import write_frame
from zephserver.engines.threaded.frames import Control, Fact, FrameReader, unmask

LIMIT = 1_000


def feed(data: bytes, *, cut: int = 0, max_bytes: int = LIMIT, max_fragments: int = 100) -> list[Fact]:
    """What is made of these bytes, in pieces of *cut*."""
    reader = FrameReader(max_bytes, max_fragments)
    cut = cut or max(1, len(data))
    return [fact for at in range(0, len(data), cut) for fact in reader.feed(data[at : at + cut])]


def refused(data: bytes) -> int:
    """The code with which these bytes are refused; nothing else comes of them."""
    (fact,) = feed(data)
    assert isinstance(fact, Close)
    return fact.code


CONVERSATION = b"".join(
    frame.encode()
    for frame in [
        text("grüße 🙂".encode()),
        *fragments(TEXT, b"one ", b"", b"two"),
        ping(b"\xff\x00"),
        Frame(PONG),
        text(b"x" * 126),
        text(b"x" * LIMIT),
        text(b""),
        close(1001, b"bye"),
        text(b"late"),
    ]
)
SAID: list[Fact] = [
    "grüße 🙂",
    "one two",
    Control(PING, b"\xff\x00"),
    Control(PONG, b""),
    "x" * 126,
    "x" * LIMIT,
    "",
    Control(8, b"\x03\xe9bye"),
]


@pytest.mark.parametrize("cut", [0, *range(1, 40), 125, 126, 127, 128, 1_000])
def test_what_is_said_does_not_depend_on_how_it_is_cut(cut: int) -> None:
    assert feed(CONVERSATION, cut=cut) == SAID


@pytest.mark.parametrize(
    "wrong",
    [
        Frame(3, b"x"),
        Frame(11),
        Frame(TEXT, b"x", mask=None),
        Frame(TEXT, b"x", rsv=4),
        Frame(PING, b"x", rsv=1),
        Frame(PING, b"x", fin=False),
        Frame(PING, b"x" * 126),
        Frame(CONTINUATION, b"x"),
        Frame(TEXT, b"x", width=2),
        Frame(TEXT, b"x" * 200, width=8),
    ],
    ids=str,
)
def test_a_frame_that_rfc_6455_does_not_know_is_refused_and_nothing_behind_it_is_read(wrong: Frame) -> None:
    assert refused(wrong.encode() + text(b"behind").encode()) == 1002


@pytest.mark.parametrize("length", [LIMIT + 1, 65_536, 1 << 31, 1 << 32, (1 << 33) + 5, 1 << 62, (1 << 63) - 1])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_length_over_the_limit_is_refused_when_it_is_read(length: int, opcode: int) -> None:
    head = Frame(opcode, length=length).encode()

    assert refused(head[: 4 if length < 65_536 else 10]) == 1009  # without the mask, even


@pytest.mark.parametrize("length", [1 << 63, (1 << 63) + 5, (1 << 64) - 1])
def test_a_length_of_64_bits_is_no_length(length: int) -> None:
    """RFC 6455, 5.2: the most significant bit must be 0."""
    assert refused(Frame(TEXT, length=length).encode()) == 1002


def test_fragments_are_refused_together_before_the_last_one_is_read() -> None:
    start, more = Frame(TEXT, b"x" * 900, fin=False), Frame(CONTINUATION, b"x" * 101)

    assert refused(start.encode() + more.encode()[:2]) == 1009


def test_a_message_does_not_count_for_the_next_one() -> None:
    parts = fragments(TEXT, b"x" * 500, b"x" * 500)

    assert feed(b"".join(frame.encode() for frame in parts * 3)) == ["x" * 1_000] * 3


def test_more_fragments_than_the_limit_are_refused() -> None:
    endless = Frame(TEXT, fin=False).encode() + Frame(CONTINUATION, fin=False).encode() * 200

    assert refused(endless) == 1009


@pytest.mark.parametrize("opcode", [BINARY, CONTINUATION])
def test_a_frame_hidden_in_the_payload_of_another_is_never_read(opcode: int) -> None:
    hidden = text(b"hidden").encode()
    outer = Frame(opcode, hidden, mask=bytes(4))  # so that it stands there as it is

    assert refused(outer.encode() + hidden) == (1003 if opcode == BINARY else 1002)


def test_an_announced_giant_takes_no_memory() -> None:
    readers = [FrameReader(1 << 62, 100) for _ in range(10)]
    head = Frame(TEXT, length=1 << 40).encode()

    tracemalloc.start()
    try:
        for reader in readers:
            assert reader.feed(head) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 100_000


@given(
    payload=st.one_of(st.binary(max_size=70), st.just(bytes(range(256)) * 600)), mask=st.binary(min_size=4, max_size=4)
)
def test_unmasking_is_an_xor_of_each_byte(payload: bytes, mask: bytes) -> None:
    assert unmask(payload, mask) == bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


@settings(max_examples=300, deadline=None, database=None)
@given(data=st.data())
def test_whatever_comes_is_read_the_same_however_it_is_cut(data: st.DataObject) -> None:
    whole = bytearray(CONVERSATION)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))

    facts = feed(bytes(whole))

    assert feed(bytes(whole), cut=data.draw(st.integers(1, 50))) == facts
    assert not any(isinstance(fact, Close) for fact in facts[:-1])


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f" + (65_536).to_bytes(8, "big")),
    ],
)
def test_a_frame_is_written_with_the_shortest_length(size: int, head: bytes) -> None:
    assert write_frame(TEXT, b"x" * size) == head + b"x" * size
