"""One server per lock file: a flock that the kernel drops with the process, however it dies."""

from __future__ import annotations

import fcntl
import os
import time

from zephserver.core.errors import AlreadyRunning
from zephserver.core.files import close_own, is_same_file, keep_from_children, no_fork, open_own, open_plain

PATIENCE = 0.5  # seconds for a holder to write its pid, and for whoever looks at a lock to let go


def lock_state(path: str | os.PathLike[str]) -> tuple[bool, int | None]:
    """Whether a server holds a lock, and the pid inside: the holder's, or the one that a dead server left.

    What is not there, or no plain file, is held by nobody and has no pid. Looking shares the lock for an instant, which
    acquire() waits out.
    """
    try:
        descriptor = open_plain(os.fspath(path))
    except OSError:
        return False, None
    try:
        is_held = not _flock(descriptor, fcntl.LOCK_SH)
        return is_held, _read_pid(descriptor, PATIENCE if is_held else 0.0)
    finally:
        os.close(descriptor)


class Lock:
    """The lock of one server. The content, pid and start time, is for people; only the flock counts.

    The file stays where it is when the lock is released: removing it would let two starters lock two files.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._descriptors: list[int] = []

    def acquire(self) -> int | None:
        """Take the lock, or raise AlreadyRunning or FileRefused at once.

        Returns the pid that an earlier server left inside when it ended without releasing the lock, None otherwise.
        """
        with no_fork():
            return self._acquire()

    def _acquire(self) -> int | None:
        while True:
            descriptor = open_own("LOCK_FILE", self.path, os.O_RDWR, 0o600)
            if not _take(descriptor):
                pid = _read_pid(descriptor, PATIENCE)
                os.close(descriptor)
                raise AlreadyRunning(self.path, pid)
            if is_same_file(descriptor, self.path):
                break
            os.close(descriptor)  # deleted or replaced between open and flock: try the new one
        left_behind = _read_pid(descriptor)
        self._hold(descriptor)
        return left_behind

    def release(self) -> None:
        """Let go. The empty file says that the server ended well."""
        for descriptor in self._descriptors:
            os.ftruncate(descriptor, 0)
            close_own(descriptor)
        self._descriptors.clear()

    def heal(self) -> bool:
        """Put the file back if somebody deleted it; True if it had to. The first lock stays held as well."""
        if not self._descriptors or is_same_file(self._descriptors[-1], self.path):
            return False
        again = Lock(self.path)
        again.acquire()
        self._descriptors += again._descriptors
        again._descriptors = []
        return True

    def _hold(self, descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n{time.strftime('%Y-%m-%dT%H:%M:%S%z')}\n".encode(), 0)
        self._descriptors.append(descriptor)
        keep_from_children(descriptor)  # closing its copy does not unlock ours


def _take(descriptor: int) -> bool:
    """Take the lock, unless a server has it. While it can be shared, somebody only looks at it."""
    end = time.monotonic() + PATIENCE
    while not _flock(descriptor, fcntl.LOCK_EX):
        if not _flock(descriptor, fcntl.LOCK_SH) or time.monotonic() > end:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(0.001)
    return True


def _flock(descriptor: int, how: int) -> bool:
    """Whether the lock could be had at once."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read_pid(descriptor: int, patience: float = 0.0) -> int | None:
    """The pid on the first line; whatever else the file may hold is nobody's pid.

    *patience* is for a holder that has the lock and is about to write: seconds in which an empty file is read again.
    """
    end = time.monotonic() + patience
    while not (text := os.pread(descriptor, 20, 0)) and time.monotonic() < end:
        time.sleep(0.005)
    word = text.split(b"\n")[0]
    return int(word) if word.isdigit() else None
