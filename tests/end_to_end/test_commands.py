"""The four programs as a shell runs them: real processes, real signals, real pipes, and every exit status."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import (
    BIN,
    PATIENCE,
    FolderOf,
    Run,
    Spawn,
    environment,
    kill_server,
    make_folder,
    pid_of,
    run_in,
)
from zephserver.testing import wait_until

Done = subprocess.CompletedProcess[str]

WEB = """
SERVICE_LIST = [
    "zephserver.session_manager/SimpleSessionManager",
    "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]
"""
WORKERS = """
import threading
from zephserver import Service, command

class Quiet:
    def __init__(self):
        self._disabled = threading.Event()

    def main(self):
        self._disabled.clear()
        self._disabled.wait()

    def disable(self):
        self._disabled.set()

class Worker(Quiet):
    @command("worker.say")
    def say(self, text):
        print(text)
        return text

class Shy(Quiet, Service):
    notify_ready = True

class Deaf(Quiet):
    def disable(self):
        threading.Event().wait()
"""
WORKER = 'SERVICE_LIST = ["workers/Worker"]\n'


def told(done: Done) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    return done.returncode, done.stdout, done.stderr


def is_free(folder: Path) -> bool:
    """Whether nobody holds the lock of a folder."""
    if not (folder / "server.lock").exists():
        return True
    with open(folder / "server.lock", "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def assert_nothing_is_left(folder: Path) -> None:
    """No server, no socket, and a lock that the next one can take."""
    assert is_free(folder)
    assert not (folder / "interface.sock").exists()
    assert pid_of(folder) is None


def log_of(folder: Path) -> str:
    """The log so far."""
    return (folder / "logging.log").read_text()


def in_log(folder: Path, text: str) -> None:
    """Wait until the log has the text."""
    wait_until(lambda: (folder / "logging.log").exists() and text in log_of(folder), text, timeout=PATIENCE)


def ask(folder: Path, request: bytes, *, shut: bool = False) -> bytes:
    """As `echo request | nc -U interface.sock`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(folder / "interface.sock"))
        connection.sendall(request)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65_536):
            answer += data
        return answer


def in_shell(folder: Path, script: str, **more: str) -> Done:
    """Run a line of shell in a folder, with our programs in its path."""
    path = f"{BIN}:{os.environ.get('PATH', '')}"
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment(PATH=path, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a server that runs during all tests that only look at it."""
    folder = make_folder(tmp_path_factory.mktemp("running") / "f", WORKER, {"workers.py": WORKERS})
    started = run_in(folder, "zephserver-start", "--daemon")
    assert started.returncode == 0, started.stderr
    yield folder
    run_in(folder, "zephserver-stop")
    kill_server(folder)


@pytest.fixture
def folder(folder_of: FolderOf) -> Path:
    """A folder whose server has one service and does not run yet."""
    return folder_of(WORKER, workers=WORKERS)


# -- the table of exit statuses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("zephctl --version", 0),
        ("zephctl --help", 0),
        ("zephctl frobnicate", 2),
        ("zephctl status", 0),
        ("zephctl status --frobnicate", 2),
        ("zephctl check", 0),
        ("zephctl start", 1),
        ("zephctl start --foreground", 1),
        ("zephctl wait", 0),
        ("zephctl wait --for stopped --timeout 0.1", 8),
        ("zephctl services list", 0),
        ("zephctl services show Worker", 0),
        ("zephctl services show nope", 4),
        ("zephctl services enable Worker", 0),
        ("zephctl services enable nope", 4),
        ("zephctl services disable nope", 4),
        ("zephctl services restart nope", 4),
        ("zephctl services reset Worker", 0),
        ("zephctl services reset nope", 4),
        ("zephctl services stack Worker", 0),
        ("zephctl services stack nope", 4),
        ("zephctl services wait Worker", 0),
        ("zephctl services wait nope", 4),
        ("zephctl events --no-follow", 0),
        ("zephctl tail-log", 0),
        ("zephctl tail-log --after x", 2),
        ("zephctl log-level", 0),
        ("zephctl log-level loud", 2),
        ("zephctl log-level DEBUG --service nope", 4),
        ("zephctl settings show", 0),
        ("zephctl command ping", 0),
        ("zephctl command frobnicate", 2),
        ("zephctl command services show nope", 4),
        ("zephctl new services .", 1),
        ("zephctl new frobnicate", 2),
        ("zephserver-start --daemon", 1),
        ("zephserver-start", 1),
        ("zephserver-start now", 2),
        ("zephserver-stop a b", 2),
        ("zephserver-stop nowhere.sock", 5),
        ("zephserver-command ping", 0),
        ("zephserver-command frobnicate", 2),
        ("zephserver-command services show nope", 4),
        ("zephserver-command", 2),
    ],
)
def test_exit_status_beside_a_running_server(running: Path, line: str, status: int) -> None:
    done = run_in(running, *line.split())

    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) == bool(status) or done.returncode == 0


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("zephctl status", 3),
        ("zephctl services list", 5),
        ("zephctl services show Worker", 5),
        ("zephctl stop", 5),
        ("zephctl events", 5),
        ("zephctl tail-log", 1),
        ("zephctl tail-log -f", 5),
        ("zephctl log-level", 5),
        ("zephctl command ping", 5),
        ("zephctl wait --timeout 0.1", 8),
        ("zephserver-stop", 5),
        ("zephserver-command status", 5),
    ],
)
def test_without_a_server_one_line_names_the_socket(run: Run, folder: Path, line: str, status: int) -> None:
    done = run(folder, *line.split())

    assert (done.returncode, done.stdout) == (status, "")
    if status != 1:
        assert done.stderr.count("\n") == 1
        assert str(folder / "interface.sock") in done.stderr
    if status in (3, 5):
        assert "; start one with: zeph" in done.stderr
    assert_nothing_is_left(folder)


@pytest.mark.parametrize("line", ["zephctl wait --for stopped", "zephctl check", "zephctl settings show"])
def test_what_needs_no_server(run: Run, folder: Path, line: str) -> None:
    assert run(folder, *line.split()).returncode == 0
    assert_nothing_is_left(folder)


@pytest.mark.parametrize(
    "line",
    [
        "zephserver-start",
        "zephserver-start --daemon",
        "zephserver-stop",
        "zephserver-command status",
        "zephctl start",
        "zephctl restart",
        "zephctl status",
        "zephctl check",
    ],
)
def test_broken_settings_are_exit_6_with_file_and_line_and_no_lock(run: Run, folder_of: FolderOf, line: str) -> None:
    folder = folder_of("SERVICE_LIST = [\n")

    done = run(folder, *line.split())

    program = line.split()[0]
    where = f"{folder}/zephsettings.py:2"
    assert told(done) == (6, "", f"{program}: {where}: '[' was never closed: SERVICE_LIST = [\n")
    assert not (folder / "server.lock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_socket_of_another_user_is_exit_7(running: Path) -> None:
    program = (
        "import os, sys, encodings.idna; from zephctl import cli, commands; import zephctl.commands.status; "
        "os.setuid(65534); sys.exit(cli.main(['status', '--interface', sys.argv[1]]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(running / "interface.sock")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert told(done) == (
        7,
        "",
        f"zephctl: the control socket {running}/interface.sock belongs to another user; use sudo -u OWNER\n",
    )


# -- starting in the background -----------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["zephserver-start --daemon", "zephserver-start -d", "zephctl start"])
def test_a_daemon_is_ready_when_its_start_returns(run: Run, folder: Path, line: str) -> None:
    done = run(folder, *line.split())

    pid = pid_of(folder)
    assert told(done) == (0, "", f"zephserver is ready: pid {pid}, log {folder}/logging.log\n")
    assert b"ready\tyes\n" in ask(folder, b"status\n")


def test_a_web_server_tells_its_address(run: Run, folder_of: FolderOf) -> None:
    folder = folder_of(WEB)

    done = run(folder, "zephserver-start", "-d")
    status = json.loads(run(folder, "zephctl", "status", "-o", "json").stdout)

    assert done.returncode == 0, done.stderr
    assert f":{status['port']}" in done.stderr
    socket.create_connection(("127.0.0.1", status["port"]), timeout=PATIENCE).close()
    assert run(folder, "zephserver-stop").returncode == 0


def test_a_daemon_is_started_from_anywhere(run: Run, folder: Path, tmp_path: Path) -> None:
    assert run(tmp_path, "zephserver-start", "-d", "--folder", str(folder)).returncode == 0
    assert run(tmp_path, "zephctl", "status", "--settings", str(folder / "zephsettings.py")).returncode == 0
    assert run(tmp_path, "zephserver-stop", str(folder / "interface.sock")).returncode == 0


@pytest.mark.parametrize("line", ["zephserver-start --daemon", "zephserver-start", "zephctl start"])
def test_a_second_start_says_which_pid_runs(running: Path, line: str) -> None:
    done = run_in(running, *line.split())

    pid = pid_of(running)
    assert pid is not None
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"{line.split()[0]}: a server is already running (pid {pid}, {running}/server.lock); stop it with zeph"
    )
    assert done.stderr.count("\n") == 1
    assert run_in(running, "zephctl", "status").returncode == 0


def test_two_starts_at_once_give_one_server(spawn: Spawn, folder: Path) -> None:
    starts = [spawn(folder, "zephserver-start", "--daemon") for _ in range(2)]

    told = [start.communicate(timeout=PATIENCE)[1] for start in starts]

    assert sorted(start.returncode for start in starts) == [0, 1]
    assert sum("zephserver is ready" in text for text in told) == 1


@pytest.mark.parametrize("line", ["zephserver-start --daemon", "zephctl start"])
def test_a_service_that_fails_ends_the_start(run: Run, folder_of: FolderOf, line: str) -> None:
    folder = folder_of('SERVICE_LIST = ["workers/Shy"]\nSTART_TIMEOUT = 0.2\nSTOP_TIMEOUT = 0.2\n', workers=WORKERS)

    done = run(folder, *line.split())

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{line.split()[0]}: service workers/Shy: ")
    assert done.stderr.count("\n") == 1
    assert_nothing_is_left(folder)


@pytest.mark.parametrize("words", [["-d"], []], ids=["daemon", "foreground"])
def test_a_port_that_is_taken_ends_the_start_and_leaves_nothing(
    run: Run, folder_of: FolderOf, words: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        folder = folder_of(f"{WEB}\nPORT_ZEPH = {port}\n")

        done = run(folder, "zephserver-start", *words)

    assert (done.returncode, done.stdout) == (1, "")
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr
    assert "Errno" not in done.stderr
    assert_nothing_is_left(folder)


@pytest.mark.parametrize("line", ["zephctl start --timeout 0.3", "zephctl restart --timeout 0.3"])
@pytest.mark.parametrize("more", ["", "WORKERS = 2\n"], ids=["one", "workers"])
def test_a_start_that_takes_longer_than_its_time_out_is_exit_8_and_leaves_nothing(
    run: Run, folder_of: FolderOf, line: str, more: str
) -> None:
    folder = folder_of(f'SERVICE_LIST = ["workers/Shy"]\n{more}', workers=WORKERS)

    done = run(folder, *line.split())

    assert done.returncode == 8
    assert done.stderr.endswith(
        "zephctl: the server was not ready after 0.3 s and was stopped; give it a longer --timeout\n"
    )
    assert_nothing_is_left(folder)


def test_ctrl_c_while_a_daemon_starts_ends_it_too(spawn: Spawn, folder_of: FolderOf) -> None:
    folder = folder_of('SERVICE_LIST = ["workers/Shy"]\n', workers=WORKERS)
    start = spawn(folder, "zephserver-start", "--daemon")
    in_log(folder, "from available to starting")

    start.send_signal(signal.SIGINT)

    assert start.wait(PATIENCE) == 130
    wait_until(lambda: is_free(folder), "the server ends", timeout=PATIENCE)
    assert_nothing_is_left(folder)


def test_a_daemon_writes_what_is_printed_to_the_log(run: Run, folder: Path) -> None:
    run(folder, "zephserver-start", "-d")

    run(folder, "zephctl", "command", "worker.say", "hello from a print")

    in_log(folder, "hello from a print")


def test_a_killed_server_is_stale_and_the_next_start_recovers(run: Run, folder: Path) -> None:
    run(folder, "zephserver-start", "-d")
    pid = pid_of(folder)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_free(folder), "the server is gone", timeout=PATIENCE)

    stale = run(folder, "zephctl", "status", "-o", "json")
    again = run(folder, "zephserver-start", "-d")

    assert (stale.returncode, json.loads(stale.stdout)["stale"]) == (3, True)
    assert again.returncode == 0
    in_log(folder, f"recovered: pid {pid} ended without stopping; its lock was free")
    in_log(folder, "recovered: removed the control socket of a dead server")


# -- stopping and restarting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "stdout", "stderr"), [("zephserver-stop", "stopping\nstopped\n", ""), ("zephctl stop", "", "stopped\n")]
)
def test_stop_returns_when_the_server_is_down_and_the_lock_is_free(
    run: Run, folder: Path, line: str, stdout: str, stderr: str
) -> None:
    run(folder, "zephserver-start", "-d")

    done = run(folder, *line.split())

    assert told(done) == (0, stdout, stderr)
    assert_nothing_is_left(folder)


@pytest.mark.parametrize("line", ["zephserver-stop", "zephctl stop"])
def test_stop_of_a_server_with_a_stuck_service_is_exit_1(run: Run, folder_of: FolderOf, line: str) -> None:
    folder = folder_of('SERVICE_LIST = ["workers/Deaf"]\nSTOP_TIMEOUT = 0.2\n', workers=WORKERS)
    run(folder, "zephserver-start", "-d")

    done = run(folder, *line.split())

    assert done.returncode == 1
    assert "log" in done.stdout + done.stderr
    assert_nothing_is_left(folder)
    in_log(folder, "stuck at the end: workers/Deaf")


def test_restart_gives_a_new_process(run: Run, folder: Path) -> None:
    run(folder, "zephserver-start", "-d")
    before = pid_of(folder)

    done = run(folder, "zephctl", "restart")

    after = pid_of(folder)
    assert told(done) == (0, "", f"stopped\nzephserver is ready: pid {after}, log {folder}/logging.log\n")
    assert before != after


def test_restart_of_nothing_starts(run: Run, folder: Path) -> None:
    done = run(folder, "zephctl", "restart")

    assert told(done) == (
        0,
        "",
        f"it was not running\nzephserver is ready: pid {pid_of(folder)}, log {folder}/logging.log\n",
    )


# -- in the foreground --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["zephserver-start", "zephctl start --foreground"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_server_in_the_foreground_tells_that_it_is_ready_and_ends_with_0(
    spawn: Spawn, folder: Path, line: str, number: signal.Signals
) -> None:
    server = spawn(folder, *line.split())
    assert server.stderr is not None
    ready = server.stderr.readline()

    server.send_signal(number)
    stdout, stderr = server.communicate(timeout=PATIENCE)

    assert ready == f"zephserver is ready: pid {server.pid}, log {folder}/logging.log; Ctrl-C stops it\n"
    assert (server.returncode, stdout, stderr) == (0, "", f"stopping: signal {number.name}\n")
    assert f"stopping: signal {number.name}" in log_of(folder)
    assert_nothing_is_left(folder)


def test_a_server_in_the_foreground_ends_with_0_when_it_is_stopped_by_command(
    spawn: Spawn, run: Run, folder: Path
) -> None:
    server = spawn(folder, "zephserver-start")
    assert server.stderr is not None
    server.stderr.readline()

    assert run(folder, "zephserver-stop").returncode == 0
    assert server.wait(PATIENCE) == 0


def test_a_second_ctrl_c_ends_a_stop_that_hangs_with_130(spawn: Spawn, folder_of: FolderOf) -> None:
    folder = folder_of('SERVICE_LIST = ["workers/Deaf"]\n', workers=WORKERS)
    server = spawn(folder, "zephserver-start")
    assert server.stderr is not None
    server.stderr.readline()

    server.send_signal(signal.SIGINT)
    in_log(folder, "stopping: signal SIGINT")
    server.send_signal(signal.SIGINT)

    assert server.wait(PATIENCE) == 130
    assert is_free(folder)


def test_a_service_that_does_not_come_is_told_and_the_others_run(spawn: Spawn, run: Run, folder_of: FolderOf) -> None:
    folder = folder_of('SERVICE_LIST = ["workers/Worker", "workers/Shy"]\nSTART_TIMEOUT = 0.2\n', workers=WORKERS)
    server = spawn(folder, "zephserver-start")
    assert server.stderr is not None

    line = server.stderr.readline()

    assert line.startswith("not ready: service workers/Shy: it has not called ready() after")
    assert run(folder, "zephctl", "services", "show", "Worker").returncode == 0
    server.terminate()
    assert server.wait(PATIENCE) == 0


def test_what_a_service_printed_is_not_lost_at_the_end(spawn: Spawn, run: Run, folder: Path) -> None:
    server = spawn(folder, "zephserver-start")
    assert server.stderr is not None
    server.stderr.readline()
    run(folder, "zephctl", "command", "worker.say", "hello")

    server.terminate()

    assert server.communicate(timeout=PATIENCE)[0] == "hello\n"


def test_sighup_opens_the_log_anew(spawn: Spawn, folder: Path) -> None:
    server = spawn(folder, "zephserver-start")
    assert server.stderr is not None
    server.stderr.readline()
    (folder / "logging.log").rename(folder / "logging.old")

    server.send_signal(signal.SIGHUP)

    in_log(folder, "the log was opened anew")
    assert "the log was opened anew" not in (folder / "logging.old").read_text()


def test_sigusr1_writes_the_stacks_to_the_log(spawn: Spawn, folder: Path) -> None:
    server = spawn(folder, "zephserver-start")
    assert server.stderr is not None
    server.stderr.readline()

    server.send_signal(signal.SIGUSR1)

    in_log(folder, "stacks of all threads: SIGUSR1")
    assert "Thread service:workers/Worker" in log_of(folder)
    assert "Thread MainThread" in log_of(folder)


# -- pipes and terminals that are not there -----------------------------------------------------------------------


def test_events_piped_to_head_end_without_a_word(running: Path) -> None:
    script = "zephctl events --after 0 | head -1; echo ${PIPESTATUS[0]}"
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=running,
        env=environment(PATH=f"{BIN}:{os.environ.get('PATH', '')}"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as shell:
        # Each question is an event: the one after head has gone tells zephctl so.
        wait_until(lambda: ask(running, b"ping\n") and shell.poll() is not None, "the pipe ends", timeout=PATIENCE)
        stdout, stderr = shell.communicate()

    first, status = stdout.splitlines()
    assert first.partition("\t")[2].startswith("zephserver ")
    assert (status, stderr) == ("0", "")


@pytest.mark.parametrize("program", ["zephctl command", "zephserver-command"])
def test_an_answer_piped_to_nobody_ends_without_a_word(running: Path, program: str) -> None:
    done = in_shell(running, f"{program} help | true; echo ${{PIPESTATUS[0]}}")

    assert told(done) == (0, "0\n", "")


@pytest.mark.parametrize(
    "line", ["zephctl status", "zephctl status -o json", "zephctl services list", "zephserver-command status"]
)
def test_a_closed_stdout_is_nobody_s_fault(running: Path, line: str) -> None:
    assert told(in_shell(running, f"{line} >&-")) == (0, "", "")


@pytest.mark.parametrize("line", ["zephctl status", "zephctl status -o json", "zephserver-command status"])
def test_closed_streams_are_nobody_s_fault(running: Path, line: str) -> None:
    assert in_shell(running, f"{line} <&- >&- 2>&-").returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is full")
@pytest.mark.parametrize("line", ["zephctl status", "zephctl services list -o json", "zephserver-command status"])
def test_a_full_disk_behind_stdout_is_a_failure_in_one_line(running: Path, line: str) -> None:
    done = in_shell(running, f"{line} >/dev/full")

    assert told(done) == (1, "", f"{line.split()[0]}: the answer cannot be written: No space left on device\n")


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_daemon_starts_without_any_streams(run: Run, folder: Path, streams: str) -> None:
    done = in_shell(folder, f"zephserver-start --daemon {streams}")
    waited = run(folder, "zephctl", "wait", "--timeout", "20")  # so that even a start that failed leaves a pid to kill

    assert done.returncode == 0
    assert waited.returncode == 0


def test_a_daemon_holds_no_pipe_of_its_starter(run: Run, folder: Path) -> None:
    done = run(folder, "zephserver-start", "--daemon")  # comes back only when nobody holds the pipes any more

    assert done.returncode == 0
    assert run(folder, "zephctl", "status").returncode == 0


@pytest.mark.parametrize("mode", ["plain", "table", "json", "jsonl", "name"])
def test_an_ascii_world_gets_its_output(running: Path, mode: str) -> None:
    ascii_world = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    run_in(running, "zephctl", "command", "worker.say", "Łódź 🙂")

    done = run_in(running, "zephctl", "tail-log", "-n", "3", "-o", mode, **ascii_world)

    assert (done.returncode, done.stderr) == (0, "")
    if mode in ("json", "jsonl"):
        assert "Łódź 🙂" in "".join(json.loads(line)["text"] for line in done.stdout.splitlines())
    else:
        assert "\\u0141\\xf3d\\u017a \\U0001f642" in done.stdout


def test_no_colours_and_no_folding_in_a_pipe(running: Path) -> None:
    done = run_in(running, "zephctl", "services", "list", COLUMNS="20", TERM="xterm-256color")

    assert told(done) == (0, "workers/Worker\tready\tyes\t0\t-\n", "")


def test_ctrl_c_ends_events_with_130_and_without_a_traceback(spawn: Spawn, running: Path) -> None:
    events = spawn(running, "zephctl", "events", "--after", "0")
    assert events.stdout is not None
    events.stdout.readline()

    events.send_signal(signal.SIGINT)
    # Each question is an event: it wakes recv(), if the signal came just before it.
    wait_until(lambda: ask(running, b"ping\n") and events.poll() is not None, "it ends", timeout=PATIENCE)
    _, stderr = events.communicate()

    assert (events.returncode, stderr.strip()) == (130, "")


def test_tail_log_follows_over_a_restart(spawn: Spawn, run: Run, folder: Path) -> None:
    run(folder, "zephserver-start", "-d")
    tail = spawn(folder, "zephctl", "tail-log", "-f", "-n", "1000")
    assert tail.stdout is not None
    lines = [tail.stdout.readline()]

    run(folder, "zephctl", "restart")
    while sum("ready: 1 service in" in line for line in lines) < 2:
        lines.append(tail.stdout.readline())
    log = log_of(folder)
    tail.send_signal(signal.SIGINT)
    # Each word is a line of the log: it wakes recv(), if the signal came just before it.
    wait_until(lambda: ask(folder, b"worker.say x\n") and tail.poll() is not None, "it ends", timeout=PATIENCE)

    assert tail.returncode == 130
    assert "".join(lines) == log


# -- how little is loaded -----------------------------------------------------------------------------------------


def modules_after(folder: Path, program: str) -> set[str]:
    """The modules that a program has loaded when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nprint(*sys.modules, file=sys.stderr)"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stderr.split()} | set(done.stderr.split())


@pytest.mark.parametrize(
    "words", [["status", "-o", "json"], ["status"], ["services", "list", "-o", "json"], ["services", "list"]]
)
def test_zephctl_in_a_pipe_loads_nothing_heavy(running: Path, words: list[str]) -> None:
    loaded = modules_after(running, f"import sys; from zephctl.cli import main; assert main({words!r}) == 0")

    assert (
        loaded
        & {
            "rich",
            "watchdog",
            "websocket",
            "websockets",
            "picows",
            "msgspec",
            "asyncio",
            "logging",
            "concurrent",
            "importlib.metadata",
            "zephserver.core.server",
            "zephserver.core.settings",
        }
        == set()
    )


@pytest.mark.parametrize(
    ("program", "words"), [("stop", ["nowhere.sock"]), ("stop", []), ("command", ["ping"]), ("command", ["status"])]
)
def test_the_small_programs_load_next_to_nothing(running: Path, folder: Path, program: str, words: list[str]) -> None:
    where = folder if program == "stop" else running

    loaded = modules_after(
        where, f"import sys; sys.argv[1:] = {words!r}; from zephctl import scripts; scripts.{program}()"
    )

    assert (
        loaded
        & {
            "click",
            "rich",
            "json",
            "dataclasses",
            "typing",
            "inspect",
            "re",
            "asyncio",
            "logging",
            "argparse",
            "threading",
            "pathlib",
            "zephserver.core.server",
            "zephserver.core.settings",
        }
        == set()
    )


# -- the control socket by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("request_", "shut"), [(b"status\n", False), (b"status", True), (b"status\r\n", False)])
def test_a_plain_line_gets_lines_and_the_end(running: Path, request_: bytes, shut: bool) -> None:
    lines = ask(running, request_, shut=shut).decode().splitlines()

    assert lines[0] == "running\tyes"
    assert f"pid\t{pid_of(running)}" in lines


def test_the_socket_is_for_its_owner_only(running: Path) -> None:
    assert (running / "interface.sock").stat().st_mode & 0o777 == 0o600


# -- the template -------------------------------------------------------------------------------------------------


def test_the_services_template_runs_and_takes_its_command(run: Run, folder_of: FolderOf) -> None:
    folder = folder_of() / "mine"
    made = run(folder.parent, "zephctl", "new", "services", "mine")
    try:
        started = run(folder, "zephctl", "start")
        listed = run(folder, "zephctl", "services", "list", "-o", "name")
        counted = run(folder, "zephctl", "command", "counter.reset", "100")
        by_words = run(folder, "zephserver-command", "counter", "reset", "7")
        shown = json.loads(run(folder, "zephctl", "services", "show", "Reporter", "-o", "json").stdout)
        stopped = run(folder, "zephctl", "stop")
    finally:
        kill_server(folder)

    assert (made.returncode, started.returncode) == (0, 0), made.stderr + started.stderr
    assert listed.stdout == "workers/Counter\nworkers/Reporter\n"
    assert told(counted) == (0, "the counter is at 100\n", "")
    assert told(by_words) == (0, "the counter is at 7\n", "")
    assert (shown["requires"], shown["restart"]) == (["workers/Counter"], "always")
    assert told(stopped) == (0, "", "stopped\n")
