"""Development mode that begins with files that do not work: told with their place, and mended by the next save."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.zephserver.conftest import ROOM_HANDLER, ROUTER, SESSION_MANAGER, WEBSOCKET_CLIENT
from zephserver.core.errors import CommandFailed, StartFailed
from zephserver.core.events import ServerReady
from zephserver.core.server import Server
from zephserver.core.settings import make_settings
from zephserver.events import ReloadRefused, RestartNeeded
from zephserver.router import RELOADER
from zephserver.testing import running_server, wait_for

Begin = Callable[..., Server]
WEB = [SESSION_MANAGER, ROOM_HANDLER, ROUTER, WEBSOCKET_CLIENT, RELOADER]
TASK = "from zephserver import Task\nclass Echo(Task):\n    async def main(self): self.reply('mended')\n"
GOOD = TASK.replace("Echo", "Good").replace("mended", "good")


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Starts a server in development mode, which does not become ready; `begin(**files)` writes modules first."""
    monkeypatch.syspath_prepend(str(tmp_path))
    values: dict[str, Any] = {"SERVICE_LIST": WEB, "PORT_ZEPH": 0}
    values["TASKS_PATH"] = {"echo": "echoes/Echo", "good": "goods/Good"}
    server = Server(make_settings(values, folder=tmp_path))

    def start(**files: str) -> Server:
        for name, text in ({"goods": GOOD} | files).items():
            (tmp_path / f"{name}.py").write_text(text)
        with pytest.raises(StartFailed, match="not loaded: task echo; zephctl check says why"):
            server.start()
        return server

    yield start
    server.stop()


def answer(server: Server, task: str) -> Any:
    """What a task answers."""
    return server.get_service(ROUTER).call_task(task)["answers"][0]


def test_a_fault_at_the_start_is_told_with_its_place_and_the_other_tasks_are_served(
    begin: Begin, tmp_path: Path
) -> None:
    server = begin(echoes=f"{TASK}def x(:\n")

    event = wait_for(server.bus, ReloadRefused)
    assert str(event) == f"not reloaded: {tmp_path}/echoes.py:4: SyntaxError: invalid syntax; not loaded: echo"
    assert (event.file, event.line, event.source, event.column) == (f"{tmp_path}/echoes.py", 4, "def x(:", 7)
    assert not server.is_ready
    assert server.not_ready == "not loaded: task echo; zephctl check says why"
    assert answer(server, "good") == "good"
    with pytest.raises(CommandFailed, match="task 'echo' is not loaded; zephctl check says why"):
        answer(server, "echo")


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ({"echoes": f"{TASK}def x(:\n"}, {"echoes": TASK}),
        ({"echoes": "1 / 0\n"}, {"echoes": TASK}),
        ({"echoes": TASK.replace("Echo", "Ekko")}, {"echoes": TASK}),
        ({"echoes": f"from words import WORD\n{TASK}", "words": ""}, {"words": "WORD = 1\n"}),
        ({"echoes": f"from words import WORD\n{TASK}", "words": "WORD = (\n"}, {"words": "WORD = 1\n"}),
        ({}, {"echoes": TASK}),
    ],
    ids=["syntax", "raises", "no class", "helper", "broken helper", "no file"],
)
def test_a_save_that_mends_it_makes_the_server_ready(
    begin: Begin, tmp_path: Path, broken: dict[str, str], mended: dict[str, str]
) -> None:
    server = begin(**broken)

    for name, text in mended.items():
        (tmp_path / f"{name}.py").write_text(text)

    wait_for(server.bus, ServerReady, timeout=10)
    assert server.is_ready
    assert answer(server, "echo") == "mended"


def test_a_save_that_does_not_mend_it_is_told(begin: Begin, tmp_path: Path) -> None:
    server = begin(echoes="1 / 0\n")

    (tmp_path / "echoes.py").write_text("\n2 / 0\n")

    wait_for(server.bus, ReloadRefused, line=2)
    assert not server.is_ready


def test_without_a_web_changed_services_and_settings_are_told(tmp_path: Path) -> None:
    clock = "import threading\nclass Clock:\n    def __init__(self): self.over = threading.Event()\n"
    clock += "    def main(self): self.over.wait()\n    def disable(self): self.over.set()\n"
    (tmp_path / "clocks.py").write_text(clock)
    file = tmp_path / "zephsettings.py"
    file.write_text("SERVICE_LIST = []\n")
    with running_server(tmp_path, SERVICE_LIST=["clocks/Clock", RELOADER]) as server:
        (tmp_path / "clocks.py").write_text(f"{clock}# more\n")

        event = wait_for(server.bus, RestartNeeded)

        assert (event.files, event.services) == ((f"{tmp_path}/clocks.py",), ("clocks/Clock",))
        assert event.faults == ()
        (tmp_path / "clocks.py").write_text("def x(:\n")
        fault = f"{tmp_path}/clocks.py:1: SyntaxError: invalid syntax"
        assert wait_for(server.bus, RestartNeeded, faults=(fault,)).services == ("clocks/Clock",)
        (tmp_path / "clocks.py").unlink()
        wait_for(server.bus, RestartNeeded, faults=(f"{tmp_path}/clocks.py is gone",))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("SERVICE_LIST = []\nLEAVE_DELAY = 1\n", None),
        ("SERVICE_LIST = 3\n", "1: SERVICE_LIST: "),
        ("def x(:\n", "1: inv"),
    ],
)
def test_saved_settings_are_named_with_what_is_wrong_with_them(tmp_path: Path, text: str, fault: str | None) -> None:
    file = tmp_path / "zephsettings.py"
    file.write_text("SERVICE_LIST = []\n")
    settings = make_settings({"SERVICE_LIST": [RELOADER]}, folder=tmp_path, file=file)
    with Server(settings) as server:
        file.write_text(text)

        event = wait_for(server.bus, RestartNeeded)

        assert (event.files, event.services) == ((str(file),), ())
        assert len(event.faults) == (fault is not None)
        assert fault is None or event.faults[0].startswith(f"{file}:{fault}")
