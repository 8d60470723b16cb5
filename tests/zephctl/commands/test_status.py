"""zephctl status: running, not ready, not running, and who is stale."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.zephctl.conftest import Answer, Terminal
from zephserver.core.server import Server
from zephserver.testing import FakeClock, running_server
from zephserver.version import __version__

Zephctl = Callable[..., Answer]
Serve = Callable[..., Server]

WEB = [
    "zephserver.session_manager/SimpleSessionManager",
    "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]


def test_a_running_server_is_told_in_plain_lines(zephctl: Zephctl, serve: Serve) -> None:
    server = serve(SERVICE_LIST=["workers/Puppet", "workers/Other"])
    assert isinstance(server.clock, FakeClock)
    server.clock.advance(3 * 3_600)

    answer = zephctl("status")

    assert answer == Answer(
        0,
        f"running\tyes\nready\tyes\npid\t{os.getpid()}\nuptime\t3 h\nversion\t{__version__}\nport\t-\n"
        "services\t2 of 2 enabled\nconnections\t0\nrooms\t0\n",
        "",
    )


def test_a_running_server_is_a_grid_on_a_terminal(zephctl: Zephctl, serve: Serve) -> None:
    serve(SERVICE_LIST=["workers/Puppet"])

    answer = zephctl("status", "--color", "never", terminal=Terminal())

    assert answer.status == 0
    assert [line.rstrip() for line in answer.stdout.splitlines()] == [
        "running      yes",
        "ready        yes",
        f"pid          {os.getpid()}",
        "uptime       0 s",
        f"version      {__version__}",
        "port         -",
        "services     1 of 1 enabled",
        "connections  0",
        "rooms        0",
    ]


def test_a_running_server_in_json_has_the_promised_shape(zephctl: Zephctl, serve: Serve) -> None:
    server = serve(SERVICE_LIST=["workers/Puppet", "workers/Other"])
    assert isinstance(server.clock, FakeClock)
    server.clock.advance(12.5)

    answer = zephctl("status", "-o", "json")

    assert (answer.status, answer.stderr) == (0, "")
    promised = {
        "schema": 1,
        "running": True,
        "ready": True,
        "pid": os.getpid(),
        "uptime": 12.5,
        "version": __version__,
        "port": None,
        "services": {"total": 2, "enabled": 2, "available": 0, "ready": 2},
        "connections": 0,
        "rooms": 0,
    }
    assert list(answer.json)[: len(promised)] == list(promised)
    assert {name: answer.json[name] for name in promised} == promised


def test_a_web_server_tells_its_port_connections_and_rooms(
    zephctl: Zephctl, write_settings: Callable[..., Path], folder: Path
) -> None:
    values = {"SERVICE_LIST": WEB, "PORT_ZEPH": 0}
    write_settings(**values)

    with running_server(folder, **values) as server:
        status = zephctl("status", "-o", "json").json
        with socket.create_connection(("127.0.0.1", status["port"]), timeout=10.0):
            pass

    assert server.stopped.is_set()
    assert (status["connections"], status["rooms"]) == (0, 0)
    assert status["services"] == {"total": 4, "enabled": 4, "available": 0, "ready": 4}


def test_a_server_that_is_not_ready_runs_and_says_where_to_look(zephctl: Zephctl, serve: Serve) -> None:
    server = serve(SERVICE_LIST=["workers/Puppet", "workers/Other"])
    server.services.disable_service("workers/Other")

    answer = zephctl("status")

    assert answer.status == 0
    assert "running\tyes\nready\tno\n" in answer.stdout
    assert "services\t1 of 2 enabled\n" in answer.stdout
    assert answer.stderr == "the server is not ready: 1 of 2 services are ready; see: zephctl services list\n"


def test_a_server_that_is_not_ready_says_no_word_beside_json(zephctl: Zephctl, serve: Serve) -> None:
    server = serve(SERVICE_LIST=["workers/Puppet"])
    server.services.disable_service("workers/Puppet")

    answer = zephctl("status", "-o", "json")

    assert (answer.status, answer.stderr) == (0, "")
    assert answer.json["ready"] is False
    assert answer.json["services"] == {"total": 1, "enabled": 0, "available": 1}


def test_no_server_is_exit_3_and_a_word(zephctl: Zephctl, write_settings: Callable[..., Path], folder: Path) -> None:
    write_settings(SERVICE_LIST=[])

    answer = zephctl("status")

    assert answer == Answer(
        3, "", f"not running: no server listens on {folder}/interface.sock; start one with: zephctl start\n"
    )


def test_no_server_is_exit_3_and_silence_when_quiet(zephctl: Zephctl, write_settings: Callable[..., Path]) -> None:
    write_settings(SERVICE_LIST=[])

    assert zephctl("status", "-q") == Answer(3, "", "")


def test_a_running_server_is_silence_when_quiet_and_no_format_was_asked_for(zephctl: Zephctl, serve: Serve) -> None:
    serve()

    assert zephctl("status", "-q") == Answer(0, "", "")
    assert zephctl("status", "-q", "--color", "never", terminal=Terminal()) == Answer(0, "", "")
    assert zephctl("status", "-q", "-o", "json").json["running"] is True


def test_no_server_in_json_is_exit_3_and_says_which(
    zephctl: Zephctl, write_settings: Callable[..., Path], folder: Path
) -> None:
    write_settings(SERVICE_LIST=[])

    answer = zephctl("status", "-o", "json")

    assert (answer.status, answer.stderr) == (3, "")
    assert answer.json == {
        "schema": 1,
        "running": False,
        "ready": False,
        "stale": False,
        "interface": f"{folder}/interface.sock",
    }


@pytest.fixture
def stale(folder: Path, write_settings: Callable[..., Path]) -> Path:
    """The control socket that a killed server left behind."""
    write_settings(SERVICE_LIST=[])
    path = folder / "interface.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    return path


def test_a_stale_socket_is_not_running_and_no_reason_to_worry(zephctl: Zephctl, stale: Path) -> None:
    answer = zephctl("status")

    assert answer == Answer(
        3,
        "",
        f"not running: no server listens on {stale}; start one with: zephctl start\n"
        "a server ended without stopping; the next start recovers by itself\n",
    )
    assert stale.exists()


def test_a_stale_socket_is_told_in_json(zephctl: Zephctl, stale: Path) -> None:
    answer = zephctl("status", "-o", "json")

    assert answer.status == 3
    assert answer.json["stale"] is True
    assert answer.stderr == ""


def test_a_plain_file_at_the_socket_is_no_dead_server(
    zephctl: Zephctl, folder: Path, write_settings: Callable[..., Path]
) -> None:
    write_settings(SERVICE_LIST=[])
    (folder / "interface.sock").touch()

    answer = zephctl("status")

    assert answer.status == 3
    assert "recovers by itself" not in answer.stderr


def test_a_server_whose_socket_is_gone_is_exit_4(zephctl: Zephctl, unheard: str) -> None:
    assert zephctl("status") == Answer(4, "", f"zephctl: status unknown: {unheard}\n")


def test_a_server_whose_socket_is_gone_is_an_error_in_json(zephctl: Zephctl, unheard: str) -> None:
    answer = zephctl("status", "-o", "json")

    assert (answer.status, answer.stdout) == (4, "")
    assert json.loads(answer.stderr)["error"] == {"code": "status-unknown", "message": f"status unknown: {unheard}"}


def test_the_lock_of_this_folder_says_nothing_about_another_socket(zephctl: Zephctl, unheard: str) -> None:
    assert zephctl("status", "--interface", "elsewhere.sock").status == 3


def test_a_silent_server_is_a_time_out(zephctl: Zephctl, folder: Path) -> None:
    path = folder / "silent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(path))
        silent.listen()

        answer = zephctl("status", "--interface", str(path), "--timeout", "0.05")

    assert answer == Answer(8, "", f"zephctl: the server on {path} gave no answer in time; see its log\n")


def test_a_folder_without_settings_is_exit_6(zephctl: Zephctl, folder: Path) -> None:
    answer = zephctl("status")

    assert (answer.status, answer.stdout) == (6, "")
    assert re.match(rf"zephctl: there is no zephsettings\.py in {folder}; ", answer.stderr)


def test_the_server_of_another_folder_is_found(
    zephctl: Zephctl, serve: Serve, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    monkeypatch.chdir(tmp_path)

    assert zephctl("status", "--folder", str(folder)).status == 0
    assert zephctl("status", "--settings", str(folder / "zephsettings.py")).status == 0
    assert zephctl("status", "--interface", str(folder / "interface.sock")).status == 0
