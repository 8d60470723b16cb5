"""Bytes in pieces become whole lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zephserver.core.processes.lines import Lines


def test_a_line_is_whole_when_its_newline_has_come() -> None:
    lines = Lines()

    assert lines.feed(b"on") == []
    assert lines.feed(b"e\ntwo\nth") == [b"one", b"two"]
    assert lines.rest() == b"th"
    assert lines.rest() == b""


def test_what_has_no_end_is_handed_on_as_it_is() -> None:
    lines = Lines(longest=4)

    assert lines.feed(b"abc") == []
    assert lines.feed(b"de") == [b"abcde"]
    assert lines.rest() == b""


@given(st.lists(st.binary()))
def test_the_pieces_do_not_matter(pieces: list[bytes]) -> None:
    lines = Lines()

    found = [line for piece in pieces for line in lines.feed(piece)]

    assert b"\n".join([*found, lines.rest()]) == b"".join(pieces)
