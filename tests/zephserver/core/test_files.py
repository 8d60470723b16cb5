"""Files of our own, and nothing else."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from zephserver.core.errors import FileRefused
from zephserver.core.files import is_same_file, open_own, open_plain


def test_a_file_is_made_with_its_mode_and_closed_on_exec(tmp_path: Path) -> None:
    descriptor = open_own("LOG_PATH", str(tmp_path / "a"), os.O_WRONLY, 0o600)

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert os.get_inheritable(descriptor) is False
    os.close(descriptor)


def test_a_socket_and_a_device_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(FileRefused, match=r"LOG_PATH: .*socket is not a plain file; remove it"):
            open_own("LOG_PATH", str(tmp_path / "socket"), os.O_WRONLY, 0o600)
    with pytest.raises(FileRefused, match=r"/dev/null is not a plain file"):
        open_own("LOG_PATH", "/dev/null", os.O_WRONLY, 0o600)


def test_only_a_plain_file_is_opened_for_reading(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("words")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "fifo")

    with open(open_plain(str(tmp_path / "a"))) as file:
        assert file.read() == "words"
    with pytest.raises(OSError, match="it is a symbolic link"):
        open_plain(str(tmp_path / "link"))
    for path in (tmp_path / "fifo", tmp_path, "/dev/null"):
        with pytest.raises(OSError, match="it is not a plain file"):
            open_plain(str(path))


def test_a_path_is_the_same_file_until_it_is_moved_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with open(path, "w") as file:
        assert is_same_file(file.fileno(), str(path))
        path.rename(tmp_path / "b")
        assert not is_same_file(file.fileno(), str(path))
        path.touch()
        assert not is_same_file(file.fileno(), str(path))
