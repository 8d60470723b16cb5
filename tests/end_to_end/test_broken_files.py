"""Files that do not work: what a start, a restart, a reload and the development mode make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import FolderOf, Run, Spawn, pid_of

WEB = """\
SERVICE_LIST = ["zephserver.session_manager/SimpleSessionManager", "zephserver.room_handler/RoomHandler",
                "zephserver.router/Router", "zephserver.websocket_client/WebsocketClient"]
TASKS_PATH = {"word": "words/Word", "other": "words/Other", "third": "thirds/Third"}
"""
TASK = "from zephserver import Task\nclass Word(Task):\n    def main(self): self.reply(1)\nclass Other(Word): pass\n"
THIRD = "from words import Word\nclass Third(Word): pass\n"
BROKEN = f"{TASK}def x(:\n"

Web = Callable[..., Path]


@pytest.fixture
def web(folder_of: FolderOf) -> Web:
    """Makes a folder of a web server; `web(settings, **files)` adds to the settings and replaces files."""

    def make(settings: str = "", **files: str) -> Path:
        return folder_of(WEB + settings, **({"words": TASK, "thirds": THIRD} | files))

    return make


@pytest.mark.parametrize("line", ["zephserver-start", "zephserver-start --daemon", "zephctl start"])
def test_a_start_ends_at_once_and_names_every_fault(run: Run, web: Web, line: str) -> None:
    folder = web(
        "SERVICE_LIST[0] = MY_SESSION_HANDLER = 'zephserver.session_manager/TokenSessionManager'\n"
        "MY_ROOM_HANDLER = 'zephserver.room_handler/Other'\n",
        words=BROKEN,
        thirds="3",
    )

    done = run(folder, *line.split())

    settings = folder / "zephsettings.py"
    assert (done.returncode, done.stdout) == (6, "")
    assert [text.removeprefix(f"{line.split()[0]}: ") for text in done.stderr.splitlines()] == [
        f"{settings}: TOKEN_SECRET: TokenSessionManager needs a secret; make one with: openssl rand -hex 32",
        f"{folder}/words.py:5: SyntaxError: invalid syntax (tasks word, other)",
        f"{settings}: TASKS_PATH: task third: module thirds has no class 'Third'",
        f"{settings}: SERVICE_LIST: WebsocketClient needs zephserver.room_handler/Other; add it",
    ]
    assert pid_of(folder) is None
    assert "back-off" not in (folder / "logging.log").read_text()


@pytest.mark.parametrize("line", ["zephserver-start", "zephctl start"])
def test_a_start_with_an_essential_service_that_cannot_be_imported_names_every_fault(
    run: Run, folder_of: FolderOf, line: str
) -> None:
    settings = "SERVICE_LIST = ['firsts/First', 'seconds/Second']\n"
    settings += "SERVICE_OPTIONS = {'firsts/First': {'essential': True}}\n"
    folder = folder_of(settings, firsts="def x(:\n", seconds="\n1 / 0\n")

    done = run(folder, *line.split())

    assert done.returncode == 6
    assert [text.removeprefix(f"{line.split()[0]}: ") for text in done.stderr.splitlines()] == [
        f"{folder}/firsts.py:1: SyntaxError: invalid syntax (service firsts/First)",
        f"{folder}/seconds.py:2: ZeroDivisionError: division by zero (service seconds/Second)",
    ]


def test_a_worker_that_cannot_load_the_tasks_ends_the_start(run: Run, web: Web) -> None:
    folder = web(words=BROKEN, thirds="class Third:\n    def main(self): pass\n")

    done = run(folder, "zephctl", "start", "--workers", "2")

    assert done.returncode == 1
    assert f"died: {folder}/words.py:5: SyntaxError: invalid syntax (tasks word, other)\n" in done.stderr


def test_a_restart_with_broken_code_leaves_the_old_server_running(run: Run, web: Web) -> None:
    folder = web()
    run(folder, "zephctl", "start")
    before = pid_of(folder)
    (folder / "words.py").write_text(f"print('loaded', flush=True)\n{TASK}")
    (folder / "thirds.py").write_text("def x(:\n")

    done = run(folder, "zephctl", "restart")

    told = f"zephctl: {folder}/thirds.py:1: SyntaxError: invalid syntax (task third)\n"
    assert (done.returncode, done.stdout, done.stderr) == (6, "", f"loaded\n{told}")
    assert pid_of(folder) == before
    assert run(folder, "zephctl", "status").returncode == 0


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import os\nos._exit(0)\n", "ended the process; see: zephctl check"),
        ("import threading\nthreading.Event().wait()\n", "takes longer than START_TIMEOUT, 2 s"),
    ],
    ids=["exits", "hangs"],
)
def test_a_restart_with_a_module_that_ends_or_hangs_leaves_the_old_server_running(
    run: Run, web: Web, text: str, what: str
) -> None:
    folder = web("START_TIMEOUT = 2\n")
    run(folder, "zephctl", "start")
    before = pid_of(folder)
    (folder / "thirds.py").write_text(text)

    done = run(folder, "zephctl", "restart")

    assert (done.returncode, done.stderr) == (6, f"zephctl: importing the services and tasks {what}\n")
    assert pid_of(folder) == before


def test_a_reload_names_settings_that_have_changed(run: Run, web: Web) -> None:
    folder = web()
    run(folder, "zephctl", "start")
    settings = folder / "zephsettings.py"
    good = settings.read_text()
    settings.write_text(f"{good}# more\n")
    fine = run(folder, "zephctl", "reload")
    settings.write_text(f"{good}LOG_LEVEL = 'LOUD'\n")

    faulty = run(folder, "zephctl", "reload")

    assert fine.stderr == f"no code of the tasks has changed\n{settings} changed; to use that: zephctl restart\n"
    line = faulty.stderr.splitlines()[1]
    assert line.startswith(f"{settings} changed, and the server would not start with that: {settings}:5: LOG_LEVEL: ")


@pytest.mark.parametrize("line", ["zephserver-start --dev", "zephctl dev"])
def test_the_development_mode_begins_with_a_broken_task_and_is_ready_when_it_is_mended(
    spawn: Spawn, run: Run, web: Web, line: str
) -> None:
    folder = web(words=BROKEN)
    server = spawn(folder, *line.split())
    assert server.stderr is not None
    told = [server.stderr.readline() for _ in range(4)]
    status = run(folder, "zephctl", "status", "-o", "json").stdout

    (folder / "words.py").write_text(TASK)

    ready = server.stderr.readline()
    what = "not loaded: tasks word, other, third; zephctl check says why"
    place = f"{folder}/words.py:5: SyntaxError: invalid syntax; not loaded: word, other, third"
    assert told == [f"not ready: {what}\n", f"not reloaded: {place}\n", "    def x(:\n", "          ^\n"]
    assert f'"not_ready": "{what}"' in status
    assert ready.startswith(f"zephserver is ready: pid {pid_of(folder)}, http://")
    called = run(folder, "zephctl", "tasks", "call", "third")
    assert (called.returncode, called.stdout) == (0, "1\n")
