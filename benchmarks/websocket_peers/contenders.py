"""The servers that are measured: how each is started, and what it can be asked for. Pure standard library."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import ENVIRONMENT, free_port, wait_until

HERE = Path(__file__).parent
SITE = HERE.parent / "websocket_site"
NODE_FOLDER = HERE.parent.parent / ".bench"  # where `make bench-websocket` puts the libraries of node
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
LOAD_CORE, SERVER_CORE = (CORES[0], CORES[1]) if len(CORES) > 1 else (None, None)

ZEPHSERVER, PICOWS, MSGSPEC = "zephserver", "bare picows + json", "bare picows + msgspec"
WEBSOCKETS, AIOHTTP, TORNADO = "websockets", "aiohttp", "Tornado, a thread a message"
STARLETTE, CHANNELS = "Starlette on uvicorn", "Django Channels on daphne"
SOCKETIO, WS = "python-socketio on uvicorn", "ws on node"


@dataclass(frozen=True)
class Contender:
    """One server: its short name for --peers, its command line, what it needs, and what it is able to do."""

    name: str
    key: str
    argv: tuple[str, ...]
    needs: tuple[str, ...] = ()  # modules
    dialect: str = "json"
    threads: bool = False  # it has the task `threaded`
    deflate: bool = True
    site: Path = SITE  # the files that it finds in its folder

    @property
    def missing(self) -> str:
        """What is not installed; '' when nothing is missing."""
        if self.argv[0] == "node":
            if shutil.which("node") is None:
                return "node"
            return (
                "" if (NODE_FOLDER / "node_modules" / "ws").exists() or "NODE_PATH" in os.environ else "npm install ws"
            )
        return ", ".join(module for module in self.needs if importlib.util.find_spec(module) is None)


def _python(file: str, *more: str) -> tuple[str, ...]:
    return (sys.executable, str(HERE / file), "{port}", *more)


CONTENDERS = [
    Contender(
        ZEPHSERVER, "zephserver", (sys.executable, "-m", "zephserver"), ("zephserver",), "zephserver", threads=True
    ),
    Contender(PICOWS, "picows", _python("picows_peer.py"), ("picows",), deflate=False),
    Contender(MSGSPEC, "msgspec", _python("picows_peer.py", "--msgspec"), ("picows", "msgspec"), deflate=False),
    Contender(WEBSOCKETS, "websockets", _python("websockets_peer.py"), ("websockets",), threads=True),
    Contender(AIOHTTP, "aiohttp", _python("aiohttp_peer.py"), ("aiohttp",), threads=True),
    Contender(TORNADO, "tornado", _python("tornado_peer.py"), ("tornado",), threads=True),
    Contender(STARLETTE, "starlette", _python("starlette_peer.py"), ("starlette", "uvicorn"), threads=True),
    Contender(CHANNELS, "channels", _python("channels_peer.py"), ("channels", "daphne"), threads=True, deflate=False),
    Contender(
        SOCKETIO, "socketio", _python("socketio_peer.py"), ("socketio", "uvicorn"), dialect="socketio"
    ),
    Contender(WS, "ws", ("node", str(HERE / "ws_peer.js"), "{port}")),
]  # fmt: skip


def chosen(keys: Sequence[str]) -> list[Contender]:
    """Those that are asked for and here; a word about the others. Raises SystemExit for a name that nobody has."""
    unknown = set(keys) - {contender.key for contender in CONTENDERS}
    if unknown:
        raise SystemExit(
            f"no such peer: {', '.join(sorted(unknown))}; there are: {', '.join(c.key for c in CONTENDERS)}"
        )
    found = []
    for contender in CONTENDERS:
        if contender.key not in keys:
            continue
        if contender.missing:
            print(f"{contender.name} is left out: {contender.missing} is not installed", file=sys.stderr)
        else:
            found.append(contender)
    return found


@dataclass(frozen=True)
class Running:
    """A contender that listens."""

    contender: Contender
    pid: int
    port: int


@contextmanager
def running(
    contender: Contender, more: Mapping[str, str] | None = None, *, is_pinned: bool = True
) -> Iterator[Running]:
    """Start it on its own core in a folder of its own, and end it; *more* is for its environment.

    One server of several is not pinned, and runs on any core. Raises RuntimeError when it does not start.
    """
    port = free_port()
    environment = ENVIRONMENT | {"PORT": str(port)} | dict(more or {})
    environment.setdefault("NODE_PATH", str(NODE_FOLDER / "node_modules"))
    with tempfile.TemporaryDirectory(prefix="zephbench-") as folder:
        shutil.copytree(contender.site, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        os.chmod(folder, 0o700)
        with open(Path(folder, "output"), "wb") as output:
            process = subprocess.Popen(
                [word.replace("{port}", str(port)) for word in contender.argv],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=pin_server if is_pinned else None,
            )
        try:
            wait_until(lambda: process.poll() is not None or answers(port), 30.0)
            if process.poll() is not None:
                raise RuntimeError(f"{contender.name} did not start:\n{Path(folder, 'output').read_text()[-2000:]}")
            yield Running(contender, process.pid, port)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def pin_server() -> None:
    """The servers share one core, and are measured one at a time."""
    if SERVER_CORE is not None:
        os.sched_setaffinity(0, {SERVER_CORE})


def pin_load() -> None:
    """The load has the other core."""
    if LOAD_CORE is not None:
        os.sched_setaffinity(0, {LOAD_CORE})
