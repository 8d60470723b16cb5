"""The file behind the log: rotation by the writer itself, and a full disk that hurts nobody."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from zephserver.core.errors import FileRefused
from zephserver.core.files import is_same_file, open_own


class LogFile:
    """Appends whole lines to a file and rotates it. One thread: the log's writer.

    `path` '-' is stderr, which is not rotated. When the disk is full, lines are dropped and counted, and the count is
    told in the log as soon as there is room, on stderr at most once a second until then. A line is never torn.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = 50_000_000, backups: int = 10) -> None:
        """Raises FileRefused when the path is not ours to write to."""
        self.path = os.fspath(path)
        self.dropped = 0
        self._max_bytes, self._backups = max_bytes, backups
        self._descriptor = -1
        self._size = 0
        self._complained = 0.0
        self._open()

    def write(self, lines: list[bytes]) -> None:
        """Write the lines, each with its newline, or count them as dropped; never raises OSError."""
        is_file = self.path != "-"
        rotates = is_file and self._attempt(self._follow_rename)
        batch: list[bytes] = []
        size = 0
        for line in lines:
            if rotates and self._size + size and self._size + size + len(line) > self._max_bytes:
                self._append(batch)
                batch, size = [], 0
                rotates = self._attempt(self._rotate)  # if it fails, the file grows until the next write
            batch.append(line)
            size += len(line)
        self._append(batch)

    def reopen(self) -> None:
        """Open the path anew, after somebody else rotated it."""
        if self.path != "-":
            self._reopen()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor > 2:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        if self.path == "-":
            self._descriptor = 2
            return
        self._descriptor = open_own("LOG_PATH", self.path, os.O_WRONLY | os.O_APPEND, 0o640)
        self._size = os.fstat(self._descriptor).st_size

    def _reopen(self) -> None:
        old = self._descriptor
        self._open()
        os.close(old)

    def _attempt(self, step: Callable[[], None]) -> bool:
        """Do something to the file that may fail without hurting anybody; whether it worked."""
        try:
            step()
        except (OSError, FileRefused) as error:
            self._complain(str(error))
            return False
        return True

    def _follow_rename(self) -> None:
        if not is_same_file(self._descriptor, self.path):
            self._reopen()
        self._size = os.fstat(self._descriptor).st_size  # somebody may have emptied it

    def _append(self, batch: list[bytes]) -> None:
        """Write the batch whole or not at all."""
        if not batch:
            return
        why = "the disk was full or too slow"
        note = [f"{self.dropped} lines of this log are lost: {why}\n".encode()] if self.dropped else []
        try:
            self._write_whole(b"".join(note + batch))
            self.dropped = 0
        except OSError as error:
            self.dropped += len(batch)
            self._complain(f"{self.path}: {error.strerror}; log lines are dropped")

    def _write_whole(self, data: bytes) -> None:
        """Write all of *data*; if only a part of it fits, take that part back and raise."""
        view = memoryview(data)
        start = self._size
        try:
            while view:
                count = os.write(self._descriptor, view)
                view = view[count:]
                self._size += count
        except OSError:
            if self.path != "-" and os.fstat(self._descriptor).st_size > start:
                os.ftruncate(self._descriptor, start)
            self._size = start
            raise

    def _rotate(self) -> None:
        """logging.log -> logging.log.1 -> logging.log.2 ...; the oldest goes."""
        for number in range(self._backups, 0, -1):
            older = f"{self.path}.{number}"
            newer = f"{self.path}.{number - 1}" if number > 1 else self.path
            if os.path.lexists(newer):
                os.replace(newer, older)
        if not self._backups:
            os.unlink(self.path)
        self._reopen()

    def _complain(self, text: str) -> None:
        now = time.monotonic()
        if now - self._complained >= 1.0:
            self._complained = now
            try:
                print(f"zephserver: {text}", file=sys.stderr, flush=True)
            except (OSError, ValueError):
                pass
