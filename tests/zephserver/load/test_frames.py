"""Frames as a load writes and reads them, held against the engine's own and a server's."""

from __future__ import annotations

import pytest

from zephserver.load import frames


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x80"),
        (125, b"\x81\xfd"),
        (126, b"\x81\xfe\x00\x7e"),
        (65_535, b"\x81\xfe\xff\xff"),
        (65_536, b"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_has_the_shortest_head(size: int, head: bytes) -> None:
    payload = b"x" * size

    assert frames.write(frames.TEXT, payload) == head + b"\0\0\0\0" + payload


def served(first: int, payload: bytes) -> bytes:
    """A frame as a server writes it: without a mask."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


MESSAGES = [(0x81, b"a"), (0x89, b"ping"), (0x81, b"b" * 300), (0x88, b"\x03\xe8"), (0x81, b"c" * 70_000), (0x81, b"")]
WIRE = b"".join(served(*message) for message in MESSAGES)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100, len(WIRE)])
def test_messages_are_read_however_they_are_cut(step: int) -> None:
    reader = frames.Reader()

    found = [message for at in range(0, len(WIRE), step) for message in reader.feed(WIRE[at : at + step])]

    assert found == [(first & 0x0F, payload) for first, payload in MESSAGES]


def test_fragments_are_put_together_and_a_ping_may_come_between() -> None:
    reader = frames.Reader()

    found = reader.feed(served(0x01, b"one ") + served(0x89, b"") + served(0x00, b"two ") + served(0x80, b"three"))

    assert found == [(frames.PING, b""), (frames.TEXT, b"one two three")]
