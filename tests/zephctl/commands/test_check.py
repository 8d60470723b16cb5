"""zephctl check: what is wrong with a folder, before its server is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.zephctl.conftest import Answer

Zephctl = Callable[..., Answer]
Write = Callable[..., Path]


def test_a_folder_that_is_fine(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings(SERVICE_LIST=["workers/Puppet"])

    assert zephctl("check") == Answer(0, "", f"{path} is fine: 1 service, 0 tasks\n")


def test_a_folder_that_is_fine_when_quiet(zephctl: Zephctl, write_settings: Write) -> None:
    write_settings(SERVICE_LIST=[])

    assert zephctl("check", "-q") == Answer(0, "", "")


def test_a_folder_that_is_fine_in_json(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings(SERVICE_LIST=[])

    answer = zephctl("check", "-o", "json")

    assert answer.status == 0
    assert answer.json == {"schema": 1, "ok": True, "file": str(path), "warnings": []}


def test_warnings_are_told_and_no_failure(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings(SERVICE_LIST=[], heart_beat_period=30)

    answer = zephctl("check")

    assert answer.status == 0
    assert answer.stderr == (
        f"warning: {path}:2: heart_beat_period is a name of 2015; write PING_INTERVAL now\n"
        f"{path} is fine: 0 services, 0 tasks\n"
    )


def test_warnings_are_in_the_json(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings(SERVICE_LIST=[], heart_beat_period=30)

    answer = zephctl("check", "-q", "-o", "json")

    assert answer.json["warnings"] == [f"{path}:2: heart_beat_period is a name of 2015; write PING_INTERVAL now"]


def test_every_service_that_cannot_be_loaded_is_told(zephctl: Zephctl, write_settings: Write, folder: Path) -> None:
    (folder / "half.py").write_text("class Half:\n    def main(self): pass\n")
    (folder / "bad.py").write_text("1 / 0\n")
    path = write_settings(SERVICE_LIST=["nowhere/Service", "workers/Nobody", "half/Half", "bad/Service"])

    answer = zephctl("check")

    where = f"zephctl: {path}: SERVICE_LIST: service"
    assert (answer.status, answer.stdout) == (6, "")
    assert answer.stderr == (
        f"{where} nowhere/Service: there is no module 'nowhere' in the settings folder or installed\n"
        f"{where} workers/Nobody: module workers has no class 'Nobody'\n"
        f"{where} half/Half: class Half has no method disable\n"
        f"zephctl: {folder}/bad.py:1: ZeroDivisionError: division by zero (service bad/Service)\n"
    )


def test_a_task_that_cannot_be_loaded_is_told(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings(
        SERVICE_LIST=[
            "zephserver.session_manager/SimpleSessionManager",
            "zephserver.room_handler/RoomHandler",
            "zephserver.router/Router",
        ],
        TASKS_PATH={"echo": "nowhere/Echo"},
    )

    answer = zephctl("check")

    assert (answer.status, answer.stdout) == (6, "")
    assert answer.stderr == (
        f"zephctl: {path}: TASKS_PATH: task echo: there is no module 'nowhere' in the settings folder or installed\n"
    )


def test_faults_in_json_are_an_error(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings(SERVICE_LIST=["workers/Nobody"])

    answer = zephctl("check", "-o", "json")

    assert (answer.status, answer.stdout) == (6, "")
    assert answer.stderr == (
        '{"schema": 1, "error": {"code": "bad-settings", "message": '
        f"\"{path}: SERVICE_LIST: service workers/Nobody: module workers has no class 'Nobody'\"}}}}\n"
    )


def test_nothing_is_started(zephctl: Zephctl, write_settings: Write, folder: Path) -> None:
    write_settings(SERVICE_LIST=["workers/Puppet"])

    zephctl("check")

    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == [
        "workers.py",
        "zephsettings.py",
    ]
