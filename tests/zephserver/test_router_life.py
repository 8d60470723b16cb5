"""The life of the router: what it tells of its tasks, how it begins and ends, clients that leave."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.zephserver.tasks import Echo, ThreadEcho, task, waiting
from zephserver.core.errors import CommandFailed, SettingsError, StartFailed
from zephserver.core.server import Server
from zephserver.core.settings import make_settings
from zephserver.events import ClientClosed, TaskFinished
from zephserver.router import ROUTER, Router
from zephserver.task import Task
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite


# -- life -------------------------------------------------------------------------------------------------------------


def test_a_finished_task_is_told_with_its_time_and_outcome(make_site: MakeSite) -> None:
    site = make_site(ThreadEcho)
    ann = site.join("ann")

    ann.ask("ThreadEcho")

    finished = site.wait(TaskFinished, task="ThreadEcho")
    assert (finished.cid, finished.outcome) == (ann.cid, "done")
    assert 0 <= finished.seconds < 10


def test_the_tasks_are_counted(make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]) -> None:
    site = make_site(Echo, task("Broken", lambda self: 1 // 0), waiting("Slow", gate, began))
    ann = site.join("ann")
    ann.ask("Echo"), ann.ask("Echo"), ann.ask("Broken")
    ann.send(task="Slow", id=1)
    began.get(timeout=5)

    wait_until(lambda: site.router.running() == 1, "the answered ones have ended")  # an answer comes before the end
    before = site.server.status()["tasks"]
    gate.set()
    wait_until(lambda: site.router.running() == 0, "the last has ended")
    after = site.server.status()["tasks"]

    assert before == {"running": 1, "finished": 3, "failed": 1}
    assert after == {"running": 0, "finished": 4, "failed": 1}


def test_the_tasks_are_listed(make_site: MakeSite) -> None:
    rows = make_site(Echo, ThreadEcho).router.list_tasks()

    assert [(row["name"], row["kind"]) for row in rows] == [
        ("Echo", "async"),
        ("TaskPing", "async"),
        ("ThreadEcho", "thread"),
    ]
    assert rows[1]["class"] == "zephserver.task/TaskPing"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("no_such_module/X", "TASKS_PATH: task mine: there is no module 'no_such_module'"),
        ("zephserver.task/Nobody", "TASKS_PATH: task mine: module zephserver.task has no class 'Nobody'"),
        ("zephserver.task/Request", "TASKS_PATH: task mine: class Request has no method main"),
        ("broken_tasks/X", "{folder}/broken_tasks.py:1: SyntaxError: invalid syntax (task mine)"),
        ("leaving_tasks/X", "{folder}/leaving_tasks.py:1: SystemExit: 3 (task mine)"),
    ],
)
def test_a_task_that_cannot_be_loaded_is_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, why: str
) -> None:
    (tmp_path / "broken_tasks.py").write_text("def broken(:")
    (tmp_path / "leaving_tasks.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    settings = make_settings({"SERVICE_LIST": [], "TASKS_PATH": {"mine": path, "ping": "zephserver.task/TaskPing"}})

    [fault] = Router.check(settings)

    assert fault.startswith(why.format(folder=tmp_path))


def test_a_module_that_cannot_be_loaded_is_told_once_for_all_of_its_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_tasks.py").write_text("x = 1\nx = y\n")
    monkeypatch.syspath_prepend(tmp_path)
    paths = {"one": "broken_tasks/One", "two": "broken_tasks/Two", "ping": "zephserver.task/TaskPing"}

    faults = Router.check(make_settings({"SERVICE_LIST": [], "TASKS_PATH": paths}))

    assert faults == [f"{tmp_path}/broken_tasks.py:2: NameError: name 'y' is not defined (tasks one, two)"]


_SECONDS = "timeout of class X: expected seconds above 0, or None, got"
_NEVER = "main() of class X has a yield, so it would never run; write a main() without"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("    timeout = '5'\n    def main(self): pass", f"{_SECONDS} '5'"),
        ("    timeout = 0\n    def main(self): pass", f"{_SECONDS} 0"),
        ("    timeout = -1.5\n    def main(self): pass", f"{_SECONDS} -1.5"),
        ("    timeout = True\n    def main(self): pass", f"{_SECONDS} True"),
        ("    timeout = float('nan')\n    def main(self): pass", f"{_SECONDS} nan"),
        ("    timeout = float('inf')\n    def main(self): pass", f"{_SECONDS} inf"),
        ("    def main(self): yield 1", _NEVER),
        ("    async def main(self): yield 1", _NEVER),
        ("    timeout = 5\n    def main(self): pass", ""),
        ("    timeout = None\n    async def main(self): pass", ""),
    ],
)
def test_a_class_that_cannot_work_as_a_task_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, fault: str
) -> None:
    (tmp_path / "odd_tasks.py").write_text(f"class X:\n{body}\n")
    monkeypatch.syspath_prepend(tmp_path)

    faults = Router.check(make_settings({"SERVICE_LIST": [], "TASKS_PATH": {"odd": "odd_tasks/X"}}))

    assert faults == ([f"TASKS_PATH: task odd: {fault}"] if fault else [])


@pytest.mark.parametrize(
    "ask",
    [Router.list_tasks, Router.reload_tasks, Router.roll_tasks_back, lambda router: router.call_task("mine")],
    ids=["list", "reload", "rollback", "call"],
)
def test_commands_for_tasks_say_why_the_tasks_are_not_loaded(tmp_path: Path, ask: Callable[[Router], object]) -> None:
    values = {"SERVICE_LIST": [ROUTER], "TASKS_PATH": {"mine": "zephserver.task/Nobody"}}
    server = Server(make_settings(values, folder=tmp_path))
    try:
        with pytest.raises(StartFailed):
            server.start()
        router = server.services.get_all_services()[ROUTER]

        with pytest.raises(CommandFailed) as raised:
            ask(router)

        assert str(raised.value) == (
            "the tasks are not loaded, for Router is failed: TASKS_PATH: task mine: module zephserver.task "
            "has no class 'Nobody'; mend it, then: zephctl services reset Router"
        )
        router.reload()  # SIGHUP meets it too
        assert next(family.name for family in router.metrics()) == "zephserver_tasks_running"
    finally:
        server.stop()


def test_a_server_with_a_broken_task_does_not_start(make_site: MakeSite) -> None:
    with pytest.raises(SettingsError) as raised:
        make_site(TASKS_PATH={"mine": "no_such_module/X", "yours": "zephserver.task/Nobody"})

    assert raised.value.faults == [
        "TASKS_PATH: task mine: there is no module 'no_such_module' in the settings folder or installed",
        "TASKS_PATH: task yours: module zephserver.task has no class 'Nobody'",
    ]


def test_a_server_that_stops_interrupts_what_does_not_end(make_site: MakeSite, gate: threading.Event) -> None:
    class Stubborn(Task):
        async def main(self) -> None:
            self.reply("began")
            await asyncio.sleep(100)

    class ThreadStubborn(Task):
        def main(self) -> None:
            self.reply("began")
            gate.wait(10)

        def interrupt(self) -> None:
            gate.set()

    site = make_site(Stubborn, ThreadStubborn, STOP_TIMEOUT=1.0)
    ann = site.join("ann")
    ann.send(task="Stubborn", id=1)
    ann.send(task="ThreadStubborn", id=2)
    assert {ann.hear(data="began")["id"], ann.hear(data="began")["id"]} == {1, 2}

    status = site.server.stop()

    assert status == 0
    assert gate.is_set()
    assert ann.closed()[0] == 1012


def test_the_router_alone_can_be_restarted(make_site: MakeSite) -> None:
    site = make_site(ThreadEcho, SERVICE_OPTIONS={"zephserver.websocket_client/WebsocketClient": {"requires": []}})
    ann = site.join("ann")
    assert ann.ask("ThreadEcho", 1)["data"] == 1

    site.server.services.disable_service("zephserver.router/Router")
    stopped = ann.ask("ThreadEcho", 2)
    site.server.services.enable_service("zephserver.router/Router")
    site.server.services.wait_ready(timeout=5)

    assert stopped["error"]["code"] == "overloaded"
    assert ann.ask("ThreadEcho", 3)["data"] == 3


def test_a_task_whose_client_has_left_still_ends_and_its_lane_with_it(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    site = make_site(waiting("Slow", gate, began))
    ann = site.join("ann")
    ann.send(task="Slow", data=1)
    ann.send(task="Slow", data=2)
    assert began.get(timeout=5) == 1

    ann.connection.close()
    site.wait(ClientClosed, cid=ann.cid)
    gate.set()

    wait_until(lambda: site.router.running() == 0, "all have ended")
    assert site.server.is_ready


def test_many_clients_at_once_get_each_their_own_answers(make_site: MakeSite) -> None:
    site = make_site(Echo, ThreadEcho, TASKS_PER_CLIENT=100, MESSAGE_RATE=None)
    talkers = [site.join(number, room=None) for number in range(8)]

    for number in range(25):
        for index, talker in enumerate(talkers):
            talker.send(task="Echo", data=[index, number])
            talker.send(task="ThreadEcho", data=[index, number])

    for index, talker in enumerate(talkers):
        answers = [talker.read() for _ in range(50)]
        for kind in ("Echo", "ThreadEcho"):
            mine = [answer["data"] for answer in answers if answer["task"] == kind]
            assert mine == [[index, number] for number in range(25)]


@pytest.mark.parametrize("wishes_it", [True, False])
def test_a_task_is_interrupted_when_its_client_leaves_if_it_wishes(
    make_site: MakeSite, gate: threading.Event, wishes_it: bool
) -> None:
    interrupted = threading.Event()

    class Patient(Task):
        interrupt_on_disconnect = wishes_it

        def main(self) -> None:
            self.reply("began")
            gate.wait(10)

        def interrupt(self) -> None:
            interrupted.set()
            gate.set()

    site = make_site(Patient)
    ann = site.join("ann")
    ann.send(task="Patient", id=1)
    ann.hear(data="began")

    ann.connection.close()
    site.wait(ClientClosed)
    if not wishes_it:
        gate.set()
    site.wait(TaskFinished, task="Patient")

    assert interrupted.is_set() is wishes_it
