"""zephctl start: what it refuses before any server exists. Real starts are in tests/end_to_end/test_commands.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.zephctl.conftest import Answer

Zephctl = Callable[..., Answer]


@pytest.mark.parametrize("words", [["start"], ["start", "--foreground"], ["restart"]])
def test_broken_settings_start_nothing(
    zephctl: Zephctl, write_settings: Callable[..., Path], folder: Path, words: list[str]
) -> None:
    path = write_settings("SERVICE_LIST = []\nPORT_ZEPH = 'eighty'\n")

    answer = zephctl(*words)

    assert answer == Answer(6, "", f"zephctl: {path}:2: PORT_ZEPH: expected a port from 0 to 65535, got 'eighty'\n")
    assert not (folder / "server.lock").exists()


def test_a_log_on_stderr_is_nothing_for_a_daemon(
    zephctl: Zephctl, write_settings: Callable[..., Path], folder: Path
) -> None:
    write_settings(SERVICE_LIST=[], LOG_PATH="-")

    answer = zephctl("start")

    assert (answer.status, answer.stdout) == (6, "")
    assert answer.stderr.startswith("zephctl: LOG_PATH is '-' (stderr), which a daemon does not have; name a file")
    assert "--daemon" not in answer.stderr  # zephctl start has no such option
    assert not (folder / "server.lock").exists()


def test_a_start_in_the_foreground_has_no_time_out(zephctl: Zephctl, write_settings: Callable[..., Path]) -> None:
    write_settings(SERVICE_LIST=[])

    assert zephctl("start", "--foreground", "--timeout", "5").status == 2
