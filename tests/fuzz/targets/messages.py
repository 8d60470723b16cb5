"""JSON of a client: what we accept the standard library accepts too, as the same values; and it can be answered."""

from __future__ import annotations

import json
import math
from typing import Any

from tests.fuzz.engine import Target, promise
from zephserver.core.errors import BadMessage
from zephserver.messages import Message, answer, decode, error

FIELDS = Message.__struct_fields__
DEEP = 100  # levels that must be accepted


class _Odd(ValueError):
    """JSON that we need not accept."""


def one_input(data: bytes) -> str:
    """Read a message."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "not text"
    try:
        message = decode(text)
    except BadMessage as refused:
        told = json.loads(error("", refused))["error"]
        promise(told["code"] == "bad-message" and told["message"], "a refusal that says nothing", told)
        promise(not _is_plain(text), "refused, but it is a message", text, str(refused))
        return f"refused, {str(refused).partition(' - at')[0].partition(' (byte')[0]}"
    other = _strict(text)
    promise(isinstance(other, dict), "accepted, but no object", other)
    for name in FIELDS:
        field = getattr(message, name)
        promise(_same(field, other.get(name)), "another value", name, field, other.get(name))
    back = json.loads(answer(message.task or "", message.data, message.id))
    promise(_same(back["data"], message.data), "data that does not come back", back, message.data)
    promise(_same(back.get("id"), message.id), "an id that does not come back", back, message.id)
    return f"accepted, {','.join(name for name in FIELDS if name in other)}, {type(message.data).__name__}"


def _strict(text: str) -> Any:
    """What RFC 8259 says, which knows no NaN; the error when it is not JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as problem:
        return problem


def _refuse(word: str) -> Any:
    raise _Odd(word)


def _is_plain(text: str) -> bool:
    """Whether this is a message that must be accepted: fields of the right kinds, no oddities."""
    found = _strict(text)
    if not isinstance(found, dict) or not _is_carried(found, 0):
        return False
    kinds = {"id": (int, str), "offset": (int,), "data": None, "session_id": None}
    for name in FIELDS:
        value, kind = found.get(name), kinds.get(name, (str,))
        if kind is not None and value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            return False
    # Of a repeated name json keeps the last value, and we may have refused an earlier one.
    return not _has_twins(text)


def _has_twins(text: str) -> bool:
    twins: list[bool] = []
    json.loads(text, object_pairs_hook=lambda pairs: twins.append(len({name for name, _ in pairs}) < len(pairs)))
    return any(twins)


def _is_carried(value: Any, depth: int) -> bool:
    """No half surrogate pairs, no number beyond what a double or 64 bits hold, not deep."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, (int, float)):
        return math.isfinite(value) if isinstance(value, float) else abs(value) < 1 << 63
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    return depth < DEEP and all(_is_carried(one, depth + 1) for one in inner)


def _same(one: Any, other: Any) -> bool:
    """Equal, and of the same kinds all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


TARGET = Target(
    "messages",
    one_input,
    frozenset(
        {
            "not text",
            "accepted, , NoneType",
            "accepted, task,data,room,session_id,id, dict",
            "accepted, data, str",
            "accepted, data, list",
            "accepted, data, int",
            "accepted, data, float",
            "accepted, data, bool",
            "refused, not a message: Input data was truncated",
            "refused, not a message: Number out of range",
            "refused, not a message: Expected `object`, got `array`",
            "refused, not a message: JSON is malformed: invalid character",
        }
    ),
    (
        *(
            b"{}",
            b"[]",
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b'"',
            b"\\",
            b"null",
            b"true",
            b"false",
            b"NaN",
            b"Infinity",
        ),
        *(b'"task"', b'"data"', b'"room"', b'"session_id"', b'"id"', b'"msgtype"', b'"epoch"', b'"offset"', b'"a":1'),
        *(b"\\u0000", b"\\ud83d\\ude42", b"\\ud800", b"\\n", b"-0", b"1e999", b"1E5", b"0.1", b"18446744073709551616"),
        *(
            b"9223372036854775808",
            b"-9223372036854775809",
            b"9" * 60,
            b"2.2250738585072014e-308",
            b"\xef\xbb\xbf",
            b"\x7f",
        ),
        *(b"[" * 100, b'{"a":' * 60, b"\xc2\x85", b" \t\r\n", b"//", b"'"),
    ),
)
