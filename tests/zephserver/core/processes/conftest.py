"""What the tests of several processes share: a server above two workers, in this process, with services that obey."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from zephserver.core.processes.supervisor import Supervisor
from zephserver.core.settings import load_settings

PATIENCE = 60.0  # seconds; a machine may be busy, a test never waits that long on purpose
SERVICES = """\
import os
import sys
import threading

from zephserver import Service, command, say, subscribe

HEARD = []


class Other(Service):
    def __init__(self):
        self.disabled = threading.Event()
        self.reloads = 0

    def main(self):
        self.disabled.wait()
        self.disabled.clear()

    def disable(self):
        self.disabled.set()

    def reload(self):
        self.reloads += 1

    def stats(self):
        return {"reloads": self.reloads}


class Shy(Other):
    notify_ready = True  # and it never calls ready()


class Puppet(Other):
    def main(self):
        subscribe("news", HEARD.append)
        super().main()

    @command("puppet.pid")
    def pid(self):
        return os.getpid()

    @command("puppet.say")
    def say(self, text: str):
        say("news", text)

    @command("puppet.heard")
    def heard(self):
        return HEARD

    @command("puppet.count")
    def count(self, to: int):
        yield from range(to)

    @command("puppet.cry")
    def cry(self, text: str):
        print(text, file=sys.stderr, flush=True)

    @command("puppet.cut")
    def cut(self):
        os.write(2, b'{"seq":1,"level":"INFO","text":"cut o')
        os.kill(os.getpid(), 9)
"""

House = Callable[..., AbstractContextManager[Supervisor]]


def write_house(folder: Path, workers: int, settings: dict[str, Any]) -> Path:
    """A folder with services and settings; the path of the settings file."""
    values = {"SERVICE_LIST": ["house_services/Puppet"], "PORT_ZEPH": 0, "WORKERS": workers} | settings
    path = folder / "zephsettings.py"
    path.write_text("".join(f"{name} = {value!r}\n" for name, value in values.items()))
    (folder / "house_services.py").write_text(SERVICES)
    for file in folder.glob("*.py"):
        file.chmod(0o644)
    return path


@contextmanager
def house_in(folder: Path, workers: int = 2, **settings: Any) -> Iterator[Supervisor]:
    """A server above workers, ready; stopped at the end."""
    with Supervisor(load_settings(write_house(folder, workers, settings))) as server:
        yield server


@pytest.fixture(autouse=True)
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Asked for early, because nothing_left_behind() wants it during its teardown."""
    return tmp_path_factory.getbasetemp()


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Make a server above workers: `with house(WORKERS=3) as server:`."""

    def make(**settings: Any) -> AbstractContextManager[Supervisor]:
        return house_in(tmp_path, settings.pop("WORKERS", 2), **settings)

    return make


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """One for all tests of a file that leave it as it was."""
    folder = tmp_path_factory.mktemp("shared")
    services = ["house_services/Puppet", "house_services/Other"]
    with house_in(folder, SERVICE_LIST=services, LOG_LEVEL="INFO") as server:
        yield server


def pids(server: Supervisor) -> dict[int, int]:
    """The processes of the workers."""
    return server.crew.ask_all("puppet.pid")


def lines(server: Supervisor) -> list[str]:
    """The texts in the log so far, in memory."""
    return [line.as_text() for line in server.log.journal.after(0)[0]]
