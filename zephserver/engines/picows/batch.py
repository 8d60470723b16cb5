"""When connections write what they are to send: once, for all that is said in one turn of the loop."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractContextManager
from typing import Protocol

_log = logging.getLogger("zephserver.engine")


class Writer(Protocol):
    """A connection that has something to write."""

    def flush(self) -> None:
        """Write it."""


class Batch(AbstractContextManager[None]):
    """Those that have something to write. Loop only.

    They write at the end of the turn. What is said within ``with batch:`` is written at the end of that, and the loop
    need not turn once more.
    """

    def __init__(self) -> None:
        self._writers: list[Writer] = []
        self._is_within = False

    def add(self, writer: Writer) -> None:
        """Have it write."""
        if not self._writers and not self._is_within:
            asyncio.get_running_loop().call_soon(self._flush)
        self._writers.append(writer)

    def __enter__(self) -> None:
        self._is_within = True

    def __exit__(self, *error: object) -> None:
        self._is_within = False
        self._flush()

    def _flush(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            try:
                writer.flush()
            except Exception:  # the others have something to say too
                _log.exception("a connection could not write")
