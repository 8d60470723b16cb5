"""Brokers of the benchmark's own, on free ports of loopback, with nothing on disk. Standard library only."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness import free_port, wait_until
from websocket_peers.contenders import answers

PROGRAMS = {"nats": "nats-server", "redis": "redis-server"}


@dataclass(frozen=True)
class Broker:
    """A broker that listens."""

    kind: str
    port: int
    pid: int

    @property
    def url(self) -> str:
        """What CLUSTER_ENGINE is for it."""
        return f"{self.kind}://127.0.0.1:{self.port}"


def program(kind: str) -> str | None:
    """The path of the program; None when it is not installed."""
    return shutil.which(PROGRAMS[kind], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@contextmanager
def running(kind: str) -> Iterator[Broker]:
    """A broker that runs; it is gone at the end."""
    port, path = free_port(), program(kind)
    assert path is not None
    with tempfile.TemporaryDirectory(prefix="zephbench-") as folder:
        options = {
            "nats": ["--addr", "127.0.0.1", "--port", str(port)],
            "redis": ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", folder],
        }
        process = subprocess.Popen(
            [path, *options[kind]], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: process.poll() is not None or answers(port), 20.0)
            if process.poll() is not None:
                raise RuntimeError(f"{kind} did not start")
            yield Broker(kind, port, process.pid)
        finally:
            process.kill()
            process.wait()
