"""The table of exit statuses, command by command: no server, unknown names, bad settings, somebody else's server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.zephctl.conftest import Answer
from tests.zephctl.test_help import ALL
from zephserver.core.server import Server

Zephctl = Callable[..., Answer]
Serve = Callable[..., Server]
WriteSettings = Callable[..., Path]
FOUR = [
    "zephserver.session_manager/SimpleSessionManager",
    "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]

# Every command with arguments that would do, and its status when the settings are right and no server runs. `start`,
# `dev` and `restart` would start one; `top` and `bench` have tests of their own.
WITHOUT_SERVER = {
    "check": 0,
    "stop": 5,
    "wait --timeout 0.2": 8,
    "wait --for stopped": 0,
    "status": 3,
    "reload": 5,
    "services list": 5,
    "services show Router": 5,
    "services enable Router": 5,
    "services disable Router": 5,
    "services restart Router": 5,
    "services reset Router": 5,
    "services stack Router": 5,
    "services wait Router": 5,
    "tasks list": 5,
    "tasks running": 5,
    "tasks call echo": 5,
    "tasks reload": 5,
    "clients list": 5,
    "clients show ann": 5,
    "clients kick ann": 5,
    "rooms list": 5,
    "rooms show lobby": 5,
    "rooms say lobby chat": 5,
    "users list": 5,
    "say chat --everyone": 5,
    "token 7": 5,
    "metrics": 5,
    "events": 5,
    "tail-log -f": 5,
    "tail-log": 1,  # no server, and no file either
    "log-level": 5,
    "settings show": 0,
    "command status": 5,
    "cluster status": 5,
    "cluster peers": 5,
    "cluster drain": 5,
    "cluster say x": 5,
    "cluster listen x": 5,
    "doctor": 0,
    "unit": 0,
    "completion bash": 0,
}
ELSEWHERE = ("start", "dev", "restart", "new", "top", "bench")
NEED_NO_SETTINGS = ("completion bash", "doctor")
UNKNOWN = {
    "services show Nobody": 4,
    "services enable Nobody": 4,
    "services disable Nobody": 4,
    "services restart Nobody": 4,
    "services reset Nobody": 4,
    "services stack Nobody": 4,
    "services wait Nobody": 4,
    "log-level INFO --service Nobody": 4,
    "tasks call nothing": 4,
    "rooms show nowhere": 4,
    "clients show nobody": 4,
    "clients kick nobody": 4,
    "settings show NOTHING_AT_ALL": 4,
    "command frobnicate": 2,
    "command services show Nobody": 4,
}


def test_the_table_has_every_command() -> None:
    listed = {words for row in WITHOUT_SERVER for words in (row.split()[0], " ".join(row.split()[:2]))}
    groups = {words.split()[0] for words in ALL if " " in words}

    missing = [words for words in ALL if words and words not in listed and words not in groups]

    assert [words for words in missing if words.split()[0] not in ELSEWHERE] == []


@pytest.mark.parametrize(("words", "status"), WITHOUT_SERVER.items())
def test_no_server(zephctl: Zephctl, write_settings: WriteSettings, words: str, status: int) -> None:
    write_settings(SERVICE_LIST=[], PORT_ZEPH=0)

    answer = zephctl(*words.split())

    assert answer.status == status
    if status == 5:
        assert answer.stdout == ""
        assert "no server listens on " in answer.stderr
        assert answer.stderr.endswith("start one with: zephctl start\n")


@pytest.mark.parametrize(("words", "status"), UNKNOWN.items())
def test_unknown_names(zephctl: Zephctl, serve: Serve, words: str, status: int) -> None:
    serve(SERVICE_LIST=FOUR)

    answer = zephctl(*words.split())

    assert (answer.status, answer.stdout) == (status, "")
    assert answer.stderr.startswith("zephctl: ")


@pytest.mark.parametrize("words", WITHOUT_SERVER)
@pytest.mark.parametrize("text", ["SERVICE_LIST = = 1\n", None], ids=["broken", "missing"])
def test_bad_settings(
    zephctl: Zephctl, folder: Path, write_settings: WriteSettings, words: str, text: str | None
) -> None:
    if text is not None:
        write_settings(text)

    answer = zephctl(*words.split())

    if words in NEED_NO_SETTINGS:
        assert answer.status == (1 if words == "doctor" else 0)
    else:
        assert (answer.status, answer.stdout) == (6, "")


@pytest.mark.parametrize("words", [words for words in ALL if words])
def test_an_option_that_is_none_is_a_usage_error(zephctl: Zephctl, words: str) -> None:
    assert zephctl(*words.split(), "--no-such-option-at-all").status == 2 or words == "command"


@pytest.fixture
def closed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A control socket that listens and that a user without rights may not open."""
    folder = tmp_path_factory.mktemp("closed")
    path = folder / "x.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        for parent in (folder, *folder.parents):
            if parent.stat().st_uid == os.geteuid() and str(parent) != "/":
                parent.chmod(parent.stat().st_mode | 0o011)
        yield str(path)


AS_NOBODY = """
import os, sys
sys.path.insert(0, {root!r})
from zephctl.cli import COMMANDS, main
import zephctl.commands.{module}
os.setgroups([]); os.setgid(65534); os.setuid(65534); os.chdir("/")
sys.exit(main({words!r}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("words", [words for words, status in WITHOUT_SERVER.items() if status in (3, 5)])
def test_permission_denied(closed_server: str, words: str) -> None:
    root = str(Path(__file__).parents[2])
    module = words.split()[0].replace("-", "_")
    argv = [*words.split(), "--interface", closed_server]
    program = AS_NOBODY.format(root=root, module=module, words=argv)

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (7, ""), done.stderr
    assert "belongs to another user" in done.stderr


SILENT = ("cluster listen x",)  # a stream may be silent for as long as it likes


@pytest.mark.parametrize(
    "words", [words for words, status in WITHOUT_SERVER.items() if status in (3, 5) and words not in SILENT]
)
def test_no_answer_in_time(zephctl: Zephctl, folder: Path, words: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind("silent.sock")
        silent.listen()

        answer = zephctl(*words.split(), "--interface", "silent.sock", "--timeout", "0.1")

    assert (answer.status, answer.stdout) == (8, "")
