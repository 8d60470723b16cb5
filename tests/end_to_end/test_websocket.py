"""A real server process, made by zephctl new, started by zephserver-start, and browsers old and new."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from zephserver.testing import wait_until

BIN = Path(sys.executable).parent
PATIENCE = 30.0  # seconds until a test gives up; never waited for when all is well


class Chat:
    """The chat example in a folder, and its server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run("zephctl", "new", "chat", str(folder))

    def run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of our programs and wait for it. Port 0: each start picks a free one."""
        environment = {name: value for name, value in os.environ.items() if name != "ZEPHSETTINGS"} | {"PORT": "0"}
        return subprocess.run(
            [BIN / program, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )

    def start(self) -> str:
        """Start the server in the background; what zephserver-start said."""
        return self.run("zephserver-start", "--daemon", "--folder", str(self.folder)).stderr

    def stop(self) -> str:
        """Stop the server; what zephserver-stop said."""
        return self.run("zephserver-stop", "--folder", str(self.folder)).stdout

    def status(self) -> dict[str, Any]:
        """What zephctl says of the server."""
        words = ("status", "-o", "json", "--folder", str(self.folder))
        return json.loads(self.run("zephctl", *words).stdout)  # type: ignore[no-any-return]

    @property
    def pid(self) -> int:
        """The process of the server."""
        return int(self.status()["pid"])

    @property
    def url(self) -> str:
        """Where the WebSocket is."""
        return f"ws://127.0.0.1:{self.status()['port']}/ws"


class Page:
    """A page of today: waits for its welcome."""

    def __init__(self, connection: ClientConnection, name: str | None, room: str = "lobby") -> None:
        self.connection = connection
        self.send(session_id={"id": name, "username": name} if name else None, room=room)
        self.cid = self.read()["cid"]

    def send(self, **message: Any) -> None:
        """Send one message."""
        self.connection.send(json.dumps(message))

    def read(self) -> dict[str, Any]:
        """The next message."""
        return json.loads(self.connection.recv(PATIENCE))  # type: ignore[no-any-return]

    def hear(self, **wanted: Any) -> dict[str, Any]:
        """The next message with these fields."""
        while True:
            message = self.read()
            if all(message.get(name) == value for name, value in wanted.items()):
                return message


class PageOf2015:
    """The client of 2015: sends as soon as the socket is open, says who and where it is each time, pings, and calls
    its subscribers with what it knows."""

    def __init__(self, connection: ClientConnection, session_id: Any, room: str) -> None:
        self.connection, self._session_id, self._room = connection, session_id, room
        self.heard: dict[str, list[Any]] = {}
        self.users: list[str] = []
        self._write({"session_id": session_id, "room": room})

    def send(self, task: str, data: Any) -> None:
        """What its send(task, data) did."""
        now = int(time.time() * 1000)
        self._write({"task": task, "data": data, "room": self._room, "session_id": self._session_id, "date": now})

    def ping(self) -> None:
        """What it did every 45 seconds."""
        self.send("TaskPing", {})

    def wait(self, fact: Callable[[], object]) -> None:
        """Take messages until something is so."""
        while not fact():
            self._take(json.loads(self.connection.recv(PATIENCE)))

    def _write(self, message: dict[str, Any]) -> None:
        self.connection.send(json.dumps(message))

    def _take(self, message: dict[str, Any]) -> None:
        match message.get("msgtype"):
            case "user_list":
                self.users = message["data"]
            case "join":
                self.users.append(message["username"])
            case "leave":
                self.users.remove(message["username"])
            case None:
                self.heard.setdefault(message["task"], []).append(message["data"])


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    """The chat example, not running; stopped at the end."""
    chat = Chat(tmp_path / "chat")
    yield chat
    subprocess.run([BIN / "zephserver-stop", "--folder", chat.folder], capture_output=True, timeout=PATIENCE)


@pytest.fixture
def visit() -> Iterator[Callable[[str], ClientConnection]]:
    """Opens connections that are closed at the end."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(connect(url, ping_interval=None, proxy=None, close_timeout=2))


Visit = Callable[[str], ClientConnection]


def test_two_pages_chat(chat: Chat, visit: Visit) -> None:
    started = chat.start()
    url = chat.url
    ann = Page(visit(url), "ann")

    bob = Page(visit(url), "bob")
    joined = ann.hear(msgtype="join")
    bob.send(task="chat", data={"text": "hello Ann"})
    heard = ann.hear(task="chat")["data"]
    ann.send(task="chat", data={"text": "hello Bob"}, id=1)
    bob.hear(task="chat")  # what Bob said himself
    answered = bob.hear(task="chat")["data"]

    assert "is ready" in started
    assert joined["username"] == "bob"
    assert (heard["from"], heard["text"]) == ("bob", "hello Ann")
    assert (answered["from"], answered["text"]) == ("ann", "hello Bob")
    assert ann.hear(id=1)["data"] is None
    assert chat.status()["connections"] == 2


def test_the_client_of_2015_works_unchanged(chat: Chat, visit: Visit) -> None:
    chat.start()
    url = chat.url
    today = Page(visit(url), "today", "http://127.0.0.1/page")
    old = PageOf2015(visit(url), {"id": 7, "username": "old"}, "http://127.0.0.1/page")

    for number in range(3):  # at once, without waiting for the welcome
        old.send("echo", number)
    old.ping()
    old.send("chat", {"text": "hello from 2015"})

    said = today.hear(task="chat")["data"]
    today.send(task="chat", data={"text": "hello from today"})
    old.wait(lambda: len(old.heard.get("chat", [])) == 2 and "TaskPing" in old.heard)
    assert (said["from"], said["text"]) == ("old", "hello from 2015")
    assert old.heard["echo"] == [0, 1, 2]
    assert [word["text"] for word in old.heard["chat"]] == ["hello from 2015", "hello from today"]
    assert sorted(old.users) == ["old", "today"]
    today.connection.close()
    old.wait(lambda: old.users == ["old"])


def test_a_client_of_2015_without_a_session_is_anonymous(chat: Chat, visit: Visit) -> None:
    chat.start()
    old = PageOf2015(visit(chat.url), "", "r")

    old.send("echo", "hello")

    old.wait(lambda: old.heard.get("echo") and old.users)
    assert (old.heard["echo"], old.users) == (["hello"], ["anonymous"])


def test_a_page_is_told_when_to_come_back_after_a_stop(chat: Chat, visit: Visit) -> None:
    chat.start()
    ann = Page(visit(chat.url), "ann")

    said = chat.stop()

    with pytest.raises(ConnectionClosed) as closed:
        ann.hear(never=True)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert 0.5 <= json.loads(closed.value.rcvd.reason)["retry_after"] <= 1
    assert said.strip().endswith("stopped")


def test_a_server_that_was_killed_starts_again_unaided_and_its_clients_come_back(chat: Chat, visit: Visit) -> None:
    chat.start()
    url = chat.url
    ann, bob = Page(visit(url), "ann"), Page(visit(url), "bob")
    killed = chat.pid

    os.kill(killed, signal.SIGKILL)
    with pytest.raises(ConnectionClosed):
        ann.hear(never=True)
    with pytest.raises(ConnectionClosed):
        bob.hear(never=True)
    wait_until(lambda: _is_gone(killed), "the process is gone", timeout=PATIENCE)
    chat.start()

    assert chat.pid != killed
    url = chat.url
    ann, bob = Page(visit(url), "ann"), Page(visit(url), "bob")
    bob.send(task="chat", data={"text": "here again"})
    assert ann.hear(task="chat")["data"]["text"] == "here again"
    assert "ended without stopping" in (chat.folder / "logging.log").read_text()


def _is_gone(pid: int) -> bool:
    """Whether the process has ended; it may wait as a zombie for whoever is its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_the_page_of_the_example_is_served(chat: Chat) -> None:
    chat.start()
    url = chat.url.replace("ws://", "http://").removesuffix("ws")

    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        page = response.read().decode()
        kind = response.headers["Content-Type"]

    assert kind == "text/html; charset=utf-8"
    assert "<title>Chat</title>" in page
