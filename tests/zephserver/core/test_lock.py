"""One server per lock file, whatever the file holds and whatever happens to it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zephserver.core.errors import AlreadyRunning, FileRefused
from zephserver.core.lock import Lock, lock_state

HOLD = (
    "import sys; from zephserver.core.lock import Lock; Lock(sys.argv[1]).acquire(); print('held', flush=True); input()"
)


@contextmanager
def held_by_another_process(path: Path, program: str = HOLD) -> Iterator[int]:
    """Another process holds the lock; its pid."""
    command = [sys.executable, "-c", program, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other.pid
        other.kill()


def test_the_lock_is_taken_once_and_tells_the_pid(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")

    assert lock.acquire() is None

    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}, {tmp_path / 'lock'}") as caught:
        Lock(tmp_path / "lock").acquire()
    assert caught.value.pid == os.getpid()
    assert (tmp_path / "lock").read_text().startswith(f"{os.getpid()}\n20")
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    lock.release()


def test_a_released_lock_is_empty_and_can_be_taken_again(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    lock.acquire()

    lock.release()

    assert (tmp_path / "lock").read_bytes() == b""
    assert lock.acquire() is None
    lock.release()


def test_the_pid_of_another_process_that_holds_it_is_told(tmp_path: Path) -> None:
    with (
        held_by_another_process(tmp_path / "lock") as pid,
        pytest.raises(AlreadyRunning, match=f"pid {pid}.*zephserver-stop"),
    ):
        Lock(tmp_path / "lock").acquire()


def test_a_killed_process_leaves_a_lock_that_is_free_and_its_pid(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path / "lock") as pid:
        pass
    lock = Lock(tmp_path / "lock")

    assert lock.acquire() == pid

    lock.release()


@pytest.mark.parametrize(
    ("content", "left_behind"),
    [
        (b"", None),
        (b"garbage\n\0\xff", None),
        (b"-1\n", None),
        (b"12 34\n", None),
        (b"\xb2\n", None),
        (f"{os.getppid()}\n2015\n".encode(), os.getppid()),  # a live stranger
        (b"9" * 100, int("9" * 20)),
    ],
)
def test_what_a_stale_file_holds_is_a_hint_only(tmp_path: Path, content: bytes, left_behind: int | None) -> None:
    (tmp_path / "lock").write_bytes(content)
    lock = Lock(tmp_path / "lock")

    assert lock.acquire() == left_behind

    assert (tmp_path / "lock").read_bytes().startswith(b"%d\n" % os.getpid())
    lock.release()


def test_a_very_large_stale_file_is_no_obstacle(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "wb") as file:
        file.truncate(1 << 30)
    lock = Lock(tmp_path / "lock")

    assert lock.acquire() is None

    assert (tmp_path / "lock").stat().st_size < 100
    lock.release()


def test_links_and_whatever_is_no_plain_file_are_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "target").chmod(0o644)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()

    for name, why in {
        "link": "is a symbolic link",
        "dangling": "is a symbolic link",
        "fifo": "is not a plain file",
        "folder": "is not a plain file",
        "gone/lock": "cannot be opened: No such file or directory",
    }.items():
        with pytest.raises(FileRefused, match=f"LOCK_FILE: .*{name} {why}"):
            Lock(tmp_path / name).acquire()

    assert (tmp_path / "target").read_text() == "precious"
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o644
    assert not (tmp_path / "nowhere").exists()


def test_a_fifo_that_somebody_reads_is_refused_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)

    with pytest.raises(FileRefused, match="is not a plain file"):
        Lock(tmp_path / "fifo").acquire()

    assert os.read(reader, 10) == b""
    os.close(reader)


def test_a_file_of_another_user_is_refused_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lock").write_text("theirs")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(FileRefused, match=f"belongs to uid {os.getuid()}"):
        Lock(tmp_path / "lock").acquire()

    assert (tmp_path / "lock").read_text() == "theirs"


def test_a_lock_that_is_in_place_needs_no_healing(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    lock.acquire()

    assert lock.heal() is False

    lock.release()


def test_a_lock_that_is_not_held_is_not_healed(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    assert lock.heal() is False
    lock.acquire()
    lock.release()  # the stop of a server may come between two looks of its keeper

    assert lock.heal() is False


def test_a_deleted_file_is_put_back_and_held(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    lock.acquire()
    (tmp_path / "lock").unlink()

    assert lock.heal() is True

    with pytest.raises(AlreadyRunning):
        Lock(tmp_path / "lock").acquire()
    assert lock.heal() is False
    lock.release()
    again = Lock(tmp_path / "lock")
    again.acquire()
    again.release()


def test_a_second_server_that_took_the_place_of_a_deleted_file_is_left_alone(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    lock.acquire()
    (tmp_path / "lock").unlink()

    with held_by_another_process(tmp_path / "lock") as pid:
        with pytest.raises(AlreadyRunning) as caught:
            lock.heal()
        lock.release()
        assert caught.value.pid == pid
        assert (tmp_path / "lock").read_text().startswith(f"{pid}\n")


def test_a_file_replaced_between_opening_and_locking_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zephserver.core import lock as module

    answers = [False, True]
    monkeypatch.setattr(module, "is_same_file", lambda descriptor, path: answers.pop(0))
    lock = Lock(tmp_path / "lock")

    lock.acquire()

    assert answers == []
    lock.release()


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    program = """if True:
        import os, sys
        from zephserver.core.lock import Lock
        lock = Lock(sys.argv[1])
        lock.acquire()
        ready, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(tell, b"x")
            os.read(0, 1)  # outlives the parent
            os._exit(0)
        os.read(ready, 1)
        print("held", flush=True)
        os.read(0, 1)
    """
    with held_by_another_process(tmp_path / "lock", program) as pid:
        with pytest.raises(AlreadyRunning):  # the child has closed its copy and the parent still holds the lock
            Lock(tmp_path / "lock").acquire()
        os.kill(pid, 9)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        lock = Lock(tmp_path / "lock")
        assert lock.acquire() == pid
        lock.release()


def test_the_lock_is_not_inherited_by_a_program_that_is_started(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    lock.acquire()

    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        lock.release()
        again = Lock(tmp_path / "lock")
        again.acquire()
        again.release()


# -- looking at it --------------------------------------------------------------------------------------------------


def test_a_lock_is_seen_to_be_held_and_by_whom(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path / "lock") as pid:
        assert lock_state(tmp_path / "lock") == (True, pid)

    assert lock_state(tmp_path / "lock") == (False, pid)  # it was killed


def test_a_lock_that_was_released_or_never_taken_is_held_by_nobody(tmp_path: Path) -> None:
    assert lock_state(tmp_path / "lock") == (False, None)
    lock = Lock(tmp_path / "lock")
    lock.acquire()
    lock.release()

    assert lock_state(tmp_path / "lock") == (False, None)


def test_what_no_server_would_lock_is_not_even_opened(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("4711\n")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "fifo")

    for name in ("link", "fifo", "."):
        assert lock_state(tmp_path / name) == (False, None)


def test_a_starter_is_not_kept_off_by_somebody_who_only_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zephserver.core import lock as module

    (tmp_path / "lock").touch(mode=0o600)
    looker = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: fcntl.flock(looker, fcntl.LOCK_UN))
    lock = Lock(tmp_path / "lock")

    assert lock.acquire() is None

    lock.release()
    os.close(looker)
