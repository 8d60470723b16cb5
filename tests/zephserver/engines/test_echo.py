"""The echo server as a program: what it says when it cannot do what was asked. Echoing is tested by the suites."""

from __future__ import annotations

import socket

import pytest

from zephserver.engines import echo

PROGRAM = "python -m zephserver.engines.echo"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--port", "70000"], "--port: expected a port from 0 to 65535, got 70000"),
        (["--max-message-bytes", "0"], "--max-message-bytes: expected a whole number, 1 or more, got 0"),
        (["--max-fragments", "-1"], "--max-fragments: expected a whole number, 1 or more, got -1"),
    ],
)
def test_an_option_that_cannot_be_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], words: list[str], fault: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        echo.main(words)

    assert ended.value.code == 2
    assert capsys.readouterr().err == f"{PROGRAM}: {fault}\n"


@pytest.mark.parametrize("engine", ["picows", "threaded"])
def test_a_port_that_is_taken_is_one_line_and_exit_1(capsys: pytest.CaptureFixture[str], engine: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            echo.main(["--engine", engine, "--port", str(port)])

    why = "Address already in use; choose another --port"
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"{PROGRAM}: cannot listen on port {port}: {why}\n"
