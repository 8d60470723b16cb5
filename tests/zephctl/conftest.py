"""What the tests of zephctl share: a folder with settings, its server in this process, and zephctl called in it."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from zephctl import app, cli
from zephserver.core.server import Server
from zephserver.core.settings import make_settings
from zephserver.testing import FakeClock

# Puppet.main() does what the test orders: return (None) or raise (an exception).
WORKERS = '''\
import queue

from zephserver import Service, command


class Puppet:
    def __init__(self):
        self.orders = queue.SimpleQueue()

    def main(self):
        while (order := self.orders.get()) is not None:
            raise order

    def disable(self):
        self.orders.put(None)


class Other(Puppet):
    pass


class Shy(Puppet, Service):
    notify_ready = True  # and it never calls ready()


class Talker(Puppet):
    @command("talker.greet")
    def greet(self, whom: str, times: int = 1):
        """Greet WHOM."""
        return [f"hello {whom}"] * times

    @command("talker.count")
    def count(self, to: int):
        yield from range(to)

    @command("talker.trip")
    def trip(self):
        raise ValueError("one foot on the other")
'''


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Its only line, read as JSON."""
        return json.loads(self.stdout)


class Terminal(io.StringIO):
    """A terminal that keeps what is shown, and does something as soon as a text was shown."""

    def __init__(self) -> None:
        super().__init__()
        self._reactions: list[tuple[str, Callable[[], object]]] = []

    def isatty(self) -> bool:
        """It is a terminal."""
        return True

    def when(self, text: str, react: Callable[[], object]) -> None:
        """Call *react* once, when *text* was written."""
        self._reactions.append((text, react))

    def write(self, text: str) -> int:
        """Write, then react."""
        count = super().write(text)
        for reaction in [reaction for reaction in self._reactions if reaction[0] in self.getvalue()]:
            self._reactions.remove(reaction)
            reaction[1]()
        return count


def interrupt() -> None:
    """A reaction: the person presses Ctrl-C."""
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Asked for early, because nothing_left_behind() wants it during its teardown."""
    return tmp_path_factory.getbasetemp()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns, and no wishes about colours or settings from outside."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "ZEPHSETTINGS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the services of workers.py."""
    folder = tmp_path / "f"
    folder.mkdir(mode=0o755)
    (folder / "workers.py").write_text(WORKERS)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def write_settings(folder: Path) -> Callable[..., Path]:
    """Write zephsettings.py: from names and values, or as the text says."""

    def write(text: str = "", **settings: Any) -> Path:
        path = folder / "zephsettings.py"
        path.write_text(text + "".join(f"{name} = {value!r}\n" for name, value in settings.items()))
        path.chmod(0o644)
        return path

    return write


@pytest.fixture
def serve(folder: Path, write_settings: Callable[..., Path]) -> Iterator[Callable[..., Server]]:
    """Run the server of the folder in this process, until the test ends. It started three days ago."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Server:
            values = {"SERVICE_LIST": [], "PORT_ZEPH": 0} | settings
            write_settings(**values)
            clock = FakeClock(time.time() - 3 * 86_400)
            return stack.enter_context(Server(make_settings(values, folder=folder), clock=clock))

        yield start


@pytest.fixture
def unheard(serve: Callable[..., Server], folder: Path) -> str:
    """A server runs and somebody removed its control socket; what the commands say about it."""
    serve()  # its clock stands still, so its keeper does not put the socket back
    (folder / "interface.sock").unlink()
    return (
        f"pid {os.getpid()} holds {folder}/server.lock, but nobody listens on {folder}/interface.sock; "
        f"wait until it has put its socket back (2 s), or end it with: kill {os.getpid()}"
    )


@pytest.fixture
def zephctl(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Call zephctl in this process, with its output in a pipe or on a *terminal*."""

    def call(*words: str, terminal: Terminal | None = None) -> Answer:
        try:
            with redirect_stdout(terminal or sys.stdout):
                status = cli.main(words)
        finally:
            for one in app.current:
                if "client" in vars(one):
                    one.client.close()
        captured = capsys.readouterr()
        return Answer(int(status), terminal.getvalue() if terminal else captured.out, captured.err)

    return call


def order(server: Server, name: str, what: BaseException | None) -> None:
    """Have a service of workers.py raise or return."""
    server.services.get_all_services()[name].orders.put(what)
