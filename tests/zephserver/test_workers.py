"""A bounded pool that says yes or no."""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from zephserver import workers
from zephserver.testing import wait_until
from zephserver.workers import WorkerPool

MakePool = Callable[..., WorkerPool]


def start(name: str, body: Callable[[], None]) -> threading.Thread:
    """Start a thread as runtime.spawn() does."""
    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What blocking jobs wait for; open at the end."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def make_pool(gate: threading.Event) -> Iterator[MakePool]:
    """Makes pools that are closed at the end."""
    pools: list[WorkerPool] = []

    def make(
        threads: int = 2, waiting: int = 2, start: Callable[[str, Callable[[], None]], threading.Thread] = start
    ) -> WorkerPool:
        pools.append(WorkerPool("work", threads, waiting, start))
        return pools[-1]

    yield make
    gate.set()
    for pool in pools:
        pool.close()
        pool.join(5)


def fill(pool: WorkerPool, gate: threading.Event, jobs: int) -> list[bool]:
    """Submit jobs that wait for the gate; what the pool said to each."""
    return [pool.submit(f"job {number}", gate.wait) for number in range(jobs)]


def test_a_job_runs_in_a_thread_named_after_it(make_pool: MakePool) -> None:
    names: queue.SimpleQueue[str] = queue.SimpleQueue()

    taken = make_pool().submit("Echo", lambda: names.put(threading.current_thread().name))

    assert taken is True
    assert names.get(timeout=5) == "work:1 Echo"


def test_a_thread_without_a_job_has_its_own_name_again(make_pool: MakePool) -> None:
    pool, threads = make_pool(threads=1), queue.SimpleQueue[threading.Thread]()

    pool.submit("Echo", lambda: threads.put(threading.current_thread()))

    thread = threads.get(timeout=5)
    wait_until(lambda: thread.name == "work:1", "the name is back")


def test_a_pool_without_jobs_has_no_threads(make_pool: MakePool) -> None:
    assert make_pool().stats() == {"threads": 0, "waiting": 0}


def test_one_job_after_another_needs_one_thread(make_pool: MakePool) -> None:
    pool, done = make_pool(threads=5), queue.SimpleQueue[str]()

    for _ in range(10):
        pool.submit("job", lambda: done.put(threading.current_thread().name))
        assert done.get(timeout=5) == "work:1 job"
        wait_until(lambda: pool._idle == 1, "the thread is idle")

    assert pool.stats() == {"threads": 1, "waiting": 0}


def test_jobs_at_the_same_time_get_a_thread_each(make_pool: MakePool) -> None:
    pool, meeting = make_pool(threads=3), threading.Barrier(4)

    for _ in range(3):
        pool.submit("job", lambda: meeting.wait(5))

    meeting.wait(5)
    assert pool.stats()["threads"] == 3


@pytest.mark.parametrize(("threads", "waiting"), [(1, 0), (1, 3), (3, 0), (2, 2)])
def test_a_full_pool_says_no_at_once(make_pool: MakePool, gate: threading.Event, threads: int, waiting: int) -> None:
    pool = make_pool(threads, waiting)

    said = fill(pool, gate, threads + waiting + 2)

    assert said == [True] * (threads + waiting) + [False, False]
    assert pool.stats() == {"threads": threads, "waiting": waiting}


def test_a_full_pool_takes_jobs_again_when_one_is_done(make_pool: MakePool, gate: threading.Event) -> None:
    pool, done = make_pool(threads=1, waiting=1), threading.Event()
    fill(pool, gate, 2)
    assert not pool.submit("too much", done.set)

    gate.set()
    wait_until(lambda: pool.stats()["waiting"] == 0, "the waiting job runs")

    assert pool.submit("again", done.set)
    assert done.wait(5)


def test_waiting_jobs_run_in_order(make_pool: MakePool, gate: threading.Event) -> None:
    pool, ran = make_pool(threads=1, waiting=50), queue.SimpleQueue[int]()
    fill(pool, gate, 1)
    for number in range(50):
        pool.submit("job", functools.partial(ran.put, number))

    gate.set()

    assert [ran.get(timeout=5) for _ in range(50)] == list(range(50))


def test_a_crowd_of_submitters_never_gets_more_than_there_is(make_pool: MakePool, gate: threading.Event) -> None:
    pool, said = make_pool(threads=4, waiting=6), list[bool]()
    crowd = [threading.Thread(target=lambda: said.extend(fill(pool, gate, 5))) for _ in range(8)]
    for member in crowd:
        member.start()
    for member in crowd:
        member.join()

    assert (len(said), sum(said)) == (40, 10)
    assert pool.stats() == {"threads": 4, "waiting": 6}


def test_a_closed_pool_takes_nothing_and_ends_when_its_work_is_done(make_pool: MakePool, gate: threading.Event) -> None:
    pool, done = make_pool(threads=1, waiting=5), threading.Event()
    fill(pool, gate, 1)
    pool.submit("waits", done.set)

    pool.close()

    assert pool.submit("late", done.set) is False
    gate.set()
    assert pool.join(5) == []
    assert done.is_set()
    assert pool.stats() == {"threads": 0, "waiting": 0}


def test_join_tells_who_still_works(make_pool: MakePool, gate: threading.Event) -> None:
    pool = make_pool(threads=2)
    fill(pool, gate, 2)
    wait_until(lambda: all(" job " in thread.name for thread in pool._threads), "both work")
    pool.close()

    left = pool.join(0.01)

    assert sorted(name.split(" ")[0] for name in left) == ["work:1", "work:2"]
    assert sorted(name.split(" ", 1)[1] for name in left) == ["job 0", "job 1"]


def test_closing_an_unused_pool_is_nothing(make_pool: MakePool) -> None:
    pool = make_pool()

    pool.close()
    pool.close()

    assert pool.join(0.01) == []


def test_a_thread_with_nothing_to_do_ends_after_a_while(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "IDLE_TIME", 0.02)
    pool, done = make_pool(), threading.Event()
    pool.submit("job", done.set)

    wait_until(lambda: pool.stats()["threads"] == 0, "the thread ends")

    assert done.is_set()
    assert pool.submit("again", lambda: None)


def test_a_thread_that_is_bored_while_a_job_is_on_its_way_stays_for_it(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "IDLE_TIME", 0.01)
    pool, done, counted = make_pool(threads=1), threading.Event(), threading.Event()

    def count_the_next() -> None:
        with pool._lock:  # as submit() does, before it puts the job into the queue
            pool._idle -= 1
        counted.set()

    pool.submit("job", count_the_next)
    assert counted.wait(5)
    threading.Event().wait(0.05)  # the thread gets bored some times

    pool._jobs.put(("job", done.set))

    assert done.wait(5)


def test_without_a_thread_left_on_the_machine_the_pool_says_no(make_pool: MakePool) -> None:
    def none_left(name: str, body: Callable[[], None]) -> threading.Thread:
        raise RuntimeError("can't start new thread")

    pool = make_pool(start=none_left)

    assert pool.submit("job", lambda: None) is False
    assert pool.stats() == {"threads": 0, "waiting": 0}


def test_when_no_more_threads_can_be_had_jobs_wait_for_those_there_are(
    make_pool: MakePool, gate: threading.Event
) -> None:
    made: list[str] = []

    def one_only(name: str, body: Callable[[], None]) -> threading.Thread:
        if made:
            raise RuntimeError("can't start new thread")
        made.append(name)
        return start(name, body)

    pool = make_pool(threads=3, waiting=2, start=one_only)

    assert fill(pool, gate, 4) == [True, True, True, False]
    assert pool.stats() == {"threads": 1, "waiting": 2}


def test_a_job_that_ends_the_program_costs_the_pool_nothing(make_pool: MakePool) -> None:
    def leave() -> None:
        raise SystemExit

    pool, done = make_pool(threads=1), threading.Event()
    pool.submit("leaves", leave)

    assert pool.submit("stays", done.set)
    assert done.wait(10)


def test_join_may_look_while_a_thread_ends(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, time_is_over = threading.Event(), threading.Event()

    class NoTime:
        """A timer that fires at once, and knows when join() gives it up to see who is left."""

        def __init__(self, interval: float, function: Callable[[], object]) -> None:
            function()

        def start(self) -> None:
            pass

        def cancel(self) -> None:
            time_is_over.set()

    class Ending(threading.Thread):
        """A thread that ends, and the others with it, while join() looks at it."""

        def is_alive(self) -> bool:
            alive = super().is_alive()
            if time_is_over.is_set() and not gate.is_set():
                gate.set()
                wait_until(lambda: pool.stats()["threads"] == 0, "all have ended")
            return alive

    def start_ending(name: str, body: Callable[[], None]) -> threading.Thread:
        thread = Ending(target=body, name=name, daemon=True)
        thread.start()
        return thread

    pool = make_pool(threads=3, start=start_ending)
    fill(pool, gate, 3)
    pool.close()

    try:
        with monkeypatch.context() as patch:
            patch.setattr(threading, "Timer", NoTime)
            left = pool.join(0.0)
    finally:
        gate.set()

    assert len(left) <= 3
