"""zephserver-start, -stop and -command: how they read their arguments, quote words and end."""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zephctl.conftest import Answer
from zephctl import scripts
from zephctl.scripts import talk
from zephserver.core.errors import ControlUnreachable, NoAnswer
from zephserver.core.server import Server
from zephserver.core.wire import parse_request
from zephserver.testing import wait_until
from zephserver.version import __version__

PROGRAMS = {
    "zephserver-start": scripts.start,
    "zephserver-stop": scripts.stop,
    "zephserver-command": scripts.command,
}
Run = Callable[..., Answer]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call one of the programs in this process."""

    def call(program: str, *words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", [program, *words])
        status = PROGRAMS[program]()
        captured = capsys.readouterr()
        return Answer(int(status), captured.out, captured.err)

    return call


# -- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_help_fits_on_a_screen_and_has_examples(run: Run, program: str, option: str) -> None:
    answer = run(program, option)

    lines = answer.stdout.splitlines()
    assert (answer.status, answer.stderr) == (0, "")
    assert lines[0].startswith(f"usage: {program} ")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 110
    assert sum(line.startswith(f"  {program}") for line in lines) >= 2
    assert "Exit status:" in answer.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_version_is_told(run: Run, program: str) -> None:
    assert run(program, "--version") == Answer(0, f"{program} {__version__}\n", "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_option_is_a_usage_error_in_two_lines(run: Run, program: str) -> None:
    answer = run(program, "--frobnicate")

    assert (answer.status, answer.stdout) == (2, "")
    first, second = answer.stderr.splitlines()
    assert first == f"{program}: unknown option --frobnicate"
    assert second.startswith(f"usage: {program} ")


@pytest.mark.parametrize("option", ["--settings", "--folder"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_an_option_without_its_value_is_a_usage_error(run: Run, program: str, option: str) -> None:
    answer = run(program, option)

    assert answer.status == 2
    assert answer.stderr.startswith(f"{program}: {option} needs a value\n")


def test_start_takes_no_words(run: Run) -> None:
    answer = run("zephserver-start", "now")

    assert answer.status == 2
    assert answer.stderr.startswith("zephserver-start: unexpected word 'now'\n")


def test_start_takes_no_interface(run: Run, folder: Path) -> None:
    answer = run("zephserver-start", "--interface", "x.sock")

    assert answer.status == 2
    assert answer.stderr.startswith("zephserver-start: unknown option --interface\n")


def test_stop_takes_one_socket_at_most(run: Run) -> None:
    answer = run("zephserver-stop", "a.sock", "b.sock")

    assert answer.status == 2
    assert answer.stderr.startswith("zephserver-stop: expected one socket at most\n")


def test_command_needs_words(run: Run) -> None:
    answer = run("zephserver-command")

    assert answer.status == 2
    assert answer.stderr.startswith("zephserver-command: expected a command, as in: zephserver-command status\n")


@pytest.mark.parametrize(
    ("argv", "options", "words"),
    [
        ([], {}, []),
        (["-d"], {"daemon": ""}, []),
        (["--daemon", "--folder", "x"], {"daemon": "", "folder": "x"}, []),
        (["--folder=x"], {"folder": "x"}, []),
        (["--folder="], {"folder": ""}, []),
        (["--folder", "-d"], {"folder": "-d"}, []),
        (["--interface=a=b", "status"], {"interface": "a=b"}, ["status"]),
        (["services", "--folder", "x"], {}, ["services", "--folder", "x"]),
        (["--", "-d"], {}, ["-d"]),
        (["-", "-d"], {}, ["-", "-d"]),
        (["--folder", "a", "--folder", "b"], {"folder": "b"}, []),
    ],
)
def test_options_come_before_the_first_word(argv: list[str], options: dict[str, str], words: list[str]) -> None:
    flags = {"-d": "daemon", "--daemon": "daemon"}

    assert scripts._arguments(argv, flags) == (options, words)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_folder_without_settings_is_exit_6(run: Run, folder: Path, program: str) -> None:
    words = ["status"] if program == "zephserver-command" else []

    answer = run(program, *words)

    assert answer == Answer(
        6,
        "",
        f"{program}: there is no zephsettings.py in {folder}; go to its folder, name it with --settings, "
        "or make one with: zephctl new chat\n",
    )


def test_every_fault_of_the_settings_is_a_line(run: Run, write_settings: Callable[..., Path]) -> None:
    path = write_settings("SERVICE_LIST = 3\nPORT_ZEPH = -1\n")

    answer = run("zephserver-start", "--daemon")

    assert answer == Answer(
        6,
        "",
        f"zephserver-start: {path}:1: SERVICE_LIST: expected a list of 'path.to.module/ClassName', got 3\n"
        f"zephserver-start: {path}:2: PORT_ZEPH: expected a port from 0 to 65535, got -1\n",
    )


# -- stop and command ---------------------------------------------------------------------------------------------


def test_stop_returns_when_the_server_is_down(run: Run, serve: Callable[..., Server]) -> None:
    server = serve()

    answer = run("zephserver-stop")

    assert answer == Answer(0, "stopping\nstopped\n", "")
    assert server.stopped.is_set()


def test_stop_takes_the_socket_as_its_word(
    run: Run, serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.chdir(tmp_path)

    assert run("zephserver-stop", server.control.path).status == 0
    assert server.stopped.is_set()


@pytest.mark.parametrize(("program", "words"), [("zephserver-stop", []), ("zephserver-command", ["status"])])
def test_no_server_is_one_line_with_the_socket_and_the_next_step(
    run: Run, write_settings: Callable[..., Path], folder: Path, program: str, words: list[str]
) -> None:
    write_settings(SERVICE_LIST=[])

    answer = run(program, *words)

    assert answer == Answer(
        5, "", f"{program}: no server listens on {folder}/interface.sock; start one with: zephserver-start\n"
    )


@pytest.mark.parametrize(("program", "word"), [("zephserver-stop", "interface.sock"), ("zephserver-command", "ping")])
def test_a_server_whose_socket_is_gone_is_named_with_what_ends_it(
    run: Run, unheard: str, program: str, word: str
) -> None:
    answer = run(program, word)

    shown = unheard if program == "zephserver-command" else unheard.replace(f"{Path.cwd()}/interface", "interface")
    assert answer == Answer(5, "", f"{program}: {shown}\n")


def test_command_prints_the_answer(run: Run, serve: Callable[..., Server]) -> None:
    serve(SERVICE_LIST=["workers/Puppet"])

    assert run("zephserver-command", "ping") == Answer(0, "pong\n", "")
    assert run("zephserver-command", "services", "list").stdout.startswith("workers/Puppet\tready\t")


def test_command_finds_the_server_by_interface(
    run: Run, serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.chdir(tmp_path)

    assert run("zephserver-command", f"--interface={server.control.path}", "ping") == Answer(0, "pong\n", "")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["services", "show", "nope"], 4, "no service named 'nope'; SERVICE_LIST has: workers/Talker"),
        (["statsu"], 2, "unknown command 'statsu'; did you mean status?"),
        (["ping", "pong"], 2, "too many positional arguments; usage: ping"),
        (["services", "wait", "Talker", "soon"], 2, "within: expected float, got 'soon'"),
        (["wait", "0"], 8, ""),
        (["talker.trip"], 1, "command talker.trip raised ValueError('one foot on the other'); the log has the"),
    ],
)
def test_an_error_of_the_server_has_its_exit_status(
    run: Run, serve: Callable[..., Server], words: list[str], status: int, message: str
) -> None:
    server = serve(SERVICE_LIST=["workers/Talker"])
    if status == 8:
        server.services.disable_service("workers/Talker")

    answer = run("zephserver-command", *words)

    assert (answer.status, answer.stdout) == (status, "")
    assert answer.stderr.startswith(f"zephserver-command: {message}")
    assert answer.stderr.count("\n") == 1


# -- words on the wire --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    ["plain", "two words", "", "it's", '"quoted"', "back\\slash", "a;b|c&d", "$HOME", "#no", "{", '{"id": 1}'],
)
def test_a_word_arrives_as_it_was_typed(serve: Callable[..., Server], word: str) -> None:
    server = serve(SERVICE_LIST=["workers/Talker"])

    assert list(talk(server.control.path, ["talker.greet", word])) == [f"hello {word}"]


def test_words_of_other_languages_arrive(serve: Callable[..., Server]) -> None:
    server = serve(SERVICE_LIST=["workers/Talker"])

    assert list(talk(server.control.path, ["talker.greet", "Łódź 🙂"])) == ["hello Łódź 🙂"]


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])), min_size=1))
def test_any_words_are_read_by_the_server_as_they_were_written(words: list[str]) -> None:
    line = " ".join(map(scripts._quoted, words)).encode()

    assert parse_request(line).words == tuple(words)


@given(st.text())
def test_a_word_never_ends_the_line(word: str) -> None:
    assert "\n" not in scripts._quoted(word)
    assert shlex.split(scripts._quoted(word)) == [word.replace("\n", " ")]


def test_bytes_that_are_no_text_are_refused_with_a_sentence(run: Run, serve: Callable[..., Server]) -> None:
    serve()

    answer = run("zephserver-command", "ping", "\udcff")

    assert answer == Answer(2, "", "zephserver-command: the request is not UTF-8\n")


# -- talk ---------------------------------------------------------------------------------------------------------


def test_talk_yields_the_lines_as_they_come(serve: Callable[..., Server]) -> None:
    server = serve()
    answer = talk(server.control.path, ["stop"])

    first = next(answer)
    rest = list(answer)

    assert (first, rest) == ("stopping", ["stopped"])


def test_talk_closes_its_connection_when_nobody_wants_more(serve: Callable[..., Server]) -> None:
    server = serve()
    answer = talk(server.control.path, ["events", "0"])
    next(answer)

    answer.close()  # type: ignore[attr-defined]

    wait_until(lambda: not server.control._clients, "the server noticed")


def test_talk_to_nobody_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(ControlUnreachable):
        list(talk(str(tmp_path / "x.sock"), ["ping"]))


def test_talk_to_somebody_silent_ends_with_the_time_out(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(path)
        silent.listen()

        with pytest.raises(NoAnswer, match=f"^the server on {path} gave no answer in time; see its log$"):
            list(talk(path, ["ping"], timeout=0.05))
