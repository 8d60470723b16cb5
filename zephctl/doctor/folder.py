"""The folder of a server: may it write there, what did an earlier run leave, is there room?"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zephctl.doctor.finding import Finding, amount, bad, ok, warn
from zephserver.core.lock import lock_state

if TYPE_CHECKING:
    from zephserver.core.settings_page import Settings

LEAST_ROOM = 100_000_000  # bytes; a server that cannot write its log drops lines


def look(settings: Settings, *, is_running: bool) -> Iterator[Finding]:
    """All that can be said about the files of the settings."""
    yield _may_write(settings)
    yield from _file("lock", settings.lock_file, 0o077)
    yield from _socket(settings.configuration_network_interface_server, is_running=is_running)
    if not is_running:
        yield from _left_lock(settings.lock_file)
    if isinstance(settings.log_path, Path):
        yield from _file("log", settings.log_path, 0o007)
        yield from _leftover_logs(settings.log_path, settings.log_backups)
        yield _room(settings, settings.log_path)
    yield from _clock(settings)


def _may_write(settings: Settings) -> Finding:
    folders = {settings.folder, settings.lock_file.parent, settings.configuration_network_interface_server.parent}
    if isinstance(settings.log_path, Path):
        folders.add(settings.log_path.parent)
    closed = sorted(str(folder) for folder in folders if not os.access(folder, os.W_OK | os.X_OK))
    if closed:
        where = " ".join(closed)
        return bad(
            "folder", f"you may not write to {where}", f"run as its owner, or: sudo chown {os.geteuid()} {where}"
        )
    return ok("folder", f"{settings.folder} can be written to")


def _file(what: str, path: Path, secret: int) -> Iterator[Finding]:
    """A file that the server opens: ours, plain, and not for everybody."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        yield ok(what, f"{path} is made at the start")
        return
    except OSError as error:
        yield bad(what, f"{path}: {error.strerror}", "look at the permissions of its folder")
        return
    if not stat.S_ISREG(found.st_mode):
        yield bad(what, f"{path} is not a plain file", f"move it away: mv {path} {path}.old")
    elif found.st_uid != os.geteuid():
        yield bad(
            what, f"{path} belongs to uid {found.st_uid}, you are {os.geteuid()}", f"run as its owner, or: rm {path}"
        )
    elif not os.access(path, os.W_OK):
        yield bad(what, f"{path} cannot be written", f"chmod u+w {path}")
    elif found.st_mode & secret:
        yield warn(
            what,
            f"{path} has mode {stat.S_IMODE(found.st_mode):o}",
            f"chmod {0o600 if secret == 0o077 else 0o640:o} {path}",
        )
    else:
        yield ok(what, f"{path} is ours")


def _socket(path: Path, *, is_running: bool) -> Iterator[Finding]:
    try:
        found = path.lstat()
    except OSError:
        if not is_running:
            yield ok("socket", f"{path} is made at the start")
        return
    if not stat.S_ISSOCK(found.st_mode):
        yield bad("socket", f"{path} is not a socket", f"move it away: mv {path} {path}.old")
    elif found.st_uid != os.geteuid():
        yield bad("socket", f"{path} belongs to uid {found.st_uid}", f"run as its owner, or: rm {path}")
    elif found.st_mode & 0o077:
        yield warn("socket", f"{path} has mode {stat.S_IMODE(found.st_mode):o}", f"chmod 600 {path}")
    elif not is_running:
        yield warn("stale", f"{path} is a dead server's", "nothing to do: the next start removes it")
    else:
        yield ok("socket", f"{path} is ours")


def _left_lock(path: Path) -> Iterator[Finding]:
    """The pid that a server left which did not end by itself."""
    _, pid = lock_state(path)
    if pid:
        yield warn(
            "stale", f"{path} names pid {pid}, whose server did not stop", "its log may say why: zephctl tail-log"
        )


def _leftover_logs(log: Path, backups: int) -> Iterator[Finding]:
    """Rotated logs with a number that is not rotated away any more."""
    try:
        names = [path for path in log.parent.iterdir() if path.name.startswith(f"{log.name}.")]
    except OSError:
        return
    numbers = {int(path.suffix[1:]): path for path in names if re.fullmatch(r"\.[0-9]{1,9}", path.suffix)}
    old = sorted(str(path) for number, path in numbers.items() if number > backups)
    if old:
        yield warn("stale", f"LOG_BACKUPS is {backups}; nobody removes {', '.join(old)}", f"rm {' '.join(old)}")


def _room(settings: Settings, log: Path) -> Finding:
    try:
        usage = shutil.disk_usage(log.parent)
        inodes = os.statvfs(log.parent)
    except OSError as error:
        return bad("disk", f"{log.parent}: {error.strerror}", "look at the disk")
    if inodes.f_files and not inodes.f_favail:
        return bad("disk", f"no inode is left for {log.parent}", "remove files: df -i")
    if usage.free < LEAST_ROOM:
        return bad("disk", f"{amount(usage.free)} are left for {log.parent}", "make room: df -h")
    most = settings.log_max_bytes * (settings.log_backups + 1)
    if usage.free < most:
        advice = "make room, or lower LOG_MAX_BYTES and LOG_BACKUPS"
        return warn("disk", f"{amount(usage.free)} are left, and the logs may take {amount(most)}", advice)
    return ok("disk", f"{amount(usage.free)} are left")


def _clock(settings: Settings) -> Iterator[Finding]:
    """A clock that goes back makes tokens invalid and logs hard to read."""
    now = time.time()
    files = [path for path in (settings.file, settings.lock_file, settings.log_path) if isinstance(path, Path)]
    ahead = [path for path in files if path.exists() and path.stat().st_mtime > now + 60]
    if ahead:
        yield bad("clock", f"{ahead[0]} was written in the future", "set the clock: timedatectl set-ntp true")
    else:
        yield ok("clock", time.strftime("it is %Y-%m-%d %H:%M:%S %z", time.localtime(now)))
