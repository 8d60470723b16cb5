"""Tasks that fail, that take too long, and that are too many, in a real server."""

from __future__ import annotations

import asyncio
import functools
import queue
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.zephserver.tasks import Echo, ThreadEcho, task, waiting
from zephserver.events import TaskFinished, TaskRaised
from zephserver.task import Request, Task
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite


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
def test_an_answer_that_json_cannot_carry_is_the_fault_of_the_task(make_site: MakeSite, data: Any) -> None:
    site = make_site(task("Odd", lambda self: self.reply(data)))

    assert site.join("ann").ask("Odd")["error"]["code"] == "task-failed"
    assert "cannot be written as JSON" in site.wait(TaskRaised).error


def plainly(function: Any) -> Any:
    """A decorator that knows nothing of async functions."""

    @functools.wraps(function)
    def call_it(self: Any) -> Any:
        return function(self)

    return call_it


def test_an_async_main_behind_a_plain_decorator_is_run(make_site: MakeSite) -> None:
    async def main(self: Any) -> None:
        await asyncio.sleep(0)
        self.reply("ran")

    assert make_site(task("Timed", plainly(main))).join("ann").ask("Timed")["data"] == "ran"


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_what_it_raises_is_its_failure_alone(make_site: MakeSite, error: type[BaseException]) -> None:
    async def main(self: Any) -> None:
        raise error("no")

    site = make_site(task("Timed", plainly(main)), Echo)

    assert site.join("ann").ask("Timed")["error"]["code"] == "task-failed"
    assert site.join("bob").ask("Echo", 1)["data"] == 1


def test_a_main_that_turns_out_to_be_a_generator_is_told_from_one_that_ran(make_site: MakeSite) -> None:
    def main(self: Any) -> Any:
        yield self.reply("never")

    site = make_site(task("Yields", plainly(main)))

    assert site.join("ann").ask("Yields")["error"]["code"] == "task-failed"
    assert "main() is a generator" in site.wait(TaskRaised).error


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


def test_a_client_with_as_many_tasks_as_it_may_have_waits_and_loses_nothing(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    site = make_site(waiting("Slow", gate, began), Echo, TASKS_PER_CLIENT=3, MESSAGE_RATE=None)
    ann, bob = site.join("ann", room=None), site.join("bob")
    for number in range(200):
        ann.send(task="Slow", data=number)
    ann.send(task="Echo", id="last")
    began.get(timeout=5)

    bobs = bob.ask("Echo", 1)["data"]
    running = site.router.running()
    gate.set()

    assert (bobs, running) == (1, 3)
    answers = [ann.read() for _ in range(201)]
    assert [answer["data"] for answer in answers if answer["task"] == "Slow"] == list(range(200))
    assert [answer["id"] for answer in answers if answer["task"] == "Echo"] == ["last"]
    wait_until(lambda: site.router.running() == 0, "all have ended")
    assert site.service.counters["overloaded"] == 0


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
    assert {ann.hear(task="Slow")["id"] for _ in range(3)} == {0, 1, 2}


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
