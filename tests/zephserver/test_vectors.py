"""The protocol as docs/protocol.md has it: the same vectors are read by js/test/vectors.test.mjs."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from zephserver import messages
from zephserver.core.errors import BadMessage, TaskFailed, UnknownTask

ROOT = Path(__file__).parent.parent.parent
VECTORS: list[dict[str, Any]] = json.loads((ROOT / "tests" / "vectors" / "protocol.json").read_text("utf-8"))["vectors"]


def those(kind: str) -> list[Any]:
    """The vectors of a kind, as parameters."""
    return [pytest.param(vector, id=vector["name"]) for vector in VECTORS if kind in vector]


def write(function: str, *arguments: Any) -> bytes:
    """What the server says; an error is given as its code and its message."""
    if function == "HEARTBEAT":
        return messages.HEARTBEAT
    if function == "error":
        task, (code, text), *rest = arguments
        return messages.error(task, TaskFailed(text, code), *rest)
    payload: bytes = getattr(messages, function)(*arguments)
    return payload


@pytest.mark.parametrize("vector", those("say"))
def test_the_server_reads_what_a_client_says(vector: dict[str, Any]) -> None:
    message = messages.decode(json.dumps(vector["say"]))

    assert {field: getattr(message, field) for field in vector["means"]} == vector["means"]


@pytest.mark.parametrize("vector", those("hear"))
def test_the_server_says_what_a_client_hears(vector: dict[str, Any]) -> None:
    assert json.loads(write(*vector["write"])) == vector["hear"]


@pytest.mark.parametrize("vector", those("refuse"))
def test_the_server_refuses_what_is_no_message(vector: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        messages.decode(vector["refuse"])


def test_every_function_that_writes_a_message_has_a_vector() -> None:
    written = {vector["write"][0] for vector in VECTORS if "write" in vector}
    functions = {name: value for name, value in vars(messages).items() if inspect.isfunction(value) and name[0] != "_"}
    known = {name for name, value in functions.items() if value.__annotations__["return"] == "bytes"}

    assert written - {"HEARTBEAT"} == known - {"encode", "with_offset"}


def test_a_message_that_gets_its_offset_later_is_the_same() -> None:
    said = ("chat", {"text": 'a}"b', "n": [1, None]}, "lobby")

    assert messages.with_offset(messages.room_answer(*said), 7) == messages.room_answer(*said, 7)


def test_every_message_of_the_document_has_a_vector() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    lines = [line[7:] for line in page.splitlines() if line.startswith(("    <- {", "    -> {"))]
    examples = [json.loads(line) for line in lines]
    shapes = {frozenset(vector[kind]) - {"id"} for vector in VECTORS for kind in ("say", "hear") if kind in vector}

    assert examples
    assert [example for example in examples if frozenset(example) - {"id"} not in shapes] == []


def test_an_unknown_task_is_told_in_the_words_of_the_document() -> None:
    said = json.loads(messages.error("nosuch", UnknownTask("nosuch")))

    assert said in [vector["hear"] for vector in VECTORS if "hear" in vector]
    assert json.dumps(said) in (ROOT / "docs" / "protocol.md").read_text("utf-8")
