"""The engine without compiled parts: slow peers, threads, descriptors, and where it listens."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conformance.cases import close, ping, text, words
from tests.conformance.peer import Peer
from tests.zephserver.engines.stage import MIB, PATIENCE, Notebook, Stage, connection_threads
from zephserver.core.settings import make_settings
from zephserver.engines.threaded.engine import Listener, ThreadedEngine
from zephserver.testing import wait_until


def descriptors() -> int:
    """How many are open."""
    return len(os.listdir("/proc/self/fd"))


# -- slow and fast peers ----------------------------------------------------------------------------------------------


def test_one_who_does_not_read_stops_no_broadcast() -> None:
    notebook = Notebook()
    payload = words(65_536)
    with (
        Stage(notebook, SEND_QUEUE_BYTES=4 * MIB, WRITE_TIMEOUT=60) as stage,
        Peer(stage.server, small_buffer=True) as stuck,
        stage.peers(3) as readers,
    ):
        stage.let_in(stuck)
        for number in range(1, 201):
            stage.run(lambda: [connection.send(payload) for connection in list(notebook.open)])
            for reader in readers:
                assert reader.pump(lambda: len(reader.heard.events) == number)  # noqa: B023 - it is called at once
        wait_until(lambda: notebook.closed, "the stuck one was cut off")

        assert notebook.closed == [(4008, "slow: more than 4194304 bytes unread")]
        assert len(notebook.open) == 3


def test_pings_of_one_who_does_not_read_fill_no_memory() -> None:
    notebook = Notebook()
    flood = ping(b"x" * 125).encode() * 500
    with Stage(notebook, SEND_QUEUE_BYTES=100_000) as stage, Peer(stage.server, small_buffer=True) as peer:
        peer.open()
        began = time.monotonic()
        while not notebook.closed and time.monotonic() < began + PATIENCE:
            peer.send(flood, deaf=True)

    assert notebook.closed == [(4008, "slow: more than 100000 bytes unread")]


def test_while_reading_is_paused_a_peer_is_held_back_and_nothing_is_lost() -> None:
    notebook = Notebook()
    with Stage(notebook) as stage, stage.peers(1) as (peer,):
        (connection,) = notebook.open
        stage.run(connection.pause_reading)
        sent = threading.Event()

        def send() -> None:
            for number in range(400):
                peer.send(text(b"%06d " % number + words(50_000)).encode(), deaf=True)
            sent.set()

        sender = threading.Thread(target=send)
        sender.start()
        assert not sent.wait(0.3)
        assert notebook.heard == []
        stage.run(connection.resume_reading)
        sender.join(PATIENCE)
        wait_until(lambda: len(notebook.heard) == 400, "all of it was heard")

    assert [int(heard[:6]) for heard in notebook.heard] == list(range(400))


def test_one_who_was_paused_can_be_closed() -> None:
    notebook = Notebook()
    with Stage(notebook) as stage, stage.peers(1) as (peer,):
        (connection,) = notebook.open
        stage.run(connection.pause_reading)
        peer.send(text(b"held back").encode())
        stage.run(lambda: connection.close(4_009, "enough"))
        peer.end()

    assert (peer.heard.code, peer.heard.ending) == (4_009, "eof")  # its close frame was read
    assert (notebook.heard, notebook.closed) == ([], [(4_009, "enough")])


def test_a_connection_to_which_nothing_is_said_is_idle_again_and_again() -> None:
    notebook = Notebook()
    with Stage(notebook, PING_INTERVAL=0.02) as stage, stage.peers(1):
        wait_until(lambda: notebook.idled >= 3, "it was idle")


# -- threads and descriptors ------------------------------------------------------------------------------------------


def test_each_connection_has_a_thread_that_is_named_after_it() -> None:
    with Stage(Notebook()) as stage, stage.peers(3):
        threads = connection_threads()

    assert sorted(thread.name for thread in threads) == ["connection:1", "connection:2", "connection:3"]
    assert all(thread.daemon for thread in threads)


@pytest.mark.parametrize(
    "stage_of_life", ["nothing", "half a request", "refused", "a message", "a close frame", "paused"]
)
def test_an_engine_that_closes_leaves_nobody_connected(stage_of_life: str) -> None:
    notebook = Notebook()
    with Stage(notebook) as stage, Peer(stage.server) as peer:
        match stage_of_life:
            case "nothing":
                wait_until(connection_threads, "it was accepted")
            case "half a request":
                peer.send(b"GET / HTTP/1.1\r\n")
            case "refused":
                peer.send(b"POST / HTTP/1.1\r\n\r\n")
                assert peer.pump(lambda: b"405" in peer._buffer)
            case "a message":
                peer.open()
                peer.send(text().encode())
                wait_until(lambda: notebook.heard, "it was heard")
            case "a close frame":
                peer.open()
                peer.send(close().encode())
                peer.pump(lambda: peer.heard.code == 1000)
            case "paused":
                stage.let_in(peer)
                stage.run(notebook.open[0].pause_reading)
                peer.send(text().encode() * 10_000)
                (connection,) = stage.engine.connections
                wait_until(lambda: connection._owes_turn, "its thread waits")
        stage.close()

        assert peer.pump(lambda: peer.is_over)
        assert not connection_threads()
    assert len(notebook.closed) == (stage_of_life in ("a message", "a close frame", "paused"))


def test_two_hundred_connections_are_all_closed_at_the_end() -> None:
    notebook = Notebook(echoes=True)
    with Stage(notebook) as stage, stage.peers(200) as peers:
        for peer in peers:
            peer.send(text().encode())
        for peer in peers:
            assert peer.pump(lambda: bool(peer.heard.events))  # noqa: B023 - it is called at once
        stage.close()
        for peer in peers:
            assert peer.pump(lambda: peer.is_over)  # noqa: B023 - it is called at once

    assert notebook.closed == [(1006, "the connection was lost")] * 200
    assert not connection_threads()


def test_connections_that_come_and_go_leave_nothing() -> None:
    with Stage(Notebook(echoes=True)) as stage:
        before = descriptors()
        for number in range(200):
            with Peer(stage.server) as peer:
                if number % 4:
                    peer.open()
                if number % 4 == 2:
                    peer.send(text().encode())
                if number % 4 == 3:
                    peer.send(close().encode())
        wait_until(lambda: not connection_threads(), "the threads are gone")
        wait_until(lambda: descriptors() == before, "the descriptors are closed")

        assert stage.run(lambda: len(stage.engine._all)) == 0


def test_without_descriptors_nobody_is_accepted_for_a_while_and_nothing_spins(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("zephserver.engines.threaded.engine.REST", 0.3)
    tries: list[float] = []

    def exhausted(listener: socket.socket) -> Any:
        tries.append(time.monotonic())
        raise OSError(errno.EMFILE, "Too many open files")

    with Stage(Notebook(echoes=True)) as stage, Peer(stage.server) as peer:
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "accept", exhausted)
            began = time.monotonic()
            with Peer(stage.server):
                wait_until(lambda: len(tries) >= 3, "it was tried again")
            took = time.monotonic() - began
        assert peer.open().status == 101

    assert took > 0.25  # at least one rest is over
    assert len(tries) < 10
    assert "Too many open files" in caplog.text


def test_without_threads_the_connection_is_closed_and_the_next_one_may_come(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def exhausted(*words: Any) -> threading.Thread:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("zephserver.engines.threaded.engine.REST", 0.05)
    with Stage(Notebook(echoes=True)) as stage:
        with monkeypatch.context() as patch:
            patch.setattr("zephserver.engines.threaded.engine.spawn", exhausted)
            with Peer(stage.server) as unlucky:
                assert unlucky.pump(lambda: unlucky.is_over)
        with stage.peers(1) as (peer,):
            peer.send(text().encode())
            assert peer.pump(lambda: bool(peer.heard.events))

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "can't start new thread" in caplog.text


# -- where it listens -------------------------------------------------------------------------------------------------


def test_a_name_is_listened_on_with_each_of_its_addresses() -> None:
    with Stage(Notebook(), HOST_ZEPH="localhost") as stage:
        listeners = stage.run(lambda: [listener.socket.getsockname() for listener in stage.engine._listeners])
        found = {where[0] for *_, where in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}

        assert {where[0] for where in listeners} <= found
        assert stage.address == listeners[0][:2]


def test_a_port_that_is_taken_is_said_so_and_nothing_is_left_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        engine = ThreadedEngine(
            make_settings({"SERVICE_LIST": [], "WEBSOCKET_ENGINE": "threaded", "PORT_ZEPH": taken.getsockname()[1]}),
            Notebook(),
        )

        with pytest.raises(OSError) as caught:  # noqa: PT011 - its number says it
            asyncio.run(engine.listen())

    assert caught.value.errno == errno.EADDRINUSE


def test_many_may_knock_at_once() -> None:
    """More than the backlog of the package, which is 5."""
    assert Listener.request_queue_size == 1_024
    with Stage(Notebook()) as stage, ExitStack() as stack:
        peers = [stack.enter_context(Peer(stage.server)) for _ in range(100)]
        for peer in peers:
            assert peer.open().status == 101
