"""The lines of the control socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zephserver.core import wire
from zephserver.core.control_client import parse_answer
from zephserver.core.errors import BadRequest, CommandFailed, SettingsError, UnknownCommand
from zephserver.core.wire import Call, parse_request, plain_text


def test_plain_words_are_split_as_a_shell_does() -> None:
    call = parse_request(b"services show 'a b' c\\ d\n")

    assert call == Call(words=("services", "show", "a b", "c d"))
    assert call.plain


def test_a_json_object_is_a_request_with_an_id() -> None:
    call = parse_request(b' {"id": 7, "command": "x", "args": {"a": 1}} ')

    assert call == Call(command="x", args={"a": 1}, id=7)
    assert not call.plain
    assert parse_request(b'{"command": "x"}') == Call(command="x", args={})


def test_a_json_object_may_have_words_instead_of_arguments_and_of_a_command() -> None:
    assert parse_request(b'{"command": "x", "words": ["a", "b c"]}') == Call(words=("a", "b c"), command="x", args={})
    call = parse_request(b'{"words": ["services", "list"], "id": 1}')
    assert call == Call(words=("services", "list"), args={}, id=1)
    assert not call.plain


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"", "is empty"),
        (b"  \t ", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a 'b", "cannot be split into words"),
        (b"{", "is not JSON"),
        (b'{"command": 1e' + b"9" * 9, "is not JSON"),
        (b'{"a":' * 60_000, "is not JSON"),
        (b'{"id": ' + b"9" * 10_000 + b', "command": "x"}', "is not JSON"),
        (b"{}", 'needs "command": text'),
        (b'{"command": ["x"]}', 'needs "command": text'),
        (b'{"command": "x", "args": []}', 'may have "args": object'),
        (b'{"words": []}', 'needs "command": text'),
        (b'{"command": "x", "words": "a"}', 'the "words" of a request are a list of texts'),
        (b'{"words": ["a", 1]}', 'the "words" of a request are a list of texts'),
        (b'{"command": "x", "id": {}}', "a number or a text"),
        (b'{"command": "x", "id": 1.5}', "a number or a text"),
    ],
)
def test_a_line_that_nobody_can_read_is_refused(line: bytes, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_request(line)

    assert text in str(caught.value)


def test_words_that_are_all_quoting_leave_an_empty_word() -> None:
    assert parse_request(b"''") == Call(words=("",))


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_request_or_a_bad_one(line: bytes) -> None:
    try:
        call = parse_request(line)
    except BadRequest:
        return

    assert call.words if call.plain else isinstance(call.command, str)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values)
def test_an_answer_is_one_line_of_json_whatever_the_result(value: Any) -> None:
    for line in (wire.result_line(3, value), wire.notice_line(3, value)):
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
        assert json.loads(line)["id"] == 3


def test_the_three_kinds_of_lines_are_told_apart() -> None:
    assert json.loads(wire.result_line("a", {1: object})) == {"id": "a", "ok": True, "result": {"1": str(object)}}
    assert json.loads(wire.notice_line(None, "x")) == {"id": None, "notice": "x"}
    assert json.loads(wire.error_line(1, UnknownCommand("x"))) == {
        "id": 1, "ok": False, "error": {"code": "unknown-command", "message": str(UnknownCommand("x"))},
    }  # fmt: skip


def test_an_error_takes_its_facts_along() -> None:
    line = wire.error_line(1, CommandFailed("x", "no", {"line": 3}))

    assert json.loads(line)["error"] == {"code": "x", "message": "no", "facts": {"line": 3}}
    with pytest.raises(CommandFailed) as raised:
        parse_answer(line, "interface.sock")
    assert raised.value.facts == {"line": 3}


def test_a_failed_plain_answer_is_one_line() -> None:
    assert wire.plain_error(SettingsError(["one", "two\ud800"])) == b"error: bad-settings: one / two\\ud800\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("one\ntwo", "one\ntwo\n"),
        ("", "\n"),
        (3, "3\n"),
        ([], ""),
        (["a", None, True, False], "a\n-\nyes\nno\n"),
        (("a\tb", "c\nd"), "a b\nc d\n"),
        ([{"a": 1, "b": None}, {"a": "x y", "b": [1]}], "1\t-\nx y\t[1]\n"),
        ({"a": 1, "b": {"c": 2}, "d": None}, 'a\t1\nb\t{"c": 2}\nd\t-\n'),
        ({"text": "an event", "kind": "X"}, "an event\n"),
        ({"text": 3}, "text\t3\n"),
        ("\ud800", "\\ud800\n"),
    ],
)
def test_a_result_as_text_has_one_record_a_line(value: Any, text: str) -> None:
    assert plain_text(value).decode() == text
