"""The private folder beside the lock in which the workers of one server have their locks and sockets."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from zephserver.core.errors import AlreadyRunning, FileRefused
from zephserver.core.lock import Lock
from zephserver.core.processes.plan import mesh_of
from zephserver.core.settings_kinds import SOCKET_PATH_BYTES

PREFIX = "zephserver-"  # of the folder for the sockets, where that is another one
LINK = "sockets"  # leads to it, so that the next start finds what a killed server left


class RunFolder:
    """`server.lock.d` beside `server.lock`, mode 0700. Whoever holds the lock owns it. One thread at a time."""

    def __init__(self, lock_file: str | os.PathLike[str]) -> None:
        self.path = f"{os.fspath(lock_file)}.d"
        self.sockets = ""  # the same folder, or one with a shorter path: a UNIX socket takes only so many bytes

    def claim(self) -> None:
        """Make it, or take over what a killed server left. Raises FileRefused for what is not ours."""
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            found = os.lstat(self.path)
            if not stat.S_ISDIR(found.st_mode):
                raise FileRefused("LOCK_FILE", self.path, "is not a folder") from None
            if found.st_uid != os.geteuid():
                raise FileRefused("LOCK_FILE", self.path, f"belongs to uid {found.st_uid}") from None
            os.chmod(self.path, 0o700)
        except OSError as error:
            raise FileRefused("LOCK_FILE", self.path, f"cannot be made: {error.strerror}") from None

    def survivors(self) -> list[int]:
        """The workers of a killed server that have not ended yet, by pid (0 for one that is not known)."""
        found = []
        for path in sorted(Path(self.path).glob("*.lock")):
            lock = Lock(path)
            try:
                lock.acquire()
                lock.release()
            except AlreadyRunning as error:
                found.append(error.pid or 0)
        return found

    def clean(self, workers: int) -> None:
        """Remove what was left, and choose a place for the sockets of so many workers."""
        self._remove_sockets()
        for path in Path(self.path).iterdir():
            path.unlink()
        self.sockets = self.path
        if len(os.fsencode(mesh_of(self.path, workers))) > SOCKET_PATH_BYTES:
            self.sockets = tempfile.mkdtemp(prefix=PREFIX)
            os.symlink(self.sockets, os.path.join(self.path, LINK))

    def remove(self) -> None:
        """Remove all of it."""
        self._remove_sockets()
        shutil.rmtree(self.path, ignore_errors=True)

    def _remove_sockets(self) -> None:
        """Remove the folder that the link leads to, if it is one of ours."""
        try:
            target = os.readlink(os.path.join(self.path, LINK))
            found = os.lstat(target)
        except OSError:
            return
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        if is_ours and os.path.basename(target).startswith(PREFIX):
            shutil.rmtree(target, ignore_errors=True)
