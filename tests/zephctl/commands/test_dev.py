"""zephctl dev: what a person sees of the development mode."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.zephserver.conftest import Talker
from zephctl.commands.dev import _shown
from zephserver.core.events import ServiceChanged
from zephserver.events import (
    ClientConnected,
    ReloadMended,
    ReloadRefused,
    RestartNeeded,
    TaskFinished,
    TaskRaised,
    TasksReloaded,
)

ZEPHCTL = str(Path(sys.executable).with_name("zephctl"))
PATIENCE = 20.0
SETTINGS = """\
SERVICE_LIST = ["zephserver.session_manager/SimpleSessionManager", "zephserver.room_handler/RoomHandler",
                "zephserver.router/Router", "zephserver.websocket_client/WebsocketClient"]
TASKS_PATH = {"word": "words/Word", "trip": "words/Trip"}
PORT_ZEPH = 0
"""
TASK = """\
from zephserver import Task
class Word(Task):
    async def main(self):
        self.reply({})
class Trip(Task):
    def main(self):
        raise ValueError("one foot on the other")
"""


class Dev:
    """`zephctl dev` in a process of its own, and what it shows."""

    def __init__(self, folder: Path, *words: str, terminal: bool) -> None:
        self.folder = folder
        self.shown = ""
        self._reader, writer = pty.openpty() if terminal else os.pipe()
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")} | {"TERM": "xterm"}
        self.process = subprocess.Popen(
            [ZEPHCTL, "dev", *words], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=writer,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        os.close(writer)
        assert self.process.stderr is not None
        ready = self.process.stderr.readline().decode()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", ready)
        assert found is not None, ready
        self.url = f"ws://127.0.0.1:{found[1]}/ws"

    def see(self, text: str) -> str:
        """Wait until this is shown; all that was shown."""
        end = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert select.select([self._reader], [], [], max(0.0, end - time.monotonic()))[0], self.shown
            self.shown += os.read(self._reader, 65_536).decode().replace("\r\n", "\n")
        return self.shown

    def lines(self) -> list[str]:
        """What was shown, without times of the day and durations."""
        text = re.sub(r"^\d\d:\d\d:\d\d ", "", self.shown, flags=re.MULTILINE)
        return re.sub(r"\d+(\.\d)? ms", "N ms", text).splitlines()

    def save(self, answer: str) -> None:
        """Save the task."""
        (self.folder / "words.py").write_text(TASK.replace("{}", answer))

    def hang_up(self) -> None:
        """Read no more."""
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1

    def stop(self) -> tuple[int, str]:
        """Ctrl-C, once; exit status and what was on stderr."""
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors.decode()

    def close(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.hang_up()


@pytest.fixture
def start_dev(tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    """`start_dev(*words, terminal=False)`."""
    (tmp_path / "zephsettings.py").write_text(SETTINGS)
    (tmp_path / "words.py").write_text(TASK.replace("{}", "1"))
    with ExitStack() as stack:

        def start(*words: str, terminal: bool = False) -> Dev:
            dev = Dev(tmp_path, *words, terminal=terminal)
            stack.callback(dev.close)
            return dev

        yield start


def test_reloads_and_faults_and_tasks_are_lines(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev()
    with connect(dev.url, compression=None, proxy=None) as connection:
        ann = Talker(connection)
        ann.send(session_id="ann")
        cid = ann.hear(msgtype="welcome")["cid"]
        dev.save("2")
        dev.see("reloaded 1 module (words)")
        ann.ask("word")
        dev.see("task word of")
        dev.save("(3")
        dev.see("not reloaded")
        ann.ask("trip")
        dev.see("task-failed")
    dev.see("closed with 1000")

    path = dev.folder / "words.py"
    assert [line for line in dev.lines() if "Error" not in line or "not reloaded" in line][:8] == [
        f"client {cid} connected: ann from 127.0.0.1",
        "reloaded 1 module (words) in N ms",
        f"task word of {cid}: done in N ms",
        f"not reloaded: {path}:4: SyntaxError: '(' was never closed; the old code goes on",
        "    self.reply((3)",
        "              ^",
        "Traceback (most recent call last):",
        *[line for line in dev.lines() if line.startswith("  File") and "job.py" in line][:1],
    ]
    assert f"task trip of {cid} raised ValueError('one foot on the other')" in dev.lines()
    assert f"task trip of {cid}: task-failed in N ms" in dev.lines()
    assert "\x1b" not in dev.shown


def test_a_terminal_has_colours(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev(terminal=True)
    dev.save("2")
    dev.see("reloaded 1 module")
    dev.save("(3")

    shown = dev.see("^")

    assert "\x1b[32m" in shown  # green
    assert "\x1b[31m" in shown  # red


def test_colours_are_left_out_when_nobody_wants_them(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev("--color", "never", terminal=True)
    dev.save("2")

    assert "\x1b" not in dev.see("reloaded 1 module")


def test_events_in_json_are_objects_one_a_line(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev("-o", "jsonl")
    dev.save("(3")
    dev.see("\n")

    event = json.loads(dev.shown.splitlines()[0])

    assert (event["kind"], event["line"], event["source"], event["column"]) == (
        "ReloadRefused", 4, "        self.reply((3)", 19,
    )  # fmt: skip


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_once_stops_it_cleanly(start_dev: Callable[..., Dev], terminal: bool) -> None:
    dev = start_dev(terminal=terminal)
    dev.save("2")
    dev.see("reloaded")

    status, errors = dev.stop()

    assert status == 0
    assert errors == "stopping: signal SIGINT\n"
    assert "Traceback" not in dev.shown + (dev.folder / "logging.log").read_text()


def test_the_server_lives_on_when_nobody_reads_any_more(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev()
    dev.hang_up()
    with connect(dev.url, compression=None, proxy=None) as connection:
        ann = Talker(connection)
        ann.send(session_id="ann")
        ann.hear(msgtype="welcome")
        for number in (2, 3):
            dev.save(str(number))
            ann.hear(msgtype="reloaded")

        assert ann.ask("word")["data"] == 3

    assert dev.stop() == (0, "stopping: signal SIGINT\n")


def test_a_fault_in_the_settings_is_a_line_and_a_status(start_dev: Callable[..., Dev], tmp_path: Path) -> None:
    (tmp_path / "zephsettings.py").write_text("PORT_ZEPH = 'x'")

    done = subprocess.run([ZEPHCTL, "dev"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (6, "")
    assert "PORT_ZEPH" in done.stderr
    assert "Traceback" not in done.stderr


# -- what is shown of an event --------------------------------------------------------------------------------------

NOT = "not reloaded: x"
FACTS: dict[str, Any] = {"error": "x", "file": "a.py", "line": 1, "source": "", "column": None}


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (TasksReloaded(modules=("a",), seconds=0.01, running=0), ("reloaded 1 module (a) in 10 ms", "ready")),
        (ReloadMended(file="a.py"), ("mended: a.py is as it was, so there is nothing to load", "ready")),
        (ReloadRefused(**FACTS), ("not reloaded: x", "ERROR")),
        (ReloadRefused(**FACTS | {"source": "\tx = (", "column": 6}), (f"{NOT}\n    x = (\n        ^", "ERROR")),
        (ReloadRefused(**FACTS | {"source": "  x", "column": 1}), ("not reloaded: x\n    x", "ERROR")),
        (ReloadRefused(**FACTS | {"source": "x", "column": 99}), ("not reloaded: x\n    x\n     ^", "ERROR")),
        (ReloadRefused(**FACTS | {"source": "a\tb", "column": 3}), ("not reloaded: x\n    a b\n      ^", "ERROR")),
        (ReloadRefused(**FACTS | {"source": "  "}), ("not reloaded: x", "ERROR")),
        (TaskFinished(task="a", cid="c", seconds=0.002, outcome="done"), ("task a of c: done in 2.0 ms", "")),
        (TaskFinished(task="a", cid="", seconds=0.002, outcome="done"),
         ("task a of the command line: done in 2.0 ms", "")),
        (TaskFinished(task="a", cid="c", seconds=0.002, outcome="x"), ("task a of c: x in 2.0 ms", "WARNING")),
        (TaskFinished(task="TaskPing", cid="c", seconds=0.002, outcome="done"), ("", "")),
        (TaskRaised(task="a", cid="c", error="E", traceback="T\n"), ("task a of c raised E\nT", "ERROR")),
        (ClientConnected(cid="c", user="ann", address="::1"), ("client c connected: ann from ::1", "DEBUG")),
        (RestartNeeded(what=("a/B", "the server")), ("restart a/B, the server to use what has changed", "WARNING")),
        (ServiceChanged(name="a", old="x", new="y", error=None), ("", "")),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_person_sees_what_matters(event: Any, shown: tuple[str, str]) -> None:
    assert _shown(event.as_dict()) == shown
