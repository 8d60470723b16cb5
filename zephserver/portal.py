"""The door from the threads to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any


class Portal:
    """Runs functions on an event loop, in the order in which each thread gave them. Any thread.

    Many calls share one wake-up of the loop, which is what makes them cheap, and one *batch*.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, batch: AbstractContextManager[None] | None = None) -> None:
        self._loop, self._batch = loop, batch or nullcontext()
        self._thread = threading.get_ident()
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._awake = False
        self._is_running = False

    def call_soon(self, function: Callable[..., Any], *args: Any) -> bool:
        """Run ``function(*args)`` on the loop, soon; False when the loop has ended."""
        self._calls.append((function, args))
        if self._awake:  # read and write without a lock: at worst the loop is woken once too often
            return not self._loop.is_closed()
        self._awake = True
        try:
            self._loop.call_soon_threadsafe(self._run)
        except RuntimeError:
            return False
        return True

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Run it at once when this is the loop's own thread, soon otherwise."""
        if threading.get_ident() == self._thread:
            function(*args)
        else:
            self.call_soon(function, *args)

    def flush(self) -> None:
        """Run at once, in order, what was given so far; nothing elsewhere than in the loop's own thread.

        Within a call through the portal it does nothing: what is waiting comes after that call, in order.
        """
        if threading.get_ident() == self._thread and not self._is_running:
            self._run()

    def _run(self) -> None:
        self._awake = False
        self._is_running = True
        with self._batch:
            for _ in range(len(self._calls)):
                function, args = self._calls.popleft()
                try:
                    function(*args)
                except Exception as error:
                    problem = {"message": "a call through the portal raised", "exception": error}
                    self._loop.call_exception_handler(problem)
        self._is_running = False
        if self._calls and not self._awake:
            self._awake = True
            self._loop.call_soon(self._run)
