"""UNIX sockets in the file system."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from zephserver.core.errors import AlreadyRunning, FileRefused
from zephserver.core.unix_socket import bind, inode_of, make_room, peer_of


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
@pytest.mark.parametrize("umask", [0, 0o077])
def test_a_socket_has_the_mode_that_was_asked_for(tmp_path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        with bind("HOST_ZEPH", str(tmp_path / "s"), mode) as listener:
            assert (tmp_path / "s").stat().st_mode & 0o777 == mode
            assert os.get_inheritable(listener.fileno()) is False
    finally:
        os.umask(before)


def test_a_socket_that_is_listened_on_takes_connections(tmp_path: Path) -> None:
    with bind("HOST_ZEPH", str(tmp_path / "s"), 0o600), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))

        assert peer_of(client) == (os.getuid(), os.getpid())


def test_a_path_that_is_taken_is_refused_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "s").touch()

    with pytest.raises(FileRefused, match=r"HOST_ZEPH: .*s cannot be listened on: Address already in use"):
        bind("HOST_ZEPH", str(tmp_path / "s"), 0o600)


def test_room_is_made_by_removing_a_dead_socket_only(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    assert make_room("HOST_ZEPH", path) is False
    with bind("HOST_ZEPH", path, 0o600):
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}, {path}"):
            make_room("HOST_ZEPH", path)
        assert os.path.exists(path)

    assert make_room("HOST_ZEPH", path) is True

    assert not os.path.exists(path)


def test_a_place_is_known_by_what_lies_there_and_not_by_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")

    assert inode_of(str(tmp_path / "a")) == inode_of(str(tmp_path / "a")) != inode_of(str(tmp_path / "link"))
    assert inode_of(str(tmp_path / "gone")) is None


def test_the_peer_of_a_closed_socket_is_not_known() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_of(one) == (os.getuid(), os.getpid())

    assert peer_of(one) == (None, None)
