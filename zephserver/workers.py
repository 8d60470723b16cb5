"""The door from the event loop to the threads: a bounded pool that says yes or no."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from zephserver.core.errors import Overloaded

T = TypeVar("T")

_log = logging.getLogger("zephserver.workers")

IDLE_TIME = 30.0  # seconds after which a thread with nothing to do ends


class WorkerPool:
    """At most *threads* threads and *waiting* jobs that wait for one. Any thread.

    Threads are made when they are needed and reused; `start` makes one: runtime.spawn() with the server bound.
    """

    def __init__(
        self, name: str, threads: int, waiting: int, start: Callable[[str, Callable[[], None]], threading.Thread]
    ) -> None:
        self._name, self._most_threads, self._most_waiting, self._start = name, threads, waiting, start
        self._jobs: queue.SimpleQueue[tuple[str, Callable[[], object]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._made = 0
        self._closed = False
        self._threads: set[threading.Thread] = set()
        self._idle = 0  # threads without a job, less the jobs that wait: negative when jobs wait

    def submit(self, title: str, job: Callable[[], object]) -> bool:
        """Run *job* in a thread that is named after *title*; False, at once, when there is no room for it."""
        with self._lock:
            if self._closed:
                return False
            if self._idle <= 0:
                if len(self._threads) < self._most_threads:
                    try:
                        self._made += 1
                        self._threads.add(self._start(f"{self._name}:{self._made}", self._work))
                        self._idle += 1
                    except RuntimeError:  # no thread left on this machine
                        if not self._threads:
                            return False
                if self._idle <= -self._most_waiting:
                    return False
            self._idle -= 1
        self._jobs.put((title, job))
        return True

    def ask(self, title: str, function: Callable[[], T], call_soon: Callable[..., object]) -> asyncio.Future[T]:
        """What *function* returns or raises, for a coroutine to wait for; *call_soon* leads back to its loop.

        Loop only. Raises Overloaded when there is no room for it.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def settle(outcome: Callable[[Any], None], value: object) -> None:
            if not future.done():  # it is, when nobody waits any more
                outcome(value)

        def work() -> None:
            try:
                value = function()
            except Exception as error:
                call_soon(settle, future.set_exception, error)
            else:
                call_soon(settle, future.set_result, value)

        if not self.submit(title, work):
            raise Overloaded("the server has too many tasks waiting; try again later")
        return future

    def close(self) -> None:
        """Take no more jobs; the threads end when they have done theirs."""
        with self._lock:
            self._closed = True
            for _ in self._threads:
                self._jobs.put(None)

    def join(self, timeout: float) -> list[str]:
        """Wait for the threads after close(); the names of those that still run."""
        end = time.monotonic() + timeout
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return [thread.name for thread in threads if thread.is_alive()]

    def stats(self) -> dict[str, int]:
        """Threads, and jobs that wait for one."""
        with self._lock:
            return {"threads": len(self._threads), "waiting": max(0, -self._idle)}

    def _work(self) -> None:
        """Body of a worker's thread."""
        thread = threading.current_thread()
        name = thread.name
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_TIME)
            except queue.Empty:
                with self._lock:
                    if self._idle <= 0:
                        continue  # a job is on its way to the queue
                    self._idle -= 1
                    self._threads.discard(thread)
                return
            if job is None:
                with self._lock:
                    self._idle -= 1
                    self._threads.discard(thread)
                return
            thread.name = f"{name} {job[0]}"
            try:
                job[1]()
            except BaseException:  # whatever a job does, its thread goes on with the next
                _log.exception("a job of the pool %s raised", self._name)
            thread.name = name
            del job
            with self._lock:
                self._idle += 1
