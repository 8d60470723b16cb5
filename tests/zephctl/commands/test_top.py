"""zephctl top: lines in a pipe, and a picture on a terminal."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.zephctl.commands.pseudo import ZEPHCTL, PseudoTerminal
from tests.zephctl.conftest import Answer, Terminal, interrupt, order
from tests.zephserver.conftest import Site
from zephserver.core.errors import ZephError
from zephserver.core.server import Server
from zephserver.testing import running_server, wait_until

Zephctl = Callable[..., Answer]
Serve = Callable[..., Server]

PUPPET, OTHER = "workers/Puppet", "workers/Other"
QUICK = ("--interval", "0.1")
COLUMNS = "time ready services cpu memory connections rooms in out tasks p50 p99 running waiting failed\n"


# -- in a pipe ----------------------------------------------------------------------------------------------------


def test_a_pipe_gets_a_line_a_tick(zephctl: Zephctl, serve: Serve) -> None:
    serve(SERVICE_LIST=[PUPPET, OTHER])

    answer = zephctl("top", "-n", "2", *QUICK)

    lines = [line.split("\t") for line in answer.stdout.splitlines()]
    assert (answer.status, answer.stderr) == (0, COLUMNS)
    assert [line[1:3] for line in lines] == [["ready", "2/2"]] * 2
    assert {len(line) for line in lines} == {len(COLUMNS.split())}
    assert all(line[5:] == ["-"] * 10 for line in lines)  # without a WebSocket service


def test_the_numbers_of_web_sockets_stand_in_their_columns(zephctl: Zephctl, site: Site) -> None:
    ann = site.join("ann")
    ann.ask("echo", 1)
    ann.ask("fail", ["oh", "no"])

    answer = zephctl("top", "-n", "1", "-q", *QUICK)

    cells = dict(zip(COLUMNS.split(), answer.stdout.rstrip("\n").split("\t"), strict=True))
    assert answer.stderr == ""
    assert (cells["services"], cells["connections"], cells["running"], cells["failed"]) == ("4/4", "1", "0", "1")


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_json_has_everything_an_object_a_tick(zephctl: Zephctl, site: Site, mode: str) -> None:
    site.join("ann").ask("echo", 1)

    answer = zephctl("top", "-n", "2", *QUICK, "-o", mode)

    moments = [json.loads(line) for line in answer.stdout.splitlines()]
    moment = moments[1]
    assert answer.stderr == ""
    assert len(moments) == 2
    assert (moment["schema"], moment["running"], moment["ready"], moment["connections"]) == (1, True, True, 1)
    assert moment["services"][2]["name"] == "zephserver.router/Router"
    assert set(moment["services"][2]) == {"name", "state", "since", "restarts", "error", "cpu"}
    assert {task["name"] for task in moment["tasks"]} > {"echo", "thread", "TaskPing"}
    assert set(moment["all_tasks"]) == {"name", "rate", "p50", "p99", "running", "failed"}


def test_a_terminal_without_keys_gets_lines(zephctl: Zephctl, serve: Serve) -> None:
    serve(SERVICE_LIST=[PUPPET])

    answer = zephctl("top", "-n", "1", *QUICK, terminal=Terminal())  # stdin is none

    assert "\tready\t1/1\t" in answer.stdout
    assert "\x1b" not in answer.stdout


@pytest.mark.parametrize("mode", ["plain", "json", "table"])
@pytest.mark.usefixtures("no_server")
def test_a_server_that_does_not_run_is_told_at_once(zephctl: Zephctl, mode: str) -> None:
    answer = zephctl("top", "-o", mode)

    assert (answer.status, answer.stdout) == (5, "")
    assert "zephctl start" in answer.stderr


@pytest.mark.parametrize("mode", ["plain", "json", "table"])
def test_a_server_that_does_not_answer_is_given_up(zephctl: Zephctl, silent_server: tuple[str, ...], mode: str) -> None:
    answer = zephctl("top", "-o", mode, *silent_server)

    assert (answer.status, answer.stdout) == (8, "")
    assert "gave no answer in time" in answer.stderr


@pytest.mark.parametrize("words", [["-n", "0"], ["--interval", "0"], ["--interval", "nan"], ["-n", "x"], ["more"]])
def test_wrong_words_are_a_usage_error(zephctl: Zephctl, words: list[str]) -> None:
    assert zephctl("top", *words).status == 2


def test_lines_go_on_when_the_server_is_back(
    zephctl: Zephctl, folder: Path, write_settings: Callable[..., Path]
) -> None:
    write_settings(SERVICE_LIST=[PUPPET])
    terminal = Terminal()
    with servers(folder) as start:
        stop = start()
        terminal.when('"running": true', stop)
        terminal.when('"running": false', start)
        answer = zephctl("top", "-n", "20", "--interval", "0.05", "-o", "json", terminal=terminal)

    ups = [json.loads(line)["running"] for line in answer.stdout.splitlines()]
    assert (ups[0], ups[-1], all(ups)) == (True, True, False)
    assert len(ups) == 20
    assert answer.stderr.count("waiting until it is back") == 1


def test_ctrl_c_ends_the_lines(zephctl: Zephctl, serve: Serve) -> None:
    serve(SERVICE_LIST=[PUPPET])
    terminal = Terminal()
    terminal.when("1/1", interrupt)

    assert zephctl("top", *QUICK, terminal=terminal).status == 130


@contextmanager
def servers(folder: Path) -> Iterator[Callable[[], Callable[[], None]]]:
    """Start servers of the folder, one after the other; what start() returns stops it."""
    running: list[Any] = []

    def stop() -> None:
        if running:
            running.pop().__exit__(None, None, None)

    def start() -> Callable[[], None]:
        server = running_server(folder, SERVICE_LIST=[PUPPET])
        server.__enter__()
        running.append(server)
        return stop

    try:
        yield start
    finally:
        stop()


# -- on a terminal ------------------------------------------------------------------------------------------------


@pytest.fixture
def server(serve: Serve) -> Server:
    """A server with two services that do as they are told."""
    return serve(SERVICE_LIST=[PUPPET, OTHER])


@pytest.fixture
def top(server: Server) -> Iterator[PseudoTerminal]:
    """The live view of that server, drawn."""
    with PseudoTerminal("top", *QUICK) as terminal:
        terminal.until("Puppet")
        yield terminal


def test_the_services_are_drawn(top: PseudoTerminal, server: Server) -> None:
    def is_measured() -> bool:
        server.clock.advance(0.01)  # type: ignore[attr-defined]
        return "%" in top.screen.display[2]

    top.until(is_measured, "a share of a core")
    top.until(" q quit")

    lines = top.text.splitlines()
    assert lines[0].startswith(" zephserver ")
    assert " ready  " in lines[0]
    assert lines[-1] == " q quit ? help s sort / filter r restart e enable d disable l log p pause"
    assert any(line.startswith(" Puppet   ready ") for line in lines)


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 60), (40, 10), (20, 5)])
def test_it_fits_terminals_of_all_sizes(site: Site, columns: int, lines: int) -> None:
    with PseudoTerminal("top", *QUICK, columns=columns, lines=lines) as terminal:
        terminal.until(" q quit")

        shown = terminal.text.splitlines()
        assert len(shown) == lines
        assert shown[0].startswith(" zephserver")
        assert shown[-1].startswith(" q quit")
        assert any(line.startswith(" SERVIC") for line in shown)
        terminal.type("q")
        assert terminal.ended() == 0


def test_it_follows_the_size_of_its_window(top: PseudoTerminal) -> None:
    for columns, lines in ((120, 40), (40, 10), (80, 24)):
        top.resize(columns, lines)
        top.until(lambda lines=lines: " q quit" in [*top.screen.display, *[""] * lines][lines - 1], f"{lines} lines")
        assert top.text.count(" q quit") == 1


def test_states_have_colours(top: PseudoTerminal) -> None:
    assert top.style_of("ready   ").fg == "green"


def test_without_colours_when_nobody_wants_them(server: Server) -> None:
    with PseudoTerminal("top", *QUICK, NO_COLOR="1") as terminal:
        terminal.until("Puppet")
        terminal.type("j")
        terminal.until(lambda: terminal.style_of(" Other").reverse, "the second service is selected")

        assert terminal.colours() == {"default"}


def test_color_never_means_it_too(server: Server) -> None:
    with PseudoTerminal("top", *QUICK, "--color", "never") as terminal:
        terminal.until("Puppet")

        assert terminal.colours() == {"default"}


def test_an_encoding_without_pictures_gets_ascii(server: Server) -> None:
    with PseudoTerminal("top", *QUICK, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0") as terminal:
        terminal.until("Puppet")
        terminal.type("?")
        terminal.until("any key goes back")

        assert terminal.text.isascii()
        assert b"\\u" not in terminal.raw


def test_a_terminal_that_cannot_draw_gets_lines(server: Server) -> None:
    with PseudoTerminal("top", "-n", "1", *QUICK, TERM="dumb") as terminal:
        assert terminal.ended() == 0

        assert b"\x1b" not in terminal.raw
        assert b"\tready\t2/2\t" in terminal.raw


# -- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["\x1b[B", "\x1bOB", "j"])
def test_keys_select_a_service(top: PseudoTerminal, key: str) -> None:
    assert top.style_of(" Puppet").reverse

    top.type(key)

    top.until(lambda: top.style_of(" Other").reverse, "the second service is selected")
    assert not top.style_of(" Puppet").reverse


def test_r_restarts_the_selected_service_when_it_may(top: PseudoTerminal, server: Server) -> None:
    thread = server.services.details(PUPPET)["thread"]
    since = server.services.details(PUPPET)["since"]
    assert thread is not None
    server.clock.advance(5)  # type: ignore[attr-defined]

    top.type("r")
    top.until("restart Puppet? y/n")
    top.type("n")
    top.until("q quit")
    assert server.services.details(PUPPET)["since"] == since

    top.type("ry")
    top.until("Puppet: restarted, ready")
    assert server.services.details(PUPPET)["since"] > since


def test_d_disables_and_e_enables(top: PseudoTerminal, server: Server) -> None:
    top.type("jdy")
    top.until("Other: disabled, available")
    assert not server.services.details(OTHER)["enabled"]

    top.type("e")
    top.until("Other: enabled, ready")
    assert server.services.details(OTHER)["enabled"]


def test_what_goes_wrong_is_told(top: PseudoTerminal, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ZephError("not on a Sunday")

    monkeypatch.setattr(server.services, "restart_service", refuse)

    top.type("ry")

    top.until("Puppet: not on a Sunday")
    assert top.style_of("Puppet: not").fg == "red"


def test_a_death_is_seen(top: PseudoTerminal, server: Server) -> None:
    order(server, PUPPET, ValueError("one foot on the other"))

    top.until("back-off")
    top.until("Puppet: ValueError")


def test_l_follows_the_log(top: PseudoTerminal, server: Server) -> None:
    top.type("l")
    top.until("LOG of Puppet")
    top.until("went from starting to ready")

    server.log.write("WARNING", "soon it rains", service=PUPPET)
    top.until("WARNING  soon it rains")

    top.type("l")
    top.until(lambda: "LOG" not in top.text, "the log is closed")


def test_a_filter_shows_some_and_escape_all(top: PseudoTerminal) -> None:
    top.type("/oth\r")
    top.until(lambda: " Puppet" not in top.text, "only the other service is shown")

    top.type("\x1b")
    top.until(" Puppet")


def test_p_stops_the_numbers(top: PseudoTerminal, server: Server) -> None:
    top.type("p")
    top.until(" paused ")
    server.services.disable_service(OTHER)
    top.type("jk?")
    top.until("any key goes back")
    top.type("x")
    top.until(" Other")
    assert "available" not in top.text

    top.type("p")
    top.until("available")


def test_help_explains_the_keys(top: PseudoTerminal) -> None:
    top.type("?")
    top.until("follow its log")

    top.type("q")  # goes back only
    top.until(" Puppet")


def test_a_count_ends_it(server: Server) -> None:
    with PseudoTerminal("top", "-n", "2", *QUICK) as terminal:
        assert terminal.ended() == 0
        assert b"Puppet" in terminal.raw
        assert terminal.is_as_before()


# -- the end, and what comes between ------------------------------------------------------------------------------


def test_q_leaves_the_terminal_as_it_was(top: PseudoTerminal) -> None:
    assert not top.is_as_before()

    top.type("q")

    assert top.ended() == 0
    assert top.is_as_before()


def test_ctrl_c_leaves_the_terminal_as_it_was(top: PseudoTerminal) -> None:
    top.type("\x03")

    assert top.ended() == 130
    assert top.is_as_before()
    assert "Traceback" not in top.text


def test_so_does_a_polite_kill(top: PseudoTerminal) -> None:
    top.signal(signal.SIGTERM)

    assert top.ended() == 0
    assert top.is_as_before()


def test_so_does_a_crash(server: Server) -> None:
    code = "import zephctl.top.live as live; live.lines = lambda *_: 1 / 0; " + ZEPHCTL
    with PseudoTerminal("top", *QUICK, code=code) as terminal:
        assert terminal.ended() == 1

        assert terminal.is_as_before()
        assert b"ZeroDivisionError" in terminal.raw.rpartition(b"\x1b[?1049l")[2]


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(top: PseudoTerminal) -> None:
    top.type("\x1a")
    wait_until(lambda: "T (stopped)" in Path(f"/proc/{top.process.pid}/status").read_text(), "it is stopped")
    top.until(top.is_as_before, "the terminal is given back")

    top.signal(signal.SIGCONT)

    top.until(lambda: not top.is_as_before(), "it draws again")
    top.until("Puppet")
    top.type("q")
    assert top.ended() == 0


def test_a_server_that_goes_away_is_told_and_shown_again(folder: Path, write_settings: Callable[..., Path]) -> None:
    write_settings(SERVICE_LIST=[PUPPET])
    with servers(folder) as start:
        stop = start()
        with PseudoTerminal("top", *QUICK) as terminal:
            terminal.until(" ready  ")
            stop()
            terminal.until("no answer since ")
            terminal.until(" no answer  ")
            assert "Puppet" in terminal.text

            start()
            terminal.until(lambda: "no answer" not in terminal.text, "it is back")
            terminal.until(" ready  ")
            terminal.type("q")
            assert terminal.ended() == 0


def test_a_log_goes_on_when_the_server_is_back(folder: Path, write_settings: Callable[..., Path]) -> None:
    write_settings(SERVICE_LIST=[PUPPET])
    with servers(folder) as start:
        stop = start()
        with PseudoTerminal("top", *QUICK) as terminal:
            terminal.until("Puppet")
            terminal.type("l")
            terminal.until("went from starting to ready")
            stop()
            terminal.until("no answer since ")

            start()
            terminal.until(lambda: terminal.text.count("went from starting to ready") == 2, "the new log")


def test_only_what_changes_is_sent(top: PseudoTerminal) -> None:
    sent = len(top.raw)
    before = top.text
    top.until(lambda: top.text != before, "another second")

    assert len(top.raw) - sent < 2_000
