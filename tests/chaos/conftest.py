"""What the reliability rows share: a seed, counts, folders with a server in them, and the facts of a pid."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.summaries import FULL, SEED

T = TypeVar("T")
COMMANDS = Path(sys.executable).parent
PATIENCE = 30.0  # seconds that anything here may take before it counts as hung


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance from the seed and the name of the test, so that a test repeats alone as it ran among the others."""
    print(f"repeat with ZEPH_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def times() -> Callable[[T, T], T]:
    """`times(short, full)`: how often, or how much."""
    return lambda short, full: full if FULL else short


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Note a measured figure for the summary at the end."""
    return lambda text: request.node.user_properties.append(("figure", f"{request.node.name}: {text}"))


@pytest.fixture
def new_folder() -> Iterator[Callable[..., Folder]]:
    """`new_folder()`: one more folder for a server. Whatever still runs in them at the end is killed."""
    base = Path(tempfile.mkdtemp(prefix="zeph", dir="/tmp"))  # short, for a socket's path has 107 bytes at most
    base.chmod(0o755)  # open to the tests that become another user
    folders: list[Folder] = []

    def new(settings: str = "SERVICE_LIST = []", **files: str) -> Folder:
        folders.append(Folder(base / str(len(folders)), settings, files))
        return folders[-1]

    try:
        yield new
    finally:
        for folder in folders:
            folder.clean()
        shutil.rmtree(base)


@pytest.fixture
def folder(new_folder: Callable[..., Folder]) -> Folder:
    """A folder for one server without any service."""
    return new_folder()


@pytest.fixture
def wait_until() -> Callable[..., float]:
    """`wait_until(fact, what, within=30.0)`: the seconds it took."""
    return _wait_until


def _wait_until(fact: Callable[[], object], what: str, within: float = PATIENCE) -> float:
    began = time.monotonic()
    while not fact():
        if time.monotonic() - began > within:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.005)
    return time.monotonic() - began


class Folder:
    """A folder with a zephsettings.py and modules, and the server processes that were started in it."""

    def __init__(self, path: Path, settings: str, files: Mapping[str, str]) -> None:
        path.mkdir(mode=0o755)
        self.path = path
        self.processes: list[Process] = []
        self.configure(settings)
        for name, text in files.items():
            self.write(f"{name}.py", text)

    @property
    def interface(self) -> str:
        """The control socket."""
        return str(self.path / "interface.sock")

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.path / "server.lock"

    @property
    def log(self) -> str:
        """The text of the log so far."""
        path = self.path / "logging.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def configure(self, settings: str) -> None:
        """Write the settings file; a free port is chosen unless the text says otherwise."""
        self.write("zephsettings.py", "PORT_ZEPH = 0\n" + textwrap.dedent(settings))

    def write(self, name: str, text: str) -> Path:
        """Write a file of the user's."""
        path = self.path / name
        path.write_text(textwrap.dedent(text), "utf-8")
        path.chmod(0o644)
        return path

    def spawn(self, *argv: str, **options: Any) -> Process:
        """Start a program in this folder."""
        process = Process(self.path, len(self.processes), argv, options)
        self.processes.append(process)
        return process

    def start(self, *words: str, ready: bool = True, **options: Any) -> Process:
        """Start a server in the foreground; with *ready* wait until it is."""
        process = self.spawn(str(COMMANDS / "zephserver-start"), *words, **options)
        if ready:
            _wait_until(lambda: process.has_ended() or "zephserver is ready" in process.errors, "the server is ready")
            assert not process.has_ended(), process.errors
        return process

    def command(self, *words: str, program: str = "zephserver-command", timeout: float = PATIENCE) -> Outcome:
        """Run one of the commands to its end."""
        began = time.monotonic()
        done = subprocess.run(
            [COMMANDS / program, *words], cwd=self.path, capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, timeout=timeout, check=False,
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def stop(self) -> Outcome:
        """zephserver-stop."""
        return self.command(program="zephserver-stop")

    def ask(self, line: str | bytes, timeout: float = PATIENCE) -> tuple[str, float]:
        """Send one line to the control socket, without any command in between; the answer and its seconds."""
        began = time.monotonic()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            self.connect(connection, timeout)
            connection.sendall(line.encode() if isinstance(line, str) else line)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while data := connection.recv(65_536):
                answer += data
        return answer.decode("utf-8", "replace"), time.monotonic() - began

    def connect(self, connection: socket.socket, timeout: float = PATIENCE) -> None:
        """Connect to the control socket; with a time-out a full backlog is an error at once, so try again."""
        end = time.monotonic() + timeout
        while True:
            try:
                connection.connect(self.interface)
                return
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError("the backlog stays full") from None
                time.sleep(0.005)

    def call(self, command: str, **args: Any) -> Any:
        """The result of a command, asked in JSON."""
        answer, _ = self.ask(json.dumps({"id": 1, "command": command, "args": args}) + "\n")
        row = json.loads(answer.splitlines()[-1])
        assert row["ok"], row
        return row["result"]

    def responds(self, timeout: float = 1.0) -> bool:
        """Whether the server answers `ping` in time."""
        try:
            return self.ask("ping\n", timeout)[0] == "pong\n"
        except OSError:
            return False

    def clean(self) -> None:
        """Kill what still runs here, by pid, and close the books."""
        for process in self.processes:
            process.close()


class Outcome:
    """How a command ended."""

    def __init__(self, status: int, out: str, err: str, seconds: float) -> None:
        self.status, self.out, self.err, self.seconds = status, out, err, seconds

    def __repr__(self) -> str:
        return f"<status {self.status} after {self.seconds:.2f} s, out {self.out!r}, err {self.err!r}>"


class Process:
    """A process that a test started, and its facts from /proc."""

    def __init__(self, folder: Path, number: int, argv: tuple[str, ...], options: dict[str, Any]) -> None:
        self._err = folder / f"stderr.{number}"
        with open(self._err, "wb") as err:
            wishes: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL, "stdout": err, "stderr": err}
            self._popen: subprocess.Popen[bytes] = subprocess.Popen(argv, **(wishes | options))
        self.pid = self._popen.pid

    @property
    def errors(self) -> str:
        """What it wrote on stdout and stderr so far."""
        return self._err.read_text("utf-8", "replace")

    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._popen.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, to this pid only."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        self._popen.kill()
        self._popen.wait(PATIENCE)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Its exit status; negative for a signal."""
        return self._popen.wait(timeout)

    def close(self) -> None:
        """Make sure that it is gone, and stopped processes too."""
        if not self.has_ended():
            self.kill()

    @property
    def rss(self) -> int:
        """Resident memory, bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def descriptors(self) -> int:
        """Open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def threads(self) -> int:
        """Threads."""
        return len(os.listdir(f"/proc/{self.pid}/task"))

    @property
    def cpu(self) -> float:
        """Seconds of processor time."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
