"""Rows A1 to A9: a server comes up unaided, is alone, and ends as it should, whatever happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.scale import FULL, at_most

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder, Process

IS_ROOT = os.geteuid() == 0
NOBODY = 65534
AS_NOBODY = str(Path(__file__).with_name("as_nobody.py"))
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1_800 if FULL else 120)]

WEBSOCKET = """
SERVICE_LIST = [
    "zephserver.session_manager/SimpleSessionManager", "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router", "zephserver.websocket_client/WebsocketClient", *MORE,
]
"""

LIVES = """
    import os, threading, time

    def note(*words):
        with open("lives.txt", "a") as file:
            file.write(" ".join(words) + chr(10))

    class First:
        building, ending = 0.0, 0.0

        def __init__(self):
            self.over = threading.Event()
            time.sleep(self.building)

        def main(self):
            note(type(self).__name__, "began")
            self.over.wait()
            time.sleep(self.ending)
            note(type(self).__name__, "ended")

        def disable(self):
            self.over.set()

    class Second(First):
        pass

    class Slow(First):
        building, ending = 0.1, 0.05

    class Third(First):
        building = 0.02

    class Stubborn(First):
        ending = 1.5
"""


def is_free(lock: Path) -> bool:
    """Whether nobody holds the lock."""
    with open(lock, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def pids_in(folder: Folder) -> list[int]:
    """The processes that have this folder as their own: what a server leaves behind would be among them."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{name}/cwd") == str(folder.path):
                found.append(int(name))
    return found


def assert_no_process(folder: Folder) -> None:
    """No process is left; a daemon tells the last word with its last breath, so it may take a moment."""
    deadline = time.monotonic() + 1.0
    while pids_in(folder) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert pids_in(folder) == []


def assert_clear(words: str) -> None:
    """One line that names what is wrong, and no traceback."""
    assert len(words.strip().splitlines()) == 1, words
    assert "Traceback" not in words


# -- A1 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_a1_the_next_start_works_after_kill_9_at_any_instant(
    new_folder: Callable[..., Folder],
    chance: random.Random,
    times: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    folder = new_folder("MORE = ['lives/First', 'lives/Slow']\n" + WEBSOCKET, lives=LIVES)
    began = time.monotonic()
    folder.start().signal(signal.SIGTERM)
    normal = time.monotonic() - began
    folder.processes[-1].wait()
    kills, slowest, recovered = times(3, 200), 0.0, 0

    for number in range(kills):
        phase = ("start", "run", "stop")[number % 3]
        victim = folder.start(ready=phase != "start")
        if phase == "start":
            time.sleep(chance.uniform(0, normal))
        elif phase == "run":
            time.sleep(chance.uniform(0, 0.05))
        else:
            victim.signal(signal.SIGTERM)
            time.sleep(chance.uniform(0, 0.1))
        victim.kill()
        had_lock = folder.lock.exists() and folder.lock.read_text().startswith(f"{victim.pid}\n")
        had_socket = os.path.exists(folder.interface)
        assert pids_in(folder) == [], "an orphan"
        before = len(folder.log)

        began = time.monotonic()
        server = folder.start()
        seconds = time.monotonic() - began

        slowest = max(slowest, seconds)
        assert seconds < normal + at_most(2.0)
        assert folder.responds()
        said = folder.log[before:]
        assert (f"recovered: pid {victim.pid} ended without stopping" in said) == had_lock, said
        assert ("recovered: removed the control socket" in said) == had_socket, said
        recovered += had_lock
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    figure(
        f"{kills} of {kills} starts worked; {recovered} found a dead server's lock; "
        f"slowest {slowest:.2f} s, normal {normal:.2f} s"
    )


# -- A2 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_a2_of_many_starters_at_once_exactly_one_runs(
    new_folder: Callable[..., Folder],
    wait_until: Callable[..., float],
    times: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    folder = new_folder("SERVICE_LIST = ['lives/First']", lives=LIVES)
    rounds, starters, slowest = times(1, 20), times(30, 100), 0.0

    for _ in range(rounds):
        script = str(Path(__file__).with_name("fork_starters.py"))
        forker = folder.spawn(sys.executable, script, str(folder.path), str(starters))
        wait_until(lambda forker=forker: forker.has_ended() or forker.errors.endswith("\n"), "all but one have ended")
        told = json.loads(forker.errors.splitlines()[-1])

        for loser in told["losers"]:
            slowest = max(slowest, loser["seconds"])
            assert loser["status"] == 1, loser
            assert f"already running (pid {told['winner']}," in loser["words"], loser
            assert_clear(loser["words"])
            assert loser["seconds"] < at_most(5.0)
        wait_until(folder.responds, "the winner answers on its socket")
        assert folder.call("status")["pid"] == told["winner"]
        os.kill(told["winner"], signal.SIGTERM)
        assert forker.wait() == 0
    figure(f"{rounds} rounds of {starters} starters: one ran, the others ended within {slowest:.2f} s")


def test_a2_the_command_itself_names_the_pid_that_runs(folder: Folder, times: Callable[[int, int], int]) -> None:
    starters = [folder.start(ready=False) for _ in range(times(8, 30))]
    deadline = time.monotonic() + 30
    while sum(not starter.has_ended() for starter in starters) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)

    (winner,) = [starter for starter in starters if not starter.has_ended()]
    for loser in starters:
        if loser is not winner:
            assert loser.wait() == 1
            assert f"already running (pid {winner.pid}," in loser.errors
            assert_clear(loser.errors)
    assert folder.responds()
    winner.signal(signal.SIGTERM)
    assert winner.wait() == 0


# -- A3 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["a stranger", "empty", "garbage", "digits", "nul", "1 GB"])
def test_a3_what_is_in_the_lock_file_does_not_matter(folder: Folder, content: str, chance: random.Random) -> None:
    stranger = folder.spawn("/bin/sleep", "60")
    written = {
        "a stranger": f"{stranger.pid}\n2026-01-01T00:00:00+0000\n".encode(),
        "empty": b"",
        "garbage": chance.randbytes(4_096),
        "digits": b"9" * 5_000,
        "nul": b"\0" * 100,
        "1 GB": b"12",
    }[content]
    folder.lock.write_bytes(written)
    if content == "1 GB":
        os.truncate(folder.lock, 1_000_000_000)

    server = folder.start()

    assert folder.lock.read_text().startswith(f"{server.pid}\n")
    assert folder.lock.stat().st_size < 100
    assert not stranger.has_ended()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


# -- A4 ---------------------------------------------------------------------------------------------------------------

PLACES = {
    "LOCK_FILE": "server.lock",
    "LOG_PATH": "logging.log",
    "CONFIGURATION_NETWORK_INTERFACE_SERVER": "interface.sock",
}
TRAPS = [
    "link to a file", "link to nothing", "link to itself", "link to a socket", "fifo", "fifo with a reader", "folder",
    "foreign file",
]  # fmt: skip


@contextlib.contextmanager
def trap(path: Path, kind: str) -> Iterator[Path]:
    """Put something at *path* that a server must not touch; the file that would suffer."""
    victim = path.with_name("victim")
    victim.write_text("precious\n")
    victim.chmod(0o604)
    with contextlib.ExitStack() as stack:
        match kind:
            case "link to a file":
                path.symlink_to(victim)
            case "link to nothing":
                path.symlink_to(path.with_name("nothing"))
            case "link to itself":
                path.symlink_to(path)
            case "link to a socket":
                listener = stack.enter_context(socket.socket(socket.AF_UNIX))
                listener.bind(str(path.with_name("elsewhere")))
                listener.listen()
                path.symlink_to(path.with_name("elsewhere"))
            case "fifo":
                os.mkfifo(path)
            case "fifo with a reader":
                os.mkfifo(path)
                stack.callback(os.close, os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            case "folder":
                path.mkdir()
            case "foreign file":
                if not IS_ROOT:
                    pytest.skip("only root can make another user's file")
                path.write_text("theirs\n")
                os.chown(path, NOBODY, NOBODY)
        yield victim


@pytest.mark.parametrize("kind", TRAPS)
@pytest.mark.parametrize("setting", PLACES)
def test_a4_a_path_that_is_not_ours_is_refused_and_left_alone(folder: Folder, setting: str, kind: str) -> None:
    path = folder.path / PLACES[setting]
    with trap(path, kind) as victim:
        before = os.lstat(path), os.lstat(victim)

        server = folder.start(ready=False)

        assert server.wait(5.0) == 1
        assert setting in server.errors
        assert str(path) in server.errors
        assert_clear(server.errors)
        for was, where in zip(before, (path, victim), strict=True):
            now = os.lstat(where)
            assert (now.st_ino, now.st_mode, now.st_uid, now.st_size) == (
                was.st_ino, was.st_mode, was.st_uid, was.st_size,
            )  # fmt: skip
        assert victim.read_text() == "precious\n"
        assert not path.with_name("nothing").exists()


@pytest.mark.skipif(not IS_ROOT, reason="needs to become another user")
@pytest.mark.parametrize("setting", PLACES)
def test_a4_in_a_sticky_shared_folder_another_users_file_is_refused(folder: Folder, setting: str) -> None:
    shared = folder.path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    theirs = shared / PLACES[setting]
    if setting.endswith("SERVER"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(theirs))
    else:
        theirs.write_text("theirs\n")
        theirs.chmod(0o666)
    inode = theirs.stat().st_ino
    folder.configure("SERVICE_LIST = []\n" + "".join(f"{name} = 'shared/{file}'\n" for name, file in PLACES.items()))

    server = folder.spawn(sys.executable, AS_NOBODY)

    assert server.wait(5.0) == 1
    assert setting in server.errors
    assert_clear(server.errors)
    assert theirs.stat().st_ino == inode
    assert theirs.is_socket() or theirs.read_text() == "theirs\n"


# -- A5 ---------------------------------------------------------------------------------------------------------------


def test_a5_deleted_files_do_not_let_a_second_server_in(
    new_folder: Callable[..., Folder], wait_until: Callable[..., float]
) -> None:
    cases = [(new_folder(), deleted) for deleted in ({"lock"}, {"socket"}, {"lock", "socket"})]
    firsts = [folder.start() for folder, _ in cases]
    for folder, deleted in cases:
        if "lock" in deleted:
            folder.lock.unlink()
        if "socket" in deleted:
            os.unlink(folder.interface)

    for (folder, deleted), first in zip(cases, firsts, strict=True):
        if len(deleted) == 2:  # nothing is left to see the first by, until it looks after its files
            wait_until(lambda f=folder: f.lock.exists() and os.path.exists(f.interface), "both are there again", 5.0)
        second = folder.start(ready=False)

        assert second.wait() == 1
        assert f"already running (pid {first.pid}," in second.errors, second.errors
        assert_clear(second.errors)

    for (folder, _), first in zip(cases, firsts, strict=True):
        wait_until(lambda f=folder: "recovered: the " in f.log, "the first has put back what was deleted", 5.0)
        assert folder.lock.read_text().startswith(f"{first.pid}\n")
        assert folder.start(ready=False).wait() == 1
        assert folder.stop().status == 0
        assert first.wait() == 0


def test_a5_a_server_that_stops_leaves_anothers_files_alone(folder: Folder, wait_until: Callable[..., float]) -> None:
    first = folder.start()
    folder.lock.unlink()
    os.unlink(folder.interface)
    folder.lock.write_text("a newer one\n")
    with socket.socket(socket.AF_UNIX) as newer:
        newer.bind(folder.interface)
        newer.listen()
        inode = os.lstat(folder.interface).st_ino
        first.signal(signal.SIGTERM)

        assert first.wait() == 0

        assert os.lstat(folder.interface).st_ino == inode
        assert folder.lock.exists()


# -- A6 ---------------------------------------------------------------------------------------------------------------

PARENTS = """
    import os, subprocess, threading, time

    class Popens:
        def main(self):
            self.child = subprocess.Popen(["/bin/sleep", "60"], close_fds=False)
            with open("child", "w") as file:
                file.write(str(self.child.pid) + chr(10))
            threading.Event().wait()

        def disable(self):
            pass

    class Forks(Popens):
        def main(self):
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            with open("child", "w") as file:
                file.write(str(pid) + chr(10))
            threading.Event().wait()
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("parent", ["Popens", "Forks"])
@pytest.mark.parametrize("what", ["core", "websocket"])
def test_a6_a_child_that_outlives_the_server_does_not_keep_the_next_out(
    new_folder: Callable[..., Folder], parent: str, what: str, wait_until: Callable[..., float]
) -> None:
    port = free_port()
    core = WEBSOCKET if what == "websocket" else "SERVICE_LIST = MORE\n"
    folder = new_folder(f"PORT_ZEPH = {port}\nMORE = ['parents/{parent}']\n{core}", parents=PARENTS)
    first = folder.start()
    note = folder.path / "child"
    wait_until(lambda: note.exists() and note.read_text().endswith("\n"), "the child is born")
    child = int(note.read_text())
    try:
        first.kill()
        note.unlink()
        folder.configure(f"PORT_ZEPH = {port}\nMORE = []\n{core}")  # the same port, and nobody who has children
        os.kill(child, 0)

        second = folder.start(ready=False)
        wait_until(lambda: second.has_ended() or "is ready" in second.errors, "the second server has started")

        assert "is ready" in second.errors, second.errors
        assert folder.call("status")["pid"] == second.pid
    finally:
        os.kill(child, signal.SIGKILL)


# -- A7 ---------------------------------------------------------------------------------------------------------------


def lives(folder: Folder) -> dict[str, list[str]]:
    """What each service noted of its life."""
    path = folder.path / "lives.txt"
    notes: dict[str, list[str]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        name, what = line.split()
        notes.setdefault(name, []).append(what)
    return notes


def assert_down(folder: Folder) -> None:
    """Nothing runs, nothing lies about, and every service that began has ended."""
    assert_no_process(folder)
    assert is_free(folder.lock)
    assert not os.path.exists(folder.interface)
    for name, notes in lives(folder).items():
        assert notes == ["began", "ended"] * (len(notes) // 2), f"{name}: {notes}"


@pytest.mark.parametrize("services", ["core", "websocket"])
def test_a7_a_stop_at_any_instant_of_the_start_ends_all_that_began(
    new_folder: Callable[..., Folder],
    services: str,
    chance: random.Random,
    times: Callable[[int, int], int],
    wait_until: Callable[..., float],
    figure: Callable[[str], None],
) -> None:
    more = "MORE = ['lives/First', 'lives/Slow', 'lives/Second', 'lives/Third']\n"
    folder = new_folder(more + (WEBSOCKET if services == "websocket" else "SERVICE_LIST = MORE"), lives=LIVES)
    rounds, slowest = times(3, 100), 0.0

    for _ in range(rounds):
        (folder.path / "lives.txt").unlink(missing_ok=True)
        server = folder.start(ready=False)
        wait_until(lambda: os.path.exists(folder.interface), "the start has begun")
        time.sleep(chance.uniform(0, 0.2 if services == "core" else 0.4))
        asked = time.monotonic()
        server.signal(chance.choice([signal.SIGTERM, signal.SIGINT, signal.SIGQUIT]))

        assert server.wait(35.0) == 0, server.errors
        slowest = max(slowest, time.monotonic() - asked)
        assert_down(folder)
    figure(f"{rounds} stops within the start of {services} services; slowest {slowest:.2f} s")


def test_a7_a_start_within_the_stop_is_refused_or_comes_up_whole(
    new_folder: Callable[..., Folder],
    chance: random.Random,
    times: Callable[[int, int], int],
    wait_until: Callable[..., float],
) -> None:
    folder = new_folder("SERVICE_LIST = ['lives/First', 'lives/Slow']", lives=LIVES)

    for _ in range(times(2, 50)):
        first = folder.start()
        first.signal(signal.SIGTERM)
        time.sleep(chance.uniform(0, 0.08))
        second = folder.start(ready=False)
        assert first.wait(35.0) == 0
        wait_until(lambda second=second: second.has_ended() or "is ready" in second.errors, "the second has decided")

        if second.has_ended():
            assert second.wait() == 1
            assert f"already running (pid {first.pid}," in second.errors
        else:
            assert folder.call("status")["pid"] == second.pid
            second.signal(signal.SIGTERM)
            assert second.wait(35.0) == 0
        assert_down(folder)


def test_a7_two_stops_at_once_both_tell_the_truth(
    new_folder: Callable[..., Folder], times: Callable[[int, int], int]
) -> None:
    folder = new_folder("SERVICE_LIST = ['lives/Slow']", lives=LIVES)

    for _ in range(times(1, 20)):
        server = folder.start()
        stops = [folder.spawn(str(Path(sys.executable).with_name("zephserver-stop"))) for _ in range(2)]
        codes = sorted(stop.wait(35.0) for stop in stops)

        assert codes in ([0, 0], [0, 5]), [stop.errors for stop in stops]  # 5: it was down already
        assert server.wait(at_most(1.0)) == 0
        assert_down(folder)
        assert folder.stop().status == 5


def test_a7_restart_again_and_again(
    new_folder: Callable[..., Folder], times: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    folder = new_folder("SERVICE_LIST = ['lives/First']", lives=LIVES)
    restarts = times(2, 100)
    pids, slowest = set(), 0.0

    for _ in range(restarts):
        done = folder.command("restart", program="zephctl")
        assert done.status == 0, done
        slowest = max(slowest, done.seconds)
        pids.add(folder.call("status")["pid"])

    assert len(pids) == restarts
    assert folder.stop().status == 0
    assert_down(folder)
    figure(f"{restarts} restarts; slowest {slowest:.2f} s")


STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT]
OTHERS = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


@pytest.mark.parametrize("phase", ["start", "run", "stop"])
def test_a7_each_signal_does_what_it_says_in_each_phase(
    new_folder: Callable[..., Folder],
    phase: str,
    chance: random.Random,
    times: Callable[[int, int], int],
    wait_until: Callable[..., float],
) -> None:
    folder = new_folder("SERVICE_LIST = ['lives/First', 'lives/Slow']", lives=LIVES)
    before = {signal.SIGHUP: "the log was opened anew", signal.SIGUSR1: "stacks of all threads: SIGUSR1"}

    for _ in range(times(1, 20)):
        for number in STOPS + OTHERS if FULL else [chance.choice(STOPS), chance.choice(OTHERS)]:
            (folder.path / "logging.log").unlink(missing_ok=True)
            server = folder.start(ready=phase != "start")
            if phase == "start":
                wait_until(lambda: os.path.exists(folder.interface), "the start has begun")
            if phase == "stop":
                server.signal(signal.SIGTERM)
                wait_until(lambda: "stopping: " in folder.log, "the stop has begun")
            time.sleep(chance.uniform(0, 0.03))
            server.signal(number)
            if phase != "stop" and number in OTHERS:
                wait_until(lambda server=server: "is ready" in server.errors, "it becomes ready all the same")
                if number in before:
                    wait_until(lambda number=number: before[number] in folder.log, f"{number.name} is obeyed")
                assert folder.responds()
                server.signal(signal.SIGTERM)

            assert server.wait(35.0) == 0, f"{number.name}: {server.errors}"
            assert_down(folder)


@pytest.mark.alone
def test_a7_a_second_sigint_ends_a_server_that_hangs(
    new_folder: Callable[..., Folder], wait_until: Callable[..., float]
) -> None:
    folder = new_folder("SERVICE_LIST = ['lives/Stubborn']", lives=LIVES)
    server = folder.start()
    server.signal(signal.SIGINT)
    wait_until(lambda: "stopping: " in folder.log, "the stop has begun")
    asked = time.monotonic()

    server.signal(signal.SIGINT)

    assert server.wait(at_most(1.0)) == 130
    assert time.monotonic() - asked < at_most(1.0)
    folder.start().kill()


BUSY = """
    import threading

    class Busy:
        def __init__(self):
            self.over = threading.Event()

        def main(self):
            crowd = [threading.Thread(target=self.work) for _ in range(20)]
            for thread in crowd:
                thread.start()
            for thread in crowd:
                thread.join()

        def work(self):
            while not self.over.is_set():
                threading.Thread(target=sum, args=(range(20_000),)).start()
                self.over.wait(0.001)

        def disable(self):
            self.over.set()
"""


def test_a7_no_signal_is_lost_while_all_threads_are_busy(
    new_folder: Callable[..., Folder],
    chance: random.Random,
    times: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    folder = new_folder("SERVICE_LIST = ['busy/Busy']", busy=BUSY)
    rounds, slowest = times(3, 50), 0.0

    for _ in range(rounds):
        server = folder.start()
        for _ in range(chance.randrange(5)):
            server.signal(signal.SIGHUP)
            time.sleep(chance.uniform(0, 0.02))
        asked = time.monotonic()
        server.signal(signal.SIGTERM)

        assert server.wait(10.0) == 0
        slowest = max(slowest, time.monotonic() - asked)
    figure(f"{rounds} stops of a busy server; slowest {slowest:.2f} s")


# -- A8 ---------------------------------------------------------------------------------------------------------------

DEPOSITS = """
    import os, time
    from zephserver import Task

    class Deposit(Task):
        def main(self):
            time.sleep(0.005)
            line = f"{self.data}" + chr(10)
            descriptor = os.open("deposits.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(descriptor, line.encode())
            os.close(descriptor)

    class Echo(Task):
        async def main(self):
            self.reply(self.data)
"""


class Load:
    """Clients that deposit and echo as fast as they are asked to, and remember what the server told them."""

    def __init__(self, port: int, clients: int, rate: float) -> None:
        self._url, self._clients, self._rate = f"ws://127.0.0.1:{port}/", clients, rate
        self.sent: set[str] = set()
        self.acknowledged: list[str] = []
        self.errors: dict[str, str] = {}
        self.codes: list[int | None] = []

    async def run(self, when_busy: Callable[[], object]) -> None:
        """Until the server has closed every connection; *when_busy* is called when all are under way."""
        import websockets.asyncio.client as websockets

        self._tasks: set[asyncio.Task[None]] = set()
        async with contextlib.AsyncExitStack() as stack:
            connections = [
                await stack.enter_async_context(websockets.connect(self._url, max_queue=None, ping_interval=None))
                for _ in range(self._clients)
            ]
            clients = [asyncio.create_task(self._client(n, c)) for n, c in enumerate(connections)]
            while len(self.acknowledged) < 3 * self._clients:
                await asyncio.sleep(0.005)
            when_busy()
            await asyncio.gather(*clients)

    async def _client(self, number: int, connection: Any) -> None:
        await connection.send(json.dumps({"session_id": None, "room": "bank"}))
        sender = asyncio.create_task(self._send(number, connection))
        with contextlib.suppress(Exception):
            async for text in connection:
                message = json.loads(text)
                if "error" in message:
                    self.errors[str(message.get("id"))] = message["error"]["code"]
                elif message.get("task") == "deposit":
                    self.acknowledged.append(message["id"])
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await sender
        self.codes.append(connection.close_code)

    async def _send(self, number: int, connection: Any) -> None:
        for count in range(100_000):
            name = f"{number}.{count}"
            self.sent.add(name)
            await connection.send(json.dumps({"task": "deposit", "data": name, "id": name}))
            await connection.send(json.dumps({"task": "echo", "data": "x"}))
            await asyncio.sleep(1 / self._rate)


@pytest.mark.alone
def test_a8_a_stop_under_load_loses_nothing_that_was_acknowledged(
    new_folder: Callable[..., Folder],
    times: Callable[[int, int], int],
    chance: random.Random,
    figure: Callable[[str], None],
) -> None:
    folder = new_folder(
        "MORE = []\nTASKS_PATH = {'deposit': 'bank/Deposit', 'echo': 'bank/Echo'}\n" + WEBSOCKET, bank=DEPOSITS
    )
    rounds, clients, rate = times(1, 20), times(15, 200), 25.0  # each sends two messages at a time
    book = folder.path / "deposits.txt"
    slowest, acknowledged, codes = 0.0, 0, set[int | None]()

    for _ in range(rounds):
        book.unlink(missing_ok=True)
        server = folder.start()
        load = Load(int(folder.call("status")["port"]), clients, rate)
        asked = 0.0

        def stop(server: Process = server) -> None:
            nonlocal asked
            time.sleep(chance.uniform(0, 0.2))
            asked = time.monotonic()
            server.signal(signal.SIGTERM)

        asyncio.run(load.run(stop))
        assert server.wait(30.0) == 0
        slowest = max(slowest, time.monotonic() - asked)

        done = book.read_text().splitlines()
        assert len(done) == len(set(done)), "a deposit was made twice"
        lost = set(load.acknowledged) - set(done)
        assert not lost, f"acknowledged without effect: {lost}"
        assert len(load.acknowledged) == len(set(load.acknowledged))
        assert not {name for name in load.errors if name in set(done)}, "refused, and done all the same"
        assert len(load.codes) == clients
        codes |= set(load.codes)
        assert set(load.codes) <= {1012, 1001}, load.codes
        acknowledged += len(load.acknowledged)
        assert folder.log.count("Traceback") == 0
    figure(
        f"{rounds} stops under {clients} clients: {acknowledged} acknowledged, 0 lost; "
        f"close codes {sorted(map(str, codes))}; slowest stop {slowest:.2f} s"
    )


# -- A9 ---------------------------------------------------------------------------------------------------------------

SLOW_TO_BE_READY = """
    import threading, time
    from zephserver import Service

    class Patient(Service):
        notify_ready = True

        def __init__(self):
            self.over = threading.Event()

        def main(self):
            time.sleep(0.5)
            open("is-ready", "w").close()
            self.ready()
            self.over.wait()

        def disable(self):
            self.over.set()

    class Broken(Patient):
        def main(self):
            raise ValueError("the warehouse is closed")

    class BrokenInInit(Patient):
        def __init__(self):
            raise ValueError("the warehouse is closed")

    class Never(Patient):
        def main(self):
            self.over.wait()
"""


def assert_nothing_left(folder: Folder) -> None:
    """After a start that failed: no process, no socket, a lock that is free."""
    assert_no_process(folder)
    assert not os.path.exists(folder.interface)
    assert not folder.lock.exists() or is_free(folder.lock)


@pytest.mark.parametrize("program", ["zephserver-start", "zephctl"])
def test_a9_a_start_returns_when_everything_is_ready(new_folder: Callable[..., Folder], program: str) -> None:
    folder = new_folder("MORE = ['patience/Patient']\n" + WEBSOCKET, patience=SLOW_TO_BE_READY)

    done = folder.command(*(["--daemon"] if program == "zephserver-start" else ["start"]), program=program)

    assert done.status == 0, done
    assert (folder.path / "is-ready").exists()
    status = folder.call("status")
    assert status["ready"]
    with socket.create_connection(("127.0.0.1", status["port"]), 1.0):
        pass
    assert folder.stop().status == 0
    assert_nothing_left(folder)


@pytest.mark.parametrize("program", ["zephserver-start", "zephctl"] if FULL else ["zephserver-start"])
@pytest.mark.parametrize("fault", ["Broken", "BrokenInInit", "Never", "port taken", "socket path of 120 bytes",
                                   "no folder for the lock", "no settings", "lock is a folder"])  # fmt: skip
def test_a9_a_start_that_fails_says_why_and_leaves_nothing(
    new_folder: Callable[..., Folder], fault: str, program: str
) -> None:
    folder = new_folder(
        f"START_TIMEOUT = 1.0\nRESTART_INTENSITY = 1\nMORE = ['patience/{fault}']\n" + WEBSOCKET,
        patience=SLOW_TO_BE_READY,
    )
    plain = "MORE = []\n" + WEBSOCKET
    expected, status = {
        "Broken": ("the warehouse is closed", 1),
        "BrokenInInit": ("the warehouse is closed", 1),
        "Never": ("has not called ready()", 1),
        "port taken": ("is taken; set another PORT_ZEPH", 1),
        "socket path of 120 bytes": ("CONFIGURATION_NETWORK_INTERFACE_SERVER", 6),
        "no folder for the lock": ("LOCK_FILE: there is no folder", 6),
        "no settings": ("zephsettings.py", 6),
        "lock is a folder": ("LOCK_FILE", 1),
    }[fault]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        if fault == "port taken":
            folder.configure(plain + f"PORT_ZEPH = {taken.getsockname()[1]}\nRESTART_INTENSITY = 1\n")
        elif fault == "socket path of 120 bytes":
            folder.configure(plain + f"CONFIGURATION_NETWORK_INTERFACE_SERVER = '/tmp/{'x' * 115}'\n")
        elif fault == "no folder for the lock":
            folder.configure(plain + "LOCK_FILE = 'nowhere/server.lock'\n")
        elif fault == "no settings":
            (folder.path / "zephsettings.py").unlink()
        elif fault == "lock is a folder":
            folder.configure(plain)
            folder.lock.mkdir()

        done = folder.command(*(["--daemon"] if program == "zephserver-start" else ["start"]), program=program)

    assert done.status == status, done
    assert expected in done.err, done
    assert "Traceback" not in done.err
    assert done.seconds < 15.0
    if fault != "lock is a folder":
        assert_nothing_left(folder)


def test_a9_a_foreground_start_that_fails_says_why_too(
    new_folder: Callable[..., Folder],
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        folder = new_folder(f"MORE = []\n{WEBSOCKET}PORT_ZEPH = {taken.getsockname()[1]}\nRESTART_INTENSITY = 1\n")

        server = folder.start(ready=False)

        assert server.wait(15.0) == 1
    assert "is taken; set another PORT_ZEPH" in server.errors
    assert "Traceback" not in server.errors
    assert_nothing_left(folder)


@pytest.mark.skipif(not IS_ROOT, reason="needs to become another user")
@pytest.mark.parametrize("fault", ["port 80", "read-only folder"])
def test_a9_a_start_without_the_rights_says_why(new_folder: Callable[..., Folder], fault: str) -> None:
    folder = new_folder("MORE = []\nPORT_ZEPH = 80\n" + WEBSOCKET)
    ours = folder.path / "ours"
    ours.mkdir()
    if fault == "port 80":
        os.chown(ours, NOBODY, NOBODY)
        if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
            pytest.skip("every user of this machine may listen on port 80")
    paths = "".join(f"{name} = 'ours/{file}'\n" for name, file in PLACES.items())
    folder.write("zephsettings.py", "MORE = []\nPORT_ZEPH = 80\nRESTART_INTENSITY = 1\n" + WEBSOCKET + paths)

    server = folder.spawn(sys.executable, AS_NOBODY, "--daemon")

    assert server.wait(15.0) == 1, server.errors
    assert ("ports below 1024 need root" if fault == "port 80" else "LOCK_FILE") in server.errors
    assert "Traceback" not in server.errors
    assert fault == "port 80" or os.listdir(ours) == []
    assert_no_process(folder)
