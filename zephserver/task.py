"""The basic unit of the WebSocket server: a class of which every message makes an instance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, NoReturn, Protocol

from zephserver.core.errors import TaskFailed
from zephserver.messages import plain_id


class Channel(Protocol):
    """How a task speaks: the router's job, or a double in a test. Any thread."""

    def reply(self, data: Any) -> bool:
        """To the connection that the request came from."""

    def say(self, answer: dict[str, Any]) -> int:
        """To a room, to users, to everyone or to one connection."""


class Request(dict[str, Any]):
    """What a task gets: a dict with `data`, `cid`, `user`, `task` and `room`.

    Only `data` is the client's word; the rest is what the server knows.
    """

    __slots__ = ("channel",)

    def __init__(self, channel: Channel, **values: Any) -> None:
        super().__init__(values)
        self.channel = channel


class Task:
    """A base class for tasks; a class with `__init__(self, request)`, `main(self)`, `interrupt(self)` will do as well.

    An instance lives in one worker thread from its construction to its end; with ``async def main`` it runs on the
    event loop instead and must not block. Messages of one connection to one task run one after the other unless
    `concurrent` is True; different tasks overlap. `timeout` is in seconds, None means TASK_TIMEOUT. With
    `interrupt_on_disconnect` a task is interrupted when its client leaves; otherwise it does its work to the end.
    """

    concurrent: ClassVar[bool] = False
    interrupt_on_disconnect: ClassVar[bool] = False
    timeout: ClassVar[float | None] = None

    def __init__(self, request: Request) -> None:
        self.request = request

    @property
    def data(self) -> Any:
        """What the client sent."""
        return self.request["data"]

    def main(self) -> Any:
        """Do the work."""
        raise NotImplementedError(f"{type(self).__name__} has no main()")

    def interrupt(self) -> None:
        """End main() soon: it took too long, its client left, or the server stops. Called from another thread."""

    def reply(self, data: Any = None) -> bool:
        """Answer the client; False when it has left. Any thread, any number of times."""
        return self.request.channel.reply(data)

    def say(
        self,
        data: Any,
        *,
        room: str | None = None,
        users: Iterable[Any] | None = None,
        everyone: bool = False,
        cid: str | None = None,
        task: str | None = None,
        except_self: bool = False,
    ) -> int:
        """Send *data* to a room, to users (by id), to everyone, or to one connection; how many connections of this
        server get it.

        Without a target it goes to the room of the request. Browsers get it as a message of *task*, of this task
        without. Any thread.
        """
        answer: dict[str, Any] = {"task": task or self.request["task"], "data": data}
        if everyone:
            answer["all"] = True
        elif users is not None:
            answer["users"] = [plain_id(id) for id in users]
        elif cid is not None:
            answer["cid"] = cid
        else:
            answer["room"] = room if room is not None else self.request["room"]
        if except_self:
            answer["except"] = self.request["cid"]
        return self.request.channel.say(answer)

    def fail(self, code: str, message: str) -> NoReturn:
        """End the task and answer the client with an error. The code is for machines, as in 'out-of-stock'."""
        raise TaskFailed(str(message), str(code))


class TaskPing(Task):
    """Always there, under the name TaskPing: the client of 2015 sends it every 45 seconds."""

    async def main(self) -> None:
        """Answer, so that the client knows that the server is there."""
        self.reply("pong")
