"""Opening the files that the server writes, to write or to read them, without being led to somebody else's."""

from __future__ import annotations

import errno
import os
import stat
from _thread import RLock  # of threading, whose import would be long for zephserver-stop

from zephserver.core.errors import FileRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def open_own(setting: str, path: str, flags: int, mode: int) -> int:
    """Open or create *path* for writing and return its descriptor, close-on-exec.

    Raises FileRefused for a symbolic link, a FIFO, a folder, a device, or a file of another user; none of them is
    changed, and none makes the call hang.
    """
    flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileRefused(setting, path, "is a symbolic link") from None
        if error.errno in (errno.EISDIR, errno.ENXIO):  # ENXIO: a FIFO that nobody reads, or a socket
            raise FileRefused(setting, path, "is not a plain file") from None
        raise FileRefused(setting, path, f"cannot be opened: {error.strerror}") from None
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
        return descriptor
    os.close(descriptor)
    why = f"belongs to uid {found.st_uid}" if stat.S_ISREG(found.st_mode) else "is not a plain file"
    raise FileRefused(setting, path, why)


def open_plain(path: str) -> int:
    """Open *path* for reading and return its descriptor, close-on-exec.

    Raises OSError, with words of our own for a symbolic link, a FIFO, a folder or a device; none of them is opened.
    """
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        what = "it is a symbolic link" if stat.S_ISLNK(found.st_mode) else "it is not a plain file"
        raise OSError(errno.EINVAL, what, path)
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)  # it may be changed this instant


_own: set[int] = set()
_forks = RLock()  # held while a process forks


def no_fork() -> AbstractContextManager[object]:
    """Hold this from the making of a descriptor until keep_from_children(): no other thread forks in between."""
    return _forks


def keep_from_children(descriptor: int) -> None:
    """Have a forked child close the descriptor at once: it must not hold the lock or the socket of a dead server."""
    _own.add(descriptor)


def forget(descriptor: int) -> None:
    """The descriptor is closed by somebody else, or may go to children again."""
    _own.discard(descriptor)


def close_own(descriptor: int) -> None:
    """Close a descriptor that was kept from children."""
    _own.discard(descriptor)
    os.close(descriptor)


def _close_in_child() -> None:
    for descriptor in _own:
        os.close(descriptor)
    _own.clear()


os.register_at_fork(before=_forks.acquire, after_in_parent=_forks.release, after_in_child=_forks.release)
os.register_at_fork(after_in_child=_close_in_child)


def is_same_file(descriptor: int, path: str) -> bool:
    """Whether *path* still leads to the open file, and not to nothing or to a newer one."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
