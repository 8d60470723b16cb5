"""Rows E1 to E6: nothing that arrives on the control socket, and nothing that happens to a command, hurts anybody."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.scale import FULL, at_most

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

IS_ROOT = os.geteuid() == 0
NOBODY = 65534
COMMANDS = Path(sys.executable).parent
pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(1_800 if FULL else 60)]

SERVICES = """
    import threading, time
    from zephserver.core.command_table import command

    class Counter:
        def __init__(self):
            self.over, self.ran = threading.Event(), 0

        def main(self):
            self.over.wait()
            self.over.clear()

        def disable(self):
            self.over.set()

        @command("count.up")
        def up(self, by: int = 1) -> int:
            "Count."
            self.ran += by
            return self.ran

        @command("count.read")
        def read(self) -> int:
            "What was counted."
            return self.ran

        @command("sleep")
        def sleep(self, seconds: float) -> str:
            "Be busy."
            open("busy", "w").close()
            time.sleep(seconds)
            return "slept"

    class Sluggish(Counter):
        def __init__(self):
            super().__init__()
            time.sleep(0.5)

        up = read = sleep = None

        def main(self):
            super().main()
            time.sleep(0.5)
"""
ONE = "SERVICE_LIST = ['counting/Counter']"


# -- E1 ---------------------------------------------------------------------------------------------------------------

SEEDS = [
    b"count up", b"count up 3", b"stop", b"services disable Counter", b"services restart Counter", b"status",
    b'{"id": 1, "command": "count.up"}', b'{"id": "a", "command": "count.up", "args": {"by": 2}}',
    b'{"id": 2, "command": "stop", "args": {}}', b'{"command": "services.disable", "args": {"name": "Counter"}}',
    b'{"id": 3, "command": "log.level", "args": {"level": "DEBUG"}}', b"log level DEBUG", b"log tail 5",
    b'{"id": 4, "command": "services.show", "args": {"name": "counting/Counter"}}',
    b'{"id": 5, "command": "wait", "args": {"within": 0.1}}', b'{"command": "events", "args": {"follow": false}}',
]  # fmt: skip
SPICE = [
    b"\0", b"\xff", b"\xed\xa0\x80", b'"', b"'", b"\\", b"{", b"}", b"[" * 500, b"9" * 5_000, b"1e999", b"NaN", b"-1",
    b"null", b"true", b'"\\ud800"', b"__class__", b"%s%n", b"\x1b[2J", b"\xe2\x80\xa8", b"\r", b"\t", b" ",
]  # fmt: skip


def mutated(chance: random.Random) -> bytes:
    """A request with something wrong in it."""
    line = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(line) + 1)
        match chance.randrange(5):
            case 0:
                line[at:at] = chance.choice(SPICE)
            case 1:
                del line[at : at + chance.randint(1, 6)]
            case 2:
                line[at : at + 1] = chance.randbytes(1)
            case 3:
                line[at:at] = line[: chance.randint(0, len(line))]
            case 4:
                other = chance.choice(SEEDS)
                line[at:] = other[chance.randrange(len(other)) :]
    return bytes(line)


def changes_something(line: bytes) -> bool:
    """Whether a line, in spite of all, is a request that changes the server: then it is not for this test."""
    text = line.decode("utf-8", "replace").strip()
    with contextlib.suppress(ValueError, RecursionError, AttributeError):
        words = [json.loads(text).get("command")] if text.startswith("{") else shlex.split(text)
        name = ".".join(map(str, words))
        return name.startswith(("stop", "count.up", "services.", "log.level", "log.reopen", "sleep", "wait", "events",
                                "log.tail"))  # fmt: skip
    return False


def randomly(chance: random.Random) -> bytes:
    """Bytes that mean nothing."""
    match chance.randrange(3):
        case 0:
            return chance.randbytes(chance.randint(1, 200))
        case 1:
            return b"{" + chance.randbytes(chance.randint(1, 100))
        case _:
            return bytes(chance.choices(b' {}[]":,.abcdestop\\u0019-', k=chance.randint(1, 200)))


def test_e1_100_000_random_and_20_000_mutated_requests_run_nothing(
    new_folder: Callable[..., Folder],
    chance: random.Random,
    times: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    folder = new_folder(ONE, counting=SERVICES)
    server = folder.start()
    before = folder.call("services.list"), folder.call("log.level"), folder.call("count.read")
    base = server.rss
    random_ones, mutated_ones = times(1_500, 100_000), times(500, 20_000)
    requests = [randomly] * random_ones + [mutated] * mutated_ones
    chance.shuffle(requests)

    connection: socket.socket | None = None
    answered = 0
    for make in requests:
        line = make(chance)
        if changes_something(line):
            continue
        if connection is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(10.0)
            folder.connect(connection)
        # Some stay on the connection, some are cut off in the middle, some end without a newline.
        fate = chance.random()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(line + (b"" if fate < 0.1 else b"\n"))
            if fate < 0.05:
                connection.close()
                connection = None
                continue
            if fate < 0.1:
                connection.shutdown(socket.SHUT_WR)
            if connection.recv(65_536) and fate >= 0.2 and line.startswith(b"{"):
                answered += 1
                continue
            answered += 1
        if connection is not None:
            connection.close()
        connection = None
    if connection is not None:
        connection.close()

    status, seconds = folder.ask("status\n")
    grown = (server.rss - base) / 1e6
    assert seconds < at_most(0.2)
    assert (folder.call("services.list"), folder.call("log.level"), folder.call("count.read")) == before
    assert f"pid\t{server.pid}" in status
    assert grown < 10.0, f"RSS grew by {grown:.1f} MB"
    assert "Traceback" not in folder.log, "a client's fault is not the server's error"
    assert server.threads < 10
    figure(f"{random_ones} random and {mutated_ones} mutated requests, {answered} answered; RSS + {grown:.1f} MB")


WRONG_KINDS: list[tuple[str, dict[str, object]]] = [
    ("services.show", {"name": ["Counter"]}),
    ("services.show", {"name": None}),
    ("services.wait", {"name": "Counter", "within": "soon"}),
    ("wait", {"within": 1e400}),
    ("wait", {"within": []}),
    ("log.tail", {"lines": {}}),
    ("log.tail", {"cursor": 7}),
    ("log.tail", {"level": 7}),
    ("log.level", {"level": ["DEBUG"]}),
    ("count.up", {"by": "x"}),
    ("count.up", {"by": [1]}),
    ("count.up", {"server": 1}),
    ("count.up", {"self": 1}),
    ("events", {"after": "\ud800", "follow": False}),
]


def test_e1_an_argument_of_the_wrong_kind_is_the_clients_fault(new_folder: Callable[..., Folder]) -> None:
    folder = new_folder(ONE, counting=SERVICES)
    folder.start()

    for command, args in WRONG_KINDS:
        answer, _ = folder.ask(json.dumps({"id": 1, "command": command, "args": args}) + "\n")

        row = json.loads(answer.splitlines()[-1])
        assert row["ok"] or row["error"]["code"] in ("bad-request", "unknown-service"), row
    assert "Traceback" not in folder.log
    assert folder.call("count.read") == 0


def test_e1_an_endless_request_is_cut_off(
    new_folder: Callable[..., Folder], times: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    folder = new_folder(ONE, counting=SERVICES)
    server = folder.start()
    folder.ask("ping\n")
    base, size, sent, answer = server.rss, times(100_000_000, 1_000_000_000), 0, b""

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10.0)
        connection.connect(folder.interface)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < size:
                sent += connection.send(b"x" * 65_536)
        with contextlib.suppress(ConnectionResetError):
            answer = connection.recv(65_536)

    assert sent < 2_000_000
    assert not answer or answer.startswith(b"error: bad-request: ")
    assert server.rss - base < 10_000_000
    assert folder.ask("ping\n")[0] == "pong\n"
    figure(f"cut off after {sent // 1024} KiB of {size // 1_000_000} MB")


# -- E2 ---------------------------------------------------------------------------------------------------------------

WATCHER = """
    import os, stat, sys
    path, modes = sys.argv[1], set()
    print("watching", flush=True)
    while not os.path.exists(path + ".end"):
        for _ in range(2_000):
            try:
                modes.add(stat.S_IMODE(os.lstat(path).st_mode))
            except FileNotFoundError:
                pass
    print(sorted(modes), flush=True)
"""


def test_e2_nobody_ever_sees_the_socket_with_another_mode_than_0600(
    folder: Folder, times: Callable[[int, int], int], wait_until: Callable[..., float], figure: Callable[[str], None]
) -> None:
    script = folder.write("watcher.py", WATCHER)
    watcher = folder.spawn(sys.executable, str(script), folder.interface)
    wait_until(lambda: "watching" in watcher.errors, "the watcher watches")
    rounds = times(2, 100)

    for _ in range(rounds):
        server = folder.start(umask=0)  # the worst that a shell can hand on
        assert stat.S_IMODE(os.lstat(folder.interface).st_mode) == 0o600
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    Path(folder.interface + ".end").touch()

    assert watcher.wait() == 0
    assert watcher.errors.splitlines()[-1] == str([0o600])
    assert stat.S_IMODE(folder.lock.stat().st_mode) == 0o600
    figure(f"{rounds} starts under a watcher and umask 0: only 0600 was seen")


VISITOR = """
    import os, socket, sys
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5.0)
        try:
            connection.connect(sys.argv[1])
            connection.sendall(b"stop" + bytes([10]))
            print(repr(connection.recv(100)), flush=True)
        except OSError as error:
            print(type(error).__name__, flush=True)
"""


@pytest.mark.skipif(not IS_ROOT, reason="needs to become another user")
def test_e2_another_user_is_refused_by_mode_and_by_uid(folder: Folder, wait_until: Callable[..., float]) -> None:
    script = folder.write("visitor.py", VISITOR)
    server = folder.start()

    by_mode = folder.spawn(sys.executable, str(script), folder.interface)
    assert by_mode.wait() == 0
    os.chmod(folder.interface, 0o666)  # somebody undoes it
    by_uid = folder.spawn(sys.executable, str(script), folder.interface)
    assert by_uid.wait() == 0

    assert by_mode.errors == "PermissionError\n"
    assert by_uid.errors in ("b''\n", "ConnectionResetError\n", "BrokenPipeError\n")
    wait_until(lambda: f"refused (uid {NOBODY}, pid {by_uid.pid}): another user" in folder.log, "it is in the log")
    assert folder.ask("ping\n")[0] == "pong\n"
    assert not server.has_ended()


# -- E3 ---------------------------------------------------------------------------------------------------------------


def test_e3_200_silent_clients_delay_nobody(
    new_folder: Callable[..., Folder], times: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    folder = new_folder(ONE, counting=SERVICES)
    server = folder.start()
    base = server.descriptors
    clients = [socket.socket(socket.AF_UNIX) for _ in range(200)]
    began = time.monotonic()
    try:
        for number, client in enumerate(clients):
            client.connect(folder.interface)
            if number % 2:
                with contextlib.suppress(BrokenPipeError):
                    client.sendall(b'{"id": 1, "comm')

        crowded = folder.command("status")
        answers = [folder.ask("status\n") for _ in range(10)]
        assert crowded.status == 0, crowded
        slowest = max(seconds for _, seconds in answers)
        assert all("running\tyes" in answer for answer, _ in answers)
        assert slowest < at_most(0.2)
        assert server.descriptors - base <= 41

        for client in clients:
            client.settimeout(10.0)
            with contextlib.suppress(ConnectionResetError):
                while client.recv(1_000):
                    pass
        silence = time.monotonic() - began
        assert silence < at_most(6.0), "silent clients are closed after 5 s"
    finally:
        for client in clients:
            client.close()

    again = [socket.socket(socket.AF_UNIX) for _ in range(200)]
    try:
        for client in again:
            client.connect(folder.interface)
        stopped = folder.stop()
        assert stopped.status == 0, stopped
        assert server.wait(at_most(1.0)) == 0
    finally:
        for client in again:
            client.close()
    figure(
        f"200 silent clients: status in {slowest * 1000:.1f} ms, all closed at {silence:.1f} s, "
        f"stop in {stopped.seconds:.2f} s"
    )


# -- E4 ---------------------------------------------------------------------------------------------------------------


def test_e4_50_threads_of_commands_over_start_reload_and_stop(
    new_folder: Callable[..., Folder],
    chance: random.Random,
    times: Callable[[int, int], int],
    wait_until: Callable[..., float],
    figure: Callable[[str], None],
) -> None:
    folder = new_folder("SERVICE_LIST = ['counting/Counter', 'counting/Sluggish']", counting=SERVICES)
    threads, each = times(10, 50), times(60, 1_000)
    outcomes: Counter[str] = Counter()
    slowest = [0.0] * threads
    gone = threading.Event()
    lock = threading.Lock()

    def user(number: int, seed: int) -> None:
        own = random.Random(seed)
        for _ in range(each):
            if gone.is_set():
                return
            plain = own.random() < 0.5
            word = own.choice(["status", "services.list", "count.read", "ping", "help", "services.show", "nonsense"])
            words = word.replace(".", " ") + (" Sluggish" if word == "services.show" else "")
            args = {"name": "Sluggish"} if word == "services.show" else {}
            line = words if plain else json.dumps({"id": 1, "command": word, "args": args})
            began = time.monotonic()
            try:
                answer, _ = folder.ask(line + "\n", 10.0)
                what = "no answer" if not answer else "busy" if "error: busy" in answer else "answered"
                if word not in ("nonsense", "count.read") and "unknown-command" in answer:
                    what = "not known yet"
            except (ConnectionRefusedError, FileNotFoundError):
                what = "not listening"
            except OSError as error:
                what = type(error).__name__
            slowest[number] = max(slowest[number], time.monotonic() - began)
            with lock:
                outcomes[what] += 1
            if what == "not listening" and done.is_set():
                return

    done = threading.Event()
    server = folder.start(ready=False)
    wait_until(lambda: os.path.exists(folder.interface), "the start has begun")
    users = [threading.Thread(target=user, args=(n, chance.randrange(2**32))) for n in range(threads)]
    for thread in users:
        thread.start()
    try:
        wait_until(lambda: "is ready" in server.errors, "ready under load")
        server.signal(signal.SIGHUP)
        folder.command("services", "restart", "Counter")
        # The last part of the commands meets the stop.
        wait_until(lambda: sum(outcomes.values()) > threads * each * 0.8, "most are served", 600.0)
        done.set()
        server.signal(signal.SIGTERM)
        assert server.wait(35.0) == 0
    finally:
        done.set()
        for thread in users:
            thread.join(60.0)
        gone.set()

    told = dict(outcomes)
    figure(f"{sum(told.values())} commands of {threads} threads: {told}; longest wait {max(slowest):.2f} s")
    assert max(slowest) < at_most(5.0)
    assert outcomes["answered"] > 0
    assert not outcomes["not known yet"], "a command of the core is never unknown to it"
    # At the very end of a stop the socket goes while a few are on their way; before that, everybody is answered.
    unanswered = sum(told.values()) - sum(told.get(k, 0) for k in ("answered", "busy", "not listening"))
    assert unanswered <= threads, told


def test_e4_more_clients_than_places_are_answered_or_told_no(
    new_folder: Callable[..., Folder], times: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    folder = new_folder(ONE, counting=SERVICES)
    folder.start()
    clients = [socket.socket(socket.AF_UNIX) for _ in range(60)]
    outcomes: Counter[str] = Counter()
    try:
        for _ in range(times(1, 20)):
            for client in clients:
                client.settimeout(10.0)
                folder.connect(client)
            for client in clients:
                try:
                    client.sendall(b"ping\n")
                    answer = client.recv(1_000)
                except OSError as error:
                    outcomes[type(error).__name__] += 1
                else:
                    outcomes["pong" if answer == b"pong\n" else "busy" if b"error: busy" in answer else "nothing"] += 1
                client.close()
            clients = [socket.socket(socket.AF_UNIX) for _ in range(60)]
    finally:
        for client in clients:
            client.close()

    figure(f"60 clients that connect before they ask: {dict(outcomes)}")
    # The one that has been silent for longest makes room; its own attempt to ask then fails, which its command tells.
    assert set(outcomes) <= {"pong", "busy", "BrokenPipeError", "ConnectionResetError"}, outcomes
    assert outcomes["pong"] > 0.9 * sum(outcomes.values())


# -- E5 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "words"),
    [("zephserver-command", ["sleep", "30"]), ("zephctl", ["command", "sleep", "30"]), ("zephserver-stop", [])],
)
def test_e5_a_command_whose_server_is_killed_says_so_and_ends(
    new_folder: Callable[..., Folder], program: str, words: list[str], wait_until: Callable[..., float]
) -> None:
    folder = new_folder(ONE if words else "SERVICE_LIST = ['counting/Sluggish']", counting=SERVICES)
    server = folder.start()
    client = folder.spawn(str(COMMANDS / program), *words)
    if words:
        wait_until(lambda: (folder.path / "busy").exists(), "the command is being served")
    else:
        wait_until(lambda: "stopping: " in folder.log, "the stop has begun")

    server.kill()
    killed = time.monotonic()

    status = client.wait(5.0)
    assert time.monotonic() - killed < at_most(1.0)
    assert status not in (0, None), client.errors
    assert client.errors.strip().splitlines()[-1] not in ("", "stopping"), "it says what happened"
    assert "Traceback" not in client.errors


@pytest.mark.parametrize("program", ["zephserver-command", "zephctl", "zephserver-stop"])
@pytest.mark.parametrize("what", ["nothing", "a plain file", "a folder", "a dead socket"])
def test_e5_a_path_that_nobody_listens_on(folder: Folder, program: str, what: str) -> None:
    path = Path(folder.interface)
    if what == "a plain file":
        path.write_text("precious\n")
    elif what == "a folder":
        path.mkdir()
    elif what == "a dead socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))

    done = folder.command(*([] if program == "zephserver-stop" else ["status"]), program=program)

    assert done.status == (3 if program == "zephctl" else 5), done
    assert done.seconds < at_most(1.0)
    assert done.err
    assert "Traceback" not in done.err
    assert os.path.lexists(path) == (what != "nothing")


def test_e5_a_live_foreign_socket_is_never_removed(folder: Folder) -> None:
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(folder.interface)
        foreign.listen(1)
        inode = os.lstat(folder.interface).st_ino

        for _ in range(3):  # the backlog fills: a full one is no sign of death
            server = folder.start(ready=False)
            assert server.wait(5.0) == 1
            assert "already running" in server.errors
            assert len(server.errors.splitlines()) == 1

        assert os.lstat(folder.interface).st_ino == inode


# -- E6 ---------------------------------------------------------------------------------------------------------------

SHOWS = [["services", "list"], ["status"], ["settings", "show"], ["tail-log", "-n", "1000"], ["events", "--help"]]


@pytest.mark.parametrize("words", SHOWS if FULL else SHOWS[:2], ids=" ".join)
def test_e6_a_closed_output_is_no_error(new_folder: Callable[..., Folder], words: list[str]) -> None:
    folder = new_folder(ONE, counting=SERVICES)
    folder.start()
    for _ in range(50):
        folder.ask("log level DEBUG\n")

    for program in (["zephctl", *words], ["zephserver-command", "help"], ["zephserver-command", "log", "tail", "1000"]):
        reader, writer = os.pipe()
        os.close(reader)  # what `| head -1` leaves behind
        try:
            done = subprocess.run(
                [COMMANDS / program[0], *program[1:]], cwd=folder.path, stdin=subprocess.DEVNULL, stdout=writer,
                stderr=subprocess.PIPE, text=True, timeout=30, check=False,
            )  # fmt: skip
        finally:
            os.close(writer)

        assert done.stderr == ""
        assert done.returncode in (0, 141)


@pytest.mark.parametrize("words", SHOWS if FULL else SHOWS[:2], ids=" ".join)
def test_e6_a_poor_terminal_or_none_at_all(new_folder: Callable[..., Folder], words: list[str]) -> None:
    folder = new_folder("SERVICE_LIST = ['counting/Counter']\nEIGENER_GRUSS = 'Grüße, 世界'\n", counting=SERVICES)
    folder.start()
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}

    for poor in ({"LANG": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"COLUMNS": "20"},
                 {"TERM": "dumb"}, {"TERM": ""}, {"COLUMNS": "0"}):  # fmt: skip
        done = subprocess.run(
            [COMMANDS / "zephctl", *words], cwd=folder.path, stdin=subprocess.DEVNULL, capture_output=True,
            env=bare | poor, timeout=30, check=False,
        )  # fmt: skip

        assert done.returncode == 0, done.stderr
        assert done.stdout
        assert b"Traceback" not in done.stderr
        assert b"\x1b" not in done.stdout


def test_e6_json_stays_json_whatever_the_terminal(new_folder: Callable[..., Folder]) -> None:
    folder = new_folder(ONE, counting=SERVICES)
    folder.start()
    shown = set()

    for poor in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {"COLUMNS": "20"}, {"TERM": "dumb"}, {"FORCE_COLOR": "1"}):
        done = subprocess.run(
            [COMMANDS / "zephctl", "services", "list", "-o", "json"], cwd=folder.path, stdin=subprocess.DEVNULL,
            capture_output=True, env={**os.environ, **poor}, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout)
        shown.add(done.stdout)

    assert len(shown) == 1
