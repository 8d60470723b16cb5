"""zephctl stop: returns when the server is down."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

from tests.zephctl.conftest import Answer
from zephserver.core.server import Server

Zephctl = Callable[..., Answer]


def test_stop_returns_when_the_server_is_down(zephctl: Zephctl, serve: Callable[..., Server], folder: Path) -> None:
    server = serve(SERVICE_LIST=["workers/Puppet"])

    answer = zephctl("stop")

    assert answer == Answer(0, "", "stopped\n")
    assert server.stopped.is_set()
    assert not (folder / "interface.sock").exists()
    assert (folder / "server.lock").read_text() == ""


def test_stop_says_nothing_when_quiet(zephctl: Zephctl, serve: Callable[..., Server]) -> None:
    serve()

    assert zephctl("stop", "-q") == Answer(0, "", "")


def test_no_server_is_exit_5_and_names_socket_and_next_step(
    zephctl: Zephctl, write_settings: Callable[..., Path], folder: Path
) -> None:
    write_settings(SERVICE_LIST=[])

    answer = zephctl("stop")

    assert answer == Answer(
        5, "", f"zephctl: no server listens on {folder}/interface.sock; start one with: zephctl start\n"
    )


def test_a_server_that_did_not_stop_cleanly_is_a_failure_even_when_quiet(zephctl: Zephctl, folder: Path) -> None:
    def stop_badly() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b'{"id": 1, "notice": "stopping"}\n')
            connection.sendall(b'{"id": 1, "notice": "stopped, but not cleanly: see the log"}\n')
            connection.sendall(b'{"id": 1, "ok": true, "result": null}\n')

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind("bad.sock")
        listener.listen()
        thread = threading.Thread(target=stop_badly)
        thread.start()
        answer = zephctl("stop", "-q", "--interface", "bad.sock")
        thread.join()

    assert answer == Answer(
        1, "", "zephctl: the server ended without stopping cleanly; its log says why: zephctl tail-log\n"
    )


def test_a_server_whose_socket_is_gone_is_named_with_what_ends_it(zephctl: Zephctl, unheard: str) -> None:
    assert zephctl("stop") == Answer(5, "", f"zephctl: {unheard}\n")
