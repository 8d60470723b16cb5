"""Telling systemd how the server is."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from zephserver.core.notify import Notify


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The other end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        yield systemd


def test_words_are_sent_one_a_line(systemd: socket.socket) -> None:
    Notify(systemd.getsockname()).send("READY=1", "STATUS=ready")

    assert systemd.recv(1_000) == b"READY=1\nSTATUS=ready"


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="only Linux has abstract addresses")
def test_an_abstract_address_begins_with_an_at_sign() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0zephserver-test-{os.getpid()}")
        systemd.settimeout(5)

        Notify(f"@zephserver-test-{os.getpid()}").send("WATCHDOG=1")

        assert systemd.recv(1_000) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all", "x" * 200])
def test_without_systemd_nothing_happens(address: str | None) -> None:
    Notify(address).send("READY=1")


def test_the_environment_says_where_and_how_often_and_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

    notify = Notify.from_environment()

    assert (notify._address, notify.watchdog) == ("/run/x", 1.5)
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(os.environ)


@pytest.mark.parametrize(("usec", "pid"), [("3000000", "1"), ("0", None), ("soon", None), ("", None)])
def test_a_watchdog_for_somebody_else_or_of_no_time_is_none(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", pid)

    assert Notify.from_environment().watchdog is None


def test_a_watchdog_without_a_pid_is_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")

    assert Notify.from_environment().watchdog == 0.5
