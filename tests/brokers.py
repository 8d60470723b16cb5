"""Real brokers for tests: NATS and Redis servers on free ports of loopback, with folders of their own.

    def test_something(tmp_path: Path) -> None:
        with brokers.running("nats", tmp_path) as broker:
            ...  # broker.url, broker.pause(), broker.restart(), ...

A program that is missing skips the test, and fails it with ZEPH_REQUIRE_ALL=1.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.requirements import program
from zephserver.testing import wait_until

PROGRAMS = {"nats": "nats-server", "redis": "redis-server"}
PATIENCE = 20.0  # seconds for a broker to come up or to end
USER, PASSWORD = "ann", "correct-horse-battery"


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """One broker. It is started by start(), and gone after kill()."""

    def __init__(
        self,
        kind: str,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        password: bool = False,
        wrap: Sequence[str] = (),
        options: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        self.kind, self.host = kind, host
        self.port = port or (free_port(host) if not wrap else {"nats": 4222, "redis": 6379}[kind])
        self._folder = folder
        self._program = program(PROGRAMS[kind])
        self._wrap, self._options = list(wrap), list(options)
        self._has_password = password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What CLUSTER_ENGINE is for it."""
        return self.url_with(PASSWORD if self._has_password else "")

    def url_with(self, password: str) -> str:
        """The same with another password."""
        user = {"nats": USER, "redis": ""}[self.kind]
        return f"{self.kind}://{f'{user}:{password}@' if password else ''}{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process; of the wrapping program, if there is one that does not become the broker."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._folder.mkdir(exist_ok=True)
        log = self._folder / f"{self.kind}.log"
        with open(log, "ab") as out:
            self._process = subprocess.Popen(
                [*self._wrap, self._program, *self._arguments(), *self._options],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        end = time.monotonic() + PATIENCE
        while not self._is_ready(log):
            assert self._process.poll() is None, log.read_text("utf-8", "replace")
            assert time.monotonic() < end, f"{self.kind} is not ready: {log.read_text('utf-8', 'replace')}"
            time.sleep(0.01)

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        if self._process is not None:
            self._process.kill()  # also when it is paused
            self._process.wait(PATIENCE)
            self._process = None

    def restart(self) -> None:
        """kill -9 and start, on the same port."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: its connections stay, and nothing comes of them."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_until(self._stands_still, "the broker stands still", timeout=PATIENCE)

    def _stands_still(self) -> bool:
        """Whether each of its threads has stopped (proc(5)): a busy processor may still run one for a moment."""
        states = [
            Path(f"/proc/{self.pid}/task/{thread}/stat").read_text().rpartition(")")[2].split()[0]
            for thread in os.listdir(f"/proc/{self.pid}/task")
        ]
        return set(states) == {"T"}

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def _arguments(self) -> list[str]:
        if self.kind == "nats":
            login = ["--user", USER, "--pass", PASSWORD] if self._has_password else []
            return ["--addr", self.host, "--port", str(self.port), *login]
        login = ["--requirepass", PASSWORD] if self._has_password else []
        where = ["--bind", self.host, "--port", str(self.port), "--protected-mode", "no", "--dir", str(self._folder)]
        return [*where, "--save", "", "--appendonly", "no", *login]

    def _is_ready(self, log: Path) -> bool:
        if self._wrap:  # it may listen where we cannot reach it: what it says has to do
            text = log.read_text("utf-8", "replace")
            return "Server is ready" in text or "Ready to accept connections" in text
        try:
            with socket.create_connection((self.host, self.port), timeout=1.0):
                return True
        except OSError:
            return False


@contextmanager
def running(kind: str, folder: Path, **options: object) -> Iterator[Broker]:
    """A broker that runs; it is gone at the end, whatever was done to it."""
    broker = Broker(kind, folder, **options)  # type: ignore[arg-type]
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
