"""The folder in which workers have their locks and sockets."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from zephserver.core.errors import FileRefused
from zephserver.core.lock import Lock
from zephserver.core.processes.folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """One that is ours, with a short path, and temporary folders that are the test's own."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    folder = RunFolder(tmp_path / "server.lock")
    folder.claim()
    return folder


def test_it_is_private_and_beside_the_lock(folder: RunFolder, tmp_path: Path) -> None:
    folder.clean(2)

    assert folder.path == folder.sockets == str(tmp_path / "server.lock.d")
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o700


def test_what_a_killed_server_left_is_taken_over_and_removed(folder: RunFolder) -> None:
    Path(folder.path, "1.sock").touch()
    os.chmod(folder.path, 0o755)

    folder.claim()
    folder.clean(2)

    assert os.listdir(folder.path) == []
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o700


def test_at_the_end_nothing_is_left(folder: RunFolder) -> None:
    folder.clean(2)
    Path(folder.path, "1.sock").touch()

    folder.remove()

    assert not os.path.lexists(folder.path)
    folder.remove()  # and that is no reason to fail


def test_a_link_and_a_file_are_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "a.lock.d").symlink_to(tmp_path / "mine")
    (tmp_path / "b.lock.d").touch()

    for name in ("a.lock", "b.lock"):
        with pytest.raises(FileRefused, match="is not a folder; remove it or name another path"):
            RunFolder(tmp_path / name).claim()
    assert (tmp_path / "b.lock.d").exists()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "server.lock")
    folder.claim()
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(folder.path).st_uid + 1)

    with pytest.raises(FileRefused, match="belongs to uid"):
        folder.claim()


def test_a_place_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="cannot be made: No such file or directory"):
        RunFolder(tmp_path / "nowhere" / "server.lock").claim()


def test_workers_that_still_run_are_found_by_their_locks(folder: RunFolder) -> None:
    one, two = (Lock(Path(folder.path, f"{number}.lock")) for number in (1, 2))
    one.acquire()
    two.acquire()
    two.release()

    assert folder.survivors() == [os.getpid()]
    one.release()
    assert folder.survivors() == []


def deep(tmp_path: Path) -> Path:
    """A lock with a path that is too long for a socket beside it."""
    place = tmp_path / ("x" * 110)
    place.mkdir(exist_ok=True)
    return place / "server.lock"


def test_where_the_path_is_too_long_the_sockets_are_in_a_private_temporary_folder(
    folder: RunFolder, tmp_path: Path
) -> None:
    long = RunFolder(deep(tmp_path))
    long.claim()
    long.clean(2)

    assert long.sockets.startswith(str(tmp_path / "tmp" / "zephserver-"))
    assert stat.S_IMODE(os.stat(long.sockets).st_mode) == 0o700
    long.remove()
    assert not os.path.exists(long.sockets)
    assert not os.path.exists(long.path)


def test_the_next_start_removes_the_temporary_folder_of_a_killed_server(folder: RunFolder, tmp_path: Path) -> None:
    killed = RunFolder(deep(tmp_path))
    killed.claim()
    killed.clean(2)

    after = RunFolder(deep(tmp_path))
    after.claim()
    after.clean(2)

    assert not os.path.exists(killed.sockets)
    assert os.listdir(tmp_path / "tmp") == [os.path.basename(after.sockets)]


def test_a_link_to_a_folder_of_another_kind_is_removed_and_the_folder_is_not(folder: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    os.symlink(tmp_path / "precious", os.path.join(folder.path, "sockets"))

    folder.clean(2)

    assert (tmp_path / "precious").is_dir()
    assert os.listdir(folder.path) == []
