"""From a message to a task and back, in a real server: order, overlap, time-outs, and tasks that misbehave."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from zephserver import get_service, login_required, room_required, user_passes_test
from zephserver.core.errors import StartFailed
from zephserver.core.settings import make_settings
from zephserver.events import ClientClosed, TaskFinished, TaskRaised
from zephserver.router import Router
from zephserver.task import Request, Task
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite, Site


class Echo(Task):
    """Answers with what it got, on the event loop."""

    async def main(self) -> None:
        self.reply(self.data)


class ThreadEcho(Task):
    """Answers with what it got, in a thread."""

    def main(self) -> None:
        self.reply(self.data)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What tasks wait for; open at the end."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def began() -> queue.SimpleQueue[Any]:
    """Where tasks say that they have begun."""
    return queue.SimpleQueue()


def task(name: str, main: Callable[[Any], Any], **attributes: Any) -> type[Task]:
    """A task whose main() is this function."""
    return type(name, (Task,), {"main": main, **attributes})


def waiting(name: str, gate: threading.Event, began: queue.SimpleQueue[Any], **attributes: Any) -> type[Task]:
    """A task that says that it began, waits for the gate, and answers with what it got."""

    def main(self: Any) -> None:
        began.put(self.data)
        gate.wait(10)
        self.reply(self.data)

    return task(name, main, **attributes)


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Echo, ThreadEcho])
@pytest.mark.parametrize(
    "data", [None, True, 0, -1.5, "é🙂\x00", [], {}, {"a": [1, {"b": None}]}, 10**30, "x" * 100_000]
)
def test_an_answer_carries_data_of_any_kind(make_site: MakeSite, kind: type, data: Any) -> None:
    ann = make_site(kind).join("ann")

    ann.send(task=kind.__name__, data=data)

    assert ann.read() == {"task": kind.__name__, "data": data}


@pytest.mark.parametrize("id", [0, 1, -1, 2**64, "", "a", "é"])
def test_an_answer_carries_the_id_of_its_request(make_site: MakeSite, id: Any) -> None:
    ann = make_site(Echo).join("ann")

    ann.send(task="Echo", data=1, id=id)

    assert ann.read() == {"task": "Echo", "data": 1, "id": id}


def test_task_ping_is_always_there(site: Site) -> None:
    ann = site.join("ann")

    ann.send(task="TaskPing", data={}, session_id="ann", room="lobby", date=1424300000000)

    assert ann.read() == {"task": "TaskPing", "data": "pong"}


def test_task_ping_may_be_replaced(make_site: MakeSite) -> None:
    site = make_site(task("TaskPing", lambda self: self.reply("mine")))

    assert site.join("ann").ask("TaskPing")["data"] == "mine"


async def _nothing(self: Any) -> None:
    """An async main() that says nothing."""


@pytest.mark.parametrize("main", [_nothing, lambda self: "a result nobody gets"])
def test_a_request_that_is_served_without_a_word_is_acknowledged(make_site: MakeSite, main: Any) -> None:
    ann = make_site(task("Quiet", main)).join("ann")

    ann.send(task="Quiet", id=1)

    assert ann.read() == {"task": "Quiet", "id": 1, "data": None}
    ann.send(task="Quiet")
    assert ann.silent()


def test_a_task_may_answer_many_times(make_site: MakeSite) -> None:
    ann = make_site(task("Count", lambda self: [self.reply(number) for number in range(5)])).join("ann")

    ann.send(task="Count", id=1)

    assert [ann.read() for _ in range(5)] == [{"task": "Count", "id": 1, "data": number} for number in range(5)]
    assert ann.silent()


def test_a_reply_tells_whether_the_client_is_still_there(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    told: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def main(self: Any) -> None:
        told.put(self.reply("first"))
        gate.wait(10)
        told.put(self.reply("second"))

    site = make_site(task("Work", main))
    ann = site.join("ann")
    ann.send(task="Work")
    assert ann.read()["data"] == "first"
    while_there = told.get(timeout=5)

    ann.connection.close()
    site.wait(ClientClosed, cid=ann.cid)
    gate.set()

    assert (while_there, told.get(timeout=5)) == (True, False)


def test_a_task_needs_no_base_class(make_site: MakeSite) -> None:
    class Plain:
        def __init__(self, request: Request) -> None:
            self.request = request

        def main(self) -> None:
            self.request.channel.reply(sorted(self.request))

    assert make_site(Plain).join("ann").ask("Plain")["data"] == ["cid", "data", "room", "task", "user"]


def test_a_task_lives_in_one_thread_that_knows_its_server(make_site: MakeSite) -> None:
    class Where(Task):
        def __init__(self, request: Request) -> None:
            super().__init__(request)
            self.born = threading.current_thread()

        def main(self) -> None:
            router = get_service("zephserver.router/Router")
            here = threading.current_thread()
            self.reply([here is self.born, here.name, router.running()])

    same, name, running = make_site(Where).join("ann").ask("Where")["data"]

    assert same is True
    assert (name.startswith("task:"), name.endswith(" Where")) == (True, True)
    assert running == 1


def test_every_message_makes_an_instance(make_site: MakeSite) -> None:
    class Once(Task):
        count = 0

        def main(self) -> None:
            self.count += 1
            self.reply(self.count)

    ann = make_site(Once).join("ann")

    assert [ann.ask("Once")["data"] for _ in range(3)] == [1, 1, 1]


# -- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Echo, ThreadEcho])
def test_messages_of_one_connection_to_one_task_are_served_in_order(make_site: MakeSite, kind: type) -> None:
    ann = make_site(kind, TASKS_PER_CLIENT=1_000, MESSAGE_RATE=None).join("ann")

    for number in range(300):
        ann.send(task=kind.__name__, data=number)

    assert [ann.read()["data"] for _ in range(300)] == list(range(300))


def test_the_next_message_to_a_task_waits_while_other_tasks_overlap(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    site = make_site(waiting("Slow", gate, began), ThreadEcho, Echo)
    ann, bob = site.join("ann"), site.join("bob")
    ann.hear(msgtype="user_list", data=["ann", "bob"])
    ann.send(task="Slow", data=1)
    ann.send(task="Slow", data=2)
    ann.send(task="ThreadEcho", data=3)
    ann.send(task="Echo", data=4)

    overlapping = {ann.read()["data"], ann.read()["data"]}
    bob.send(task="Slow", data="another connection")

    assert overlapping == {3, 4}
    assert [began.get(timeout=5), began.get(timeout=5)] == [1, "another connection"]
    gate.set()
    assert [ann.read()["data"], ann.read()["data"]] == [1, 2]


def test_a_concurrent_task_overlaps_with_itself(make_site: MakeSite) -> None:
    meeting = threading.Barrier(3)

    def main(self: Any) -> None:
        meeting.wait(5)
        self.reply("met")

    ann = make_site(task("Meet", main, concurrent=True)).join("ann")

    for _ in range(3):
        ann.send(task="Meet")

    assert [ann.read()["data"] for _ in range(3)] == ["met"] * 3


def test_an_async_task_runs_on_the_loop_and_overlaps_with_itself_when_concurrent(make_site: MakeSite) -> None:
    arrived: list[int] = []
    threads: set[str] = set()

    async def main(self: Any) -> None:
        arrived.append(self.data)
        threads.add(threading.current_thread().name)
        while len(arrived) < 3:
            await asyncio.sleep(0.001)
        self.reply(self.data)

    ann = make_site(task("Meet", main, concurrent=True)).join("ann")

    for number in range(3):
        ann.send(task="Meet", data=number)

    assert {ann.read()["data"] for _ in range(3)} == {0, 1, 2}
    assert len(threads) == 1
    assert threads.pop().startswith("service:")


def test_an_async_task_that_is_not_concurrent_waits_for_itself(make_site: MakeSite) -> None:
    running: list[int] = []

    async def main(self: Any) -> None:
        running.append(self.data)
        await asyncio.sleep(0.01)
        self.reply(len(running))
        running.remove(self.data)

    ann = make_site(task("Alone", main)).join("ann")

    for number in range(4):
        ann.send(task="Alone", data=number)

    assert [ann.read()["data"] for _ in range(4)] == [1, 1, 1, 1]


# -- tasks that fail --------------------------------------------------------------------------------------------------


def _raise(error: BaseException) -> Callable[[Any], None]:
    def main(self: Any) -> None:
        raise error

    return main


def _raise_async(error: BaseException) -> Callable[[Any], Any]:
    async def main(self: Any) -> None:
        raise error

    return main


ERRORS = [RuntimeError("a secret of ours"), SystemExit("a secret of ours"), KeyboardInterrupt(), GeneratorExit()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("how", [_raise, _raise_async])
def test_a_task_that_raises_hurts_only_its_own_reply(make_site: MakeSite, how: Any, error: BaseException) -> None:
    site = make_site(task("Broken", how(error)), ThreadEcho, Echo)
    ann = site.join("ann")

    for number in range(3):
        ann.send(task="Broken", id=number)

    failed = {"code": "task-failed", "message": "the task failed"}
    assert [ann.read() for _ in range(3)] == [{"task": "Broken", "id": number, "error": failed} for number in range(3)]
    assert ann.ask("ThreadEcho", 1)["data"] == ann.ask("Echo", 1)["data"] == 1
    raised = site.wait(TaskRaised, task="Broken", cid=ann.cid)
    assert repr(error) == raised.error
    site.wait_log(type(error).__name__)


def test_a_task_that_leaves_by_sys_exit_does_not_end_the_server(make_site: MakeSite) -> None:
    async def main(self: Any) -> None:
        sys.exit(3)

    site = make_site(task("Leave", main), task("ThreadLeave", lambda self: sys.exit(3)))
    ann = site.join("ann")

    assert ann.ask("Leave")["error"]["code"] == ann.ask("ThreadLeave")["error"]["code"] == "task-failed"
    assert site.server.is_ready
    assert site.join("bob").silent()


def test_an_async_task_that_is_cancelled_by_itself_is_answered(make_site: MakeSite) -> None:
    ann = make_site(task("Cancelled", _raise_async(asyncio.CancelledError())), Echo).join("ann")

    ann.send(task="Cancelled", id=1)
    ann.send(task="Echo", id=2)

    assert ann.read()["id"] == 1


def test_a_constructor_that_raises_is_a_failure_of_the_task(make_site: MakeSite) -> None:
    class Unborn(Task):
        def __init__(self, request: Request) -> None:
            raise KeyError("no")

    assert make_site(Unborn).join("ann").ask("Unborn")["error"]["code"] == "task-failed"


def test_a_failure_of_the_task_s_own_is_told_with_its_code(make_site: MakeSite) -> None:
    site = make_site(task("Buy", lambda self: self.fail("out-of-stock", "none left")))

    assert site.join("ann").ask("Buy")["error"] == {"code": "out-of-stock", "message": "none left"}
    assert not [event for event in site.events if isinstance(event, TaskRaised)]


def test_a_task_that_answered_before_it_failed_does_not_answer_twice(make_site: MakeSite) -> None:
    def main(self: Any) -> None:
        self.reply("done")
        raise RuntimeError

    site = make_site(task("Late", main))
    ann = site.join("ann")

    assert ann.ask("Late")["data"] == "done"
    site.wait(TaskFinished, task="Late", outcome="task-failed")
    assert ann.silent()


@pytest.mark.parametrize("data", [object, {None: 1}, "\ud800"], ids=["object", "key", "surrogate"])
def test_an_answer_that_json_cannot_carry_is_told(make_site: MakeSite, data: Any) -> None:
    answer = make_site(task("Odd", lambda self: self.reply(data))).join("ann").ask("Odd")

    assert answer["error"]["code"] == "bad-message"


def test_a_task_that_hangs_hurts_nobody_else(make_site: MakeSite, gate: threading.Event) -> None:
    site = make_site(task("Hang", lambda self: gate.wait(10)), ThreadEcho)
    ann, bob = site.join("ann"), site.join("bob")

    ann.send(task="Hang")

    assert ann.ask("ThreadEcho", 1)["data"] == bob.ask("ThreadEcho", 1)["data"] == 1


# -- time -------------------------------------------------------------------------------------------------------------


def test_a_task_that_takes_too_long_is_told_interrupted_and_its_lane_goes_on(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    interrupted = threading.Event()

    class Slow(Task):
        timeout = 0.4

        def main(self) -> None:
            if self.data == "slow":
                gate.wait(10)
            self.reply(self.data)

        def interrupt(self) -> None:
            began.put(threading.current_thread().name)
            interrupted.set()

    site = make_site(Slow)
    ann = site.join("ann")

    ann.send(task="Slow", data="slow", id=1)
    ann.send(task="Slow", data="quick", id=2)

    told = ann.read()
    assert told == {
        "task": "Slow",
        "id": 1,
        "error": {"code": "timed-out", "message": "the task did not end in 0.4 s"},
    }
    assert ann.read() == {"task": "Slow", "id": 2, "data": "quick"}
    assert interrupted.wait(5)
    assert began.get(timeout=5) == "interrupt:Slow"
    assert site.wait(TaskFinished, outcome="timed-out").task == "Slow"


def test_an_async_task_that_takes_too_long_is_cancelled(make_site: MakeSite) -> None:
    cancelled = threading.Event()

    async def main(self: Any) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    ann = make_site(task("Slow", main, timeout=0.05), Echo).join("ann")

    assert ann.ask("Slow")["error"]["code"] == "timed-out"
    assert cancelled.wait(5)
    assert ann.ask("Echo", 1)["data"] == 1


def test_the_setting_is_for_tasks_without_a_time_out_of_their_own(make_site: MakeSite, gate: threading.Event) -> None:
    wait = task("Wait", lambda self: gate.wait(10))
    patient = task("Patient", lambda self: self.reply(gate.wait(10)), timeout=10.0)
    site = make_site(wait, patient, TASK_TIMEOUT=0.05)
    ann = site.join("ann")
    ann.send(task="Patient", id="patient")

    assert ann.ask("Wait")["error"]["code"] == "timed-out"
    gate.set()

    assert ann.hear(id="patient")["data"] is True


def test_interrupt_may_raise(make_site: MakeSite, gate: threading.Event) -> None:
    def interrupt(self: Any) -> None:
        gate.set()
        raise RuntimeError("interrupt is broken")

    site = make_site(task("Slow", lambda self: gate.wait(10), timeout=0.05, interrupt=interrupt))

    assert site.join("ann").ask("Slow")["error"]["code"] == "timed-out"
    site.wait_log("interrupt is broken")


def test_a_request_that_timed_out_gets_no_answer_any_more(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    ended = threading.Event()

    def main(self: Any) -> None:
        gate.wait(10)
        self.reply("late")
        ended.set()

    ann = make_site(task("Slow", main, timeout=0.05)).join("ann")
    assert ann.ask("Slow")["error"]["code"] == "timed-out"

    gate.set()
    assert ended.wait(5)

    assert ann.silent()


def test_a_task_that_timed_out_before_it_had_a_thread_does_not_run_at_all(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    ran: list[str] = []
    blocker = waiting("Blocker", gate, began)
    quick = task("Quick", lambda self: ran.append("ran"), timeout=0.05)
    site = make_site(blocker, quick, ThreadEcho, TASK_THREADS=1)
    ann = site.join("ann")
    ann.send(task="Blocker")
    began.get(timeout=5)
    assert ann.ask("Quick")["error"]["code"] == "timed-out"

    gate.set()

    assert ann.ask("ThreadEcho", 1)["data"] == 1  # the one thread has come to what stands behind
    assert ran == []


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_client_with_too_many_requests_is_told_so(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    site = make_site(waiting("Slow", gate, began), Echo, TASKS_PER_CLIENT=3)
    ann, bob = site.join("ann"), site.join("bob")
    for number in range(3):
        ann.send(task="Slow", data=number, id=number)

    refused = ann.ask("Echo")
    bobs = bob.ask("Echo", 1)
    gate.set()
    served = [ann.hear(id=number)["data"] for number in range(3)]

    assert refused["error"]["code"] == "overloaded"
    assert "3 of your requests" in refused["error"]["message"]
    assert bobs["data"] == 1
    assert served == [0, 1, 2]
    wait_until(lambda: site.router.running() == 0, "all have ended")
    assert ann.ask("Echo", "again")["data"] == "again"
    assert site.service.counters["overloaded"] == 1


def test_a_server_with_too_many_tasks_says_so(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    site = make_site(waiting("Slow", gate, began, concurrent=True), Echo, TASK_THREADS=2, TASK_QUEUE=1)
    ann, bob = site.join("ann"), site.join("bob")
    for number in range(3):
        ann.send(task="Slow", data=number, id=number)

    refused = [ann.ask("Slow")["error"]["code"], bob.ask("Slow")["error"]["code"]]
    on_the_loop = bob.ask("Echo", 1)["data"]
    gate.set()

    assert refused == ["overloaded", "overloaded"]
    assert on_the_loop == 1
    assert {ann.read()["id"] for _ in range(3)} == {0, 1, 2}


def test_a_lane_whose_next_task_finds_no_thread_is_refused_and_goes_on(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    lane, slow = waiting("Lane", gate, began, timeout=1.0), waiting("Slow", gate, began)
    site = make_site(lane, slow, Echo, TASK_THREADS=1, TASK_QUEUE=1)
    ann, bob = site.join("ann"), site.join("bob")
    for number in (1, 2, 3):
        ann.send(task="Lane", data=number, id=number)
    assert began.get(timeout=5) == 1
    bob.send(task="Slow", id="bob")  # takes the only place in the queue

    codes = [ann.hear(id=number)["error"]["code"] for number in (1, 2, 3)]
    gate.set()

    assert codes == ["timed-out", "overloaded", "overloaded"]
    assert bob.hear(id="bob")["data"] is None
    assert ann.ask("Lane", "again")["data"] == "again"
    wait_until(lambda: site.router.running() == 0, "all have ended")


# -- access -----------------------------------------------------------------------------------------------------------


@login_required
class ForUsers(Task):
    """For known users."""

    def main(self) -> None:
        self.reply("welcome")


class ForAnn(Task):
    """For Ann, on the event loop."""

    @user_passes_test(lambda user: user.username == "ann", "only for Ann")
    def __init__(self, request: Request) -> None:
        super().__init__(request)

    async def main(self) -> None:
        self.reply("hello Ann")


@room_required("game-*")
class InGame(Task):
    """For those in a game."""

    def main(self) -> None:
        self.reply(self.request["room"])


def test_a_guarded_task_is_for_those_who_may(make_site: MakeSite) -> None:
    site = make_site(ForUsers, ForAnn, InGame)
    ann, bob, nobody = site.join("ann", room="game-1"), site.join("bob"), site.join(None)

    assert ann.ask("ForUsers")["data"] == bob.ask("ForUsers")["data"] == "welcome"
    assert nobody.ask("ForUsers")["error"] == {"code": "access-denied", "message": "log in first"}
    assert ann.ask("ForAnn")["data"] == "hello Ann"
    assert bob.ask("ForAnn")["error"] == {"code": "access-denied", "message": "only for Ann"}
    assert ann.ask("InGame", room="game-2")["data"] == "game-1"
    assert bob.ask("InGame", room="game-1")["error"]["code"] == "access-denied"


# -- life -------------------------------------------------------------------------------------------------------------


def test_a_finished_task_is_told_with_its_time_and_outcome(make_site: MakeSite) -> None:
    site = make_site(ThreadEcho)
    ann = site.join("ann")

    ann.ask("ThreadEcho")

    finished = site.wait(TaskFinished, task="ThreadEcho")
    assert (finished.cid, finished.outcome) == (ann.cid, "done")
    assert 0 <= finished.seconds < 10


def test_the_tasks_are_counted(make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]) -> None:
    site = make_site(Echo, task("Broken", _raise(RuntimeError())), waiting("Slow", gate, began))
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
        ("no_such_module/X", "there is no module 'no_such_module'"),
        ("zephserver.task/Nobody", "has no class 'Nobody'"),
        ("zephserver.task/Request", "class Request has no method main"),
        ("broken_tasks/X", "raised SyntaxError"),
        ("leaving_tasks/X", "raised SystemExit"),
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

    assert fault.startswith("TASKS_PATH: task 'mine': ")
    assert why in fault


def test_a_server_with_a_broken_task_does_not_start(make_site: MakeSite) -> None:
    with pytest.raises(StartFailed):
        make_site(TASKS_PATH={"mine": "no_such_module/X"}, RESTART_INTENSITY=0)


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
