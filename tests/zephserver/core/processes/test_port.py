"""The port that several workers share."""

from __future__ import annotations

import socket

import pytest

from zephserver.core.processes.port import SharedPort


def listener(port: int, *, shared: bool) -> socket.socket:
    made = socket.socket()
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind(("127.0.0.1", port))
    except OSError:
        made.close()
        raise
    made.listen()
    return made


def test_port_0_becomes_one_that_only_those_get_who_share_it() -> None:
    port = SharedPort("127.0.0.1", 0)
    port.hold()
    try:
        with listener(port.number, shared=True), listener(port.number, shared=True):
            pass
        with pytest.raises(OSError, match="in use"):
            listener(port.number, shared=False)
    finally:
        port.close()
    assert not port.is_taken


def test_the_kept_port_takes_no_connection_away() -> None:
    port = SharedPort("127.0.0.1", 0)
    port.hold()
    try:
        with listener(port.number, shared=True) as worker:
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", port.number), timeout=5):
                    worker.accept()[0].close()
    finally:
        port.close()


def test_somebody_who_listens_there_and_shares_is_noticed() -> None:
    with listener(0, shared=True) as other:
        port = SharedPort("127.0.0.1", other.getsockname()[1])
        port.hold()

        assert port.is_taken
    port = SharedPort("127.0.0.1", port.number)
    port.hold()
    assert not port.is_taken
    port.close()


def test_an_address_of_another_machine_is_left_to_the_workers_to_tell() -> None:
    port = SharedPort("192.0.2.1", 8080)

    port.hold()

    assert not port.is_taken
