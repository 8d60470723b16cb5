"""Frames, parts and names: bytes of a message, a message that is cut, and what brokers accept as a name."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from zephserver.core.cluster.broker import frames
from zephserver.core.cluster.broker.frames import NotOurs, OtherVersion, pack, unpack
from zephserver.core.cluster.broker.names import SHARDS, shard, token
from zephserver.core.cluster.broker.parts import HEAD, UNFINISHED, Joiner, cut

SENDER = {"f": "a", "l": "life"}


def parts_of(message: bytes, limit: int, number: int = 0) -> list[tuple[dict[str, Any], bytes]]:
    return [unpack(part) for part in cut(message, limit, SENDER, itertools.count(number))]


def test_a_message_is_packed_and_unpacked() -> None:
    data = pack({**SENDER, "t": "all", "e": [["ä", 2], ["b", 0]]}, [b"\0\1", b""])

    head, body = unpack(data)

    assert (head["f"], head["t"], body) == ("a", "all", b"\0\1")
    assert [(name, payload) for _, name, payload in frames.slices(head["e"], body)] == [("ä", b"\0\1"), ("b", b"")]


def test_another_version_says_whose_it_is() -> None:
    data = bytearray(pack(SENDER))
    data[len(frames.MARK)] = 7

    with pytest.raises(OtherVersion) as found:
        unpack(bytes(data))

    assert (found.value.version, found.value.node) == (7, "a")


@pytest.mark.parametrize("length", range(len(pack(SENDER))))
def test_a_message_that_is_cut_off_is_none(length: int) -> None:
    with pytest.raises(NotOurs):
        unpack(pack(SENDER)[:length])


def test_a_message_that_fits_is_not_cut() -> None:
    assert list(cut(b"x" * 2_000, 2_000, SENDER, itertools.count())) == [b"x" * 2_000]


@pytest.mark.parametrize("size", [2_001, 10_000, 100_000])
def test_the_parts_fit_and_make_the_message_in_any_order(size: int) -> None:
    message = random.Random(size).randbytes(size)
    parts = list(cut(message, 2_000, SENDER, itertools.count()))
    random.Random(1).shuffle(parts)
    joiner = Joiner()

    joined = [joiner.add(*unpack(part)) for part in parts]

    assert max(map(len, parts)) <= 2_000
    assert joined[:-1] == [None] * (len(parts) - 1)
    assert joined[-1] == message


def test_a_part_that_comes_twice_counts_once() -> None:
    first, second = parts_of(b"x" * 8_000, HEAD + 4_000)
    joiner = Joiner()

    assert [joiner.add(*first), joiner.add(*first)] == [None, None]
    assert joiner.add(*second) == b"x" * 8_000


def test_what_stays_unfinished_makes_room() -> None:
    joiner = Joiner()
    messages = [parts_of(b"x" * 8_000, HEAD + 4_000, number) for number in range(UNFINISHED + 1)]
    for parts in messages:
        assert joiner.add(*parts[0]) is None

    assert joiner.add(*messages[1][1]) == b"x" * 8_000  # it is still there
    assert joiner.add(*messages[0][1]) is None  # its first part is not


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ({"k": 1, "i": 2, "c": 2, "n": 9}, b"abc"),
        ({"k": 1, "i": 0, "c": 9, "n": 3}, b"abc"),
        ({"k": 1, "i": 0, "c": 1, "n": frames.LARGEST + 1}, b"abc"),
        ({"k": 1, "i": 0, "c": 1, "n": 2}, b"abc"),
        ({"k": 1, "i": 0, "c": 1, "n": 4}, b"abc"),
        ({"k": 1, "i": 0, "c": 1, "n": 3}, b""),
        ({"k": True, "i": 0, "c": 1, "n": 3}, b"abc"),
    ],
)
def test_parts_that_are_none_are_refused(head: dict[str, Any], body: bytes) -> None:
    with pytest.raises(NotOurs):
        Joiner().add(head, body)


def test_parts_of_two_minds_about_their_number_are_refused() -> None:
    joiner = Joiner()
    joiner.add({"k": 1, "i": 4, "c": 5, "n": 6}, b"abc")

    with pytest.raises(NotOurs, match="do not fit together"):
        joiner.add({"k": 1, "i": 0, "c": 2, "n": 6}, b"abc")


@pytest.mark.parametrize(("name", "is_kept"), [("lobby", True), ("a-b_9", True), ("x" * 64, True), ("x" * 65, False),
                                               ("", False), ("a.b", False), ("a b", False), ("ä", False), (">", False),
                                               ("*", False), ("\ud800", False)])  # fmt: skip
def test_a_name_becomes_one_that_every_broker_takes(name: str, is_kept: bool) -> None:
    made = token(name)

    assert (made == name) == is_kept
    assert made.startswith("=") != is_kept
    assert len(made) <= 64
    assert not set(made) & set(". *>{}:")
    assert 0 <= shard(name) < SHARDS


def test_names_that_differ_stay_different() -> None:
    names = [f"räume/{number}" for number in range(1_000)] + [f"room{number}" for number in range(1_000)]

    assert len({token(name) for name in names}) == 2_000
    assert len({shard(name) for name in names}) > 100
