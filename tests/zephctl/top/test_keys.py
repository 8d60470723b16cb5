"""From the bytes of a terminal to the names of keys."""

from __future__ import annotations

import pytest

from zephctl.top.keys import Keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"jk/", ["j", "k", "/"]),
        (b"\x1b[A", ["up"]),
        (b"\x1bOB", ["down"]),
        (b"\x1b[1;5C", ["right"]),
        (b"\x1b[5~\x1b[6~", ["page up", "page down"]),
        (b"\x1b[3;2~", ["delete"]),
        (b"\x1b[H\x1b[4~", ["home", "end"]),
        (b"\r\n", ["enter", "enter"]),
        (b"\x7f\x08\x15\t", ["backspace", "backspace", "clear", "tab"]),
        ("é→".encode(), ["é", "→"]),
        (b"\x1b[200~\x1b[99zx", ["x"]),
        (b"\x01\x00x", ["x"]),
        (b"\xff", ["\ufffd"]),
        (b"\x1bx", ["escape", "x"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
    ],
)
def test_bytes_become_keys(data: bytes, keys: list[str]) -> None:
    assert Keys().feed(data) == keys


@pytest.mark.parametrize("data", [b"\x1b[A", b"\x1b[1;5A", b"\x1bOA", "é".encode()])
def test_a_key_may_come_in_pieces(data: bytes) -> None:
    decoder = Keys()

    keys = [decoder.feed(data[at : at + 1]) for at in range(len(data))]

    assert keys[:-1] == [[]] * (len(data) - 1)
    assert keys[-1] == (["é"] if data == "é".encode() else ["up"])
    assert not decoder.waits


def test_the_escape_key_is_known_when_nothing_follows() -> None:
    decoder = Keys()
    assert decoder.feed(b"\x1b") == []
    assert decoder.waits

    assert decoder.flush() == ["escape"]

    assert not decoder.waits
    assert decoder.flush() == []
    assert decoder.feed(b"[") == ["["]
