"""A line of the control socket: a request or BadRequest; and every answer is one line of JSON, or of text."""

from __future__ import annotations

import json
import shlex
import unicodedata

from tests.fuzz.engine import Target, promise
from zephserver.core import wire
from zephserver.core.errors import BadRequest, ZephError


def one_input(data: bytes) -> str:
    """Read a line, and write the answers that quote it."""
    try:
        call = wire.parse_request(data)
    except BadRequest as refused:
        _check_error(refused)
        return f"refused, {str(refused).partition(':')[0]}"
    text = data.decode().strip()
    if call.plain:
        promise(list(call.words) == shlex.split(text), "other words", call.words)
        promise(call.words and not text.startswith("{"), "no words", call)
        _check_plain(list(call.words))
        return f"{min(len(call.words), 4)} words"
    asked = json.loads(text)
    promise(isinstance(asked, dict), "a request that is no object", asked)
    promise(call.command == asked["command"] and isinstance(call.command, str), "another command", call.command)
    promise(
        (isinstance(call.args, dict) and call.args == asked.get("args", {})) or "NaN" in text, "other args", call.args
    )
    promise(call.id == asked.get("id") and type(call.id) in (int, str, type(None)), "an id of no kind", call.id)
    for line in (wire.result_line(call.id, call.command), wire.notice_line(call.id, call.command)):
        answer = _check_line(line)
        promise(answer["id"] == call.id, "another id in the answer", answer)
    _check_error(BadRequest(call.command, call.id))
    _check_plain(call.args)
    return f"json, id {type(call.id).__name__}, {'with' if call.args else 'without'} args"


def _check_line(line: bytes) -> dict[str, object]:
    promise(line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii(), "not one line", line)
    answer: dict[str, object] = json.loads(line, parse_constant=lambda word: promise(False, "not JSON", line))
    return answer


def _check_error(error: ZephError) -> None:
    promise(_check_line(wire.error_line(None, error))["error"], "an error that says nothing")
    plain = wire.plain_error(error)
    promise(plain.startswith(b"error: ") and plain.endswith(b"\n"), "not an error", plain)
    promise(len(plain.decode().splitlines()) == 1, "a plain error of several lines", plain)


def _check_plain(value: object) -> None:
    text = wire.plain_text(value).decode()
    for character in text.replace("\t", "").replace("\n", ""):
        promise(unicodedata.category(character) not in ("Cc", "Zl", "Zp"), "a control character for a terminal", text)
    promise(not text or text.endswith("\n"), "text without an end", text)
    if isinstance(value, list) or (isinstance(value, dict) and not isinstance(value.get("text"), str)):
        promise(text.count("\n") == len(value), "a record of several lines", value)


TARGET = Target(
    "wire",
    one_input,
    frozenset(
        {
            "refused, the request is not UTF-8",
            "refused, the request is empty; try 'help'",
            "refused, the request cannot be split into words",
            "refused, the request is not JSON",
            "refused, the id of a request is a number or a text",
            'refused, the request needs "command"',
            "1 words",
            "3 words",
            "json, id NoneType, without args",
            "json, id int, with args",
            "json, id str, without args",
        }
    ),
    (
        *(
            b"services",
            b" list",
            b"status",
            b"help",
            b"stop",
            b"'",
            b'"',
            b"\\",
            b"#",
            b"\n",
            b"\r",
            b"\t",
            b"\x00",
            b"\xff",
        ),
        *(
            b'{"command":"status"}',
            b'"command"',
            b'"args"',
            b'"id"',
            b'"text"',
            b":",
            b",",
            b"{}",
            b"[]",
            b"1",
            b"true",
        ),
        *(b"null", b"NaN", b"1e999", b"9" * 60, b"\\ud800", b"\\n", b"\xe2\x80\xa8", b"\xc2\x85", b"\x1e", b"[" * 60),
    ),
)
