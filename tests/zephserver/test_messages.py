"""What comes over the wire is read or refused with a sentence; what goes out is JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zephserver import messages
from zephserver.core.errors import BadMessage, BadRequest, RequestError, TaskFailed, UnknownTask
from zephserver.messages import Message

# Whole numbers beyond 64 bits and floats beyond a double are another test's; surrogates are no text.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS.filter(lambda value: value not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hello",
        "{",
        '{"task": "echo"',
        '{"task": "echo"} and more',
        "{'task': 'echo'}",
        '\ufeff{"task": "echo"}',
        '{"data": NaN}',
        '{"data": Infinity}',
        '{"data": -Infinity}',
        '{"data": 1e999}',
        '{"data": 01}',
        '{"data": ' + "9" * 5_000 + "}",
        '{"data": "\\ud800"}',
        '{"data": "\\udc00 alone"}',
        '{"data": "\ud800"}',
        '{"data": "a\nb"}',
        '{"data": ' + "[" * 100_000,
        '{"data": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"data": ' + '{"a":' * 100_000 + "1" + "}" * 100_001,
    ],
    ids=lambda text: f"{text[:24]!r} of {len(text)}",
)
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(BadMessage, match=r"^not a message: \S"):
        messages.decode(text)


@pytest.mark.parametrize("text", ["[]", '["task"]', '"task"', "1", "1.5", "true", "null"])
def test_json_that_is_not_an_object_is_refused(text: str) -> None:
    with pytest.raises(BadMessage, match="Expected `object`"):
        messages.decode(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", 1),
        ("task", ["echo"]),
        ("task", {}),
        ("task", True),
        ("room", 5),
        ("room", []),
        ("id", True),
        ("id", 1.5),
        ("id", 1.0),
        ("id", []),
        ("id", {}),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_its_name(field: str, value: object) -> None:
    with pytest.raises(BadMessage, match=rf"\$\.{field}"):
        messages.decode(json.dumps({field: value}))


def test_a_refusal_is_what_a_browser_may_be_told() -> None:
    with pytest.raises(RequestError) as refused:
        messages.decode("hello")

    assert refused.value.code == "bad-message"


def test_an_empty_object_is_a_message_that_says_nothing() -> None:
    assert messages.decode("{}") == Message(task=None, data=None, room=None, session_id=None, id=None)


def test_fields_that_the_protocol_does_not_know_are_ignored() -> None:
    message = messages.decode('{"task": "echo", "date": 1424300000000, "user": {"id": 1}, "cid": "other", "x": [1]}')

    assert message == Message(task="echo")
    assert not hasattr(message, "user")


def test_a_message_cannot_be_changed_after_it_was_read() -> None:
    message = messages.decode('{"task": "echo"}')

    with pytest.raises(AttributeError):
        message.task = "admin"  # type: ignore[misc]


def test_a_field_that_is_there_twice_counts_once() -> None:
    assert messages.decode('{"task": "a", "task": "b"}').task == "b"


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_a_whole_number_beyond_64_bits_comes_back_as_it_came(number: int) -> None:
    message = messages.decode(json.dumps({"id": number, "data": number}))

    assert json.loads(messages.answer("echo", message.data, message.id)) == {
        "task": "echo",
        "id": number,
        "data": number,
    }


@given(st.text() | st.from_regex(r'\{"(task|data|id|room)": ?.{0,20}\}'))
def test_whatever_text_comes_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        message = messages.decode(text)
    except BadMessage:
        return

    assert isinstance(message, Message)


@given(task=TEXT, data=VALUES, room=st.none() | TEXT, id=st.none() | st.integers(-(2**63), 2**64 - 1) | TEXT)
def test_what_a_client_writes_is_what_the_server_reads(task: str, data: Any, room: str | None, id: Any) -> None:
    text = json.dumps({"task": task, "data": data, "room": room, "session_id": data, "id": id})

    message = messages.decode(text)

    assert message == Message(task=task, data=data, room=room, session_id=data, id=id)


@given(task=TEXT, data=VALUES, id=st.none() | st.integers(-(2**63), 2**64 - 1) | TEXT)
def test_what_a_task_says_is_what_the_client_reads(task: str, data: Any, id: Any) -> None:
    payload = messages.answer(task, data, id)

    expected = {"task": task, "data": data} if id is None else {"task": task, "id": id, "data": data}
    assert json.loads(payload) == expected
    assert messages.decode(payload.decode()).data == data


def test_an_answer_without_a_request_has_no_id() -> None:
    assert messages.answer("echo", [1, "a", None]) == b'{"task":"echo","data":[1,"a",null]}'


def test_an_answer_to_request_zero_has_its_id() -> None:
    assert messages.answer("echo", None, 0) == b'{"task":"echo","id":0,"data":null}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_lacks_is_written_as_null_as_browsers_do(value: float) -> None:
    assert messages.answer("echo", [value]) == b'{"task":"echo","data":[null]}'


def _endless() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize(
    "data",
    [object(), {None: 1}, "\ud800", {"\udfff": 1}, [1, [print]], _endless()],
    ids=["object", "key None", "surrogate", "surrogate as key", "function", "endless"],
)
def test_data_that_json_cannot_carry_is_refused(data: object) -> None:
    with pytest.raises(BadMessage, match="cannot be written as JSON"):
        messages.answer("echo", data)


def test_an_error_tells_task_code_and_sentence() -> None:
    payload = messages.error("buy", TaskFailed("none left", "out-of-stock"), 7)

    assert json.loads(payload) == {
        "task": "buy",
        "id": 7,
        "error": {"code": "out-of-stock", "message": "none left"},
    }


def test_an_error_without_task_and_id_says_so() -> None:
    payload = messages.error(None, BadMessage("not a message"))

    assert json.loads(payload) == {"task": "", "error": {"code": "bad-message", "message": "not a message"}}


def test_an_error_may_quote_half_a_surrogate_pair() -> None:
    payload = messages.error("x", UnknownTask("\ud800"), "id")

    assert json.loads(payload)["error"]["code"] == "unknown-task"


def test_a_sentence_with_half_a_surrogate_pair_is_told_without_it() -> None:
    payload = messages.error("x", BadMessage("got \ud800"))

    assert json.loads(payload)["error"]["message"] == "got ?"


def test_the_welcome_tells_cid_user_and_heartbeat() -> None:
    assert json.loads(messages.welcome("c1", {"id": 1, "username": "ann"}, 20.0)) == {
        "msgtype": "welcome",
        "cid": "c1",
        "user": {"id": 1, "username": "ann"},
        "heartbeat": 20.0,
    }


def test_presence_and_user_list_name_the_room() -> None:
    assert json.loads(messages.presence("join", "ann", "r")) == {"msgtype": "join", "username": "ann", "room": "r"}
    assert json.loads(messages.user_list(["ann"], "r", 3)) == {
        "msgtype": "user_list",
        "data": ["ann"],
        "room": "r",
        "total": 3,
    }
    assert json.loads(messages.user_list([], "r", 0, "a"))["id"] == "a"


def test_who_joined_or_left_is_answered_with_the_id_and_what_the_room_remembers() -> None:
    history = {"epoch": "e", "offset": 3, "recovered": True}

    assert json.loads(messages.joined("r", None, {})) == {"msgtype": "joined", "room": "r"}
    assert json.loads(messages.joined("r", 0, history)) == {"msgtype": "joined", "room": "r", "id": 0, **history}
    assert json.loads(messages.left("r", "a")) == {"msgtype": "left", "room": "r", "id": "a"}


def test_an_answer_to_a_room_names_it_and_its_place_in_the_history() -> None:
    assert json.loads(messages.room_answer("t", 1, "r")) == {"task": "t", "data": 1, "room": "r"}
    assert json.loads(messages.room_answer("t", 1, "r", 7)) == {"task": "t", "data": 1, "room": "r", "offset": 7}


def test_the_refusal_of_a_room_names_it() -> None:
    assert json.loads(messages.error(None, BadMessage("no"), 1, "r")) == {
        "task": "",
        "id": 1,
        "room": "r",
        "error": {"code": "bad-message", "message": "no"},
    }


def test_a_call_is_a_message_with_its_data_read() -> None:
    assert messages.call("t", '{"a": [1]}') == messages.Message(task="t", data={"a": [1]})


@pytest.mark.parametrize("data", ["", "{", "NaN", "[" * 100_000, "9" * 5_000, "\ud800"])
def test_a_call_with_data_that_is_no_json_is_refused(data: str) -> None:
    with pytest.raises(BadRequest, match="the data is not JSON"):
        messages.call("t", data)
