"""The JSON messages between browser and server. Pure: no I/O, no clock.

The whole protocol is described in docs/protocol.md.
"""

from __future__ import annotations

from typing import Any

import msgspec

from zephserver.core.errors import BadMessage, RequestError


class Message(msgspec.Struct, frozen=True):
    """What a client sent. Fields that the protocol does not know are ignored."""

    task: str | None = None
    data: Any = None
    room: str | None = None
    session_id: Any = None
    id: int | str | None = None


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


def encode(message: dict[str, Any]) -> bytes:
    """Write a message. Raises BadMessage when its data is not for JSON."""
    try:
        return _encoder.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadMessage(f"the data cannot be written as JSON: {error}") from None


def answer(task: str, data: Any, id: int | str | None = None) -> bytes:
    """What a task says."""
    return encode({"task": task, "data": data} if id is None else {"task": task, "id": id, "data": data})


def error(task: str | None, problem: RequestError, id: int | str | None = None) -> bytes:
    """What a client is told when its message was not served."""
    said: dict[str, Any] = {"task": task or ""}
    if id is not None:
        said["id"] = id
    return encode(said | {"error": {"code": problem.code, "message": _told(str(problem))}})


def welcome(cid: str, user: dict[str, Any], heartbeat: float) -> bytes:
    """To the one who joined."""
    return encode({"msgtype": "welcome", "cid": cid, "user": user, "heartbeat": heartbeat})


def presence(kind: str, username: str, room: str) -> bytes:
    """`join` or `leave`, to the room."""
    return encode({"msgtype": kind, "username": username, "room": room})


def user_list(usernames: list[str], room: str) -> bytes:
    """Who is in the room, to the room."""
    return encode({"msgtype": "user_list", "data": usernames, "room": room})


def _told(text: str) -> str:
    """The text as UTF-8 can carry it: an error may quote half a surrogate pair."""
    return text.encode("utf-8", "replace").decode()
