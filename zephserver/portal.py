"""The door from the threads to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class Portal:
    """Runs functions on an event loop, in the order in which each thread gave them. Any thread.

    Many calls share one wake-up of the loop, which is what makes them cheap.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._awake = False

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

    def _run(self) -> None:
        self._awake = False
        for _ in range(len(self._calls)):
            function, args = self._calls.popleft()
            try:
                function(*args)
            except Exception as error:
                self._loop.call_exception_handler({"message": "a call through the portal raised", "exception": error})
        if self._calls and not self._awake:
            self._awake = True
            self._loop.call_soon(self._run)
