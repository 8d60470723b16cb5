"""Clients of the rows about tasks, sessions and long runs: they say who they are and note every answer."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.chaos.peers import Crowd, Peer, message, opening

COUNTING = """
    from zephserver import Task

    class Echo(Task):
        async def main(self):
            self.reply(self.data)

    class Work(Task):
        def main(self):
            self.reply(self.data)

    class Tell(Task):
        async def main(self):
            self.say(self.data)
            self.reply(self.data)
"""
SOAK = """
TASKS_PATH = {"echo": "counting/Echo", "work": "counting/Work", "tell": "counting/Tell"}
MESSAGE_RATE = None
TASK_THREADS = 16
"""
WINDOW = 16  # requests of a client that are on their way
KINDS = ("echo",) * 7 + ("work",) * 2 + ("tell",)
PAD = "x" * 600
PAUSE = 0.02  # seconds between an echo and the next question of a bystander


class Asker(Peer):
    """Says who it is with its first message, and keeps what it is told: the welcome, answers by id, and the rest."""

    def __init__(self, who: Any = None, *headers: str, **first: Any) -> None:
        super().__init__()
        self.request = opening(*headers)
        self.first = {"session_id": who} | first
        self.welcome: dict[str, Any] = {}
        self.answers: dict[Any, list[dict[str, Any]]] = {}
        self.told: list[dict[str, Any]] = []

    def opened(self) -> None:
        """Come in."""
        self.send(message(**self.first))

    def heard(self, payload: bytes) -> None:
        """Sort what comes."""
        said = json.loads(payload)
        if said.get("msgtype") == "welcome":
            self.welcome = said
        elif "id" in said:
            self.answers.setdefault(said["id"], []).append(said)
        else:
            self.told.append(said)

    def ask(self, task: str, id: Any, data: Any = None, **more: Any) -> None:
        """Send a request."""
        self.send(message(task=task, id=id, data=data, **more))


class Bystander(Asker):
    """Asks for an echo again and again, and notes how long each takes."""

    def __init__(self, task: str = "echo") -> None:
        super().__init__()
        self._task = task
        self._asked_at, self._due = 0.0, 0.0
        self.waits: list[float] = []

    def heard(self, payload: bytes) -> None:
        """An echo, or the welcome."""
        super().heard(payload)
        if self.answers.pop("echo", None):
            now = time.monotonic()
            self.waits.append(now - self._asked_at)
            self._asked_at, self._due = 0.0, now + PAUSE

    def step(self, now: float) -> None:
        """Ask again when it is time."""
        if self.welcome and not self._asked_at and now >= self._due:
            self._asked_at = now
            self.ask(self._task, "echo", "hello")


class Chatter(Asker):
    """Sends numbered requests, a window of them at a time, and checks that the answers of each task count up by one."""

    def __init__(self, number: int, most: int) -> None:
        super().__init__({"id": number, "username": f"user-{number}"}, room=f"room-{number // 5}")
        self.sent = self.heard_of = 0
        self._has_begun = False
        self._most = most
        self._number = number
        self._asked: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.told_by: Counter[int] = Counter()  # what members of the room said, by member
        self.faults: list[str] = []

    def heard(self, payload: bytes) -> None:
        """An answer, what somebody told the room, or something of the protocol."""
        said = json.loads(payload)
        task = said.get("task")
        if said.get("msgtype") == "welcome":
            self.welcome = said
        elif task is None:
            return
        elif "room" in said:
            who, number, _ = said["data"]
            self._count(self.told_by, who, number, "told by")
        else:
            self._count(self.done, task, said["data"][1], "answered")
            self.heard_of += 1
        self.fill()

    def _count(self, counter: Counter[Any], what: Any, number: int, how: str) -> None:
        counter[what] += 1
        if counter[what] != number:
            self.faults.append(f"{self._number}: {how} {what}: {number} instead of {counter[what]}")
            counter[what] = number

    def begin(self) -> None:
        """Talk from now on: everybody is in the rooms."""
        self._has_begun = True
        self.fill()

    def fill(self) -> None:
        """Send as many as the window has room for."""
        if not self._has_begun:
            return
        requests = b""
        while self.sent - self.heard_of < WINDOW and self.sent < self._most:
            kind = KINDS[self.sent % len(KINDS)]
            self._asked[kind] += 1
            self.sent += 1
            pad = PAD if self.sent % 20 == 0 else ""
            requests += message(task=kind, id=self.sent, data=[self._number, self._asked[kind], pad])
        if requests:
            self.send(requests)


def step_all(bystanders: Sequence[Bystander]) -> None:
    """Let those ask whose time it is."""
    now = time.monotonic()
    for bystander in bystanders:
        bystander.step(now)


def come_in(crowd: Crowd, askers: Sequence[Asker], at_once: int = 200) -> None:
    """Let them connect, and wait until all of them are welcome."""
    crowd.play(iter(askers), at_once, lambda peer: bool(peer.welcome))  # type: ignore[attr-defined]
    lost = [asker for asker in askers if asker.is_over]
    assert not lost, f"{len(lost)} were not let in, as {lost[0]}"


def p99(seconds: Sequence[float]) -> float:
    """The time that one in a hundred is slower than."""
    return sorted(seconds)[int(len(seconds) * 0.99)]


def outcome(answers: list[dict[str, Any]]) -> str:
    """The code of the error in the only answer to a request, '' without an error."""
    assert len(answers) == 1, answers
    return str(answers[0].get("error", {}).get("code", ""))
