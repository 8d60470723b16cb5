"""The file behind the log: whole lines only, rotation, and a full disk."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zephserver.core.errors import FileRefused
from zephserver.core.log_file import LogFile


class Disk:
    """os.write() on a disk with a little room: what does not fit is written in part, and then not at all."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def write(self, descriptor: int, data: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self._write(descriptor, bytes(data[: self.room]))
        self.room -= count
        return count


@contextmanager
def full(room: int = 0) -> Iterator[None]:
    """A disk with room for so many bytes more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", Disk(room).write)
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "logging.log"


@pytest.fixture
def log(path: Path) -> Iterator[LogFile]:
    """A small log with two backups."""
    log = LogFile(path, max_bytes=100, backups=2)
    yield log
    log.close()


def lines(count: int, first: int = 0) -> list[bytes]:
    """Lines of ten bytes."""
    return [b"line %04d\n" % number for number in range(first, first + count)]


def test_lines_are_appended_to_what_is_there(path: Path) -> None:
    path.write_bytes(b"before\n")
    log = LogFile(path)

    log.write(lines(2))
    log.close()

    assert path.read_bytes() == b"before\nline 0000\nline 0001\n"


def test_a_new_log_is_not_for_everybody(log: LogFile, path: Path) -> None:
    assert path.stat().st_mode & 0o007 == 0


def test_a_full_file_is_rotated_and_the_oldest_goes(log: LogFile, path: Path) -> None:
    log.write(lines(45))

    assert path.read_bytes() == b"".join(lines(5, 40))
    assert Path(f"{path}.1").read_bytes() == b"".join(lines(10, 30))
    assert Path(f"{path}.2").read_bytes() == b"".join(lines(10, 20))
    assert not Path(f"{path}.3").exists()


def test_rotation_counts_what_was_there_before(path: Path) -> None:
    path.write_bytes(b"x" * 94 + b"\n")
    log = LogFile(path, max_bytes=100, backups=1)

    log.write(lines(1))
    log.close()

    assert path.read_bytes() == b"line 0000\n"


def test_a_line_longer_than_a_file_is_written_all_the_same(log: LogFile, path: Path) -> None:
    log.write([b"x" * 500 + b"\n", b"y\n"])

    assert path.read_bytes() == b"y\n"
    assert Path(f"{path}.1").stat().st_size == 501


def test_without_backups_the_file_starts_anew(path: Path) -> None:
    log = LogFile(path, max_bytes=100, backups=0)

    log.write(lines(12))
    log.close()

    assert path.read_bytes() == b"".join(lines(2, 10))
    assert os.listdir(path.parent) == ["logging.log"]


def test_a_rename_by_somebody_else_is_followed(log: LogFile, path: Path) -> None:
    log.write(lines(1))
    path.rename(f"{path}-yesterday")

    log.write(lines(1, 1))

    assert Path(f"{path}-yesterday").read_bytes() == b"line 0000\n"
    assert path.read_bytes() == b"line 0001\n"


def test_reopening_leaves_one_descriptor(log: LogFile, path: Path) -> None:
    path.rename(f"{path}-yesterday")

    log.reopen()

    assert path.exists()
    assert [target for target in descriptors() if target.startswith(str(path))] == [str(path)]


def descriptors() -> list[str]:
    """What the open descriptors lead to."""
    found = []
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("room", [0, 1, 14, 29])
def test_a_full_disk_drops_lines_whole_and_tells_how_many_later(
    log: LogFile, path: Path, capfd: pytest.CaptureFixture[str], room: int
) -> None:
    log.write(lines(1))
    with full(room):
        log.write(lines(3, 1))
    assert path.read_bytes() == b"line 0000\n"
    assert log.dropped == 3

    log.write(lines(1, 4))

    told = b"3 lines of this log are lost: the disk was full or too slow\n"
    assert path.read_bytes() == b"line 0000\n" + told + b"line 0004\n"
    assert log.dropped == 0
    assert "No space left on device" in capfd.readouterr().err


def test_dropped_lines_add_up_while_the_disk_is_full(log: LogFile) -> None:
    with full():
        log.write(lines(3))
        log.write(lines(2))

    assert log.dropped == 5


def test_stderr_hears_of_a_full_disk_once_a_second(
    log: LogFile, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    for moment in (100.0, 100.5, 100.9, 101.1):
        now = moment
        with full():
            log.write(lines(1))

    assert len(capfd.readouterr().err.splitlines()) == 2


def test_a_closed_stderr_is_no_reason_to_fail(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> int:
            raise ValueError("closed")

    with monkeypatch.context() as patch, full():
        patch.setattr("sys.stderr", Closed())
        log.write(lines(1))

    assert log.dropped == 1


def test_a_log_emptied_by_somebody_else_is_not_filled_with_zeros_when_the_disk_is_full(
    log: LogFile, path: Path
) -> None:
    log.write(lines(5))
    os.truncate(path, 0)  # logrotate's copytruncate

    with full(room=4):
        log.write(lines(1))

    assert path.read_bytes() == b""


def test_a_rotation_that_fails_loses_no_line_uncounted(
    log: LogFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(old: str, new: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        log.write(lines(15))

    assert path.read_bytes().count(b"\n") + log.dropped == 15


def test_a_link_that_takes_the_place_of_the_log_is_not_followed_and_stops_nothing(
    log: LogFile, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("theirs")
    path.rename(f"{path}-yesterday")
    path.symlink_to(tmp_path / "precious")

    log.write(lines(2))

    assert (tmp_path / "precious").read_text() == "theirs"
    assert Path(f"{path}-yesterday").read_bytes().count(b"\n") + log.dropped == 2


def test_a_folder_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log = LogFile(tmp_path / "logs" / "logging.log")
    (tmp_path / "logs").rename(tmp_path / "old logs")

    log.write(lines(2))

    written = (tmp_path / "old logs" / "logging.log").read_bytes().count(b"\n")
    assert written + log.dropped == 2
    (tmp_path / "logs").mkdir()
    log.write(lines(1, 2))
    assert (tmp_path / "logs" / "logging.log").read_bytes().endswith(b"line 0002\n")
    log.close()


def test_stderr_is_written_to_and_never_rotated_or_closed(capfd: pytest.CaptureFixture[str]) -> None:
    log = LogFile("-", max_bytes=20, backups=1)

    log.write(lines(5))
    log.reopen()
    log.close()

    assert capfd.readouterr().err.encode() == b"".join(lines(5))
    os.fstat(2)


def test_a_stderr_that_nobody_reads_drops_lines() -> None:
    log = LogFile("-")

    with full():
        log.write(lines(2))

    assert log.dropped == 2


def test_a_path_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")

    with pytest.raises(FileRefused, match=r"LOG_PATH: .*is a symbolic link"):
        LogFile(tmp_path / "link")
