"""Row G3: whatever comes to the cluster port of a mesh, no event runs, nobody is held up, the log stays readable."""

from __future__ import annotations

import json
import os
import pickle
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.chaos.cluster import SECRET, Cluster, running, wait_until
from tests.chaos.conftest import Folder
from tests.scale import FULL
from zephserver.core.cluster.mesh.sockets import Sockets
from zephserver.core.cluster.mesh.wire import GUEST, VERSION, identity

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1_800 if FULL else 90)]
Figure = Callable[[str], None]
Times = Callable[[int, int], int]
MIB = 1_048_576
GREETING = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00"  # of ZMTP 3.0, up to its mechanism


def port_of(cluster: Cluster, name: str) -> int:
    return int(next(s["port"] for s in cluster.settings["CLUSTER_SERVER_LIST"] if s["hostname"] == name))


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def complaints(cluster: Cluster) -> list[str]:
    return [line for line in cluster.members["a"].log.splitlines() if "is none of ours" in line]


@contextmanager
def speaking(port: int, secret: str | None, identity: str = "c\0another life") -> Iterator[Any]:
    """A socket of somebody who says to be server c, with a secret or without."""
    sockets = Sockets(secret)
    sockets.open()
    try:
        yield sockets.connect(f"tcp://127.0.0.1:{port}", identity)
    finally:
        sockets.close()


@contextmanager
def healthy(cluster: Cluster, figure: Figure, what: str) -> Iterator[None]:
    """The criteria: a and b hear each other all the time, a takes no more than 40 MiB, complains once a second."""
    a, began = cluster.members["a"], time.monotonic()
    before, told = memory(a.pid), len(complaints(cluster))
    yield
    grown = memory(a.pid) - before
    cluster.wait_whole(5.0)
    sums = cluster.check(whole="ab")
    seconds, lines = time.monotonic() - began, len(complaints(cluster)) - told
    figure(
        f"{what}; {sums['heard']} heard meanwhile, 0 missing; + {grown / MIB:.1f} MiB, "
        f"{lines} complaints in {seconds:.0f} s"
    )
    assert grown < 40 * MIB
    assert lines <= seconds + 1
    assert "Traceback" not in a.log
    assert {key.split()[0] for key in a.book["heard"]} == {"b"}


def shapes(chance: random.Random) -> bytes:
    """Bytes that are none, or nearly some."""
    noise = chance.randbytes(chance.randrange(400))
    return chance.choice([
        noise,
        GREETING + noise,
        GREETING + b"NULL".ljust(20, b"\0") + b"\0" * 32 + noise,
        GREETING + b"CURVE".ljust(20, b"\0") + b"\0" * 32 + noise,
        GREETING + b"CURVE".ljust(20, b"\0") + b"\0" * 32 + b"\x04\xc8\x05HELLO" + chance.randbytes(194),
        pickle.dumps({"event": "count", "noise": noise}),
        b"\x02" + struct.pack("!Q", chance.randrange(2**63)) + noise,
        b"GET / HTTP/1.1\r\n\r\n",
        b"",
    ])  # fmt: skip


def throw(port: int, data: bytes) -> None:
    """Connect, send, and hang up."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
            connection.sendall(data)
    except OSError:
        pass  # hung up on in the middle: as it should be


def test_g3_random_bytes(tmp_path: Path, chance: random.Random, times: Times, figure: Figure) -> None:
    count = times(2_000, 100_000)
    with running("mesh", tmp_path, "ab") as cluster, healthy(cluster, figure, f"{count} random inputs"):
        for _ in range(count):
            throw(port_of(cluster, "a"), shapes(chance))


@pytest.mark.parametrize("secret", ["t" * 32, None])
def test_g3_the_wrong_key(secret: str | None, tmp_path: Path, times: Times, figure: Figure) -> None:
    with (
        running("mesh", tmp_path, "ab") as cluster,
        healthy(cluster, figure, "no answer to who has the wrong key or none"),
    ):
        for _ in range(times(2, 20)):
            with speaking(port_of(cluster, "a"), secret) as dealer:
                hello = json.dumps({"t": "hello", "v": VERSION, "node": "c", "boot": "another life"}).encode()
                with pytest.raises(zmq.Again):
                    dealer.send(hello, zmq.NOBLOCK)  # there is no link that would take it
                assert dealer.poll(300) == 0


@pytest.mark.parametrize("name", ["c", GUEST], ids=["server", "guest"])
def test_g3_nonsense_of_one_who_has_the_key(
    tmp_path: Path, chance: random.Random, times: Times, figure: Figure, name: str
) -> None:
    count = times(300, 20_000)
    with (
        running("mesh", tmp_path, "ab") as cluster,
        healthy(cluster, figure, f"{count} messages of nonsense, encrypted rightly"),
        speaking(port_of(cluster, "a"), SECRET, identity(name, "another life")) as dealer,
    ):
        for _ in range(count):
            head: Any = chance.choice([
                pickle.dumps(("count", [1])), b"[" * 5_000, chance.randbytes(50), b"{}", b'{"t": "events"}',
                b'{"t": "hello", "v": 99}', b'{"t": "events", "s": 1, "o": 1, "n": ["count"], "z": [9]}',
                b'{"t": "beat"}', b'{"t": "ask"}', b'{"t": "find", "i": {}}', b'{"t": "ask", "v": 2, "i": 1, "c": []}',
                b'{"t": "ask", "v": 2, "i": 1, "c": "say"}',
            ])  # fmt: skip
            assert dealer.poll(5_000, zmq.POLLOUT)
            dealer.send_multipart([head, *(chance.randbytes(20) for _ in range(chance.randrange(4)))])


def test_g3_messages_of_many_parts_and_too_long_ones(tmp_path: Path, times: Times, figure: Figure) -> None:
    parts, size = times(20_000, 100_000), 40_000_000
    with (
        running("mesh", tmp_path, "ab") as cluster,
        healthy(cluster, figure, f"a message of {parts} parts, and one of {size / 1e6:.0f} MB"),
    ):
        with speaking(port_of(cluster, "a"), SECRET) as dealer:
            assert dealer.poll(5_000, zmq.POLLOUT)
            dealer.send_multipart([b'{"t": "events", "s": 1, "o": 1, "n": [], "z": []}', *[b"x"] * parts])
            dealer.send_multipart([b'{"t": "beat"}'])
            assert dealer.poll(20_000)  # it was read, and answered
        with speaking(port_of(cluster, "a"), SECRET) as dealer:
            assert dealer.poll(5_000, zmq.POLLOUT)
            dealer.send_multipart([b'{"t": "events", "s": 1, "o": 1, "n": ["count"], "z": [%d]}' % size, b"x" * size])


def test_g3_a_recorded_session_is_played_again(tmp_path: Path, times: Times, figure: Figure) -> None:
    count = times(20, 1_000)
    with running("mesh", tmp_path, "ab") as cluster:
        port, a = port_of(cluster, "a"), cluster.members["a"]
        with Recorder(port) as recorder, speaking(recorder.port, SECRET) as dealer:
            assert dealer.poll(5_000, zmq.POLLOUT)
            dealer.send(json.dumps({"t": "hello", "v": VERSION, "node": "c", "boot": "another life"}).encode())
            assert dealer.poll(5_000)
            body = b'["c", "recorded", 1, ""]'
            head = {"t": "events", "s": 1, "o": 1, "n": ["count"], "z": [len(body)]}
            dealer.send_multipart([json.dumps(head).encode(), body])
            wait_until(lambda: "c recorded" in a.book["heard"], "the event is heard, once")
        assert len(recorder.data) > 400

        for _ in range(count):
            throw(port, recorder.data)
        cluster.wait_whole(5.0)

        assert a.book["heard"]["c recorded"] | {"at": 0} == {
            "first": 1, "last": 1, "count": 1, "missing": 0, "wrong": 0, "at": 0
        }  # fmt: skip
        figure(f"a session of {len(recorder.data)} bytes was played again {count} times, its event ran once")


class Recorder:
    """Stands between a client and a port, and keeps what the client sends."""

    def __init__(self, port: int) -> None:
        self.data = b""
        self._target = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Recorder:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join()
        for one in (*self._sockets, self._door):
            one.close()

    def _accept(self) -> None:
        client, _ = self._door.accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        self._sockets += [client, server]
        self._threads.append(threading.Thread(target=self._copy, args=(server, client, False)))
        self._threads[-1].start()
        self._copy(client, server, True)

    def _copy(self, source: socket.socket, target: socket.socket, keep: bool) -> None:
        try:
            while data := source.recv(65_536):
                if keep:
                    self.data += data
                target.sendall(data)
        except OSError:
            pass


def test_g3_an_address_that_is_not_in_the_list_hears_nothing(folder: Folder, figure: Figure, tmp_path: Path) -> None:
    """Who has the secret and a name that nobody listed is complained about, and learns nothing."""
    with running("mesh", tmp_path, "ab") as cluster, healthy(cluster, figure, "a stranger with the secret"):
        with speaking(port_of(cluster, "a"), SECRET, "zoe\0life") as dealer:
            assert dealer.poll(5_000, zmq.POLLOUT)
            dealer.send(json.dumps({"t": "hello", "v": VERSION, "node": "zoe", "boot": "life"}).encode())
            assert dealer.poll(500) == 0
        wait_until(lambda: any("zoe" in line for line in complaints(cluster)), "it is complained about")
