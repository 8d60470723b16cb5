"""docs/tutorial/three-servers.md, every command of it as it stands there, and two pages that talk meanwhile."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.end_to_end.conftest import BIN, PATIENCE, environment, kill_server

PAGE = Path(__file__).parent.parent.parent / "docs" / "tutorial" / "three-servers.md"
PORTS = (7701, 7702, 7703, 8081, 8082, 8083)
SHOWS = ("zephctl cluster status", "zephctl rooms show")  # what may be asked until it is as the page says


def steps(text: str) -> list[tuple[str, list[str]]]:
    """The commands of the page, each with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE):
        for line in block.splitlines():
            if line.startswith("    $ "):
                found.append((line.removeprefix("    $ "), []))
            elif line.strip():
                found[-1][1].append(line)
    return found


def shape(line: str) -> str:
    """A line without what is another one each time: numbers, folders, the lines of a table, widths."""
    line = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,16}\b|\bhttp://\S+|\b\d+(\.\d+)?\b", "N", line)
    line = re.sub(r"/\S*/(chat|one|two|three)/", r"FOLDER/\1/", line)
    return " ".join(re.sub("[─-]{2,}", "", line).split())


class Page:
    """What a browser does: it is in the lobby, and comes back to where it was."""

    def __init__(self, name: str, port: int) -> None:
        self._name, self._port = name, port
        self._place: dict[str, Any] = {}
        self._connection: ClientConnection | None = None
        self._stack = ExitStack()

    @property
    def was_open(self) -> bool:
        """Whether it was in the room before."""
        return bool(self._place)

    def open(self) -> dict[str, Any]:
        """Connect, again or for the first time; what it is told of the room."""
        self.close()
        opening = connect(f"ws://127.0.0.1:{self._port}/ws", compression=None, proxy=None)
        self._connection = self._stack.enter_context(opening)
        self._connection.send(json.dumps({"session_id": self._name}))
        self._connection.send(json.dumps({"msgtype": "join", "room": "lobby"} | self._place))
        joined = self.hear(msgtype="joined")
        self._place = {"epoch": joined["epoch"], "offset": joined["offset"]}
        return joined

    def hear(self, **wanted: Any) -> dict[str, Any]:
        """The next message with these fields."""
        assert self._connection is not None
        while True:
            message: dict[str, Any] = json.loads(self._connection.recv(timeout=PATIENCE))
            if all(message.get(name, ...) == value for name, value in wanted.items()):
                return message

    def text(self) -> str:
        """The next thing that was said in the room."""
        said = self.hear(task="chat")
        self._place["offset"] = said["offset"]
        return str(said["data"]["text"])

    def close(self) -> None:
        """The window is closed, or its server is gone."""
        self._stack.close()


class Reader:
    """Somebody who does what the page says."""

    def __init__(self, folder: Path, ports: dict[int, int]) -> None:
        self.folder = folder
        self._ports = ports
        self._environment = environment(PATH=f"{BIN}:{os.environ['PATH']}")

    def text(self) -> str:
        """The page, with ports that are free here."""
        return re.sub(r"\b\d{4}\b", lambda found: str(self._ports.get(int(found[0]), found[0])), PAGE.read_text())

    def run(self, command: str) -> str:
        """What a command prints; on a terminal it would print the heads of tables too."""
        if command.startswith("cd "):
            self.folder = self.folder / command.removeprefix("cd ")
            return ""
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self._environment[name] = self.run(f"echo {value}").strip()
            return ""
        if command.startswith(SHOWS):
            command += " -o table"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def follow(self, command: str, expected: list[str]) -> None:
        """Run a command, and see that it prints what the page says; what only shows something, until it does."""
        end = time.monotonic() + PATIENCE
        while True:
            printed = self.run(command)
            missing = {shape(line) for line in expected} - {shape(line) for line in printed.splitlines()}
            if not missing:
                return
            assert command.startswith(SHOWS), (command, missing, printed)
            assert time.monotonic() < end, (command, missing, printed)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with ExitStack() as probes:
        free = [probes.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in PORTS]
    yield Reader(tmp_path, dict(zip(PORTS, free, strict=True)))
    for name in ("one", "two", "three"):
        kill_server(tmp_path / "chat" / name)


def test_a_chat_on_three_servers(reader: Reader) -> None:
    text = reader.text()
    (settings,) = re.findall(r"```python\n(# cluster\.py\n.*?)```", text, re.DOTALL)
    ports = re.findall(r"open http://127\.0\.0\.1:(\d+)/ .* and http://127\.0\.0\.1:(\d+)/", text, re.IGNORECASE)[0]
    ann, bob = Page("ann", int(ports[0])), Page("bob", int(ports[1]))
    try:
        for command, expected in steps(text):
            if command.startswith("for name in one two three; do cat cluster.py"):
                (reader.folder / "cluster.py").write_text(settings)
            if command.startswith("zephctl rooms show") and not ann.was_open:
                ann.open(), bob.open()
            reader.follow(command, expected)
            if command.startswith("zephctl rooms say lobby"):
                said = json.loads(command.split("'")[1])["text"]
                assert bob.text() == said
                if said == "hello from three":
                    assert ann.text() == said
            elif command == "zephctl start --folder one":
                assert ann.open()["recovered"] is True
                assert ann.text() == "said meanwhile"
            elif command == "zephctl start --folder two":
                assert bob.open()["recovered"] is True
    finally:
        ann.close(), bob.close()
