"""How soon a saved file is new code, and what it costs those who are connected.

Ours beside uvicorn's reload, by looking and by watchfiles, and jurigged. A peer that is not installed is left out.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import resource
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path

from harness import BIN, ENVIRONMENT, Target, arguments, free_port, interleave, quantile, report, table
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

OPEN = 1_000
RELOADS = 20
MISSED = 2.0  # seconds after which a save counts as not noticed
BROKEN = 2.0  # seconds with a syntax error in the file
OURS, STAT, WATCH, JURIGGED = "zephserver --dev", "uvicorn --reload", "uvicorn --reload, watchfiles", "jurigged"

SETTINGS = """
SERVICE_LIST = ["zephserver.session_manager/SimpleSessionManager", "zephserver.room_handler/RoomHandler",
                "zephserver.router/Router", "zephserver.websocket_client/WebsocketClient"]
TASKS_PATH = {"word": "words/Word"}
PORT_ZEPH = {port}
"""
TASK = "from zephserver import Task\nclass Word(Task):\n    async def main(self):\n        self.reply({})\n"
FUNCTION = "def word():\n    return {}\n"
ASGI = """
import json
from words import word
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": json.dumps({"data": word()})})
"""
PLAIN = """
import asyncio, json, sys
from websockets.asyncio.server import serve
from words import word
async def talk(connection):
    async for _ in connection:
        await connection.send(json.dumps({"data": word()}))
async def main():
    async with serve(talk, "127.0.0.1", int(sys.argv[1]), compression=None, ping_interval=None):
        await asyncio.Future()
if __name__ == "__main__":
    asyncio.run(main())
"""
UVICORN = ["-m", "uvicorn", "app:app", "--reload", "--log-level", "warning", "--port"]
BY_LOOKING = """
import sys
sys.modules["watchfiles"] = None
if __name__ == "__main__":
    import uvicorn
    uvicorn.main()
"""


@dataclass(frozen=True)
class Contender:
    """A server that loads changed files, and what it needs."""

    name: str
    argv: list[str]
    code: str = FUNCTION
    files: dict[str, str] = field(default_factory=dict)
    needs: str = ""
    greeting: str = ""


CONTENDERS = [
    Contender(OURS, [str(BIN / "zephserver-start"), "--dev"], TASK, {"zephsettings.py": SETTINGS}, "", "{}"),
    Contender(
        STAT, [sys.executable, "look.py", *UVICORN[2:]], FUNCTION, {"app.py": ASGI, "look.py": BY_LOOKING}, "uvicorn"
    ),
    Contender(WATCH, [sys.executable, *UVICORN], FUNCTION, {"app.py": ASGI}, "watchfiles"),
    Contender(JURIGGED, [sys.executable, "-m", "jurigged", "app.py"], FUNCTION, {"app.py": PLAIN}, "jurigged"),
]


class Running:
    """A server in a folder of its own, and somebody who asks it again and again."""

    def __init__(self, contender: Contender, folder: Path) -> None:
        self.contender, self.folder, self.port = contender, folder, free_port()
        self.path = folder / "words.py"
        self.number = 0
        self.save(in_place)
        for name, text in contender.files.items():
            (folder / name).write_text(text.replace("{port}", str(self.port)))
        argv = contender.argv if contender.name == OURS else [*contender.argv, str(self.port)]
        with open(folder / "output.txt", "wb") as output:
            self.process = subprocess.Popen(
                argv, cwd=folder, env=ENVIRONMENT, stdout=output, stderr=output, start_new_session=True
            )
        self._connection: ClientConnection | None = None
        self._context = ExitStack()
        if isnan(self.wait(30.0)):
            raise RuntimeError(f"{contender.name} does not answer: {(folder / 'output.txt').read_text()[-500:]}")

    def save(self, how: Callable[[Path, str], None]) -> None:
        """Save code with the next answer."""
        self.number += 1
        how(self.path, self.contender.code.format(1_000 + self.number))

    def wait(self, within: float) -> float:
        """The moment when the code that was saved last answers; not a number when it does not."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            if self.ask() == 1_000 + self.number:
                return time.monotonic()
            time.sleep(0.0005)
        return nan

    def ask(self, within: float = 1.0) -> int | None:
        """What it answers; None when it does not."""
        try:
            if self._connection is None:
                self._connection = self._context.enter_context(self._connect(within))
                if self.contender.greeting:
                    self._connection.send(self.contender.greeting)
            self._connection.send('{"task": "word"}')
            while True:
                said = json.loads(self._connection.recv(timeout=within))
                if "data" in said:
                    return int(said["data"])
        except (OSError, WebSocketException, EOFError):  # TimeoutError is an OSError
            self.hang_up()
            return None

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        self._connection = None
        with suppress(Exception):
            self._context.close()

    def measure(self, how: Callable[[Path, str], None]) -> float:
        """Seconds from one save to the new answer."""
        time.sleep(random.uniform(0.1, 0.2))
        self.save(how)
        saved = time.monotonic()
        seconds = self.wait(MISSED) - saved
        if isnan(seconds):
            self.save(in_place)  # which all of them notice, so that the next round begins in order
            self.wait(MISSED)
        return seconds

    def stop(self) -> None:
        """End it and its children, which are a group of their own."""
        self.hang_up()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _connect(self, within: float) -> ClientConnection:
        url = f"ws://127.0.0.1:{self.port}/ws"
        return connect(url, compression=None, ping_interval=None, open_timeout=within, close_timeout=0.1, proxy=None)


def in_place(path: Path, text: str) -> None:
    """As nano does, and most programs."""
    path.write_text(text)


def atomic_rename(path: Path, text: str) -> None:
    """As most editors do: another file, then its name."""
    other = path.with_name(path.name + ".tmp")
    other.write_text(text)
    os.replace(other, path)


def like_vim(path: Path, text: str) -> None:
    """Away with the old file, a new one, and the old one deleted."""
    backup = path.with_name(path.name + "~")
    path.rename(backup)
    path.write_text(text)
    backup.unlink()


KINDS = {"in place": in_place, "atomic rename": atomic_rename, "like vim": like_vim}


@contextmanager
def crowd(running: Running) -> Iterator[list[socket.socket]]:
    """OPEN connections that say nothing more."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(OPEN):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=10))
            one.sendall(
                b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += one.recv(4_096)
            greeting = running.contender.greeting.encode()
            if greeting:
                one.sendall(bytes([0x81, 0x80 | len(greeting), 0, 0, 0, 0]) + greeting)
            sockets.append(one)
        yield sockets


def dropped(sockets: list[socket.socket]) -> int:
    """How many of them were closed by the server."""
    gone = 0
    poller = select.poll()
    by_number = {one.fileno(): one for one in sockets}
    for one in sockets:
        one.setblocking(False)
        poller.register(one, select.POLLIN)
    for number, _ in poller.poll(0):
        try:
            while data := by_number[number].recv(65_536):
                pass
            gone += not data
        except BlockingIOError:
            pass
        except OSError:
            gone += 1
    return gone


def reload_with_crowd(running: Running) -> list[str]:
    """A row: how many of the open connections are gone after RELOADS saves."""
    seconds = []
    with crowd(running) as sockets:
        for _ in range(RELOADS):
            seconds.append(running.measure(in_place))
        time.sleep(0.5)
        gone = dropped(sockets)
    known = [value for value in seconds if not isnan(value)] or [nan]
    return [running.contender.name, f"{gone:,} of {OPEN:,}", f"{statistics.median(known) * 1000:.0f}"]


def ask_while_broken(running: Running) -> tuple[int, int]:
    """Requests that failed, and all of them, while the file has a syntax error."""
    good = running.path.read_text()
    running.path.write_text(good + "def\n")
    end, failed, count = time.monotonic() + BROKEN, 0, 0
    while time.monotonic() < end:
        failed += running.ask() is None
        count += 1
        time.sleep(0.01)
    running.path.write_text(good)
    running.save(in_place)
    running.wait(30.0)
    return failed, count


def installed(contender: Contender) -> bool:
    """Whether it can run here; says so when not."""
    found = not contender.needs or importlib.util.find_spec(contender.needs) is not None
    if not found:
        print(f"left out: {contender.name} ({contender.needs} is not installed)", file=sys.stderr)
    return found


def speed_row(name: str, seconds: list[float]) -> list[str]:
    """p50, p95, the worst, and the saves that were not noticed."""
    known = [value for value in seconds if not isnan(value)]
    cells = [f"{quantile(known, share) * 1000:.0f}" for share in (0.5, 0.95, 1.0)] if known else ["-"] * 3
    return [name, *cells, f"{len(seconds) - len(known)} of {len(seconds)}"]


def main() -> int:
    """Print the tables and the targets."""
    options = arguments(__doc__ or "", rounds=100)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8_192)), hard))
    measured: dict[str, object] = {}
    targets = []
    with ExitStack() as stack:
        servers = []
        for contender in filter(installed, CONTENDERS):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reload")))
            folder.chmod(0o755)
            servers.append(Running(contender, folder))
            stack.callback(servers[-1].stop)
        everything: list[float] = []
        for kind, how in KINDS.items():
            work = {s.contender.name: (lambda s=s, how=how: s.measure(how)) for s in servers}
            samples = interleave(work, options.rounds)
            measured[kind] = samples
            rows = [speed_row(name, seconds) for name, seconds in samples.items()]
            table(f"Save {kind} to new code, ms", ["", "p50", "p95", "longest", "not noticed"], rows)
            everything += samples[OURS]
        known = [value for value in everything if not isnan(value)]
        targets.append(Target("save to new code, p95 of all kinds", quantile(known, 0.95) * 1000, 100, "ms"))
        targets.append(Target("saves that were not noticed", len(everything) - len(known), 0, "saves"))
        rows = [reload_with_crowd(server) for server in servers]
        measured["crowd"] = rows
        table(
            f"{OPEN:,} open connections, {RELOADS} saves",
            ["", "connections dropped", "save to new code, p50, ms"],
            rows,
        )
        targets.append(Target("connections dropped", float(rows[0][1].split()[0].replace(",", "")), 0, "connections"))
        broken = {server.contender.name: ask_while_broken(server) for server in servers}
        measured["broken"] = broken
        table(
            f"Requests while the file has a syntax error, {BROKEN:g} s",
            ["", "failed"],
            [[name, f"{failed} of {count}"] for name, (failed, count) in broken.items()],
        )
        targets.append(Target("requests failed during a syntax error", broken[OURS][0], 0, "requests"))
    return report(options, targets, **measured)


if __name__ == "__main__":
    sys.exit(main())
