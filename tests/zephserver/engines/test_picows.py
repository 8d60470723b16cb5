"""What an engine does on a real socket: frames right and wrong, slow readers, pings, TLS, UNIX sockets, slow callers.

All of it on either engine, but compression and TLS, which `threaded` does not have.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import unix_connect

from tests.zephserver.tasks import task
from zephserver.core.errors import SettingsError, StartFailed
from zephserver.engines.interface import Handshake
from zephserver.engines.picows.engine import RESERVE
from zephserver.events import ClientClosed, Listening
from zephserver.task import Task
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite, Site, Talker, Wire

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


class Echo(Task):
    """Answers with what it got, and remembers it."""

    got: list[Any]

    async def main(self) -> None:
        self.got.append(self.data)
        self.reply(self.data)


class Flood(Task):
    """Sends many bytes to the room."""

    def main(self) -> None:
        self.say("x" * self.data, task="Flooded")


only_picows = pytest.mark.parametrize("engine", ["picows"], indirect=True)


@pytest.fixture(params=["picows", "threaded"])
def engine(request: pytest.FixtureRequest) -> str:
    """The engine that moves the bytes of the test."""
    return str(request.param)


@pytest.fixture
def make_site(make_site: MakeSite, engine: str) -> MakeSite:
    """Starts a server with the engine of the test."""

    def make(*tasks: type, **options: Any) -> Site:
        site = make_site(*tasks, **{"WEBSOCKET_ENGINE": engine} | options)
        assert type(site.service._engine).__name__ == f"{engine.title()}Engine"
        return site

    return make


@pytest.fixture
def echo() -> type[Echo]:
    return type("Echo", (Echo,), {"got": []})


def known(site: Site, **options: Any) -> Wire:
    """A peer that was welcomed and has heard nothing else."""
    wire = site.peer(**options)
    wire.say(session_id="peer")
    wire.wait_frame(TEXT)
    return wire


def request(data: Any) -> bytes:
    """A request to Echo as bytes."""
    return json.dumps({"task": "Echo", "data": data}, ensure_ascii=False).encode()


def answer(wire: Wire) -> Any:
    """The data of the next message that has any: heartbeats do not."""
    while "data" not in (message := json.loads(wire.wait_frame(TEXT))):
        pass
    return message["data"]


# -- frames -----------------------------------------------------------------------------------------------------------


def test_a_message_may_come_in_fragments_split_inside_a_character(make_site: MakeSite, echo: type[Echo]) -> None:
    wire, whole = known(make_site(echo)), request("aé€🙂")

    for index in range(len(whole)):
        opcode = CONTINUATION if index else TEXT
        wire.frame(opcode, whole[index : index + 1], fin=index == len(whole) - 1)

    assert answer(wire) == "aé€🙂"


def test_the_fragments_of_a_client_library_are_put_together(make_site: MakeSite, echo: type[Echo]) -> None:
    ann = make_site(echo).join("ann")

    ann.connection.send(iter(['{"task": "Echo", ', "", '"data": "whole"}']))

    assert ann.read()["data"] == "whole"


def test_a_ping_between_fragments_is_answered_at_once(make_site: MakeSite, echo: type[Echo]) -> None:
    wire, whole = known(make_site(echo)), request("whole")

    wire.frame(TEXT, whole[:5], fin=False)
    wire.frame(PING, b"are you there")
    pong = wire.read_frame()
    wire.frame(CONTINUATION, whole[5:])

    assert pong == (PONG, b"are you there")
    assert answer(wire) == "whole"


def test_a_message_after_a_fragmented_one_is_read(make_site: MakeSite, echo: type[Echo]) -> None:
    wire = known(make_site(echo))

    for number in range(3):
        wire.frame(TEXT, request(number)[:4], fin=False)
        wire.frame(CONTINUATION, request(number)[4:])
        wire.frame(TEXT, request([number]))

    assert [answer(wire) for _ in range(6)] == [0, [0], 1, [1], 2, [2]]


def test_frames_may_come_byte_by_byte_and_many_at_once(make_site: MakeSite, echo: type[Echo]) -> None:
    wire = known(make_site(echo, TASKS_PER_CLIENT=100))
    wire.hold()
    for number in range(20):
        wire.frame(TEXT, request(number))

    wire.release(slowly=60)

    assert [answer(wire) for _ in range(20)] == list(range(20))


def test_a_frame_may_come_with_the_handshake(site: Site) -> None:
    wire = site.wire()
    wire.hold()
    wire.ask_to_upgrade()
    wire.say(session_id="early", room="r")
    wire.frame(TEXT, json.dumps({"task": "TaskPing", "data": "x" * 5_000}))

    wire.release()

    assert wire.head().startswith(b"HTTP/1.1 101 ")
    assert json.loads(wire.wait_frame(TEXT))["msgtype"] == "welcome"
    while (message := json.loads(wire.wait_frame(TEXT))).get("task") != "TaskPing":
        assert "msgtype" in message


@pytest.mark.parametrize("payload", [b"", b"x" * 125, b"\xff\x00"])
def test_a_ping_is_answered_with_its_own_payload(site: Site, payload: bytes) -> None:
    wire = site.peer()

    wire.frame(PING, payload)

    assert wire.read_frame() == (PONG, payload)


def test_a_pong_that_nobody_asked_for_is_ignored(site: Site) -> None:
    wire = known(site)

    wire.frame(PONG, b"unasked")

    wire.say(task="TaskPing")
    assert answer(wire) == "pong"


WRONG: list[tuple[str, int, Callable[[Wire], None]]] = [
    ("binary", 1003, lambda wire: wire.frame(BINARY, b"x")),
    ("binary fragment", 1003, lambda wire: wire.frame(BINARY, b"x", fin=False)),
    ("not UTF-8", 1007, lambda wire: wire.frame(TEXT, b"\xff")),
    ("surrogate", 1007, lambda wire: wire.frame(TEXT, b"\xed\xa0\x80")),
    ("cut character", 1007, lambda wire: wire.frame(TEXT, "é".encode()[:1])),
    ("too big", 1009, lambda wire: wire.frame(TEXT, b"x" * 1_001)),
    ("much too big", 1009, lambda wire: wire.frame(TEXT, b"x" * 100_000)),
    ("continuation first", 1002, lambda wire: wire.frame(CONTINUATION, b"x")),
    ("RSV1", 1002, lambda wire: wire.frame(TEXT, b"x", rsv=4)),
    ("RSV2", 1002, lambda wire: wire.frame(TEXT, b"x", rsv=2)),
    ("RSV3 on a ping", 1002, lambda wire: wire.frame(PING, b"x", rsv=1)),
    ("RSV on a close", 1002, lambda wire: wire.frame(CLOSE, b"\x03\xe8", rsv=4)),
    ("unmasked", 1002, lambda wire: wire.frame(TEXT, b"x", masked=False)),
    ("opcode 3", 1002, lambda wire: wire.frame(0x3, b"x")),
    ("opcode 11", 1002, lambda wire: wire.frame(0xB, b"x")),
    ("fragmented ping", 1002, lambda wire: wire.frame(PING, b"x", fin=False)),
    ("long ping", 1002, lambda wire: wire.frame(PING, b"x" * 126)),
    ("size in more bytes than needed", 1002, lambda wire: wire.send(b"\x81\xfe\x00\x01abcd" + b"x")),
    ("size of 2^63", 1002, lambda wire: wire.send(b"\x81\xff\x80" + b"\x00" * 7 + b"abcd")),
]


@pytest.mark.parametrize(("code", "act"), [(code, act) for _, code, act in WRONG], ids=[name for name, _, _ in WRONG])
def test_a_peer_that_breaks_the_protocol_is_told_with_which_code(
    make_site: MakeSite, code: int, act: Callable[[Wire], None]
) -> None:
    site = make_site(MAX_MESSAGE_BYTES=1_000)
    wire = known(site)

    act(wire)

    assert wire.close_code() == code
    wire.close()
    assert site.wait(ClientClosed).code == code
    assert site.service.counters[f"close {code}"] == 1


def test_a_message_inside_a_message_is_a_protocol_error(site: Site) -> None:
    wire = known(site)

    wire.frame(TEXT, b"a", fin=False)
    wire.frame(TEXT, b"b")

    assert wire.close_code() == 1002


def test_fragments_are_counted_in_bytes_and_in_number(make_site: MakeSite) -> None:
    site = make_site(MAX_MESSAGE_BYTES=1_000, MAX_FRAGMENTS=10)
    bytes_, number = known(site), known(site)

    bytes_.frame(TEXT, b"x" * 900, fin=False)
    bytes_.frame(CONTINUATION, b"x" * 101, fin=False)
    number.frame(TEXT, b"", fin=False)
    for _ in range(10):
        number.frame(CONTINUATION, b"", fin=False)

    assert bytes_.close_code() == number.close_code() == 1009


def test_a_message_of_the_limit_is_served(make_site: MakeSite, echo: type[Echo]) -> None:
    wire = known(make_site(echo, MAX_MESSAGE_BYTES=100_000))
    room = 100_000 - len(request(""))

    wire.frame(TEXT, request("x" * room))

    assert answer(wire) == "x" * room


def test_a_message_that_is_too_big_is_not_served_after_all(make_site: MakeSite, echo: type[Echo]) -> None:
    site = make_site(echo, MAX_MESSAGE_BYTES=1_000)
    wires = [known(site) for _ in range(5)]

    for wire in wires:
        wire.frame(TEXT, request("x" * 3_000))
    codes = [wire.close_code() for wire in wires]

    wait_until(lambda: site.service.stats()["connections"] == 0, "all are gone")
    assert codes == [1009] * 5
    assert echo.got == []


def test_what_comes_behind_a_broken_frame_is_not_served(make_site: MakeSite, echo: type[Echo]) -> None:
    site = make_site(echo)
    wire = known(site)

    wire.frame(BINARY, b"x")
    wire.frame(TEXT, request("after"))

    assert wire.close_code() == 1003
    wire.close()
    site.wait(ClientClosed, code=1003)
    assert echo.got == []


# -- closing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1003, 3000, 4999])
def test_a_close_frame_is_answered_with_its_code_and_the_server_hangs_up(site: Site, code: int) -> None:
    wire = known(site)

    wire.frame(CLOSE, code.to_bytes(2, "big") + "grüße".encode())

    assert wire.read_frame() == (CLOSE, code.to_bytes(2, "big"))
    assert wire.is_gone()
    wire.close()
    closed = site.wait(ClientClosed)
    assert (closed.code, closed.reason) == (code, "grüße")


def test_an_empty_close_frame_is_answered_with_an_empty_one(site: Site) -> None:
    wire = known(site)

    wire.frame(CLOSE)

    assert wire.read_frame() == (CLOSE, b"")
    assert wire.is_gone()
    wire.close()
    assert site.wait(ClientClosed).code == 1005


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"\x03", 1002), (b"\x00\x00", 1002), (b"\x03\xee", 1002), (b"\x13\x88", 1002), (b"\x03\xe8\xff", 1007)],
    ids=["half a code", "0", "1006", "5000", "reason"],
)
def test_a_close_frame_that_is_wrong_is_answered_with_what_is_wrong(site: Site, payload: bytes, code: int) -> None:
    wire = known(site)

    wire.frame(CLOSE, payload)

    assert wire.close_code() == code
    assert wire.is_gone()


def test_a_peer_that_does_not_answer_a_close_is_hung_up_on(
    make_site: MakeSite, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"picows": "picows.connection", "threaded": "threaded.connection"}[engine]
    monkeypatch.setattr(f"zephserver.engines.{module}.CLOSE_TIME", 0.05)
    site = make_site()
    wire = known(site)

    wire.frame(BINARY, b"x")

    assert wire.close_code() == 1003
    assert wire.is_gone()
    assert site.wait(ClientClosed).code == 1003


def test_a_peer_that_vanishes_is_noticed(site: Site) -> None:
    wire = known(site)

    wire.close()

    assert site.wait(ClientClosed).code == 1006


# -- pings ------------------------------------------------------------------------------------------------------------


def test_a_silent_peer_is_pinged_and_lives_as_long_as_it_answers(make_site: MakeSite) -> None:
    site = make_site(PING_INTERVAL=0.03, PING_TIMEOUT=30, WRITE_TIMEOUT=30)
    wire = known(site)

    for _ in range(4):
        wire.frame(PONG, wire.wait_frame(PING))

    wire.say(task="TaskPing")
    assert answer(wire) == "pong"


def test_a_peer_that_does_not_answer_a_ping_is_cut_off(make_site: MakeSite) -> None:
    site = make_site(PING_INTERVAL=0.03, PING_TIMEOUT=1)
    wire = known(site)

    assert wire.close_code() == 1006  # the ping itself may be lost to the reset
    closed = site.wait(ClientClosed)
    assert (closed.code, closed.reason) == (1006, "no answer to a ping")


# -- slow readers -----------------------------------------------------------------------------------------------------


def flood(site: Site, reader: Talker, slow: Wire) -> ClientClosed:
    """Send large messages to the room, each read by *reader*, until *slow* is cut off."""
    for _ in range(60):
        reader.send(task="Flood", data=400_000)
        assert len(reader.hear(task="Flooded")["data"]) == 400_000
        for event in site.events:
            if isinstance(event, ClientClosed):
                return event
    raise AssertionError("the slow reader was not cut off")


def people(talker: Talker) -> Any:
    """Who is in the lobby, as *talker* is told."""
    talker.send(msgtype="user_list", room="lobby", id="who")
    return talker.hear(id="who")["data"]


def test_a_client_that_does_not_read_is_cut_off_and_the_others_are_unharmed(make_site: MakeSite) -> None:
    site = make_site(Flood, SEND_QUEUE_BYTES=1_000_000, LEAVE_DELAY=0)
    slow = site.peer(receive_buffer=4_096)
    slow.say(session_id="slow", room="lobby")
    slow.wait_frame(TEXT)
    reader = site.join("reader")

    closed = flood(site, reader, slow)

    assert (closed.code, closed.reason) == (4008, "slow: more than 1000000 bytes unread")
    wait_until(lambda: people(reader) == ["reader"], "the slow one has left")
    assert reader.ask("TaskPing")["data"] == "pong"
    assert site.service.counters["close 4008"] == 1


def test_what_is_said_in_one_turn_comes_in_order_and_before_the_close(site: Site) -> None:
    wire = known(site)

    def say_and_close() -> None:
        (client,) = site.rooms.clients()
        for number in range(1_000):
            client.send(b'{"number": %d}' % number)
        client.close(4000, "that was all")

    site.on_loop(say_and_close)

    assert [json.loads(wire.wait_frame(TEXT))["number"] for _ in range(1_000)] == list(range(1_000))
    assert wire.wait_frame(CLOSE)[2:] == b"that was all"


def test_one_message_may_be_longer_than_what_may_wait(make_site: MakeSite) -> None:
    site = make_site(task("Long", lambda self: self.reply("x" * 20_000_000)), SEND_QUEUE_BYTES=1_000_000)

    wire = known(site)

    wire.say(task="Long")

    assert len(wire.wait_frame(TEXT)) > 20_000_000


def test_a_client_is_cut_off_within_one_turn_too(make_site: MakeSite) -> None:
    site = make_site(SEND_QUEUE_BYTES=1_000_000)
    known(site, receive_buffer=4_096)

    def flood() -> None:
        (client,) = site.rooms.clients()
        for _ in range(300):
            client.send(b"x" * 100_000)

    site.on_loop(flood)

    assert site.wait(ClientClosed).code == 4008


def test_a_client_that_leaves_its_queue_unread_for_too_long_is_cut_off(make_site: MakeSite) -> None:
    site = make_site(Flood, SEND_QUEUE_BYTES=100_000_000, WRITE_TIMEOUT=0.5, LEAVE_DELAY=0)
    slow = site.peer(receive_buffer=4_096)
    slow.say(session_id="slow", room="lobby")
    slow.wait_frame(TEXT)
    reader = site.join("reader")

    for _ in range(20):
        reader.send(task="Flood", data=400_000)
        reader.hear(task="Flooded")

    assert site.wait(ClientClosed).reason == "slow: its queue was not read in 0.5 s"
    wait_until(lambda: people(reader) == ["reader"], "the slow one has left")


# -- compression ------------------------------------------------------------------------------------------------------


@only_picows
@pytest.mark.parametrize("size", [10, 600, 30_000])
def test_messages_are_compressed_both_ways_when_that_was_agreed_on(
    make_site: MakeSite, echo: type[Echo], size: int
) -> None:
    site = make_site(echo)
    ann, bob = site.join("ann", compression="deflate"), site.join("bob")

    data = "é🙂" * size

    assert ann.connection.protocol.extensions
    assert ann.ask("Echo", data)["data"] == bob.ask("Echo", data)["data"] == data


@only_picows
def test_a_broadcast_reaches_those_with_and_without_compression(make_site: MakeSite) -> None:
    site = make_site(Flood)
    people = [site.join(number, compression=("deflate", None)[number % 2]) for number in range(4)]

    people[0].send(task="Flood", data=5_000)

    assert all(len(one.hear(task="Flooded")["data"]) == 5_000 for one in people)


@only_picows
def test_a_bomb_is_closed_with_1009(make_site: MakeSite) -> None:
    ann = make_site(MAX_MESSAGE_BYTES=10_000).join("ann", compression="deflate")

    ann.connection.send(json.dumps({"task": "TaskPing", "data": "0" * 1_000_000}))

    assert ann.closed()[0] == 1009


@only_picows
def test_compression_can_be_turned_off(make_site: MakeSite, echo: type[Echo]) -> None:
    ann = make_site(echo, COMPRESSION=False).join("ann", compression="deflate")

    assert ann.connection.protocol.extensions == []
    assert ann.ask("Echo", "x" * 1_000)["data"] == "x" * 1_000


# -- the opening ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connection", ["keep-alive, Upgrade", "Upgrade, keep-alive", "upgrade"])
def test_a_browser_may_keep_the_connection_alive(site: Site, connection: str) -> None:
    wire = site.wire()

    assert wire.upgrade(connection=connection).startswith(b"HTTP/1.1 101 ")
    wire.say(session_id="ann")
    assert json.loads(wire.wait_frame(TEXT))["msgtype"] == "welcome"


def test_a_subprotocol_is_said_back(site: Site) -> None:
    ann = site.connect(subprotocols=["chat", "other"])

    assert ann.connection.subprotocol == "chat"


def test_a_handshake_that_comes_slowly_is_read(site: Site) -> None:
    wire = site.wire()
    wire.hold()
    wire.ask_to_upgrade()

    wire.release(slowly=80)

    assert wire.head().startswith(b"HTTP/1.1 101 ")


def test_a_fault_of_ours_is_answered_500_and_logged(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(request: Handshake, *, upgrade: bool) -> None:
        raise KeyError("a secret of ours")

    monkeypatch.setattr(site.service, "decide", decide)

    response = site.request("GET", "/")

    assert (response.status, b"secret" in response.body) == (500, False)
    site.wait_log("a secret of ours")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", b"400"),
        (b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9_000, b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 200, b"431"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"200"),
    ],
)
def test_a_request_gets_its_status_and_the_server_hangs_up(site: Site, request_: bytes, status: bytes) -> None:
    wire = site.wire()

    wire.send(request_)

    assert wire.head().split(b" ")[1] == status
    assert wire.is_gone()


def test_head_is_answered_as_get_without_the_body(site: Site) -> None:
    wire = site.wire()

    wire.send(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

    assert b"Content-Length: 3" in wire.head()
    assert wire._buffer == b""
    assert wire.socket.recv(100) == b""


def test_a_caller_who_says_nothing_in_time_is_hung_up_on(make_site: MakeSite) -> None:
    wire = make_site(HANDSHAKE_TIMEOUT=0.1).wire()

    assert wire.socket.recv(100) == b""


@only_picows
def test_whoever_is_turned_away_in_a_crowd_does_not_make_the_next_one_go_unheard(make_site: MakeSite) -> None:
    site = make_site(HANDSHAKE_TIMEOUT=1)
    engine = site.service._engine
    enough = engine._most_descriptors
    with socket.socket() as first, socket.socket() as second:  # so the server gets the same descriptor twice
        for caller in (first, second):
            caller.settimeout(10)
        site.on_loop(lambda: setattr(engine, "_most_descriptors", 0))
        first.connect((site.host, site.port))
        with contextlib.suppress(ConnectionResetError):
            assert first.recv(100) == b""
        site.on_loop(lambda: setattr(engine, "_most_descriptors", enough))

        second.connect((site.host, site.port))
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert second.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_caller_who_does_not_finish_in_time_is_told_408(make_site: MakeSite) -> None:
    wire = make_site(HANDSHAKE_TIMEOUT=0.4).wire()

    wire.send(b"GET /ws HTTP/1.1\r\nHost: x\r\n")

    assert b" 408 " in wire.head()
    assert wire.is_gone()


def test_a_caller_who_does_not_read_the_answer_is_hung_up_on(
    make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zephserver.engines.door.ANSWER_TIME", 0.1)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "large.bin").write_bytes(b"x" * 8_000_000)
    site = make_site(STATIC_FOLDER="static")
    before = len(os.listdir("/proc/self/fd"))
    wire = site.wire(receive_buffer=4_096)

    wire.send(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 200 " in wire.head()

    wait_until(lambda: len(os.listdir("/proc/self/fd")) == before + 1, "only our end is open")


# -- where it listens -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem and key.pem for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("certificate")
    make_certificate(folder)
    return folder


def make_certificate(folder: Path, name: str = "localhost") -> None:
    """Write cert.pem and key.pem."""
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem"
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *key.split(), "-days", "2", "-out", "cert.pem", *names]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def trusting(folder: Path) -> ssl.SSLContext:
    """TLS of a client that trusts the certificate in this folder and no other."""
    return ssl.create_default_context(cafile=folder / "cert.pem")


@only_picows
def test_tls_is_spoken_with_a_certificate(make_site: MakeSite, echo: type[Echo], certificate: Path) -> None:
    site = make_site(
        echo, tls=trusting(certificate), TLS_CERTIFICATE=certificate / "cert.pem", TLS_KEY=certificate / "key.pem"
    )
    wires = [known(site), known(site)]

    for wire in wires:
        wire.frame(TEXT, request("x" * 300_000))

    assert site.wait(Listening).url == f"https://127.0.0.1:{site.port}/"
    for wire in wires:
        assert answer(wire) == "x" * 300_000
        assert isinstance(wire.socket, ssl.SSLSocket)
        assert wire.socket.version() in ("TLSv1.2", "TLSv1.3")


@only_picows
def test_plain_text_on_a_tls_port_is_never_answered_in_plain_text(make_site: MakeSite, certificate: Path) -> None:
    site = make_site(TLS_CERTIFICATE=certificate / "cert.pem", TLS_KEY=certificate / "key.pem")
    wire = site.wire()

    wire.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

    said = b""
    try:
        while data := wire.socket.recv(1_000):
            said += data
    except ConnectionResetError:
        pass
    assert b"HTTP" not in said


@only_picows
def test_the_tls_handshake_is_bounded_in_time_too(make_site: MakeSite, certificate: Path) -> None:
    site = make_site(TLS_CERTIFICATE=certificate / "cert.pem", TLS_KEY=certificate / "key.pem", HANDSHAKE_TIMEOUT=0.1)
    wire = site.wire()
    wire.socket.settimeout(1.0)

    assert wire.socket.recv(100) == b""


@only_picows
def test_tls_handshakes_under_way_take_no_more_descriptors_than_connections_may(
    make_site: MakeSite, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda what: (RESERVE + 10, RESERVE + 10))
    site = make_site(TLS_CERTIFICATE=certificate / "cert.pem", TLS_KEY=certificate / "key.pem", HANDSHAKE_TIMEOUT=60)
    silent = [site.wire() for _ in range(10)]

    assert site.wire().is_gone()

    silent.pop().close()
    site.tls = trusting(certificate)
    wait_until(lambda: _can_connect(site), "there is room for one")


@only_picows
def test_a_certificate_that_does_not_fit_its_key_starts_nothing(
    make_site: MakeSite, certificate: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    make_certificate(tmp_path / "other")

    with pytest.raises(SettingsError, match=r"cert\.pem and .*key\.pem do not belong together"):
        make_site(TLS_CERTIFICATE=certificate / "cert.pem", TLS_KEY=tmp_path / "other" / "key.pem", RESTART_INTENSITY=0)


@only_picows
def test_a_certificate_that_was_renewed_is_read_without_a_restart(make_site: MakeSite, tmp_path: Path) -> None:
    make_certificate(tmp_path)
    site = make_site(tls=trusting(tmp_path), TLS_CERTIFICATE="cert.pem", TLS_KEY="key.pem")
    before = known(site)
    make_certificate(tmp_path, "renewed")

    site.service.reload()
    site.tls = trusting(tmp_path)

    wait_until(lambda: _can_connect(site), "the new certificate is shown")
    before.say(task="TaskPing")
    assert answer(before) == "pong"


@only_picows
def test_a_renewed_certificate_that_does_not_fit_its_key_leaves_the_old_one_in_use(
    make_site: MakeSite, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_certificate(tmp_path)
    site = make_site(tls=trusting(tmp_path), TLS_CERTIFICATE="cert.pem", TLS_KEY="key.pem")
    (tmp_path / "other").mkdir()
    make_certificate(tmp_path / "other")
    (tmp_path / "other" / "cert.pem").replace(tmp_path / "cert.pem")

    site.service.reload()

    wait_until(lambda: "the old one stays in use" in caplog.text, "it is told")
    assert _can_connect(site)
    assert "Traceback" not in caplog.text


@only_picows
def test_who_connects_to_the_tls_port_and_goes_is_no_error(
    make_site: MakeSite, certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site(TLS_CERTIFICATE=certificate / "cert.pem", TLS_KEY=certificate / "key.pem")
    with caplog.at_level(logging.DEBUG, "zephserver.engine"):
        site.wire().close()
        wait_until(lambda: "a TLS handshake failed" in caplog.text, "it is noticed")

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def _can_connect(site: Site) -> bool:
    try:
        return bool(known(site))
    except (ssl.SSLError, ConnectionResetError):
        return False


def test_a_unix_socket_is_listened_on(make_site: MakeSite, echo: type[Echo], tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    site = make_site(echo, HOST_ZEPH="unix:web.sock")

    with unix_connect(str(path), "ws://localhost/ws", ping_interval=None) as connection:
        connection.send('{"task": "Echo", "data": "over a file"}')
        assert json.loads(connection.recv(5))["msgtype"] == "welcome"
        assert json.loads(connection.recv(5))["data"] == "over a file"

    assert site.wait(Listening).url == f"unix:{path}"
    assert site.wait(Listening).port is None
    site.server.stop()
    assert not path.exists()


def test_a_file_that_is_no_socket_is_not_touched(make_site: MakeSite, tmp_path: Path) -> None:
    (tmp_path / "web.sock").write_text("precious")

    with pytest.raises(StartFailed):
        make_site(HOST_ZEPH="unix:web.sock", RESTART_INTENSITY=0)

    assert (tmp_path / "web.sock").read_text() == "precious"


def test_two_servers_may_share_a_port(make_site: MakeSite, tmp_path: Path) -> None:
    first = make_site(REUSE_PORT=True)

    second = make_site(
        REUSE_PORT=True,
        PORT_ZEPH=first.port,
        LOCK_FILE="second.lock",
        CONFIGURATION_NETWORK_INTERFACE_SERVER="second.sock",
        LOG_PATH="second.log",
    )

    assert second.port == first.port
    assert first.join("ann").silent()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_is_listened_on(make_site: MakeSite) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    site = make_site(HOST_ZEPH="::1")

    assert site.wait(Listening).url == f"http://[::1]:{site.port}/"
