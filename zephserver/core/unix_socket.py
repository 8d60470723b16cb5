"""UNIX sockets in the file system: a path that is free or ours, a mode from the first instant, and the peer."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterator

from zephserver.core.errors import AlreadyRunning, FileRefused


def make_room(setting: str, path: str) -> bool:
    """Remove the socket of a server that is gone; True if there was one.

    Raises AlreadyRunning when somebody answers on it, FileRefused when something else is there, or it is not ours.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FileRefused(setting, path, str(error.strerror)) from None
    if not stat.S_ISSOCK(found.st_mode):
        raise FileRefused(setting, path, "exists and is not a socket")
    if found.st_uid != os.geteuid():
        raise FileRefused(setting, path, f"belongs to uid {found.st_uid}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return True
        except OSError:
            raise AlreadyRunning(path, None) from None  # a full backlog: somebody lives there
        raise AlreadyRunning(path, peer_of(probe)[1])


def bind(setting: str, path: str, mode: int) -> socket.socket:
    """A listening socket at *path*, which nobody can open before it has its mode. Raises FileRefused."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _mode(listener, mode):
            listener.bind(path)
        if mode & 0o077:
            os.chmod(path, mode)  # wider than the umask allowed, now that it is ours
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise FileRefused(setting, path, f"cannot be listened on: {error.strerror or error}") from None
    return listener


def inode_of(path: str) -> tuple[int, int] | None:
    """What tells the file at *path* from any other, None when there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def peer_of(connection: socket.socket) -> tuple[int | None, int | None]:
    """uid and pid of the process at the other end, None for what the system does not tell."""
    try:
        if hasattr(socket, "SO_PEERCRED"):
            pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return uid, pid
        if os.uname().sysname == "Darwin":
            # struct xucred of LOCAL_PEERCRED (1) at SOL_LOCAL (0): version, uid, number of groups, groups.
            return struct.unpack_from("Ii", connection.getsockopt(0, 1, 76))[1], None
    except OSError:
        pass
    return None, None


@contextlib.contextmanager
def _mode(listener: socket.socket, mode: int) -> Iterator[None]:
    """Have bind() make the socket with this mode from its first instant."""
    if hasattr(socket, "SO_PEERCRED"):  # Linux
        os.fchmod(listener.fileno(), mode)  # bind() takes the mode from the descriptor: no window, no umask
        yield
        return
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)
