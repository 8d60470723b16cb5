"""The control socket: who may speak, how, how long, and what is answered."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from zephserver.core import control as module
from zephserver.core import runtime
from zephserver.core.bus import EventBus
from zephserver.core.command_table import CommandTable, command
from zephserver.core.control import ControlServer
from zephserver.core.errors import AlreadyRunning, FileRefused, UnknownService
from zephserver.core.events import CommandServed, ControlRefused
from zephserver.testing import wait_for, wait_until


class Commands:
    """What can be asked of the server under test."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.gate = threading.Event()
        self.inside = threading.Event()
        self.ended = threading.Event()

    @command("ping")
    def ping(self) -> str:
        self.done.append("ping")
        return "pong"

    @command("add")
    def add(self, a: int, b: int = 1) -> int:
        return a + b

    @command("table")
    def table(self) -> list[dict[str, Any]]:
        return [{"name": "a/B", "on": True}, {"name": "c/D", "on": None}]

    @command("wait")
    def wait(self) -> str:
        self.inside.set()
        self.gate.wait(10)
        return "done"

    @command("count")
    def count(self) -> Iterator[int | None]:
        yield 1
        yield None
        yield 2

    @command("forever")
    def forever(self) -> Iterator[str | None]:
        try:
            yield "begin"
            while not self.gate.wait(0.01):
                yield None
        finally:
            self.ended.set()

    @command("explode")
    def explode(self) -> None:
        raise ValueError("inside")

    @command("refuse")
    def refuse(self) -> None:
        raise UnknownService("x", ["a/B"])

    @command("unprintable")
    def unprintable(self) -> object:
        return {(1, 2): "a key that JSON cannot have"}


@pytest.fixture
def commands() -> Commands:
    """The commands, which remember what they did."""
    return Commands()


@pytest.fixture
def bus() -> EventBus:
    """The events of the server under test."""
    return EventBus()


@pytest.fixture
def control(tmp_path: Path, commands: Commands, bus: EventBus) -> Iterator[ControlServer]:
    """A control server that listens."""
    table = CommandTable()
    table.add_methods(commands)
    control = ControlServer(tmp_path / "interface.sock", table, bus)
    control.open()
    yield control
    commands.gate.set()
    control.close()
    control.hang_up()
    wait_until(lambda: not control._clients, "every client is gone")


@pytest.fixture
def connect(control: ControlServer) -> Iterator[Callable[[], socket.socket]]:
    """Connect a client, closed at the end."""
    made: list[socket.socket] = []

    def connect() -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        made.append(client)
        client.settimeout(5)
        client.connect(control.path)
        return client

    yield connect
    for client in made:
        client.close()


Connect = Callable[[], socket.socket]


def everything(client: socket.socket) -> bytes:
    """What the server sends until it hangs up."""
    data = b""
    try:
        while more := client.recv(65_536):
            data += more
    except ConnectionResetError:  # it hung up with something of ours unread
        pass
    return data


def ask(client: socket.socket, request: bytes) -> bytes:
    """Send a plain request; the whole answer."""
    client.sendall(request)
    return everything(client)


def ask_json(client: socket.socket, **request: Any) -> list[Any]:
    """Send a JSON request; the lines of the answer up to the last one."""
    client.sendall(json.dumps(request).encode() + b"\n")
    lines, data = [], b""
    while not lines or "ok" not in lines[-1]:
        data += client.recv(65_536)
        while b"\n" in data:
            line, _, data = data.partition(b"\n")
            lines.append(json.loads(line))
    return lines


@pytest.mark.parametrize(
    "request_",
    [
        {"command": "add", "words": ["2", "3"]},
        {"command": "add", "words": ["2"], "args": {"b": 3}},
        {"words": ["add", "2", "3"]},
    ],
)
def test_a_program_may_hand_words_on_and_gets_json(connect: Connect, request_: dict[str, Any]) -> None:
    assert ask_json(connect(), id=1, **request_) == [{"id": 1, "ok": True, "result": 5}]


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"ping\n", b"pong\n"),
        (b"  ping  \r\n", b"pong\n"),
        (b"add 2 3\n", b"5\n"),
        (b"add '2'\n", b"3\n"),
        (b"table\n", b"a/B\tyes\nc/D\t-\n"),
        (b"count\n", b"1\n2\n"),
        (b"add x\n", b"error: bad-request: a: expected int, got 'x'\n"),
        (b"add\n", b"error: bad-request: missing a required argument: 'a'; usage: add A [B]\n"),
        (b"pign\n", b"error: unknown-command: unknown command 'pign'; did you mean ping?\n"),
        (b"xyzzy\n", b"error: unknown-command: unknown command 'xyzzy'; 'help' lists the commands\n"),
        (b"\n", b"error: bad-request: the request is empty; try 'help'\n"),
        (b"\xff\n", b"error: bad-request: the request is not UTF-8\n"),
        (b"ping 'x\n", b"error: bad-request: the request cannot be split into words: No closing quotation\n"),
        (b"refuse\n", b"error: unknown-service: no service named 'x'; SERVICE_LIST has: a/B\n"),
        (b"explode\n", b"error: error: command explode raised ValueError('inside'); the log has the traceback\n"),
    ],
)
def test_plain_words_are_answered_with_text_and_the_end_of_the_stream(
    connect: Connect, request_: bytes, answer: bytes
) -> None:
    assert ask(connect(), request_) == answer


def test_a_last_line_without_its_end_is_a_request_too(connect: Connect) -> None:
    client = connect()
    client.sendall(b"ping")
    client.shutdown(socket.SHUT_WR)

    assert everything(client) == b"pong\n"


def test_json_requests_are_answered_one_after_the_other_on_one_connection(connect: Connect) -> None:
    client = connect()

    assert ask_json(client, id=1, command="add", args={"a": 2}) == [{"id": 1, "ok": True, "result": 3}]
    assert ask_json(client, id="two", command="table")[0]["result"][1] == {"name": "c/D", "on": None}
    assert ask_json(client, command="ping") == [{"id": None, "ok": True, "result": "pong"}]


def test_json_requests_may_be_sent_together(connect: Connect) -> None:
    client = connect()
    client.sendall(b'{"id": 1, "command": "ping"}\n{"id": 2, "command": "ping"}\nadd 1 1\n')

    lines = everything(client).splitlines()

    assert [json.loads(line)["id"] for line in lines[:2]] == [1, 2]
    assert lines[2] == b"2"


def test_json_streams_notices_before_the_result(connect: Connect) -> None:
    lines = ask_json(connect(), id=7, command="count")

    assert lines == [{"id": 7, "notice": 1}, {"id": 7, "notice": 2}, {"id": 7, "ok": True, "result": None}]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"command": "pign"}, "unknown-command"),
        ({"command": 3}, "bad-request"),
        ({"command": "add", "args": [1]}, "bad-request"),
        ({"command": "add", "args": {"c": 1}}, "bad-request"),
        ({"command": "explode"}, "error"),
        ({"command": "unprintable"}, "error"),
    ],
)
def test_a_json_request_that_fails_has_code_and_message_and_the_connection_lives(
    connect: Connect, request_: dict[str, Any], code: str
) -> None:
    client = connect()

    answer = ask_json(client, id=1, **request_)[0]

    assert (answer["id"], answer["ok"], answer["error"]["code"]) == (1, False, code)
    assert ask_json(client, command="ping")[0]["result"] == "pong"


@pytest.mark.parametrize("line", [b"{\n", b'{"command": "ping"\n', b'{"id": {}, "command": "ping"}\n'])
def test_a_broken_json_request_is_answered_in_json(connect: Connect, line: bytes) -> None:
    client = connect()
    client.sendall(line)

    answer = json.loads(client.recv(65_536))

    assert answer["error"]["code"] == "bad-request"
    assert ask_json(client, command="ping")[0]["ok"] is True


def test_the_longest_request_is_taken_and_a_longer_one_refused(connect: Connect) -> None:
    longest = b"add 1 " + b" " * (65_536 - 8) + b"1\n"
    assert len(longest) == 65_536

    assert ask(connect(), longest) == b"2\n"
    assert ask(connect(), b" " + longest) == b"error: bad-request: a request has at most 65536 bytes\n"


def test_an_endless_request_is_refused_while_it_is_sent(connect: Connect, control: ControlServer) -> None:
    client = connect()
    try:
        for _ in range(1_000):
            client.sendall(b"x" * 65_536)
    except OSError:
        pass

    assert everything(client) == b"error: bad-request: a request has at most 65536 bytes\n"


def test_a_client_that_says_nothing_is_closed(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_TIME", 0.05)

    assert everything(connect()) == b""


def test_a_request_that_is_dribbled_does_not_get_more_time(
    connect: Connect, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REQUEST_TIME", 0.2)
    client = connect()
    client.settimeout(0.02)

    sent = dribble(client)

    assert 0 < sent < 100
    assert commands.done == []


def dribble(client: socket.socket) -> int:
    """Send a byte every 20 ms until the server hangs up; how many it took."""
    for sent in range(1_000):
        try:
            client.sendall(b"p")
            client.recv(1)
        except TimeoutError:
            continue
        except OSError:
            return sent
    return 1_000


def test_an_idle_json_client_is_closed_too(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_TIME", 0.1)
    client = connect()
    assert ask_json(client, command="ping")[0]["ok"] is True

    assert everything(client) == b""


def test_the_limits_are_those_of_the_specification() -> None:
    assert (module.MOST_CLIENTS, module.REQUEST_TIME) == (40, 5.0)


def test_forty_silent_clients_keep_nobody_from_being_answered(connect: Connect, control: ControlServer) -> None:
    silent = []
    for number in range(40):
        silent.append(connect())
        wait_until(lambda number=number: len(control._clients) == number + 1)  # type: ignore[misc]

    assert ask(connect(), b"ping\n") == b"pong\n"

    assert everything(silent[0]) == b""  # the oldest gave its place
    assert ask(silent[1], b"ping\n") == b"pong\n"


def test_half_a_request_of_a_client_that_lost_its_place_is_not_carried_out(
    connect: Connect, control: ControlServer, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_CLIENTS", 1)
    half = connect()
    half.sendall(b"ping")  # as "services disable a/B" may be the half of "services disable a/Bat"
    wait_until(lambda: any(client._buffer for client in control._clients))
    served = next(iter(control._clients)).thread

    assert ask(connect(), b"add 1 1\n") == b"2\n"

    served.join(5)
    assert commands.done == []


def test_half_a_request_is_not_carried_out_when_the_server_hangs_up(
    connect: Connect, control: ControlServer, commands: Commands
) -> None:
    half = connect()
    half.sendall(b"ping")
    wait_until(lambda: any(client._buffer for client in control._clients))

    control.hang_up()

    assert commands.done == []


def test_a_client_is_refused_when_all_places_are_being_served(
    connect: Connect, commands: Commands, bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_CLIENTS", 1)
    busy = connect()
    busy.sendall(b"wait\n")
    assert commands.inside.wait(5)

    answer = everything(connect())

    assert answer == b"error: busy: 1 clients are being served; try again\n"
    assert wait_for(bus, ControlRefused).pid == os.getpid()
    commands.gate.set()
    assert everything(busy) == b"done\n"


def test_a_client_that_leaves_without_its_answer_hurts_nobody(connect: Connect, commands: Commands) -> None:
    client = connect()
    client.sendall(b"wait\n")
    assert commands.inside.wait(5)
    client.close()

    commands.gate.set()

    assert ask(connect(), b"ping\n") == b"pong\n"


def test_a_stream_ends_when_its_client_has_left(connect: Connect, commands: Commands) -> None:
    client = connect()
    client.sendall(b"forever\n")
    assert client.recv(100) == b"begin\n"

    client.close()

    assert commands.ended.wait(5)


def test_a_stream_goes_on_for_a_client_that_only_ended_its_own_side(connect: Connect, commands: Commands) -> None:
    client = connect()
    client.sendall(b"forever")
    client.shutdown(socket.SHUT_WR)
    assert client.recv(100) == b"begin\n"
    assert not commands.ended.wait(0.05)

    commands.gate.set()

    assert everything(client) == b""


def test_a_client_that_does_not_read_its_answer_is_let_go(
    connect: Connect, commands: Commands, control: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_TIME", 0.05)
    control._table.add_functions([flood], None)
    client = connect()

    client.sendall(b"flood\n")

    wait_until(lambda: not control._clients)


@command("flood")
def flood(server: object) -> Iterator[str]:
    """More than a socket takes."""
    while True:
        yield "x" * 100_000


def test_every_command_is_an_event(connect: Connect, bus: EventBus) -> None:
    seen: list[Any] = []
    bus.subscribe(seen.append, CommandServed)

    ask(connect(), b"add 1\n")
    ask(connect(), b"pign\n")

    wait_until(lambda: len(seen) == 2)
    assert [(event.command, event.error) for event in seen] == [("add", None), ("?", "unknown-command")]
    assert seen[0].uid == os.getuid()


def test_the_socket_is_private_from_its_first_instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    bind = socket.socket.bind

    def watched(self: socket.socket, address: str) -> None:
        bind(self, address)
        modes.append(os.stat(address).st_mode & 0o777)

    before = os.umask(0)
    try:
        monkeypatch.setattr(socket.socket, "bind", watched)
        control = ControlServer(tmp_path / "s", CommandTable(), EventBus())
        control.open()
    finally:
        os.umask(before)

    assert modes == [0o600]
    control.close()
    assert not (tmp_path / "s").exists()


def test_another_user_is_refused_and_told_of(connect: Connect, bus: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "peer_of", lambda connection: (os.getuid() + 1, 77))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 2)

    assert everything(connect()) == b""

    event = wait_for(bus, ControlRefused)
    assert (event.uid, event.pid, event.why) == (os.getuid() + 1, 77, "another user")


def test_a_socket_of_a_dead_server_is_removed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    control = ControlServer(tmp_path / "s", CommandTable(), EventBus())

    assert control.open() is True

    control.close()


def test_a_socket_that_somebody_listens_on_is_left_alone(tmp_path: Path, control: ControlServer) -> None:
    before = os.stat(control.path).st_ino

    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        ControlServer(control.path, CommandTable(), EventBus()).open()

    assert os.stat(control.path).st_ino == before


def test_a_socket_whose_owner_is_too_busy_to_answer_is_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(str(tmp_path / "s"))
        busy.listen(0)
        first.connect(str(tmp_path / "s"))

        with pytest.raises(AlreadyRunning, match=r"another process|pid"):
            ControlServer(tmp_path / "s", CommandTable(), EventBus()).open()


def test_a_file_a_link_and_a_folder_are_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()

    for name in ("file", "link", "folder"):
        with pytest.raises(FileRefused, match=f"{name} exists and is not a socket; remove it or name another path"):
            ControlServer(tmp_path / name, CommandTable(), EventBus()).open()

    assert (tmp_path / "file").read_text() == "precious"
    assert (tmp_path / "link").is_symlink()


def test_a_stale_socket_of_another_user_is_refused_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(FileRefused, match=f"belongs to uid {os.getuid()}"):
        ControlServer(tmp_path / "s", CommandTable(), EventBus()).open()

    assert (tmp_path / "s").is_socket()


@pytest.mark.parametrize(("name", "why"), [("gone/s", "No such file"), ("x" * 120, "path too long")])
def test_a_path_that_cannot_be_listened_on_is_told(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(FileRefused, match=f"CONFIGURATION_NETWORK_INTERFACE_SERVER: .*cannot be listened on: .*{why}"):
        ControlServer(tmp_path / name, CommandTable(), EventBus()).open()


def test_a_path_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FileRefused, match="Not a directory"):
        ControlServer(tmp_path / "file" / "s", CommandTable(), EventBus()).open()


def test_a_deleted_socket_is_listened_on_anew_and_open_clients_stay(connect: Connect, control: ControlServer) -> None:
    client = connect()
    wait_until(lambda: len(control._clients) == 1)
    assert control.heal() is False
    os.unlink(control.path)

    assert control.heal() is True

    assert ask(connect(), b"ping\n") == b"pong\n"
    assert ask_json(client, command="ping")[0]["ok"] is True


def test_a_socket_that_was_replaced_is_left_alone(control: ControlServer) -> None:
    os.unlink(control.path)
    Path(control.path).write_text("theirs")

    assert control.heal() is False
    control.close()

    assert Path(control.path).read_text() == "theirs"


def test_a_socket_whose_folder_was_gone_is_healed_when_the_folder_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    control = ControlServer(folder / "s", CommandTable(), EventBus())
    control.open()
    os.unlink(control.path)
    folder.rmdir()
    with pytest.raises(FileRefused):
        control.heal()

    folder.mkdir()

    assert control.heal() is True
    control.close()


def test_closing_twice_or_before_opening_is_harmless(tmp_path: Path) -> None:
    control = ControlServer(tmp_path / "s", CommandTable(), EventBus())
    control.close()
    assert control.heal() is False
    control.open()
    control.close()
    control.close()


def test_hanging_up_waits_for_the_answers_under_way(
    connect: Connect, control: ControlServer, commands: Commands
) -> None:
    client, silent = connect(), connect()
    client.sendall(b"wait\n")
    assert commands.inside.wait(5)
    wait_until(lambda: len(control._clients) == 2)
    control.close()
    hanging_up = threading.Thread(target=control.hang_up, args=(5.0,))
    hanging_up.start()
    assert everything(silent) == b""

    commands.gate.set()

    assert everything(client) == b"done\n"
    hanging_up.join(5)
    assert not hanging_up.is_alive()


def test_a_machine_without_threads_left_still_answers_one_request_of_a_client(
    connect: Connect, control: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(*args: object, **more: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(runtime, "spawn", no_thread)
        client = connect()
        client.sendall(b'{"id": 1, "command": "ping"}\n{"id": 2, "command": "ping"}\n')
        assert everything(client).count(b"pong") == 1

    assert ask(connect(), b"ping\n") == b"pong\n"


def test_a_forked_child_does_not_keep_the_socket_alive(tmp_path: Path) -> None:
    program = """if True:
        import os, sys
        from zephserver.core.bus import EventBus
        from zephserver.core.command_table import CommandTable
        from zephserver.core.control import ControlServer
        ControlServer(sys.argv[1], CommandTable(), EventBus()).open()
        ready, tell = os.pipe()
        if os.fork() == 0:
            os.write(tell, b"x")
            os.read(0, 1)  # outlives the parent
            os._exit(0)
        os.read(ready, 1)
        os._exit(0)
    """
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, tmp_path / "s"], stdin=subprocess.PIPE
    ) as dead:
        assert dead.wait(10) == 0
        control = ControlServer(tmp_path / "s", CommandTable(), EventBus())

        assert control.open() is True

        control.close()
