"""zephctl restart: what it refuses. Real restarts are in tests/end_to_end/test_commands.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.zephctl.conftest import Answer
from zephserver.core.server import Server

Zephctl = Callable[..., Answer]


def test_broken_settings_leave_the_old_server_running(
    zephctl: Zephctl, serve: Callable[..., Server], write_settings: Callable[..., Path]
) -> None:
    server = serve()
    path = write_settings("SERVICE_LIST = 1\n")

    answer = zephctl("restart")

    assert (answer.status, answer.stdout) == (6, "")
    assert answer.stderr.startswith(f"zephctl: {path}:1: SERVICE_LIST: ")
    assert server.is_ready
