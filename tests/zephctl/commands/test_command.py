"""zephctl command: any command, also one of a service."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.zephctl.conftest import Answer
from zephserver.core.server import Server

Zephctl = Callable[..., Answer]

TALKER = "workers/Talker"


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """A server with a service that has commands."""
    return serve(SERVICE_LIST=[TALKER])


@pytest.mark.parametrize("words", [["ping"], ["--", "ping"]])
def test_the_answer_is_printed(zephctl: Zephctl, server: Server, words: list[str]) -> None:
    assert zephctl("command", *words) == Answer(0, "pong\n", "")


@pytest.mark.parametrize("words", [["talker.greet"], ["talker", "greet"]])
def test_a_service_may_be_told_its_own_command(zephctl: Zephctl, server: Server, words: list[str]) -> None:
    answer = zephctl("command", *words, "Ada Lovelace", "2")

    assert answer == Answer(0, "hello Ada Lovelace\nhello Ada Lovelace\n", "")


def test_a_stream_is_printed_line_by_line(zephctl: Zephctl, server: Server) -> None:
    assert zephctl("command", "talker.count", "3") == Answer(0, "0\n1\n2\n", "")


def test_the_answer_in_json_is_a_line_for_each_line(zephctl: Zephctl, server: Server) -> None:
    assert zephctl("command", "talker.count", "2", "-o", "json").stdout == '{"text": "0"}\n{"text": "1"}\n'


def test_words_that_look_like_options_reach_the_server(zephctl: Zephctl, server: Server) -> None:
    assert zephctl("command", "talker.greet", "--", "-o").stdout == "hello -o\n"
    assert zephctl("command", "talker.greet", "--loud").stdout == "hello --loud\n"


def test_help_lists_the_commands_and_what_they_do(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("command", "help")

    lines = answer.stdout.splitlines()
    assert answer.status == 0
    assert "ping\tWhether the server answers at all." in lines
    assert "services disable NAME\tStop a service; get_service() does not resurrect it." in lines
    assert "talker greet WHOM [TIMES]\tGreet WHOM." in lines
    assert lines == sorted(lines)


def test_an_unknown_command_is_a_usage_error_with_one_that_is_close(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("command", "talker", "great")

    assert (answer.status, answer.stdout) == (2, "")
    assert answer.stderr.startswith("zephctl: unknown command 'talker.great'; did you mean talker greet")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["talker.greet"], "missing a required argument: 'whom'; usage: talker greet WHOM [TIMES]"),
        (["talker.greet", "a", "1", "b"], "too many positional arguments; usage: talker greet WHOM [TIMES]"),
        (["talker.greet", "a", "b"], "times: expected int, got 'b'"),
    ],
)
def test_wrong_arguments_are_a_usage_error_with_the_usage(
    zephctl: Zephctl, server: Server, words: list[str], message: str
) -> None:
    assert zephctl("command", *words) == Answer(2, "", f"zephctl: {message}\n")


def test_a_command_that_raises_is_a_failure(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("command", "talker.trip")

    assert answer == Answer(
        1, "", "zephctl: command talker.trip raised ValueError('one foot on the other'); the log has the traceback\n"
    )


def test_an_error_of_the_server_is_json_where_json_was_asked_for(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("command", "services", "show", "nope", "-o", "json")

    assert (answer.status, answer.stdout) == (4, "")
    assert answer.stderr == (
        '{"schema": 1, "error": {"code": "unknown-service", '
        f'"message": "no service named \'nope\'; SERVICE_LIST has: {TALKER}"}}}}\n'
    )


def test_a_command_needs_words(zephctl: Zephctl) -> None:
    answer = zephctl("command")

    assert answer.status == 2
    assert "Missing argument 'WORDS...'" in answer.stderr


def test_no_server_is_exit_5(zephctl: Zephctl, write_settings: Callable[..., Path], folder: Path) -> None:
    write_settings(SERVICE_LIST=[])

    answer = zephctl("command", "ping")

    assert answer == Answer(
        5, "", f"zephctl: no server listens on {folder}/interface.sock; start one with: zephctl start\n"
    )


@pytest.mark.timeout(10)
def test_the_time_out_holds_for_the_answer(zephctl: Zephctl, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind("silent.sock")
        silent.listen()

        answer = zephctl("command", "ping", "--interface", "silent.sock", "--timeout", "0.1")

    assert answer == Answer(8, "", "zephctl: the server on silent.sock gave no answer in time; see its log\n")
