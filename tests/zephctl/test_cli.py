"""zephctl as a whole: finding commands, help that fits on a screen, and how each kind of error ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import pytest

from tests.zephctl.conftest import Answer, Terminal, interrupt
from zephctl import app, cli
from zephctl.cli import COMMANDS
from zephserver.core.server import Server
from zephserver.testing import wait_until
from zephserver.version import __version__

SCREEN = (24, 100)  # lines and columns


def all_commands() -> list[str]:
    """Every command as it is typed, also those of the groups."""
    found = []
    context = click.Context(cli.cli)
    for name in COMMANDS:
        command = cli.cli.get_command(context, name)
        found.append(name)
        if isinstance(command, click.Group):
            found += [f"{name} {verb}" for verb in command.commands]
    return found


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A screen of 100 columns."""
    monkeypatch.setenv("COLUMNS", str(SCREEN[1]))


# -- help ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", all_commands())
def test_help_fits_on_a_screen_and_has_an_example(zephctl: Callable[..., Answer], words: str) -> None:
    answer = zephctl(*words.split(), "--help")

    lines = answer.stdout.splitlines()
    assert answer.status == 0
    assert lines[0].startswith(f"Usage: zephctl {words} ")
    assert len(lines) <= SCREEN[0]
    assert max(map(len, lines)) <= SCREEN[1]
    assert any(line.startswith(f"    zephctl {words}") for line in lines)


@pytest.mark.parametrize(("columns", "beside"), [(100, 2), (80, 2), (79, 1), (40, 1)])
def test_help_lists_every_command_with_its_summary(
    zephctl: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, columns: int, beside: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    lines = zephctl("--help").stdout.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()

    listed = [re.split(r" {2,}", line.strip()) for line in lines]
    found = {cells[at]: cells[at + 1] for cells in listed for at in range(0, len(cells), 2)}
    assert found == {name: summary for name, (_, summary) in COMMANDS.items()}
    assert {len(cells) for cells in listed} == {2 * beside}
    assert max(map(len, lines)) <= columns


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_is_the_first_sentence_of_the_command(zephctl: Callable[..., Answer], name: str) -> None:
    summary = COMMANDS[name][1]
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None

    assert summary.endswith(".")
    assert len(summary) <= 25
    assert command.help


def test_every_file_of_commands_is_in_the_table() -> None:
    files = {path.stem for path in (Path(cli.__file__).parent / "commands").glob("[a-z]*.py")}

    assert files == {module for module, _ in COMMANDS.values()}


@pytest.mark.parametrize("words", [["-h"], ["status", "-h"], ["services", "-h"], ["services", "list", "-h"]])
def test_h_is_help(zephctl: Callable[..., Answer], words: list[str]) -> None:
    assert zephctl(*words).stdout.startswith("Usage: zephctl")


@pytest.mark.parametrize("words", [[], ["services"], ["settings"]])
def test_a_group_alone_shows_its_help_and_is_a_usage_error(zephctl: Callable[..., Answer], words: list[str]) -> None:
    answer = zephctl(*words)

    assert answer.status == 2
    assert "Commands:" in answer.stdout + answer.stderr


def test_the_version_is_told(zephctl: Callable[..., Answer]) -> None:
    assert zephctl("--version") == Answer(0, f"zephctl {__version__}\n", "")


def test_the_help_imports_no_command_and_nothing_heavy() -> None:
    program = (
        "import sys; from zephctl.cli import main; main(['--help']); "
        "print([m for m in sys.modules if m.startswith('zephctl.commands.') "
        "or m in ('rich', 'asyncio', 'zephserver.core.settings', 'zephserver.core.server')], file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.startswith("Usage: zephctl")
    assert done.stderr == "[]\n"


# -- words that are no command ------------------------------------------------------------------------------------


def test_an_unknown_command_that_is_close_to_one_is_asked_about(zephctl: Callable[..., Answer]) -> None:
    answer = zephctl("statusses")

    assert (answer.status, answer.stdout) == (2, "")
    assert answer.stderr == (
        "Usage: zephctl [OPTIONS] COMMAND [ARGS]...\nTry 'zephctl --help' for help.\n\n"
        "Error: No such command 'statusses'. Did you mean status?\n"
    )


def test_an_unknown_command_close_to_two_names_both(zephctl: Callable[..., Answer]) -> None:
    assert "Did you mean start or status?" in zephctl("stat").stderr


def test_an_unknown_command_close_to_none_names_the_help(zephctl: Callable[..., Answer]) -> None:
    answer = zephctl("frobnicate")

    assert answer.status == 2
    assert answer.stderr.endswith("Error: No such command 'frobnicate'. See: zephctl --help\n")


@pytest.mark.parametrize("word", ["__init__", "tail_log", "log_level", "cli", "STATUS", "", ".", "os"])
def test_a_module_is_no_command(zephctl: Callable[..., Answer], word: str) -> None:
    answer = zephctl(word)

    assert answer.status == 2
    assert f"No such command {word!r}" in answer.stderr


def test_an_unknown_verb_of_a_group_is_asked_about(zephctl: Callable[..., Answer]) -> None:
    answer = zephctl("services", "lst")

    assert answer.status == 2
    assert "No such command 'lst'. Did you mean 'list'?" in answer.stderr


def test_an_unknown_option_is_asked_about(zephctl: Callable[..., Answer]) -> None:
    answer = zephctl("status", "--folders", "x")

    assert answer.status == 2
    assert "No such option" in answer.stderr
    assert "--folder" in answer.stderr


def test_a_missing_argument_is_a_usage_error(zephctl: Callable[..., Answer]) -> None:
    answer = zephctl("services", "show")

    assert answer.status == 2
    assert "Missing argument 'NAME'" in answer.stderr


def test_no_command_is_hidden_from_the_list() -> None:
    context = click.Context(cli.cli)

    assert [name for name in COMMANDS if getattr(cli.cli.get_command(context, name), "hidden", False)] == []


# -- how errors end -----------------------------------------------------------------------------------------------


def test_an_error_is_a_line_on_stderr_and_a_status(zephctl: Callable[..., Answer], folder: Path) -> None:
    answer = zephctl("services", "list", "--interface", "x.sock")

    assert (answer.status, answer.stdout) == (5, "")
    assert answer.stderr == "zephctl: no server listens on x.sock; start one with: zephctl start\n"


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_an_error_is_json_where_json_was_asked_for(zephctl: Callable[..., Answer], folder: Path, mode: str) -> None:
    answer = zephctl("services", "list", "--interface", "x.sock", "-o", mode)

    assert (answer.status, answer.stdout) == (5, "")
    assert json.loads(answer.stderr) == {
        "schema": 1,
        "error": {
            "code": "unreachable",
            "message": "no server listens on x.sock; start one with: zephctl start",
        },
    }


def test_a_broken_settings_file_ends_with_file_and_line(
    zephctl: Callable[..., Answer], write_settings: Callable[..., Path]
) -> None:
    path = write_settings("SERVICE_LIST = []\nPORT_ZEPH = = 1\n")

    answer = zephctl("status")

    assert (answer.status, answer.stdout) == (6, "")
    assert answer.stderr == f"zephctl: {path}:2: invalid syntax: PORT_ZEPH = = 1\n"


def test_every_fault_of_the_settings_has_its_line(
    zephctl: Callable[..., Answer], write_settings: Callable[..., Path]
) -> None:
    path = write_settings("SERVICE_LIST = 'x'\nPORT_ZEPH = 70000\nLOG_LEVEl = 'INFO'\nLOG_LEVLE = 'INFO'\n")

    answer = zephctl("check")

    assert answer.status == 6
    assert answer.stderr == (
        f"zephctl: {path}:1: SERVICE_LIST: expected a list of 'path.to.module/ClassName', got 'x'\n"
        f"zephctl: {path}:2: PORT_ZEPH: expected a port from 0 to 65535, got 70000\n"
        f"zephctl: {path}:4: LOG_LEVLE: unknown setting; did you mean LOG_LEVEL?\n"
    )


@pytest.mark.parametrize("words", [["status", "-o", "json", "--nope"], ["services", "show", "-o", "json"]])
def test_a_usage_error_is_json_where_json_was_asked_for(zephctl: Callable[..., Answer], words: list[str]) -> None:
    answer = zephctl(*words)

    assert (answer.status, answer.stdout) == (2, "")
    assert json.loads(answer.stderr)["error"]["code"] == "usage"


def test_the_mode_of_an_earlier_command_is_forgotten(zephctl: Callable[..., Answer], folder: Path) -> None:
    zephctl("services", "list", "--interface", "x.sock", "-o", "json")

    assert zephctl("services", "list", "--interface", "x.sock").stderr.startswith("zephctl: no server listens")


def test_a_command_leaves_no_connection_behind(serve: Callable[..., Server]) -> None:
    server = serve()

    status = cli.main(["status"])

    assert status == 0
    try:
        wait_until(lambda: not server.control._clients, "the command hung up")
    finally:
        for one in app.current:
            one.client.close()


@contextmanager
def interrupting(path: Path) -> Iterator[None]:
    """Somebody who presses Ctrl-C as soon as he is asked something on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                with suppress(OSError):
                    connection.sendall(b" ")  # wakes recv(), if the signal came just before it
                    connection.recv(1)  # until the client is gone

        thread = threading.Thread(target=answer)
        thread.start()
        yield
        thread.join()


def test_ctrl_c_is_130_and_says_nothing(zephctl: Callable[..., Answer], tmp_path: Path) -> None:
    with interrupting(tmp_path / "x.sock"):
        answer = zephctl("status", "--interface", str(tmp_path / "x.sock"))

    assert (answer.status, answer.stdout, answer.stderr.strip()) == (130, "", "")


def test_ctrl_c_while_output_is_written_is_130(zephctl: Callable[..., Answer], serve: Callable[..., Server]) -> None:
    serve()
    terminal = Terminal()
    terminal.when("started, pid", interrupt)

    answer = zephctl("events", "--after", "0", terminal=terminal)

    assert answer.status == 130


def test_the_status_of_a_command_is_the_status_of_the_program(zephctl: Callable[..., Answer], folder: Path) -> None:
    assert zephctl("status", "--interface", "x.sock").status == 3


def test_python_m_zephctl_is_zephctl() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zephctl", "--version"], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == f"zephctl {__version__}\n"
