"""Frames in, messages or reasons to close out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zephserver.engines.assembler import ABNORMAL, NO_CODE, Assembler, Close, Opcode, read_close, write_close
from zephserver.engines.deflate import compress

TEXT, BINARY, CONTINUATION = Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION
SENTENCE = "aé€🙂 — fin"  # characters of one, two, three and four bytes


def feed(assembler: Assembler, *parts: bytes) -> list[str | bytes | Close | None]:
    """Give the parts of one message to the assembler; what it said to each."""
    last = len(parts) - 1
    return [
        assembler.receive(CONTINUATION if index else TEXT, part, fin=index == last, rsv1=False, rsv23=False)
        for index, part in enumerate(parts)
    ]


def code_of(outcome: str | bytes | Close | None) -> int:
    """The code of a Close."""
    assert isinstance(outcome, Close)
    return outcome.code


@pytest.fixture
def assembler() -> Assembler:
    return Assembler(max_bytes=100, max_fragments=5)


def test_a_message_in_one_frame_is_complete_at_once(assembler: Assembler) -> None:
    assert feed(assembler, b"hello") == ["hello"]


def test_a_message_may_be_empty(assembler: Assembler) -> None:
    assert feed(assembler, b"") == [""]
    assert feed(assembler, b"", b"", b"") == [None, None, ""]


@pytest.mark.parametrize("place", range(len(SENTENCE.encode()) + 1))
def test_a_message_may_be_split_anywhere_even_inside_a_character(assembler: Assembler, place: int) -> None:
    whole = SENTENCE.encode()

    outcomes = feed(assembler, whole[:place], whole[place:])

    assert outcomes == [None, SENTENCE]


@given(st.data(), st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_whatever_the_fragments_the_message_is_the_same(data: st.DataObject, text: str) -> None:
    whole = text.encode()
    places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    parts = [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]

    outcomes = feed(Assembler(max_bytes=1_000, max_fragments=20), *parts)

    assert outcomes == [None] * (len(parts) - 1) + [text]


def test_one_assembler_takes_message_after_message(assembler: Assembler) -> None:
    for number in range(50):  # more than its limits, which are for one message each
        assert feed(assembler, b"number ", str(number).encode()) == [None, f"number {number}"]


def test_a_continuation_without_a_start_is_a_protocol_error(assembler: Assembler) -> None:
    assert code_of(assembler.receive(CONTINUATION, b"x", fin=True, rsv1=False, rsv23=False)) == 1002


def test_a_continuation_after_the_end_is_a_protocol_error(assembler: Assembler) -> None:
    feed(assembler, b"a", b"b")

    assert code_of(assembler.receive(CONTINUATION, b"x", fin=True, rsv1=False, rsv23=False)) == 1002


@pytest.mark.parametrize("fin", [True, False])
def test_a_message_inside_a_message_is_a_protocol_error(assembler: Assembler, fin: bool) -> None:
    assembler.receive(TEXT, b"a", fin=False, rsv1=False, rsv23=False)

    assert code_of(assembler.receive(TEXT, b"x", fin=fin, rsv1=False, rsv23=False)) == 1002


@pytest.mark.parametrize(("rsv1", "rsv23"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION])
def test_a_reserved_bit_is_a_protocol_error(assembler: Assembler, opcode: Opcode, rsv1: bool, rsv23: bool) -> None:
    assert code_of(assembler.receive(opcode, b"x", fin=True, rsv1=rsv1, rsv23=rsv23)) == 1002


@pytest.mark.parametrize("deflate", [True, False])
@pytest.mark.parametrize(("rsv1", "rsv23"), [(True, False), (False, True)])
def test_a_reserved_bit_on_a_later_fragment_is_a_protocol_error(deflate: bool, rsv1: bool, rsv23: bool) -> None:
    assembler = Assembler(max_bytes=100, max_fragments=5, deflate=deflate)
    assembler.receive(TEXT, b"a", fin=False, rsv1=False, rsv23=False)

    assert code_of(assembler.receive(CONTINUATION, b"x", fin=True, rsv1=rsv1, rsv23=rsv23)) == 1002


def test_with_compression_the_other_reserved_bits_still_are_errors() -> None:
    assembler = Assembler(max_bytes=100, max_fragments=5, deflate=True)

    assert code_of(assembler.receive(TEXT, compress(b"x", 12), fin=True, rsv1=True, rsv23=True)) == 1002


@given(st.data(), st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.integers(9, 15))
def test_a_compressed_message_may_be_split_anywhere(data: st.DataObject, text: str, bits: int) -> None:
    assembler = Assembler(max_bytes=1_000, max_fragments=5, deflate=True)
    payload = compress(text.encode(), bits)
    place = data.draw(st.integers(0, len(payload)))

    outcomes = [
        assembler.receive(TEXT, payload[:place], fin=False, rsv1=True, rsv23=False),
        assembler.receive(CONTINUATION, payload[place:], fin=True, rsv1=False, rsv23=False),
    ]

    assert outcomes == [None, text]


def test_compressed_and_plain_messages_take_turns() -> None:
    assembler = Assembler(max_bytes=100, max_fragments=5, deflate=True)

    for _ in range(3):
        assert assembler.receive(TEXT, compress(b"small", 12), fin=True, rsv1=True, rsv23=False) == "small"
        assert assembler.receive(TEXT, b"plain", fin=True, rsv1=False, rsv23=False) == "plain"


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    assembler = Assembler(max_bytes=1_000, max_fragments=5, deflate=True)

    outcome = assembler.receive(TEXT, compress(b"0" * 500_000, 15), fin=True, rsv1=True, rsv23=False)

    assert outcome == Close(1009, "a message has at most 1000 bytes")


def test_a_compressed_message_of_the_limit_passes() -> None:
    assembler = Assembler(max_bytes=1_000, max_fragments=5, deflate=True)

    assert assembler.receive(TEXT, compress(b"0" * 1_000, 15), fin=True, rsv1=True, rsv23=False) == "0" * 1_000


@pytest.mark.parametrize("broken", [b"\xff\xff\xff", b"hello", compress(b"\xff", 12)], ids=["bits", "text", "no UTF-8"])
def test_a_compressed_message_that_cannot_be_read_is_refused(broken: bytes) -> None:
    assembler = Assembler(max_bytes=1_000, max_fragments=5, deflate=True)

    assert code_of(assembler.receive(TEXT, broken, fin=True, rsv1=True, rsv23=False)) == 1007


def test_an_assembler_tells_whether_a_message_is_under_way(assembler: Assembler) -> None:
    idle = [assembler.is_idle]
    assembler.receive(TEXT, b"a", fin=False, rsv1=False, rsv23=False)
    idle.append(assembler.is_idle)
    assembler.receive(CONTINUATION, b"b", fin=True, rsv1=False, rsv23=False)
    idle.append(assembler.is_idle)

    assert idle == [True, False, True]


def test_where_binary_messages_are_taken_they_come_as_bytes() -> None:
    assembler = Assembler(max_bytes=100, max_fragments=5, binary=True)

    assert assembler.receive(BINARY, b"\xff", fin=True, rsv1=False, rsv23=False) == b"\xff"
    assert assembler.receive(BINARY, b"\xff", fin=False, rsv1=False, rsv23=False) is None
    assert assembler.receive(CONTINUATION, b"\xfe", fin=True, rsv1=False, rsv23=False) == b"\xff\xfe"


@pytest.mark.parametrize("fin", [True, False])
def test_a_binary_message_is_not_accepted(assembler: Assembler, fin: bool) -> None:
    assert code_of(assembler.receive(BINARY, b"x", fin=fin, rsv1=False, rsv23=False)) == 1003


@pytest.mark.parametrize("parts", [[100], [50, 50], [0, 100], [99, 1], [100, 0]])
def test_a_message_of_the_limit_passes(assembler: Assembler, parts: list[int]) -> None:
    outcomes = feed(assembler, *(b"x" * size for size in parts))

    assert outcomes[-1] == "x" * 100


@pytest.mark.parametrize("parts", [[101], [50, 51], [100, 1], [1, 100]])
def test_a_message_of_one_byte_more_is_too_big(assembler: Assembler, parts: list[int]) -> None:
    outcomes = feed(assembler, *(b"x" * size for size in parts))

    assert outcomes[-1] == Close(1009, "a message has at most 100 bytes")


def test_the_limit_is_in_bytes_not_in_characters() -> None:
    assert code_of(feed(Assembler(max_bytes=3, max_fragments=5), "éé".encode())[-1]) == 1009


def test_a_message_that_is_too_big_is_refused_before_its_end(assembler: Assembler) -> None:
    outcome = assembler.receive(TEXT, b"x" * 101, fin=False, rsv1=False, rsv23=False)

    assert code_of(outcome) == 1009


def test_a_message_of_the_most_fragments_passes(assembler: Assembler) -> None:
    assert feed(assembler, *[b"x"] * 5)[-1] == "xxxxx"


@pytest.mark.parametrize("part", [b"x", b""], ids=["full", "empty"])
def test_a_message_of_one_fragment_more_is_too_big(assembler: Assembler, part: bytes) -> None:
    assert feed(assembler, *[part] * 6)[-1] == Close(1009, "a message has at most 5 fragments")


@pytest.mark.parametrize(
    "broken",
    [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok \xe2\x82"],
    ids=["never", "cut", "overlong", "surrogate", "beyond Unicode", "cut at the end"],
)
def test_text_that_is_not_utf8_is_refused(assembler: Assembler, broken: bytes) -> None:
    assert code_of(feed(assembler, broken)[-1]) == 1007
    assert code_of(feed(assembler, broken[:1], broken[1:])[-1]) == 1007


def test_a_close_frame_may_be_empty() -> None:
    assert read_close(b"") == Close(NO_CODE)


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_a_close_code_of_the_registry_is_accepted(code: int) -> None:
    assert read_close(code.to_bytes(2, "big") + "grüße".encode()) == Close(code, "grüße")


@pytest.mark.parametrize(
    "code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 32768, 65535]
)
def test_a_close_code_that_is_never_on_the_wire_is_a_protocol_error(code: int) -> None:
    assert read_close(code.to_bytes(2, "big")).code == 1002


@pytest.mark.parametrize("byte", [b"\x03", b"\x00", b"\xff"])
def test_half_a_close_code_is_a_protocol_error(byte: bytes) -> None:
    assert read_close(byte).code == 1002


def test_a_close_reason_that_is_not_utf8_is_refused() -> None:
    assert read_close(b"\x03\xe8\xff\xfe").code == 1007


def test_a_close_frame_carries_code_and_reason() -> None:
    assert write_close(1012, "back soon") == b"\x03\xf4back soon"
    assert write_close(1000) == b"\x03\xe8"


@pytest.mark.parametrize("code", [NO_CODE, ABNORMAL])
def test_a_code_that_is_never_on_the_wire_makes_an_empty_close_frame(code: int) -> None:
    assert write_close(code, "why") == b""


@pytest.mark.parametrize(
    ("reason", "written"),
    [
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("x" * 122 + "é", "x" * 122),
        ("x" * 121 + "é", "x" * 121 + "é"),
        ("€" * 50, "€" * 41),
        ("x" + "🙂" * 50, "x" + "🙂" * 30),
    ],
)
def test_a_long_reason_is_cut_between_two_characters(reason: str, written: str) -> None:
    payload = write_close(1000, reason)

    assert payload[2:].decode() == written
    assert len(payload) <= 125


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from([1000, 1012, 4003]))
def test_every_close_frame_we_write_is_one_that_we_would_read(reason: str, code: int) -> None:
    close = read_close(write_close(code, reason))

    assert close.code == code
    assert reason.startswith(close.reason)
