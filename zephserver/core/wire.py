"""The lines of the control socket: requests in, answers out. Pure: no I/O, no clock.

A request is one line, in either form:

    services show zephserver.router/Router          plain words; the answer is text, then the end of the stream
    {"id": 1, "command": "services.list"}           JSON; the answer is JSON lines that carry the same id
    {"id": 2, "words": ["services", "list"]}        the same with plain words, as a program hands them on

A JSON answer is `{"id": 1, "ok": true, "result": ...}` or `{"id": 1, "ok": false, "error": {"code", "message"}}`. A
command that streams sends `{"id": 1, "notice": ...}` lines before it. A plain answer that begins with `error: ` failed.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from zephserver.core.errors import BadRequest, ZephError
from zephserver.core.text import escape

# json.dumps() with arguments of its own makes an encoder for each call.
_encode = json.JSONEncoder(default=str, separators=(",", ":")).encode

LONGEST_REQUEST = 65_536  # bytes, with the newline


@dataclass(frozen=True, slots=True)
class Call:
    """A request. Without a command its words are not yet told apart into command and arguments."""

    words: tuple[str, ...] = ()
    command: str = ""
    args: dict[str, Any] | None = None
    id: int | str | None = None

    @property
    def plain(self) -> bool:
        """Whether the answer is text."""
        return self.args is None


def parse_request(line: bytes) -> Call:
    """Read one request line. Raises BadRequest."""
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise BadRequest("the request is not UTF-8") from None
    if not text:
        raise BadRequest("the request is empty; try 'help'")
    if not text.startswith("{"):
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise BadRequest(f"the request cannot be split into words: {error}") from None
        if not words:
            raise BadRequest("the request is empty; try 'help'")
        return Call(words=words)
    try:
        request = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the request is not JSON: {error}") from None
    command, args, id = request.get("command"), request.get("args", {}), request.get("id")
    words = request.get("words", [])
    if isinstance(id, bool) or not isinstance(id, (int, str, type(None))):
        raise BadRequest("the id of a request is a number or a text")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise BadRequest('the "words" of a request are a list of texts', id)
    if command is None and words:
        command = ""
    if not isinstance(command, str) or not isinstance(args, dict):
        raise BadRequest('the request needs "command": text and may have "args": object', id)
    return Call(words=tuple(words), command=command, args=args, id=id)


def result_line(id: int | str | None, result: Any) -> bytes:
    """The last line of a good answer."""
    return _line({"id": id, "ok": True, "result": result})


def notice_line(id: int | str | None, notice: Any) -> bytes:
    """One line of a stream."""
    return _line({"id": id, "notice": notice})


def error_line(id: int | str | None, error: ZephError) -> bytes:
    """The last line of an answer that failed."""
    facts = {"facts": error.facts} if error.facts else {}
    return _line({"id": id, "ok": False, "error": {"code": error.code, "message": str(error), **facts}})


def plain_error(error: ZephError) -> bytes:
    """A failed plain answer, on one line."""
    return f"error: {error.code}: {escape(' / '.join(str(error).splitlines()))}\n".encode()


def plain_text(value: Any) -> bytes:
    """A result or notice as text: tables tab-separated, one record a line; objects one `name<TAB>value` a line."""
    return "".join(f"{line}\n" for line in _plain_lines(value)).encode("utf-8", "backslashreplace")


def _plain_lines(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):  # an event or a line of the log
            return [escape(value["text"])]
        return [f"{_cell(name)}\t{_cell(cell)}" for name, cell in value.items()]
    if isinstance(value, (list, tuple)):
        return [
            "\t".join(_cell(cell) for cell in row.values()) if isinstance(row, dict) else _cell(row) for row in value
        ]
    return [escape(line) for line in str(value).splitlines()] or [""]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=str)
    return escape(str(value).replace("\t", " ").replace("\n", " "))


def _line(answer: dict[str, Any]) -> bytes:
    return _encode(answer).encode() + b"\n"
