"""zephctl log-level: shown and changed while the server runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.zephctl.conftest import Answer
from zephserver.core.server import Server

Zephctl = Callable[..., Answer]

PUPPET = "workers/Puppet"


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """A server with one service."""
    return serve(SERVICE_LIST=[PUPPET])


def test_the_level_of_the_server_is_shown(zephctl: Zephctl, server: Server) -> None:
    assert zephctl("log-level") == Answer(0, "server\tINFO\n", "")


@pytest.mark.parametrize("level", ["debug", "DEBUG"])
def test_the_level_is_changed_and_shown(zephctl: Zephctl, server: Server, level: str) -> None:
    answer = zephctl("log-level", level)

    assert answer == Answer(0, "server\tDEBUG\n", "")
    assert server.log.level() == "DEBUG"


def test_the_level_of_one_service_is_changed(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("log-level", "ERROR", "--service", "Puppet")

    assert answer == Answer(0, f"server\tINFO\n{PUPPET}\tERROR\n", "")
    assert (server.log.level(), server.log.level(PUPPET)) == ("INFO", "ERROR")


def test_the_levels_in_json(zephctl: Zephctl, server: Server) -> None:
    assert zephctl("log-level", "-o", "json").json == {"schema": 1, "levels": [{"name": "server", "level": "INFO"}]}


def test_a_level_that_is_none_is_a_usage_error(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("log-level", "loud")

    assert answer == Answer(2, "", "zephctl: expected a level such as 'INFO', got 'loud'\n")
    assert server.log.level() == "INFO"


def test_a_service_that_nobody_has_is_exit_4(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("log-level", "DEBUG", "--service", "nope")

    assert answer == Answer(4, "", f"zephctl: no service named 'nope'; SERVICE_LIST has: {PUPPET}\n")


def test_showing_the_level_of_a_service_that_nobody_has_is_exit_4(zephctl: Zephctl, server: Server) -> None:
    assert zephctl("log-level", "--service", "nope").status == 4


def test_no_server_is_exit_5(zephctl: Zephctl, write_settings: Callable[..., object]) -> None:
    write_settings(SERVICE_LIST=[])

    assert zephctl("log-level").status == 5
