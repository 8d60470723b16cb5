"""Several processes that are one server, as a shell and browsers meet them: real processes, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.end_to_end.conftest import PATIENCE, FolderOf, Run, Spawn, pid_of
from zephserver.testing import wait_until

WEB = """
SERVICE_LIST = [
    "zephserver.session_manager/SimpleSessionManager",
    "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]
TASKS_PATH = {"who": "tasks/Who"}
RESTART_DELAY = 0.01
"""
TASKS = """
import os
from zephserver import Task

class Who(Task):
    def main(self):
        self.reply(os.getpid())
"""
LOUD = """
SERVICE_LIST = ["services/Loud"]
LOG_MAX_BYTES = 20_000
LOG_BACKUPS = 100
"""
SERVICES = """
import logging
import os
import threading
from zephserver import Service

class Loud(Service):
    def __init__(self):
        self._disabled = threading.Event()

    def main(self):
        for number in range(1_000):
            logging.getLogger("loud").info("line %d of %d", number, os.getpid())
        self._disabled.wait()

    def disable(self):
        self._disabled.set()
"""


@pytest.fixture
def web(folder_of: FolderOf) -> Path:
    """A folder with a WebSocket server whose task says which process it runs in."""
    return folder_of(WEB, tasks=TASKS)


@contextmanager
def running(run: Run, folder: Path, workers: int = 2) -> Iterator[str]:
    """The server of the folder in the background; what its start said. Stopped at the end, if it still runs."""
    done = run(folder, "zephserver-start", "--daemon", "--workers", str(workers))
    assert done.returncode == 0, done.stderr
    yield done.stderr
    run(folder, "zephserver-stop")


def status_of(run: Run, folder: Path) -> dict[str, Any]:
    """What zephctl says of the server."""
    return json.loads(run(folder, "zephctl", "status", "-o", "json").stdout)  # type: ignore[no-any-return]


def workers_of(pid: int) -> list[int]:
    """The workers of a server, in the order of their numbers; the last words of their command lines tell those."""
    words = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    children = [int(child) for some in words for child in some]
    return sorted(children, key=lambda child: Path(f"/proc/{child}/cmdline").read_text().split("\0")[-3])


def is_alive(pid: int) -> bool:
    """Whether the process runs: not gone, and not only waiting for its parent to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_ready(run: Run, folder: Path) -> None:
    """Wait until all workers are ready."""
    assert run(folder, "zephctl", "wait", "--timeout", str(PATIENCE)).returncode == 0


def enter(stack: ExitStack, port: int, name: str) -> ClientConnection:
    """A browser whose user is known."""
    client = stack.enter_context(connect(f"ws://127.0.0.1:{port}/ws"))
    client.send(json.dumps({"session_id": {"id": name, "username": name}, "room": "lobby"}))
    while json.loads(client.recv(PATIENCE)).get("msgtype") != "user_list":
        pass
    return client


def code_of_end(client: ClientConnection) -> int | None:
    """Wait for the end of a connection; the close code that the server said, None when it said nothing."""
    try:
        while True:
            client.recv(PATIENCE)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else None


def where(client: ClientConnection) -> int:
    """The process that a browser is connected to."""
    client.send(json.dumps({"task": "who", "data": None, "id": 1}))
    while (answer := json.loads(client.recv(PATIENCE))).get("id") != 1:
        pass
    return int(answer["data"])


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="only Linux spreads connections over the listeners")
def test_browsers_land_on_all_workers_and_the_operator_sees_one_server(run: Run, web: Path) -> None:
    with running(run, web, 3) as told, ExitStack() as stack:
        status = status_of(run, web)
        browsers = [enter(stack, status["port"], f"user {number}") for number in range(48)]
        homes = [where(browser) for browser in browsers]

        # 48 of them miss one of three workers in one case of a hundred million.
        assert set(homes) == set(workers_of(status["pid"]))
        line = rf"zephserver is ready: pid {status['pid']}, 3 workers, http://127.0.0.1:{status['port']}/, log .*\n"
        assert re.fullmatch(line, told)
        status = status_of(run, web)
        assert (status["ready"], status["connections"]) == (True, 48)
        assert status["workers"] == {"total": 3, "ready": 3}
        assert status["services"]["ready"] == 12
        clients = json.loads(run(web, "zephctl", "clients", "list", "-o", "json").stdout)["clients"]
        assert {row["user"] for row in clients} == {f"user {number}" for number in range(48)}
        assert {row["worker"] for row in clients} == {1, 2, 3}
        assert run(web, "zephctl", "clients", "list").stdout.splitlines()[0].split("\t")[-1] in ("1", "2", "3")
        services = run(web, "zephctl", "services", "list").stdout.splitlines()
        assert [line.split("\t")[-1] for line in services] == ["1"] * 4 + ["2"] * 4 + ["3"] * 4
        assert "workers\t3 of 3 ready\n" in run(web, "zephctl", "status").stdout
        kicked = run(web, "zephctl", "clients", "kick", "user 7")
        assert kicked.stderr == "closed 1 connection\n"
        assert code_of_end(browsers[7]) == 4004


def test_a_room_has_its_members_on_all_workers(run: Run, web: Path) -> None:
    with running(run, web), ExitStack() as stack:
        port = status_of(run, web)["port"]
        browsers = [enter(stack, port, f"user {number}") for number in range(20)]
        assert len({where(browser) for browser in browsers}) == 2

        def rooms() -> list[dict[str, Any]]:
            return json.loads(run(web, "zephctl", "rooms", "list", "-o", "json").stdout)["rooms"]  # type: ignore[no-any-return]

        wait_until(lambda: [(room["users"], room["connections"]) for room in rooms()] == [(20, 20)], timeout=PATIENCE)

        said = run(web, "zephctl", "rooms", "say", "lobby", "chat", '"hello"')

        assert said.returncode == 0
        for browser in browsers:
            while json.loads(browser.recv(PATIENCE)).get("task") != "chat":
                pass
        users = json.loads(run(web, "zephctl", "users", "list", "-o", "json").stdout)["users"]
        assert {user["name"] for user in users} == {f"user {number}" for number in range(20)}


def test_a_worker_that_is_killed_is_replaced_and_the_others_lose_nobody(run: Run, web: Path) -> None:
    with running(run, web) as _, ExitStack() as stack:
        status = status_of(run, web)
        victim, other = workers_of(status["pid"])
        browsers = [enter(stack, status["port"], f"user {number}") for number in range(30)]
        homes = {browser: where(browser) for browser in browsers}

        os.kill(victim, signal.SIGKILL)

        for browser, home in homes.items():
            if home == victim:
                assert code_of_end(browser) is None
            else:
                assert where(browser) == other
        wait_until(lambda: len(workers_of(status["pid"])) == 2, "there is another one", timeout=PATIENCE)
        wait_ready(run, web)
        assert status_of(run, web)["workers"] == {"total": 2, "ready": 2}
        assert victim not in workers_of(status["pid"])
        log = (web / "logging.log").read_text()
        assert re.search(rf" WARNING +worker . \(pid {victim}\) died: SIGKILL\n", log)
        deaths = run(web, "zephctl", "metrics").stdout
        assert re.search(r'^zephserver_worker_deaths_total{worker=".",how="SIGKILL"} 1$', deaths, re.MULTILINE)


def test_workers_whose_parent_is_killed_end_and_the_next_start_needs_nobody(run: Run, web: Path) -> None:
    with running(run, web), ExitStack() as stack:
        status = status_of(run, web)
        orphans = workers_of(status["pid"])
        browser = enter(stack, status["port"], "ann")

        os.kill(status["pid"], signal.SIGKILL)
        with running(run, web):  # at once: it waits for them by itself
            assert not any(map(is_alive, orphans))
            assert code_of_end(browser) == 1012  # they drained as in any stop
            after = status_of(run, web)
            assert after["ready"]
            assert after["pid"] != status["pid"]
            assert len(workers_of(after["pid"])) == 2
    assert not (web / "server.lock.d").exists()


def test_a_stop_drains_all_workers_and_leaves_nothing(run: Run, web: Path) -> None:
    with running(run, web), ExitStack() as stack:
        status = status_of(run, web)
        workers = workers_of(status["pid"])
        browsers = [enter(stack, status["port"], f"user {number}") for number in range(10)]

        stopped = run(web, "zephserver-stop")

        assert (stopped.returncode, stopped.stdout) == (0, "stopping\nstopped\n")
        assert [code_of_end(browser) for browser in browsers] == [1012] * 10
        assert not any(map(is_alive, workers))
    assert not (web / "interface.sock").exists()
    assert not (web / "server.lock.d").exists()
    assert pid_of(web) is None


def test_a_second_start_is_refused_whether_with_workers_or_without(run: Run, web: Path) -> None:
    with running(run, web):
        for words in (["--workers", "2"], ["--workers", "1"]):
            again = run(web, "zephserver-start", *words)

            assert again.returncode == 1
            assert re.fullmatch(r"zephserver-start: a server is already running \(pid \d+, .*\n", again.stderr)


def test_no_line_of_any_worker_is_lost_when_the_log_is_rotated(run: Run, folder_of: FolderOf) -> None:
    folder = folder_of(LOUD, services=SERVICES)
    with running(run, folder, 3):
        workers = workers_of(status_of(run, folder)["pid"])

    text = "".join(path.read_text() for path in folder.glob("logging.log*"))
    for number, pid in enumerate(workers, 1):
        for line in range(1_000):
            assert len(re.findall(rf" \[services/Loud\] worker {number}: line {line} of {pid}\n", text)) == 1
    assert len(list(folder.glob("logging.log.*"))) > 3


def foreground(spawn: Spawn, folder: Path, *words: str, **more: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A server in the foreground, ready, and its workers."""
    process = spawn(folder, "zephserver-start", "--workers", "2", *words, **more)
    assert process.stderr is not None
    while not (line := process.stderr.readline()).startswith("zephserver is ready"):
        assert line, "it ended"
    return process, workers_of(process.pid)


def test_ctrl_c_in_the_foreground_stops_all_of_them(spawn: Spawn, web: Path) -> None:
    process, workers = foreground(spawn, web)

    process.send_signal(signal.SIGINT)

    assert process.wait(PATIENCE) == 0
    assert process.stderr is not None
    assert "stopping: signal SIGINT" in process.stderr.read()
    assert not any(map(is_alive, workers))


def test_a_second_ctrl_c_ends_all_of_them_at_once(spawn: Spawn, web: Path) -> None:
    process, workers = foreground(spawn, web)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)  # they will not do as they are asked

    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while not (line := process.stderr.readline()).startswith("stopping"):  # two that wait at once would be one
        assert line, "it ended"
    process.send_signal(signal.SIGINT)

    assert process.wait(PATIENCE) == 130
    wait_until(lambda: not any(map(is_alive, workers)), "all of them", timeout=PATIENCE)


def test_sighup_reloads_one_worker_after_the_other(spawn: Spawn, web: Path) -> None:
    process, _ = foreground(spawn, web)
    os.rename(web / "logging.log", web / "old.log")

    process.send_signal(signal.SIGHUP)

    wait_until(lambda: (web / "logging.log").exists() and (web / "logging.log").read_text().count(
        "the log was opened anew") == 3, "three of them", timeout=PATIENCE)  # fmt: skip
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_systemd_is_told_by_the_process_above_when_all_are_ready(spawn: Spawn, web: Path, tmp_path: Path) -> None:
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))

        def listen() -> None:
            while (words := systemd.recv(1_000).decode()) != "end":
                heard.append(words)

        thread = threading.Thread(target=listen, name="systemd", daemon=True)
        thread.start()
        process, _ = foreground(spawn, web, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000")
        wait_until(lambda: heard[-1] == "WATCHDOG=1" and "READY=1\nSTATUS=ready" in heard, timeout=PATIENCE)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", str(tmp_path / "notify"))
        thread.join(PATIENCE)

    assert heard.count("READY=1\nSTATUS=ready") == 1
    assert sum(words.startswith("STOPPING=1\n") for words in heard) == 1


def test_a_port_that_another_server_shares_is_not_taken_a_part_of(run: Run, web: Path, folder_of: FolderOf) -> None:
    with running(run, web):
        port = status_of(run, web)["port"]
        other = folder_of(WEB + f"PORT_ZEPH = {port}\n", tasks=TASKS)

        refused = run(other, "zephserver-start", "--daemon", "--workers", "2")

    assert refused.returncode == 1
    assert f"127.0.0.1:{port} is taken; set another PORT_ZEPH, or 0 for a free one" in refused.stderr
    assert not (other / "server.lock.d").exists()


def test_the_setting_is_the_default_of_the_option(run: Run, folder_of: FolderOf) -> None:
    folder = folder_of("SERVICE_LIST = []\nWORKERS = 2\n")

    started = run(folder, "zephctl", "start")
    workers = status_of(run, folder)["workers"]
    run(folder, "zephctl", "stop")
    single = run(folder, "zephctl", "start", "--workers", "1")
    status = status_of(run, folder)
    run(folder, "zephctl", "stop")

    assert (started.returncode, single.returncode) == (0, 0)
    assert ", 2 workers, log " in started.stderr
    assert workers == {"total": 2, "ready": 2}
    assert "workers" not in status


def test_a_restart_starts_as_many_as_there_were(run: Run, folder_of: FolderOf) -> None:
    folder = folder_of()
    with running(run, folder, 3):
        before = status_of(run, folder)

        again = run(folder, "zephctl", "restart")

        after = status_of(run, folder)
        assert again.returncode == 0
        assert after["pid"] != before["pid"]
        assert after["workers"] == {"total": 3, "ready": 3}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--workers", "0"], "--workers needs a number from 1 to 999, got '0'"),
        (["--workers", "many"], "--workers needs a number from 1 to 999, got 'many'"),
        (["--dev", "--workers", "2"], "--dev is for one process; start several without it"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_usage(run: Run, folder_of: FolderOf, words: list[str], why: str) -> None:
    done = run(folder_of(), "zephserver-start", *words)

    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == f"zephserver-start: {why}"


def test_settings_that_do_not_fit_are_one_line(run: Run, folder_of: FolderOf) -> None:
    servers = [{"hostname": name, "address": f"unix:{name}", "port": 0} for name in ("left", "right")]
    folder = folder_of(f"SERVICE_LIST = []\nCLUSTER_NODE = 'left'\nCLUSTER_SERVER_LIST = {servers!r}\n")

    done = run(folder, "zephserver-start", "--daemon", "--workers", "2")

    assert done.returncode == 6
    (line,) = done.stderr.splitlines()
    assert line.startswith("zephserver-start: CLUSTER_SERVER_LIST: the mesh joins several workers of one machine, or ")
    assert not (folder / "server.lock").exists()
