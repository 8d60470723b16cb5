"""The JSON messages between browser and server. Pure: no I/O, no clock.

The whole protocol is described in docs/protocol.md.
"""

from __future__ import annotations

from typing import Any

import msgspec

from zephserver.core.errors import BadMessage, BadRequest, RequestError


class Message(msgspec.Struct, frozen=True):
    """What a client sent. Fields that the protocol does not know are ignored."""

    task: str | None = None
    data: Any = None
    room: str | None = None
    session_id: Any = None
    id: int | str | None = None
    msgtype: str | None = None
    epoch: str | None = None
    offset: int | None = None


_decoder = msgspec.json.Decoder(Message)
_encoder = msgspec.json.Encoder()


def decode(text: str) -> Message:
    """Read a message. Raises BadMessage with what is wrong: not JSON, NaN, nested too deep, not an object, ..."""
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise BadMessage(f"not a message: {error}") from None
    except (RecursionError, ValueError) as error:
        raise BadMessage(f"not a message: {error}") from None


def call(task: str, data: str) -> Message:
    """The message that calls a task with this JSON. Raises BadRequest."""
    try:
        return Message(task=task, data=msgspec.json.decode(data))
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise BadRequest(f"the data is not JSON: {error}") from None


def without_task(message: Message) -> Message:
    """The part of a first message that joins a room. Without the id, which is the task's: one answer for each id."""
    return msgspec.structs.replace(message, task=None, id=None) if message.task is not None else message


def encode(message: dict[str, Any]) -> bytes:
    """Write a message. Raises BadMessage when its data is not for JSON."""
    try:
        return _encoder.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadMessage(f"the data cannot be written as JSON: {error}") from None


def answer(task: str, data: Any, id: int | str | None = None) -> bytes:
    """What a task says to one client; with the id of the request that it answers."""
    return encode({"task": task, "data": data} if id is None else {"task": task, "id": id, "data": data})


def room_answer(task: str, data: Any, room: str, offset: int | None = None) -> bytes:
    """What a task says to a room; with its place in the history of a room that keeps one."""
    said = {"task": task, "data": data, "room": room}
    return encode(said if offset is None else said | {"offset": offset})


def with_offset(room_answer: bytes, offset: int) -> bytes:
    """The same message with its place in the history of its room."""
    return b'%b,"offset":%d}' % (room_answer[:-1], offset)


def error(task: str | None, problem: RequestError, id: int | str | None = None, room: str | None = None) -> bytes:
    """What a client is told when its message was not served."""
    said: dict[str, Any] = {"task": task or ""}
    if id is not None:
        said["id"] = id
    if room is not None:
        said["room"] = room
    return encode(said | {"error": {"code": problem.code, "message": _told(str(problem))}})


HEARTBEAT = encode({"msgtype": "heartbeat"})


def welcome(cid: str, user: dict[str, Any], heartbeat: float) -> bytes:
    """To a client whose user is known."""
    return encode({"msgtype": "welcome", "cid": cid, "user": user, "heartbeat": heartbeat})


def joined(room: str, id: int | str | None, history: dict[str, Any]) -> bytes:
    """To the one who joined; *history* has `epoch`, `offset` and `recovered` where the room has them."""
    return _numbered({"msgtype": "joined", "room": room}, id, history)


def left(room: str, id: int | str | None) -> bytes:
    """To the one who left."""
    return _numbered({"msgtype": "left", "room": room}, id, {})


def reloaded(modules: list[str], pages: list[str]) -> bytes:
    """To everybody, in development mode: these modules are new, and these files of the page."""
    return encode({"msgtype": "reloaded", "modules": modules, "pages": pages})


def presence(kind: str, username: str, room: str) -> bytes:
    """`join` or `leave`, to the room."""
    return encode({"msgtype": kind, "username": username, "room": room})


def user_list(usernames: list[str], room: str, total: int, id: int | str | None = None) -> bytes:
    """Who is in the room: *usernames* are all of them, or the first of *total*."""
    return _numbered({"msgtype": "user_list", "data": usernames, "room": room, "total": total}, id, {})


def plain_id(id: Any) -> Any:
    """An id as it travels: numbers and texts as they are, a UUID or the like as text, so that both ends can name it."""
    return id if id is None or isinstance(id, (int, str)) else str(id)


def _numbered(said: dict[str, Any], id: int | str | None, more: dict[str, Any]) -> bytes:
    return encode(said | ({} if id is None else {"id": id}) | more)


def _told(text: str) -> str:
    """The text as UTF-8 can carry it: an error may quote half a surrogate pair."""
    return text.encode("utf-8", "replace").decode()
