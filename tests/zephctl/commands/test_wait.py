"""zephctl wait: until the server is ready, or stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.zephctl.conftest import Answer
from zephctl.client import ControlClient
from zephserver.core.server import Server
from zephserver.testing import running_server, wait_until

Zephctl = Callable[..., Answer]
Serve = Callable[..., Server]

SHY = "workers/Shy"


def test_a_server_that_is_ready_is_not_waited_for(zephctl: Zephctl, serve: Serve) -> None:
    serve(SERVICE_LIST=["workers/Puppet"])

    assert zephctl("wait") == Answer(0, "", "")


def test_a_server_that_is_down_is_stopped(zephctl: Zephctl, write_settings: Callable[..., Path]) -> None:
    write_settings(SERVICE_LIST=[])

    assert zephctl("wait", "--for", "stopped") == Answer(0, "", "")


def test_a_server_that_starts_meanwhile_is_waited_for(
    zephctl: Zephctl, folder: Path, write_settings: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"SERVICE_LIST": [], "PORT_ZEPH": 0}
    write_settings(**values)
    knocks = 0
    connect = ControlClient._connect

    with ExitStack() as stack:

        def start_at_the_second_knock(client: ControlClient) -> object:
            nonlocal knocks
            knocks += 1
            if knocks == 2:
                stack.enter_context(running_server(folder, **values))
            return connect(client)

        monkeypatch.setattr(ControlClient, "_connect", start_at_the_second_knock)
        answer = zephctl("wait")

    assert answer == Answer(0, "", "")
    assert knocks == 2


def test_a_server_that_stops_meanwhile_is_waited_for(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()

    def stop_when_asked() -> None:
        wait_until(lambda: server.control._clients, "somebody asks")
        server.stop("the test")

    stopper = threading.Thread(target=stop_when_asked)
    stopper.start()
    answer = zephctl("wait", "--for", "stopped")
    stopper.join()

    assert answer == Answer(0, "", "")


@pytest.mark.parametrize("state", ["ready", "stopped"])
def test_waiting_ends_with_the_time_out(zephctl: Zephctl, serve: Serve, folder: Path, state: str) -> None:
    path = folder / "interface.sock"
    if state == "stopped":
        serve()

    answer = zephctl("wait", "--for", state, "--timeout", "0.1", "--interface", str(path))

    assert answer == Answer(8, "", f"zephctl: the server on {path} is not {state} after 0.1 s\n")


@pytest.mark.parametrize("state", ["stopped", "drained"])
def test_a_server_whose_socket_is_gone_has_not_stopped(
    zephctl: Zephctl, unheard: str, folder: Path, state: str
) -> None:
    answer = zephctl("wait", "--for", state, "--timeout", "0.1")

    assert answer == Answer(8, "", f"zephctl: the server on {folder}/interface.sock is not {state} after 0.1 s\n")


def test_a_service_that_does_not_become_ready_is_named(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()
    server.services.create_service(SHY)
    server.services.enable_service(SHY)

    answer = zephctl("wait", "--timeout", "0.1")

    assert answer == Answer(8, "", f"zephctl: not ready: {SHY}: it is starting\n")


def test_the_word_is_one_of_two(zephctl: Zephctl) -> None:
    answer = zephctl("wait", "--for", "tea")

    assert answer.status == 2
    assert "'ready', 'stopped'" in answer.stderr


def test_broken_settings_are_exit_6(zephctl: Zephctl, folder: Path) -> None:
    assert zephctl("wait").status == 6
