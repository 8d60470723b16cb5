"""zephctl doctor: what it finds, and what it says to do."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.zephctl.conftest import Answer, Terminal
from tests.zephserver.conftest import Site
from zephctl.doctor import folder as folder_part
from zephctl.doctor import machine, web
from zephctl.doctor.certificate import last_day
from zephctl.scripts import RELOADER
from zephserver.core.cluster.mesh import engine as mesh
from zephserver.core.processes.supervisor import Supervisor
from zephserver.core.server import Server
from zephserver.core.settings import load_settings
from zephserver.testing import wait_until

Zephctl = Callable[..., Answer]
WriteSettings = Callable[..., Path]
Serve = Callable[..., Server]
FOUR = [
    "zephserver.session_manager/SimpleSessionManager",
    "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]
STRONG = "6f1d9c4b7a2e80534f6c1b9d8e7a3520"


@pytest.fixture
def findings(zephctl: Zephctl, write_settings: WriteSettings) -> Callable[..., dict[str, list[tuple[str, str, str]]]]:
    """Ask the doctor about settings: topic -> level, finding and advice."""

    def ask(**settings: Any) -> dict[str, list[tuple[str, str, str]]]:
        if settings:
            write_settings(**({"SERVICE_LIST": FOUR, "PORT_ZEPH": 0} | settings))
        answer = zephctl("doctor", "-o", "json")
        found: dict[str, list[tuple[str, str, str]]] = {}
        for row in answer.json["findings"]:
            found.setdefault(row["what"], []).append((row["level"], row["finding"], row["advice"]))
        assert answer.status == any(row["level"] == "bad" for row in answer.json["findings"])
        assert all(bool(row["advice"]) == (row["level"] != "ok") for row in answer.json["findings"])
        return found

    return ask


Findings = Callable[..., dict[str, list[tuple[str, str, str]]]]


def levels(found: list[tuple[str, str, str]]) -> list[str]:
    return [level for level, _, _ in found]


def test_a_healthy_folder_is_fine(findings: Findings) -> None:
    found = findings(PORT_ZEPH=0)

    assert {level for rows in found.values() for level in levels(rows)} <= {"ok", "warn"}  # warn: small machines
    assert set(found) >= {
        "settings", "services", "server", "folder", "lock", "socket", "log", "disk", "clock", "port", "origins",
        "python", "libraries", "wheels", "files",
    }  # fmt: skip
    assert found["server"] == [("ok", "does not run", "")]
    assert found["port"] == [("ok", "a free one is picked", "")]


def test_a_finding_is_one_line(zephctl: Zephctl, write_settings: WriteSettings) -> None:
    write_settings(SERVICE_LIST=[])

    piped = zephctl("doctor")
    shown = zephctl("doctor", "--color", "never", terminal=Terminal())

    assert piped.stdout.startswith("ok\tsettings\t")
    assert shown.stdout.startswith("ok   settings  ")
    assert len(shown.stdout.splitlines()) == len(piped.stdout.splitlines())
    assert piped.stderr.startswith("0 bad, ")


def test_every_fault_of_the_settings_is_bad(findings: Findings, write_settings: WriteSettings) -> None:
    write_settings(SERVICE_LIST="x", LOG_LEVEL="loud")

    found = findings()

    assert levels(found["settings"]) == ["bad", "bad"]
    assert "python" in found  # the machine is looked at all the same
    assert "port" not in found


def test_a_folder_without_settings_is_bad(findings: Findings, folder: Path) -> None:
    assert levels(findings()["settings"]) == ["bad"]


def test_a_service_that_cannot_be_imported_is_bad(findings: Findings) -> None:
    assert levels(findings(SERVICE_LIST=["nowhere/Nobody"])["services"]) == ["bad"]


# -- the folder -----------------------------------------------------------------------------------------------------


def test_what_a_dead_server_left_is_said_and_needs_nothing(findings: Findings, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "interface.sock"))
    (folder / "interface.sock").chmod(0o600)
    (folder / "server.lock").write_text("4711\n")
    (folder / "server.lock").chmod(0o600)

    found = findings(SERVICE_LIST=[])

    assert levels(found["stale"]) == ["warn", "warn"]
    assert "names pid 4711" in found["stale"][1][1]


def test_a_server_whose_socket_is_gone_is_bad_and_not_said_to_have_ended(
    findings: Findings, unheard: str, folder: Path
) -> None:
    found = findings()

    assert found["server"] == [("bad", *unheard.split("; "))]
    assert "stale" not in found


def test_a_lock_that_is_a_link_or_a_fifo_is_not_read(findings: Findings, folder: Path) -> None:
    (folder / "other").write_text("4711\n")
    (folder / "server.lock").symlink_to(folder / "other")
    found = findings(SERVICE_LIST=[])
    assert (levels(found["lock"]), "stale" in found) == (["bad"], False)

    (folder / "server.lock").unlink()
    os.mkfifo(folder / "server.lock")
    found = findings()
    assert (levels(found["lock"]), "stale" in found) == (["bad"], False)


@pytest.mark.parametrize(
    ("name", "what"), [("server.lock", "lock"), ("logging.log", "log"), ("interface.sock", "socket")]
)
def test_something_else_in_the_place_of_a_file_is_bad(findings: Findings, folder: Path, name: str, what: str) -> None:
    (folder / name).mkdir()

    assert "bad" in levels(findings(SERVICE_LIST=[])[what])


def test_a_lock_that_everybody_may_read_is_to_think_about(findings: Findings, folder: Path) -> None:
    (folder / "server.lock").touch()
    (folder / "server.lock").chmod(0o644)

    level, finding, advice = findings(SERVICE_LIST=[])["lock"][0]

    assert (level, advice) == ("warn", f"chmod 600 {folder}/server.lock")
    assert "644" in finding


def test_logs_that_nobody_rotates_away_are_stale(findings: Findings, folder: Path) -> None:
    (folder / "logging.log.3").touch()

    assert findings(SERVICE_LIST=[], LOG_BACKUPS=2)["stale"][0][2] == f"rm {folder}/logging.log.3"


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("free", "level"), [(5_000_000, "bad"), (200_000_000, "warn"), (90_000_000_000, "ok")])
def test_a_full_disk_is_found_before_it_is_full(
    findings: Findings, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, free))

    assert levels(findings(SERVICE_LIST=[])["disk"]) == [level]


def test_a_clock_that_went_back_is_bad(findings: Findings, folder: Path) -> None:
    (folder / "server.lock").touch(0o600)
    os.utime(folder / "server.lock", (time.time() + 3_600,) * 2)

    assert levels(findings(SERVICE_LIST=[])["clock"]) == ["bad"]


# -- what strangers can reach ---------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_bad(findings: Findings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        level, finding, _ = findings(PORT_ZEPH=port)["port"][0]

    assert (level, finding) == ("bad", f"127.0.0.1:{port} is taken by another program")


def test_an_address_of_another_machine_is_bad(findings: Findings) -> None:
    assert levels(findings(HOST_ZEPH="192.0.2.1", PORT_ZEPH=9)["port"]) == ["bad"]


def test_a_socket_needs_no_port(findings: Findings) -> None:
    assert levels(findings(HOST_ZEPH="unix:web.sock")["port"]) == ["ok"]


def test_the_port_of_our_own_server_is_ours(site: Site, zephctl: Zephctl) -> None:
    answer = zephctl("doctor", "-o", "json")

    found = {row["what"]: row for row in answer.json["findings"]}
    assert found["port"]["finding"] == f"our server listens on 127.0.0.1:{site.port}"
    assert found["server"]["finding"].startswith("runs and is ready, pid ")


def test_an_open_address_without_tls_and_without_sessions_is_to_think_about(findings: Findings) -> None:
    found = findings(HOST_ZEPH="0.0.0.0", ALLOWED_ORIGINS=["*"])

    assert [levels(found[what]) for what in ("tls", "sessions", "origins")] == [["warn"], ["warn"], ["warn"]]


def test_trusting_every_proxy_is_bad(findings: Findings) -> None:
    assert levels(findings(TRUSTED_PROXIES=["0.0.0.0/0"])["proxies"]) == ["bad"]
    assert levels(findings(TRUSTED_PROXIES=["127.0.0.1"])["proxies"]) == ["ok"]


@pytest.mark.parametrize(("secret", "level"), [("a" * 40, "bad"), ("my-secret-" + STRONG, "bad"), (STRONG, "ok")])
def test_a_secret_that_can_be_guessed_is_bad(findings: Findings, secret: str, level: str) -> None:
    assert levels(findings(TOKEN_SECRET=secret)["secrets"]) == [level]


def test_a_short_metrics_token_is_bad(findings: Findings) -> None:
    assert levels(findings(METRICS_TOKEN="short")["secrets"]) == ["bad"]


@pytest.fixture
def certificate(folder: Path) -> Callable[[int], dict[str, str]]:
    """Make a certificate that is good for some days; the settings that name it."""

    def make(days: int) -> dict[str, str]:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", "key.pem", "-out", "cert.pem", "-days", str(days), "-subj", "/CN=localhost"],
            cwd=folder, check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        return {"TLS_CERTIFICATE": "cert.pem", "TLS_KEY": "key.pem"}

    return make


@pytest.mark.parametrize(("days", "level"), [(300, "ok"), (10, "warn")])
def test_a_certificate_is_told_before_it_ends(
    findings: Findings, certificate: Callable[[int], dict[str, str]], days: int, level: str
) -> None:
    found = findings(**certificate(days))["tls"]

    assert levels(found) == [level]
    assert f"{days} days" in found[0][1]


def test_a_certificate_that_has_ended_is_bad(
    findings: Findings, certificate: Callable[[int], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = certificate(10)
    later = time.time() + 20 * 86_400
    monkeypatch.setattr(web.time, "time", lambda: later)

    assert ("bad", "renew it, then: zephctl restart") in [(level, do) for level, _, do in findings(**settings)["tls"]]


def test_the_end_of_a_certificate_is_what_openssl_says(
    folder: Path, certificate: Callable[[int], dict[str, str]]
) -> None:
    for days in (1, 400, 12_000):  # the last one is after 2050, when the form of the date changes
        certificate(days)

        assert last_day((folder / "cert.pem").read_text()) == pytest.approx(time.time() + days * 86_400, abs=60)


@pytest.mark.parametrize(
    "text", ["", "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_has_no_end(text: str) -> None:
    with pytest.raises(ValueError, match="certificate"):
        last_day(text)


def test_a_key_that_everybody_may_read_is_bad(
    findings: Findings, folder: Path, certificate: Callable[[int], dict[str, str]]
) -> None:
    settings = certificate(300)
    (folder / "key.pem").chmod(0o644)

    assert findings(**settings)["tls"][-1][2] == f"chmod 600 {folder}/key.pem"


# -- the machine ----------------------------------------------------------------------------------------------------


@pytest.fixture
def few_files() -> Iterator[None]:
    """A process with 200 files at most."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_file_limit_below_max_connections_is_bad(findings: Findings, few_files: None) -> None:
    assert findings(MAX_CONNECTIONS=500)["files"][0][:2] == ("bad", "200 open files, and MAX_CONNECTIONS is 500")
    assert findings(PORT_ZEPH=0)["files"][0][:2] == ("warn", "200 open files: at most 136 connections")
    assert findings(MAX_CONNECTIONS=100)["files"][0][0] == "ok"


def test_a_library_without_its_compiled_part_is_bad(findings: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "COMPILED", ("json", "not_there_at_all"))

    level, finding, advice = findings(SERVICE_LIST=[])["wheels"][0]

    assert (level, finding) == ("bad", "no compiled part: json, not_there_at_all")
    assert advice.endswith("--only-binary :all: json not_there_at_all")


def test_small_inotify_limits_are_to_think_about(
    findings: Findings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "max_user_instances").write_text("8\n")
    (folder / "max_user_watches").write_text("100000\n")
    monkeypatch.setattr(machine, "INOTIFY", folder)

    found = findings(SERVICE_LIST=[])["inotify"]

    assert found[0][0] == "warn"
    assert "fs.inotify.max_user_instances=64" in found[0][2]


# -- the server -----------------------------------------------------------------------------------------------------


def test_a_server_of_the_cluster_that_cannot_be_reached_is_told(
    serve: Serve, findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh, "SILENCE", 0.1)
    servers = [{"hostname": name, "address": f"unix:{name}", "port": 0} for name in ("one", "two")]
    server = serve(CLUSTER_SERVER_LIST=servers, CLUSTER_NODE="one")
    wait_until(lambda: server.cluster.rows()[0]["problem"], "it is noticed")

    assert findings()["cluster"] == [("warn", "server two: nothing answers at ipc://two", "zephctl cluster peers")]


def test_a_service_that_failed_makes_the_server_bad(zephctl: Zephctl, serve: Serve, findings: Findings) -> None:
    from tests.zephctl.conftest import order
    from zephserver.testing import wait_until

    options = {"workers/Puppet": {"restart": "never"}}
    server = serve(SERVICE_LIST=["workers/Puppet"], SERVICE_OPTIONS=options)
    order(server, "workers/Puppet", ValueError("no luck"))
    wait_until(lambda: server.services.rows()[0]["error"], "it died")

    found = findings()

    assert found["server"][0][0] == "bad"
    assert any("no luck" in finding for _, finding, _ in found["services"])


def test_settings_that_changed_since_the_start_are_named(
    serve: Serve, findings: Findings, write_settings: WriteSettings
) -> None:
    serve()
    write_settings(SERVICE_LIST=[], PORT_ZEPH=0, TASK_THREADS=3, LOG_LEVEL="DEBUG")

    found = findings()

    assert found["settings"][-1][:2] == ("warn", "changed since the server started: LOG_LEVEL, TASK_THREADS")


def test_a_server_that_says_nothing_is_bad(
    zephctl: Zephctl, write_settings: WriteSettings, silent_server: tuple[str, ...]
) -> None:
    write_settings(SERVICE_LIST=[])

    answer = zephctl("doctor", *silent_server, "-o", "json")

    assert answer.status == 1
    assert [row["level"] for row in answer.json["findings"] if row["what"] == "server"] == ["bad"]


def test_an_amount_is_told_in_its_unit() -> None:
    from zephctl.doctor.finding import amount

    assert [amount(count) for count in (7, 7_000, 7_500_000, 2e9)] == ["7 bytes", "7.0 kB", "7.5 MB", "2.0 GB"]


def test_another_users_folder_is_bad(findings: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_part.os, "access", lambda path, mode: False)

    assert "bad" in levels(findings(SERVICE_LIST=[])["folder"])


def test_workers_that_the_start_asked_for_are_no_change(
    findings: Findings, write_settings: WriteSettings, folder: Path
) -> None:
    settings = load_settings(write_settings(SERVICE_LIST=["workers/Puppet"], PORT_ZEPH=0, TASK_THREADS=3))
    write_settings(SERVICE_LIST=["workers/Puppet"], PORT_ZEPH=0)

    with Supervisor(settings.with_workers(2)):
        found = findings()

    assert found["settings"][-1][:2] == ("warn", "changed since the server started: TASK_THREADS")


def test_the_development_mode_is_no_change(findings: Findings, serve: Serve, write_settings: WriteSettings) -> None:
    serve(SERVICE_LIST=[*FOUR, RELOADER])
    write_settings(SERVICE_LIST=FOUR, PORT_ZEPH=0, WORKERS=2)

    assert levels(findings()["settings"]) == ["ok"]
