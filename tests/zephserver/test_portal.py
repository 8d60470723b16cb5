"""From threads to the loop: in order, all of it, or a plain no."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zephserver.portal import Portal


class LoopThread:
    """An event loop in a thread of its own, with its portal."""

    def __init__(self) -> None:
        self.faults: list[dict[str, Any]] = []
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda loop, fault: self.faults.append(fault))
        self._thread = threading.Thread(target=self.loop.run_forever, name="loop of a test")
        self._thread.start()
        self.portal: Portal = self.run(lambda: Portal(self.loop))

    def run(self, function: Callable[[], Any]) -> Any:
        """Run it on the loop, past the portal; what it returned."""

        async def body() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(body(), self.loop).result(5)

    def settle(self) -> None:
        """Return when the loop has done everything that it was given."""
        self.run(lambda: None)
        self.run(lambda: None)

    def close(self) -> None:
        """End the loop and its thread."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(5)
            self.loop.close()


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


def test_a_call_runs_on_the_loop_with_its_arguments(thread: LoopThread) -> None:
    ran: list[Any] = []

    taken = thread.portal.call_soon(lambda *args: ran.append((args, threading.current_thread().name)), 1, "two")

    thread.settle()
    assert taken is True
    assert ran == [((1, "two"), "loop of a test")]


def test_the_calls_of_each_thread_run_in_its_order(thread: LoopThread) -> None:
    ran: list[tuple[int, int]] = []

    def call_often(caller: int) -> None:
        for number in range(500):
            thread.portal.call_soon(ran.append, (caller, number))

    callers = [threading.Thread(target=call_often, args=(caller,)) for caller in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    thread.settle()
    assert len(ran) == 2_000
    for caller_ in range(4):
        assert [number for caller, number in ran if caller == caller_] == list(range(500))


def test_a_call_that_was_given_while_the_calls_run_comes_after_them(thread: LoopThread) -> None:
    ran: list[str] = []

    def first() -> None:
        ran.append("first")
        thread.portal.call_soon(ran.append, "third")
        ran.append("second")

    thread.run(lambda: thread.portal.call_soon(first))

    thread.settle()
    assert ran == ["first", "second", "third"]


def test_many_calls_share_one_wake_up(thread: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[object] = []
    ran: list[int] = []
    wake = thread.loop.call_soon_threadsafe

    def call_soon_threadsafe(function: Callable[[], object]) -> Any:
        woken.append(function)
        return wake(function)

    def call_often() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(thread.loop, "call_soon_threadsafe", call_soon_threadsafe)
            for number in range(100):
                thread.portal.call_soon(ran.append, number)

    thread.run(call_often)  # on the loop, so that it cannot wake up in between

    thread.settle()
    assert ran == list(range(100))
    assert len(woken) == 1


def test_calls_that_keep_coming_let_the_loop_do_its_other_work(thread: LoopThread) -> None:
    ended = threading.Event()
    rounds: list[int] = []

    def again() -> None:
        rounds.append(1)
        if not ended.is_set():
            thread.portal.call_soon(again)

    thread.portal.call_soon(again)
    thread.settle()
    ended.set()
    thread.settle()

    assert rounds


def test_a_call_from_the_thread_of_the_loop_runs_at_once(thread: LoopThread) -> None:
    ran: list[int] = []

    def body() -> list[int]:
        thread.portal.call(ran.append, 1)
        return list(ran)

    assert thread.run(body) == [1]


def test_a_call_from_another_thread_runs_soon(thread: LoopThread) -> None:
    ran: list[str] = []

    thread.portal.call(lambda: ran.append(threading.current_thread().name))

    thread.settle()
    assert ran == ["loop of a test"]


def test_a_call_that_raises_does_not_stop_the_others(thread: LoopThread) -> None:
    ran: list[int] = []

    def give() -> None:
        thread.portal.call_soon(ran.append, 1)
        thread.portal.call_soon(lambda: 1 / 0)
        thread.portal.call_soon(ran.append, 2)

    thread.run(give)
    thread.settle()

    assert ran == [1, 2]
    assert [type(fault["exception"]) for fault in thread.faults] == [ZeroDivisionError]
    assert thread.faults[0]["message"] == "a call through the portal raised"


def test_a_loop_that_has_ended_says_no(thread: LoopThread) -> None:
    thread.close()

    assert thread.portal.call_soon(print) is False
    assert thread.portal.call_soon(print) is False
    thread.portal.call(print)


def test_a_loop_that_was_stopped_but_not_closed_runs_the_calls_later() -> None:
    loop = asyncio.new_event_loop()
    portal = Portal(loop)
    ran: list[int] = []

    assert portal.call_soon(ran.append, 1) is True
    assert portal.call_soon(ran.append, 2) is True
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()

    assert ran == [1, 2]


def test_calls_given_between_two_wake_ups_are_not_forgotten() -> None:
    loop = asyncio.new_event_loop()
    portal = Portal(loop)
    ran: list[int] = []

    class Late:
        """Gives a call after the round was counted and before the loop looks again, as another thread might."""

        def __call__(self) -> None:
            portal._calls.append((ran.append, (1,)))

    async def some_rounds() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    portal.call_soon(Late())
    loop.run_until_complete(some_rounds())
    loop.close()

    assert ran == [1]
