"""Asking a running server: what it answers, and every way in which it does not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from zephctl.client import ControlClient
from zephserver.core.control import MOST_CLIENTS
from zephserver.core.errors import (
    CommandFailed,
    ControlDenied,
    ControlError,
    ControlUnreachable,
    NoAnswer,
    ZephError,
)
from zephserver.core.server import Server
from zephserver.testing import running_server, wait_until

TALKER = "workers/Talker"


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """A server with a service that has commands."""
    return serve(SERVICE_LIST=[TALKER])


@pytest.fixture
def client(server: Server) -> Iterator[ControlClient]:
    """A client of it."""
    with closing(ControlClient(server.control.path, 10.0)) as client:
        yield client


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[[bytes | None], str]]:
    """Listen on a socket, and answer the first line of each client with these bytes; None is silence."""
    path = str(tmp_path / "foreign.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end = threading.Event()
    threads: list[threading.Thread] = []

    def answer(reply: bytes | None) -> None:
        with listener:
            while True:
                connection, _ = listener.accept()
                with connection:
                    if end.is_set():
                        return
                    connection.recv(65_536)
                    if reply is None:
                        end.wait()
                    else:
                        connection.sendall(reply)

    def start(reply: bytes | None) -> str:
        listener.bind(path)
        listener.listen()
        threads.append(threading.Thread(target=answer, args=(reply,)))
        threads[0].start()
        return path

    yield start

    end.set()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
        last.connect(path)
    threads[0].join()


def ask(path: str, *, timeout: float | None = 10.0) -> object:
    """One call on a connection of its own."""
    with closing(ControlClient(path, timeout)) as client:
        return client.call("ping")


# -- a server -----------------------------------------------------------------------------------------------------


def test_a_call_returns_the_result(client: ControlClient) -> None:
    assert client.call("ping") == "pong"


def test_a_call_has_arguments(client: ControlClient) -> None:
    assert client.call("talker.greet", whom="Ada", times=2) == ["hello Ada", "hello Ada"]


def test_calls_share_a_connection(client: ControlClient, server: Server) -> None:
    client.call("ping")
    client.call("ping")

    assert len(server.control._clients) == 1


def test_a_client_that_was_closed_connects_again(client: ControlClient) -> None:
    client.call("ping")
    client.close()

    assert client.call("ping") == "pong"


def test_a_stream_gives_its_notices_and_ends(client: ControlClient) -> None:
    assert list(client.stream("talker.count", to=3)) == [0, 1, 2]
    assert client.call("ping") == "pong"


def test_a_call_of_a_stream_returns_when_it_ends(client: ControlClient) -> None:
    assert client.call("talker.count", to=3) is None


def test_an_answer_longer_than_a_packet_arrives_whole(client: ControlClient) -> None:
    words = client.call("talker.greet", whom="x" * 1_000, times=500)

    assert words == ["hello " + "x" * 1_000] * 500


def test_a_server_of_the_tests_is_asked_as_any_other(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, closing(ControlClient(server.control.path)) as client:
        assert client.call("status")["running"] is True


def test_an_error_of_the_server_keeps_its_code_and_sentence(client: ControlClient) -> None:
    with pytest.raises(CommandFailed) as caught:
        client.call("services.show", name="nope")

    assert caught.value.code == "unknown-service"
    assert str(caught.value) == f"no service named 'nope'; SERVICE_LIST has: {TALKER}"
    assert client.call("ping") == "pong"


def test_an_unknown_command_keeps_the_hint_of_the_server(client: ControlClient) -> None:
    with pytest.raises(CommandFailed, match=r"^unknown command 'service\.list'; did you mean services list") as caught:
        client.call("service.list")

    assert caught.value.code == "unknown-command"


def test_a_stream_that_fails_raises_too(client: ControlClient) -> None:
    with pytest.raises(CommandFailed) as caught:
        list(client.stream("talker.count", to="many"))

    assert caught.value.code == "bad-request"


def test_a_command_that_raises_says_where_the_traceback_is(client: ControlClient) -> None:
    with pytest.raises(CommandFailed, match=r"^command talker\.trip raised ValueError\('one foot on the other'\); the"):
        client.call("talker.trip")


def test_a_request_that_is_too_long_is_refused_with_the_reason(client: ControlClient) -> None:
    with pytest.raises(ZephError) as caught:
        client.call("talker.greet", whom="x" * 70_000)

    assert caught.value.code == "bad-request"
    assert str(caught.value) == "a request has at most 65536 bytes"


def test_a_server_with_forty_busy_clients_says_so(server: Server) -> None:
    busy = [ControlClient(server.control.path, 10.0) for _ in range(MOST_CLIENTS)]
    streams = [client.stream("events", after=0) for client in busy]
    for stream in streams:
        next(stream)
    wait_until(lambda: all(client.waiting_since is None for client in server.control._clients), "all are busy")
    try:
        with pytest.raises(ZephError) as caught:
            ask(server.control.path)
    finally:
        for client, stream in zip(busy, streams, strict=True):
            stream.close()  # type: ignore[attr-defined]
            client.close()

    assert caught.value.code == "busy"
    assert str(caught.value) == "40 clients are being served; try again"


# -- no server ----------------------------------------------------------------------------------------------------


def test_no_socket_is_unreachable_and_says_what_to_do(tmp_path: Path) -> None:
    path = str(tmp_path / "interface.sock")

    with pytest.raises(ControlUnreachable) as caught:
        ask(path)

    assert str(caught.value).startswith(f"no server listens on {path}; start one with: ")


def test_the_socket_of_a_dead_server_is_unreachable_and_says_who_removes_it(tmp_path: Path) -> None:
    path = str(tmp_path / "interface.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(path)

    with pytest.raises(ControlUnreachable) as caught:
        ask(path)

    assert "(the file is a dead server's; the next start removes it)" in str(caught.value)


def test_a_plain_file_is_not_called_a_dead_server(tmp_path: Path) -> None:
    path = tmp_path / "interface.sock"
    path.touch()

    with pytest.raises(ControlUnreachable) as caught:
        ask(str(path))

    assert "dead server" not in str(caught.value)
    assert f"{path} is not a socket" in str(caught.value)


def test_a_path_too_long_for_a_socket_is_unreachable(tmp_path: Path) -> None:
    path = str(tmp_path / ("x" * 200))

    with pytest.raises(ControlUnreachable) as caught:
        ask(path)

    assert str(caught.value) == f"no server can be reached on {path}: AF_UNIX path too long"


def test_a_socket_of_another_user_is_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(socket.socket):
        def connect(self, address: object) -> None:
            raise PermissionError(13, "Permission denied")

    path = str(tmp_path / "interface.sock")
    monkeypatch.setattr(socket, "socket", Refused)  # the tests may run as root, whom no mode keeps out

    with pytest.raises(ControlDenied) as caught:
        ask(path)

    assert str(caught.value) == f"the control socket {path} belongs to another user; use sudo -u OWNER"


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xff\xfe\n",
        b"[]\n",
        b"1\n",
        b"null\n",
        b'"text"\n',
        b"{}\n",
        b'{"ok": false}\n',
        b'{"ok": false, "error": 1}\n',
        b'{"ok": true}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_foreign_listener_is_no_zephserver(listen: Callable[[bytes | None], str], reply: bytes) -> None:
    path = listen(reply)

    with pytest.raises(ControlError, match=f"^what listens on {path} is not a zephserver: ") as caught:
        ask(path)

    assert caught.value.code == "control-error"


@pytest.mark.parametrize("reply", [b"", b'{"id": 1, "ok": tr', b'{"id": 1, "notice": 1}\n'])
def test_a_server_that_ends_before_its_answer_is_unreachable(
    listen: Callable[[bytes | None], str], reply: bytes
) -> None:
    path = listen(reply)

    with pytest.raises(ControlUnreachable) as caught:
        ask(path)

    assert str(caught.value) == f"the server on {path} went away before it answered"


def test_a_client_whose_server_went_away_connects_again(listen: Callable[[bytes | None], str]) -> None:
    path = listen(b'{"id": 1, "ok": true, "result": "pong"}\n')  # and then it hangs up

    with closing(ControlClient(path, 10.0)) as client:
        first = client.call("ping")
        with pytest.raises(
            ControlUnreachable, match=f"^no server can be reached on {path}: (Broken pipe|Connection reset by peer)$"
        ):
            client.call("ping")
        third = client.call("ping")

    assert (first, third) == ("pong", "pong")


def test_a_stream_ends_with_the_server(listen: Callable[[bytes | None], str]) -> None:
    path = listen(b'{"id": 1, "notice": "stopping"}\n')

    with closing(ControlClient(path, 10.0)) as client:
        assert list(client.stream("stop")) == ["stopping"]


@pytest.mark.parametrize("of", ["client", "call"])
def test_a_silent_server_is_left_after_the_time_out(listen: Callable[[bytes | None], str], of: str) -> None:
    path = listen(None)

    with (
        pytest.raises(NoAnswer) as caught,
        closing(ControlClient(path, 0.05 if of == "client" else 60.0)) as client,
    ):
        client.call("ping", timeout=0.05 if of == "call" else None)

    assert str(caught.value) == f"the server on {path} gave no answer in time; see its log"


def test_the_time_out_of_one_call_is_not_that_of_the_next(client: ControlClient) -> None:
    client.call("ping", timeout=20.0)
    client.call("ping")
    assert client._socket is not None
    after_a_call = client._socket.gettimeout()
    list(client.stream("talker.count", to=1))
    client.call("ping")
    after_a_stream = client._socket.gettimeout()

    assert (after_a_call, after_a_stream) == (10.0, 10.0)


def test_a_client_that_gave_up_leaves_nothing_open(listen: Callable[[bytes | None], str]) -> None:
    client = ControlClient(listen(None), 0.05)

    with pytest.raises(NoAnswer):
        client.call("ping")

    assert client._socket is None
