"""One message on its way through one task: tasks that never await, and whatever ends badly still ends."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.zephserver.tasks import Echo, ThreadEcho, task
from zephserver import login_required
from zephserver.events import ClientClosed, TaskFinished, TaskRaised
from zephserver.job import TaskClass
from zephserver.task import Request, Task, TaskPing
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite

FAILED = {"code": "task-failed", "message": "the task failed"}


# -- which are instant ------------------------------------------------------------------------------------------------


async def _plain(self: Any) -> None:
    self.reply([number * 2 for number in range(3)])


async def _awaits(self: Any) -> None:
    await asyncio.sleep(0)


async def _awaits_perhaps(self: Any) -> None:
    if self.data == "never":
        await asyncio.sleep(0)


async def _loops(self: Any) -> None:
    async for _ in self.data:
        pass


async def _comprehends(self: Any) -> None:
    self.reply([one async for one in self.data])


async def _manages(self: Any) -> None:
    async with asyncio.timeout(1):
        pass


async def _has_an_inner_one(self: Any) -> None:
    async def inner() -> None:
        await asyncio.sleep(0)

    self.inner = inner


def _wrapped(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(self: Any) -> Any:
        return await function(self)

    return wrapper


def _in_a_thread(self: Any) -> None:
    self.reply(1)


class CallableMain:
    """A main() that is no function."""

    async def __call__(self, *args: Any) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("main", "is_async", "is_instant"),
    [
        (_plain, True, True),
        (_has_an_inner_one, True, True),
        (_awaits, True, False),
        (_awaits_perhaps, True, False),
        (_loops, True, False),
        (_comprehends, True, False),
        (_manages, True, False),
        (_wrapped(_plain), True, False),
        (functools.partial(_plain), True, False),
        (_in_a_thread, False, False),
        (CallableMain(), False, False),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__) if callable(value) else str(value),
)
def test_a_coroutine_that_never_awaits_is_instant(main: Any, is_async: bool, is_instant: bool) -> None:
    made = TaskClass.of(type("Made", (), {"main": main}), None)

    assert (made.is_async, made.is_instant) == (is_async, is_instant)


def test_what_a_task_class_says_of_itself_counts_before_the_setting() -> None:
    class Patient(Task):
        timeout = 5.0
        concurrent = True
        interrupt_on_disconnect = True

    said, unsaid = TaskClass.of(Patient, 1.0), TaskClass.of(TaskPing, 1.0)

    assert (said.timeout, said.is_concurrent, said.interrupts_on_disconnect) == (5.0, True, True)
    assert (unsaid.timeout, unsaid.is_concurrent, unsaid.interrupts_on_disconnect) == (1.0, False, False)
    assert unsaid.is_instant


# -- instant tasks ----------------------------------------------------------------------------------------------------


def instant(body: Callable[[Any], Any]) -> type[Task]:
    """A task that does this and never awaits."""

    async def main(self: Any) -> None:
        body(self)

    return task("Instant", main)


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    "body",
    [
        lambda self: _raise(RuntimeError("a secret")),
        lambda self: sys.exit(3),
        lambda self: _raise(KeyboardInterrupt()),
        lambda self: _raise(asyncio.CancelledError()),
        lambda self: _raise(GeneratorExit()),
        lambda self: _raise(StopIteration(1)),
        lambda self: _raise(StopAsyncIteration()),
        lambda self: _raise(RecursionError()),
    ],
    ids=["error", "exit", "interrupt", "cancelled", "generator", "stop", "async-stop", "recursion"],
)
def test_an_instant_task_that_raises_hurts_only_its_own_reply(make_site: MakeSite, body: Any) -> None:
    site = make_site(instant(body), Echo)
    ann = site.join("ann")

    assert ann.ask("Instant")["error"] == FAILED
    assert ann.ask("Echo", 1)["data"] == 1
    assert site.wait(TaskRaised, task="Instant").cid == ann.cid
    assert site.wait(TaskFinished, task="Instant").outcome == "task-failed"
    assert site.router.running() == 0


def test_an_instant_task_may_fail_with_a_code_of_its_own(make_site: MakeSite) -> None:
    site = make_site(instant(lambda self: self.fail("out-of-stock", "none left")))

    assert site.join("ann").ask("Instant")["error"] == {"code": "out-of-stock", "message": "none left"}


def test_an_instant_task_may_be_guarded(make_site: MakeSite) -> None:
    site = make_site(login_required(instant(lambda self: self.reply("in"))))

    assert site.join("ann").ask("Instant")["data"] == "in"
    assert site.join(None).ask("Instant")["error"]["code"] == "access-denied"


def test_instant_tasks_and_others_are_counted_alike(make_site: MakeSite) -> None:
    site = make_site(instant(lambda self: None), ThreadEcho)
    ann = site.join("ann")

    assert [ann.ask("Instant")["data"], ann.ask("ThreadEcho")["data"]] == [None, None]

    wait_until(lambda: site.router.stats()["tasks"]["finished"] == 2, "both are counted")
    assert site.wait(TaskFinished, task="Instant").outcome == "done"


def test_a_main_that_is_replaced_by_one_that_awaits_fails_and_is_told(make_site: MakeSite) -> None:
    instant_task = instant(lambda self: None)
    site = make_site(instant_task)
    ann = site.join("ann")

    async def main(self: Any) -> None:
        await asyncio.sleep(0.01)

    instant_task.main = main  # type: ignore[method-assign]

    assert ann.ask("Instant")["error"] == FAILED
    assert "awaits" in site.wait(TaskRaised, task="Instant").error


def test_what_an_instant_task_sets_in_its_context_is_not_the_next_one_s(make_site: MakeSite) -> None:
    whose = contextvars.ContextVar("whose", default="nobody's")

    def body(self: Any) -> None:
        self.reply(whose.get())
        whose.set(self.request["user"].username)

    site = make_site(instant(body))
    ann = site.join("ann")

    assert [ann.ask("Instant")["data"] for _ in range(3)] == ["nobody's"] * 3


def test_instant_tasks_of_one_connection_are_served_in_the_order_of_its_messages(make_site: MakeSite) -> None:
    said: list[Any] = []
    site = make_site(instant(lambda self: said.append(self.data)), MESSAGE_RATE=None)
    ann = site.join("ann")

    for number in range(500):
        ann.send(task="Instant", data=number)
    ann.ask("Instant", "last")

    assert said == [*range(500), "last"]


# -- whatever ends badly ends -----------------------------------------------------------------------------------------


class Unspeakable(Exception):
    """An error that cannot even say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    __str__ = __repr__


@pytest.mark.parametrize(
    ("how", "body"),
    [
        ("thread", lambda self: _raise(Unspeakable())),
        ("async", lambda self: _raise(Unspeakable())),
        ("instant", lambda self: _raise(Unspeakable())),
        ("thread", lambda self: self.fail(object(), "a code that JSON cannot carry")),
    ],
    ids=["thread", "async", "instant", "code"],
)
def test_a_failure_that_cannot_be_told_ends_the_task_all_the_same(make_site: MakeSite, how: str, body: Any) -> None:
    async def main(self: Any) -> None:
        await asyncio.sleep(0)
        body(self)

    broken = {"thread": task("Broken", body), "async": task("Broken", main), "instant": task("Broken", _instant(body))}
    site = make_site(broken[how], Echo, STOP_TIMEOUT=0.5)
    ann = site.join("ann")

    ann.send(task="Broken", id=1)

    ended = {"running": 0, "finished": 1, "failed": 1}
    wait_until(lambda: site.router.stats()["tasks"] == ended, "it ended")
    assert ann.ask("Echo", 1)["data"] == 1


def _instant(body: Any) -> Any:
    async def main(self: Any) -> None:
        body(self)

    return main


def test_a_code_that_is_a_number_spoils_no_metrics(make_site: MakeSite) -> None:
    site = make_site(task("Broken", lambda self: self.fail(404, "not found")))
    ann = site.join("ann")

    assert ann.ask("Broken")["error"]["message"] == "not found"
    site.wait(TaskFinished, outcome="404")  # it is counted behind its answer

    page = site.request("GET", "/metrics")
    assert page.status == 200
    assert b'outcome="404"' in page.body


# -- interrupted when the client leaves -------------------------------------------------------------------------------


class Patient(Task):
    """Works until it is interrupted."""

    interrupt_on_disconnect = True
    began: queue.SimpleQueue[Any]
    stops: list[threading.Event]

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.stop = threading.Event()
        self.stops.append(self.stop)

    def main(self) -> None:
        self.began.put(self.data)
        self.stop.wait(10)

    def interrupt(self) -> None:
        self.stop.set()


@pytest.fixture
def patient() -> Iterator[type[Patient]]:
    """The task of this test, which ends with it."""
    stops: list[threading.Event] = []
    yield type("Patient", (Patient,), {"began": queue.SimpleQueue(), "stops": stops})
    for stop in stops:
        stop.set()


def test_every_task_of_a_client_that_leaves_is_interrupted_if_it_wishes(
    make_site: MakeSite, patient: type[Patient]
) -> None:
    site = make_site(type("Patient", (patient,), {"concurrent": True}))
    ann = site.join("ann")
    for number in range(3):
        ann.send(task="Patient", data=number)
    assert {patient.began.get(timeout=5) for _ in range(3)} == {0, 1, 2}

    ann.connection.close()

    wait_until(lambda: site.router.running() == 0, "all have ended")


def test_those_that_wait_for_their_turn_are_interrupted_too(make_site: MakeSite, patient: type[Patient]) -> None:
    site = make_site(patient)
    ann = site.join("ann")
    for number in range(3):
        ann.send(task="Patient", data=number)
    assert patient.began.get(timeout=5) == 0
    wait_until(lambda: site.router.running() == 3, "all have come")

    ann.connection.close()

    wait_until(lambda: site.router.running() == 0, "all have ended")


def test_those_that_are_being_made_are_interrupted_too(make_site: MakeSite, patient: type[Patient]) -> None:
    made, go_on = threading.Event(), threading.Event()

    class Slow(patient):  # type: ignore[valid-type, misc]
        def __init__(self, request: Request) -> None:
            made.set()
            go_on.wait(10)  # it asks a database whether the user may
            super().__init__(request)

    site = make_site(Slow)
    ann = site.join("ann")
    ann.send(task="Slow")
    assert made.wait(5)

    ann.connection.close()
    site.wait(ClientClosed, cid=ann.cid)
    go_on.set()

    wait_until(lambda: site.router.running() == 0, "it has ended")


def test_those_of_a_client_that_has_more_to_say_are_interrupted_too(
    make_site: MakeSite, patient: type[Patient]
) -> None:
    site = make_site(patient, Echo, TASKS_PER_CLIENT=1)
    ann = site.join("ann")
    ann.send(task="Patient", data="begun")
    ann.send(task="Echo", data="waits")
    assert patient.began.get(timeout=5) == "begun"
    wait_until(lambda: site.service.received == 3, "the server has both")

    ann.connection.close()

    wait_until(lambda: site.router.running() == 0, "it has ended")


def test_a_client_that_has_gone_is_not_present_while_its_tasks_go_on(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    def main(self: Any) -> None:
        began.put(1)
        gate.wait(10)

    site = make_site(task("Slow", main), Echo, TASKS_PER_CLIENT=1, MAX_CONNECTIONS_PER_USER=1)
    ann, bob = site.join("ann"), site.join("bob")
    ann.send(task="Slow")
    ann.send(task="Echo", data="waits")
    began.get(timeout=5)

    ann.connection.close()

    wait_until(lambda: bob.users() == ["bob"], "ann has left")
    assert site.join("ann").silent()
