"""What the tests of the commands for the WebSocket server share: a server with its four services, and its visitors."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.zephserver.conftest import ROOM_HANDLER, ROUTER, WEBSOCKET_CLIENT, Site, Talker
from zephserver.core.server import Server

# Gullible believes every name, as a careless session manager would.
THINGS = """\
import threading

from zephserver import Task, User, login_required
from zephserver.session_manager import SimpleSessionManager

gate = threading.Event()


class Gullible(SimpleSessionManager):
    def get_user_session(self, instance, message):
        session = message["session_id"]
        return User(**session) if isinstance(session, dict) else User(session, session)


class Echo(Task):
    async def main(self):
        self.reply(self.data)


class Thread(Task):
    def main(self):
        self.reply(self.data)


class Who(Task):
    def main(self):
        user = self.request["user"]
        self.reply([user.id, user.username, self.request["room"], self.request["task"]])


class Several(Task):
    def main(self):
        for one in self.data:
            self.reply(one)


class Quiet(Task):
    def main(self):
        pass


class Tell(Task):
    def main(self):
        self.reply(self.say(self.data))


class Fail(Task):
    def main(self):
        self.fail(*self.data)


class Trip(Task):
    def main(self):
        raise ValueError("one foot on the other")


class AnswerAndTrip(Task):
    def main(self):
        self.reply("so far")
        raise ValueError("one foot on the other")


class Member(Task):
    @login_required
    def __init__(self, request):
        super().__init__(request)

    def main(self):
        self.reply("welcome")


class Wait(Task):
    def main(self):
        gate.wait(20)
        self.reply("at last")

    def interrupt(self):
        gate.set()


class Brief(Wait):
    timeout = 0.05
"""
GULLIBLE = "things/Gullible"
NAMES = (
    "Echo", "Thread", "Who", "Several", "Quiet", "Tell", "Fail", "Trip", "AnswerAndTrip", "Member", "Wait", "Brief",
)  # fmt: skip
NASTY = "e\x1b[31mv\u202eil"  # to a terminal: red from here, and backwards
NASTY_SHOWN = "e\\x1b[31mv\\u202eil"


def tasks_heard(talker: Talker) -> list[Any]:
    """The data of what was said to a visitor until now, but not about who comes and goes."""
    talker.send(task="TaskPing", id="until now")
    heard = []
    while (message := talker.read()).get("id") != "until now":
        if "task" in message:
            heard.append(message["data"])
    return heard


def open_gate() -> None:
    """Let go on what still waits, so that the server that stops has nothing to wait for."""
    if "things" in sys.modules:
        sys.modules["things"].gate.set()


@pytest.fixture
def open_site(serve: Callable[..., Server], folder: Path) -> Iterator[Callable[..., Site]]:
    """Run the server of the folder with the tasks of THINGS; it and its visitors are gone at the end."""
    (folder / "things.py").write_text(THINGS)
    with ExitStack() as stack:

        def start(sessions: str = GULLIBLE, **settings: Any) -> Site:
            values = {
                "SERVICE_LIST": [sessions, ROOM_HANDLER, ROUTER, WEBSOCKET_CLIENT],
                "MY_SESSION_HANDLER": sessions,
                "TASKS_PATH": {name.lower(): f"things/{name}" for name in NAMES},
            }
            site = Site(serve(**(values | settings)), stack)
            stack.callback(open_gate)
            return site

        yield start


@pytest.fixture
def site(open_site: Callable[..., Site]) -> Site:
    """A server that nobody visits yet."""
    return open_site()


@pytest.fixture
def no_server(write_settings: Callable[..., Path]) -> None:
    """A folder with settings and without a server."""
    write_settings(SERVICE_LIST=[])


@pytest.fixture
def other_server(serve: Callable[..., Server]) -> Server:
    """A server that runs other services."""
    return serve(SERVICE_LIST=["workers/Puppet"])


@pytest.fixture
def silent_server(folder: Path) -> Iterator[tuple[str, ...]]:
    """The options for a server that says nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind("silent.sock")
        silent.listen()
        yield ("--interface", "silent.sock", "--timeout", "0.1")
