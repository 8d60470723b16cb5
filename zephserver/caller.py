"""A client without a connection: whoever calls a task from the command line."""

from __future__ import annotations

import json
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from zephserver import messages
from zephserver.core.errors import NoAnswer, RequestError
from zephserver.engines.interface import FrameCache
from zephserver.session_manager import User

if TYPE_CHECKING:
    from zephserver.job import Job


LONGEST_WAIT = 86_400.0  # seconds; some systems cannot wait for much longer than a year


class Caller:
    """Takes the place of a Client in the router for one call. Loop only, but `wait`."""

    is_ready = True
    hears_every_failure = True  # a shell wants to know how it ended, also after an answer
    cid = ""

    def __init__(self, user: str, room: str | None) -> None:
        self.user = User(user, user)
        self.rooms = [room] if room is not None else []
        self.jobs: set[Job] = set()
        self.lanes: dict[str, deque[Job]] = {}
        self._answers: list[dict[str, Any]] = []
        self._done = threading.Event()

    @property
    def room(self) -> str | None:
        """The room that the task is told."""
        return self.rooms[0] if self.rooms else None

    def send(self, payload: bytes, cache: FrameCache | None = None) -> None:
        """Note an answer."""
        answer = json.loads(payload)
        self._answers.append(answer)
        if "error" in answer:
            self._done.set()

    def refuse(self, message: messages.Message, error: RequestError) -> None:
        """The task was not begun."""
        self.send(messages.error(message.task, error, message.id))

    def go_on(self) -> None:
        """The task has ended."""
        self._done.set()

    def wait(self, seconds: float) -> dict[str, Any]:
        """What the task answered, and its error if it had one. Raises NoAnswer when it takes longer. Other threads."""
        if not self._done.wait(min(seconds, LONGEST_WAIT)):
            raise NoAnswer(f"the task has not ended after {seconds:g} s; it goes on")
        answers = [answer["data"] for answer in self._answers if "error" not in answer]
        errors = [answer["error"] for answer in self._answers if "error" in answer]
        return {"answers": answers, "error": errors[0]} if errors else {"answers": answers}
