"""One worker, as the process above starts it: by hand."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.zephserver.core.processes.conftest import PATIENCE, write_house
from zephserver.core.processes.plan import Plan


def start(path: Path, line: socket.socket) -> subprocess.Popen[bytes]:
    """Start a worker with its end of the line."""
    command = [sys.executable, "-P", "-m", "zephserver.core.processes.worker", str(path), "2", str(line.fileno())]
    return subprocess.Popen(command, pass_fds=[line.fileno()], stderr=subprocess.PIPE)


def plan(folder: Path, **more: Any) -> bytes:
    """The first word for a worker."""
    values = Plan(number=2, count=2, folder=str(folder), sockets=str(folder), port=0).as_dict() | more
    return json.dumps(values).encode() + b"\n"


def words(line: socket.socket) -> list[dict[str, Any]]:
    """Everything that a worker says until it ends."""
    line.settimeout(PATIENCE)
    with line.makefile("rb") as file:
        return [json.loads(word) for word in file]


def test_without_anybody_above_it_ends(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs, start(write_house(tmp_path, 1, {}), theirs) as process:
        pass

    assert process.returncode == 1


def test_settings_that_cannot_be_used_are_told_on_one_line(tmp_path: Path) -> None:
    path = write_house(tmp_path, 1, {"SERVICE_LIST": 3, "PORT_ZEPH": -1})
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = start(path, theirs)
        ours.sendall(plan(tmp_path))
        with process:
            (word,) = words(ours)

    assert process.returncode == 1
    assert word["ended"] == (
        f"{path}:1: SERVICE_LIST: expected a list of 'path.to.module/ClassName', got 3; "
        f"{path}:2: PORT_ZEPH: expected a port from 0 to 65535, got -1"
    )


def test_it_ends_by_itself_when_the_process_above_is_gone(tmp_path: Path) -> None:
    path = write_house(tmp_path, 1, {})
    ours, theirs = socket.socketpair()
    with theirs:
        process = start(path, theirs)
    with process:
        ours.sendall(plan(tmp_path, levels={"": "DEBUG", "house_services/Puppet": "ERROR"}))
        ours.settimeout(PATIENCE)
        with ours.makefile("rb") as file:
            while json.loads(file.readline()) != {"ready": True}:
                pass
        ours.close()
        assert process.stderr is not None
        log = [json.loads(line) for line in process.stderr]

    assert process.returncode == 0
    assert log[0]["text"].startswith("zephserver ")
    assert any(line["text"].startswith("stopping: signal SIGTERM") for line in log)
