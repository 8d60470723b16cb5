"""zephctl unit: what systemd and a container need, in files that systemd itself accepts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.requirements import program
from tests.zephctl.conftest import Answer

Zephctl = Callable[..., Answer]
WriteSettings = Callable[..., Path]


def section(text: str, name: str) -> dict[str, list[str]]:
    """The lines of one section of a unit."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in text.splitlines():
        if line.startswith("["):
            inside = line == f"[{name}]"
        elif inside and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def verify(path: Path, *words: str) -> None:
    """Have systemd read a unit; it has nothing to say about it."""
    analyze = program("systemd-analyze")
    run = path.parent / "run"
    run.mkdir(exist_ok=True)
    done = subprocess.run(
        [analyze, *words, "verify", str(path)],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "XDG_RUNTIME_DIR": str(run)},
    )  # fmt: skip
    said = [line for line in (done.stdout + done.stderr).splitlines() if path.name in line]
    assert (said, done.returncode) == ([], 0) or (said == [] and "--user" in words), done.stderr


def test_the_unit_of_a_folder(zephctl: Zephctl, folder: Path, write_settings: WriteSettings) -> None:
    write_settings(SERVICE_LIST=["workers/Puppet"], SHUTDOWN_TIMEOUT=50, START_TIMEOUT=20)

    answer = zephctl("unit")

    service = section(answer.stdout, "Service")
    assert answer.status == 0
    assert answer.stderr == "then: sudo systemctl daemon-reload && sudo systemctl enable --now f\n"
    assert section(answer.stdout, "Unit")["Description"] == ["zephserver f"]
    assert section(answer.stdout, "Install") == {"WantedBy": ["multi-user.target"]}
    wanted = {
        "Type": "notify",
        "NotifyAccess": "main",
        "User": folder.owner(),
        "WorkingDirectory": str(folder),
        "ExecReload": "/bin/kill -HUP $MAINPID",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "2 6",
        "WatchdogSec": "30",
        "TimeoutStartSec": "30",
        "TimeoutStopSec": "60",
        "LimitNOFILE": "10064",
        "NoNewPrivileges": "true",
        "ProtectSystem": "strict",
        "ReadWritePaths": str(folder),
        "CapabilityBoundingSet": "",
    }
    assert {name: service[name] for name in wanted} == {name: [value] for name, value in wanted.items()}
    assert service["Environment"][0] == f"ZEPHSETTINGS={folder}/zephsettings.py"
    assert service["ExecStart"][0].endswith("/zephserver-start")


def test_systemd_accepts_the_unit(zephctl: Zephctl, folder: Path, write_settings: WriteSettings) -> None:
    write_settings(SERVICE_LIST=[])

    assert zephctl("unit", "--name", "chat", "--write", ".").status == 0

    verify(folder / "chat.service")


def test_systemd_accepts_the_unit_of_a_user(zephctl: Zephctl, folder: Path, write_settings: WriteSettings) -> None:
    write_settings(SERVICE_LIST=[])

    answer = zephctl("unit", "--user", "--name", "chat", "--write", ".")

    text = (folder / "chat.service").read_text()
    assert answer.stderr.endswith("then: systemctl --user daemon-reload && systemctl --user enable --now chat\n")
    assert section(text, "Install") == {"WantedBy": ["default.target"]}
    assert "User" not in section(text, "Service")
    assert "ProtectSystem" not in section(text, "Service")  # a user's manager may not mount
    verify(folder / "chat.service", "--user")


@pytest.mark.parametrize("name", ["with blank", "per%cent", "dollar$x", "quo\"te's"])
def test_systemd_accepts_a_folder_of_any_name(
    zephctl: Zephctl, folder: Path, write_settings: WriteSettings, name: str
) -> None:
    odd = folder / name
    odd.mkdir(mode=0o755)
    write_settings(SERVICE_LIST=[]).rename(odd / "zephsettings.py")

    assert zephctl("unit", "--folder", str(odd), "--name", "odd", "--write", ".").status == 0

    text = (folder / "odd.service").read_text()
    assert section(text, "Service")["WorkingDirectory"] == [str(odd).replace("%", "%%")]
    verify(folder / "odd.service")


def test_everything_that_the_server_writes_may_be_written(
    zephctl: Zephctl, folder: Path, tmp_path: Path, write_settings: WriteSettings
) -> None:
    for name in ("log", "run"):
        (tmp_path / name).mkdir()
    (folder / "sub").mkdir()
    write_settings(
        SERVICE_LIST=[],
        LOG_PATH=str(tmp_path / "log" / "x.log"),
        LOCK_FILE=str(tmp_path / "run" / "x.lock"),
        CONFIGURATION_NETWORK_INTERFACE_SERVER="sub/x.sock",
    )

    service = section(zephctl("unit").stdout, "Service")

    assert service["ReadWritePaths"] == [str(folder), str(tmp_path / "run"), str(tmp_path / "log")]
    assert "PrivateTmp" not in service  # the folders of a test are in /tmp


def test_a_low_port_gets_the_one_capability_that_it_needs(
    zephctl: Zephctl, folder: Path, write_settings: WriteSettings
) -> None:
    write_settings(SERVICE_LIST=[], PORT_ZEPH=443)

    service = section(zephctl("unit").stdout, "Service")

    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "x" * 201])
def test_a_name_that_systemd_does_not_take_is_a_usage_error(
    zephctl: Zephctl, write_settings: WriteSettings, name: str
) -> None:
    write_settings(SERVICE_LIST=[])

    assert zephctl("unit", "--name", name).status == (0 if name == "" else 2)


def test_a_container_gets_a_dockerfile_and_a_compose_file(
    zephctl: Zephctl, folder: Path, write_settings: WriteSettings
) -> None:
    write_settings(SERVICE_LIST=[], PORT_ZEPH=9000, MAX_CONNECTIONS=500)

    answer = zephctl("unit", "--docker", "--write", "out")

    docker, compose = ((folder / "out" / name).read_text() for name in ("Dockerfile", "compose.yaml"))
    assert answer.status == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == [".dockerignore", "Dockerfile", "compose.yaml"]
    assert "EXPOSE 9000\n" in docker
    assert "USER zeph\n" in docker
    assert 'ENTRYPOINT ["zephserver-start"]\n' in docker
    assert '      - "127.0.0.1:9000:9000"\n' in compose
    assert "      nofile: 564\n" in compose
    assert "stop_grace_period: 40s" in compose
    assert "HOST_ZEPH is '127.0.0.1'" in answer.stderr
    assert "LOG_PATH names a file" in answer.stderr


def test_a_container_that_is_set_up_well_has_no_advice(zephctl: Zephctl, write_settings: WriteSettings) -> None:
    write_settings(SERVICE_LIST=[], HOST_ZEPH="0.0.0.0", LOG_PATH="-")

    answer = zephctl("unit", "--docker")

    assert answer.stderr == "then: docker compose up --build\n"
    assert [line for line in answer.stdout.splitlines() if line.startswith("# ----")] == [
        "# ---- Dockerfile", "# ---- .dockerignore", "# ---- compose.yaml",
    ]  # fmt: skip


def test_files_in_json(zephctl: Zephctl, write_settings: WriteSettings) -> None:
    write_settings(SERVICE_LIST=[])

    assert list(zephctl("unit", "-o", "json").json["files"]) == ["f.service"]


def test_a_file_that_is_there_is_not_written_over(
    zephctl: Zephctl, folder: Path, write_settings: WriteSettings
) -> None:
    write_settings(SERVICE_LIST=[])
    (folder / "f.service").write_text("mine")

    answer = zephctl("unit", "--write", ".")

    assert (answer.status, answer.stdout) == (1, "")
    assert (folder / "f.service").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_a_failure(
    zephctl: Zephctl, folder: Path, write_settings: WriteSettings
) -> None:
    write_settings(SERVICE_LIST=[])
    (folder / "file").touch()

    assert zephctl("unit", "--write", "file/below").status == 1


def test_docker_and_user_do_not_go_together(zephctl: Zephctl, write_settings: WriteSettings) -> None:
    write_settings(SERVICE_LIST=[])

    assert zephctl("unit", "--docker", "--user").status == 2


def test_bad_settings_are_told(zephctl: Zephctl, write_settings: WriteSettings) -> None:
    write_settings(SERVICE_LIST="x")

    assert zephctl("unit").status == 6
