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

from tests.zephctl.commands.pseudo import PseudoTerminal
from tests.zephserver.conftest import Talker
from zephserver.core.control_client import ControlClient

ZEPHCTL = str(Path(sys.executable).with_name("zephctl"))
PATIENCE = 20.0
SETTINGS = """\
SERVICE_LIST = ["zephserver.session_manager/SimpleSessionManager", "zephserver.room_handler/RoomHandler",
                "zephserver.router/Router", "zephserver.websocket_client/WebsocketClient"]
TASKS_PATH = {"word": "words/Word", "trip": "words/Trip", "talk": "words/Talk"}
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
class Talk(Task):
    def main(self):
        print("a printed \u2603")
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

    assert not re.search(r"\x1b\[[\d;]*m", dev.see("reloaded 1 module"))


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


# -- the table below the lines --------------------------------------------------------------------------------------


class Desk(PseudoTerminal):
    """`zephctl dev` on a terminal that one can look at."""

    def call(self, task: str) -> None:
        """Call a task, as the command line does."""
        client = ControlClient("interface.sock", PATIENCE)
        client.call("tasks.call", name=task)
        client.close()

    def wrap(self, columns: int, lines: int) -> None:
        """Make the window another size, as terminals do that wrap what they show."""
        shown = [line.rstrip() for line in self.screen.display[: self.screen.cursor.y + 1]]
        self.screen.reset()
        self.resize(columns, lines)
        self.show("\r\n".join(shown))

    def row(self, task: str) -> list[str]:
        """The row of a task."""
        return next((line.split() for line in self.screen.display if line.startswith(f"{task} ")), [])


@pytest.fixture
def open_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Desk]]:
    """`open_desk(*words, settings="", columns=80, lines=24, **environment)`, which shows *first* when it is ready."""
    (tmp_path / "words.py").write_text(TASK.replace("{}", "1"))
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:

        def start(*words: str, settings: str = "", first: str = "\nready", **more: Any) -> Desk:
            (tmp_path / "zephsettings.py").write_text(SETTINGS + settings)
            desk = stack.enter_context(Desk("dev", *words, **more))
            desk.until(first)
            return desk

        yield start


def test_a_table_of_the_tasks_stays_below_the_lines(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    for task in ("word", "word", "trip"):
        desk.call(task)
    desk.until(lambda: desk.row("trip"), "the second task has a row")

    lines = [line for line in desk.text.splitlines() if line]
    assert [line.split()[0] for line in lines[-4:]] == ["TASK", "trip", "word", "ready"]
    assert (desk.row("word")[1:3], desk.row("trip")[1:3]) == (["2", "0"], ["1", "1"])
    assert "task trip of the command line: task-failed in" in lines[-5]
    assert desk.text.count("TASK") == 1


def test_the_last_line_tells_what_came_of_the_last_save(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    desk = open_desk()
    path = tmp_path / "words.py"
    before = path.read_text()

    path.write_text(before + "x = (")
    desk.until("ready  not reloaded since ")
    assert desk.style_of("not reloaded since").fg == "red"
    path.write_text(before)
    desk.until("ready  mended at ")
    path.write_text(before.replace("1", "2"))
    desk.until("ready  reloaded at ")


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 60), (40, 12), (20, 10), (20, 4)])
def test_the_table_fits_terminals_of_all_sizes(open_desk: Callable[..., Desk], columns: int, lines: int) -> None:
    desk = open_desk(columns=columns, lines=lines)
    desk.call("word")
    desk.until(lambda: desk.row("word") or lines < 10, "its row")
    desk.until(lambda: desk.screen.cursor.y == len(desk.text.rstrip().splitlines()), "the cursor stands below")

    assert desk.screen.display[desk.screen.cursor.y - 1].startswith("ready")
    assert desk.screen.cursor.x == 0


def test_it_follows_the_size_of_the_window(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    desk.call("word")
    desk.until(lambda: desk.row("word"), "its row")

    for columns, lines, cells in ((30, 24, 4), (80, 24, 9), (40, 30, 5)):
        desk.wrap(columns, lines)
        desk.until(lambda cells=cells: len(desk.row("word")) == cells, f"a row of {columns} columns")
        assert desk.text.count("TASK") == desk.text.count("\nword ") == desk.text.count("\nready") == 1
        assert "task word of the" in desk.text


def test_what_a_task_prints_stands_above_the_table(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(PYTHONIOENCODING="ascii")
    desk.call("talk")
    desk.until(lambda: desk.row("talk"), "its row")

    assert "\na printed \\u2603\n" in desk.text.partition("TASK")[0]


@pytest.mark.parametrize(("words", "wish"), [((), {"NO_COLOR": "1"}), (("--color", "never"), {})])
def test_the_table_needs_no_colours(
    open_desk: Callable[..., Desk], words: tuple[str, ...], wish: dict[str, str]
) -> None:
    desk = open_desk(*words, **wish)
    desk.call("trip")
    desk.until(lambda: desk.row("trip"), "its row")

    assert desk.colours() == {"default"}


@pytest.mark.parametrize(
    ("words", "settings", "term"),
    [((), "", "dumb"), (("-o", "plain"), "", "xterm"), ((), "LOG_PATH = '-'", "xterm")],
    ids=["dumb", "plain", "log on stderr"],
)
def test_where_a_table_cannot_stay_there_are_only_lines(
    open_desk: Callable[..., Desk], words: tuple[str, ...], settings: str, term: str
) -> None:
    desk = open_desk(*words, settings=settings, first="Ctrl-C stops it", columns=300, TERM=term)
    desk.call("word")
    desk.until("task word of the command line: done in")

    assert "TASK" not in desk.text
    assert b"\x1b[2K" not in desk.raw


def test_whatever_ends_it_the_terminal_is_as_it_was(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    desk.call("word")
    desk.until(lambda: desk.row("word"), "its row")

    assert desk.is_as_before()


def test_ctrl_c_leaves_the_table_and_a_free_line(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    desk.call("word")
    desk.until(lambda: desk.row("word"), "its row")

    desk.type("\x03")

    assert desk.ended() == 0
    above, _, table = desk.text.rstrip().partition("\n\nTASK")
    assert above.endswith("\nstopping: signal SIGINT")
    assert [line.split()[0] for line in table.splitlines()[1:]] == ["word"]
    assert (desk.screen.cursor.x, desk.screen.display[desk.screen.cursor.y].strip()) == (0, "")
