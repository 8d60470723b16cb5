"""zephctl tail-log: the last lines, those that come, and where a reader resumes."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

from tests.zephctl.conftest import Answer, Terminal, interrupt, order
from zephctl import app
from zephserver.core.server import Server
from zephserver.testing import running_server, wait_until

Zephctl = Callable[..., Answer]
Serve = Callable[..., Server]

PUPPET = "workers/Puppet"
STAMP = len("2026-11-22 12:43:06.027 ")


@pytest.fixture
def server(serve: Serve) -> Server:
    """A server whose log has the lines one to twelve at the end."""
    server = serve(SERVICE_LIST=[PUPPET])
    for number in range(1, 13):
        server.log.write("INFO", f"line {number}")
    return server


def texts(stdout: str) -> list[str]:
    """The lines without their time."""
    return [line[STAMP:] for line in stdout.splitlines()]


# -- the last lines -----------------------------------------------------------------------------------------------


def test_ten_lines_are_shown_unless_asked_otherwise(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("tail-log")

    assert (answer.status, answer.stderr) == (0, "")
    assert texts(answer.stdout) == [f"INFO     line {number}" for number in range(3, 13)]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_as_many_lines_are_shown_as_asked_for(zephctl: Zephctl, server: Server, count: int) -> None:
    lines = texts(zephctl("tail-log", "-n", str(count)).stdout)

    assert lines == [f"INFO     line {number}" for number in range(13 - count, 13)]


def test_more_lines_than_there_are_is_the_whole_log(zephctl: Zephctl, server: Server) -> None:
    lines = texts(zephctl("tail-log", "-n", "1000").stdout)

    assert lines[0].startswith("INFO     zephserver ")
    assert len(lines) == server.log.journal.last


@pytest.mark.parametrize("count", ["-1", "many", "1.5"])
def test_a_number_of_lines_that_is_none_is_a_usage_error(zephctl: Zephctl, server: Server, count: str) -> None:
    assert zephctl("tail-log", "-n", count).status == 2


def test_the_lines_are_those_of_the_file(zephctl: Zephctl, server: Server, folder: Path) -> None:
    log = folder / "logging.log"
    wait_until(lambda: "line 12" in log.read_text(), "the log is written")

    assert zephctl("tail-log", "-n", "1000").stdout == log.read_text()


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_lines_in_json_are_objects_with_a_cursor(zephctl: Zephctl, server: Server, mode: str) -> None:
    answer = zephctl("tail-log", "-n", "1", "-o", mode)

    line = answer.json
    number = server.log.journal.last
    assert line.pop("at") == pytest.approx(server.clock.time())
    assert line.pop("text").endswith(" INFO     line 12")
    assert line == {"seq": number, "level": "INFO", "cursor": f"{server.log.boot}:{number}"}


def test_control_characters_arrive_escaped(zephctl: Zephctl, server: Server) -> None:
    server.log.write("INFO", "a\x1b[2Jb\nc")

    assert texts(zephctl("tail-log", "-n", "1").stdout) == ["INFO     a\\x1b[2Jb\\nc"]


# -- only some ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["warning", "WARNING"])
def test_less_severe_lines_can_be_left_out(zephctl: Zephctl, server: Server, level: str) -> None:
    server.log.write("WARNING", "oh")
    server.log.write("INFO", "well")
    server.log.write("CRITICAL", "no")

    assert texts(zephctl("tail-log", "--level", level).stdout) == ["WARNING  oh", "CRITICAL no"]


def test_a_level_that_is_none_is_a_usage_error(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("tail-log", "--level", "loud")

    assert (answer.status, answer.stdout) == (2, "")
    assert "loud" in answer.stderr


@pytest.mark.parametrize("name", ["Puppet", PUPPET])
def test_the_lines_of_one_service_can_be_picked(zephctl: Zephctl, server: Server, name: str) -> None:
    server.log.write("INFO", "mine", service=PUPPET)
    server.log.write("INFO", "not mine", service="other")

    lines = texts(zephctl("tail-log", "-n", "1", "--service", name).stdout)

    assert lines == [f"INFO     [{PUPPET}] mine"]


def test_as_many_lines_of_a_service_are_shown_as_asked_for(zephctl: Zephctl, server: Server) -> None:
    server.log.write("INFO", "mine 1", service="cash")
    server.log.write("INFO", "mine 2", service="cash")
    for _ in range(20):
        server.log.write("INFO", "of somebody else")

    lines = texts(zephctl("tail-log", "-n", "2", "--service", "cash").stdout)

    assert lines == ["INFO     [cash] mine 1", "INFO     [cash] mine 2"]


# -- since when, and which words -----------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["-f"], ["--since", "1h"], ["--grep", "x"]])
def test_a_service_that_nobody_has_is_exit_4(zephctl: Zephctl, server: Server, more: list[str]) -> None:
    answer = zephctl("tail-log", "--service", "Pupet", *more)

    assert answer == Answer(4, "", f"zephctl: no service named 'Pupet'; SERVICE_LIST has: {PUPPET}\n")


def test_a_logger_is_as_good_as_a_service(zephctl: Zephctl, server: Server) -> None:
    server.log.write("INFO", "by a library", service="django")

    assert texts(zephctl("tail-log", "--service", "django").stdout) == ["INFO     [django] by a library"]
    assert zephctl("tail-log", "--service", "django.request") == Answer(0, "", "")  # it has not logged yet


def test_lines_with_an_expression_can_be_picked(zephctl: Zephctl, server: Server) -> None:
    assert texts(zephctl("tail-log", "--grep", "line 1?[12]$").stdout) == [
        f"INFO     line {number}" for number in (1, 2, 11, 12)
    ]


def test_as_many_lines_with_an_expression_are_shown_as_asked_for(zephctl: Zephctl, server: Server) -> None:
    assert texts(zephctl("tail-log", "-n", "1", "--grep", "line [12]$").stdout) == ["INFO     line 2"]


@pytest.mark.parametrize("pattern", ["(", "*", "[", "(?P<x"])
def test_an_expression_that_is_none_is_a_usage_error(zephctl: Zephctl, server: Server, pattern: str) -> None:
    answer = zephctl("tail-log", "--grep", pattern)

    assert (answer.status, answer.stdout) == (2, "")
    assert "is no regular expression" in answer.stderr


def test_since_leaves_older_lines_out_and_asks_for_all_others(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()
    begin = server.clock.time()
    server.clock.advance(3_600)  # type: ignore[attr-defined]
    for number in range(20):
        server.log.write("INFO", f"later {number}")
    moment = datetime.fromtimestamp(begin + 60).isoformat(timespec="minutes")

    lines = texts(zephctl("tail-log", "--since", moment).stdout)

    assert lines == [f"INFO     later {number}" for number in range(20)]
    assert texts(zephctl("tail-log", "--since", moment, "-n", "2").stdout) == lines[-2:]


def test_since_counts_from_now(zephctl: Zephctl, server: Server) -> None:
    server.log.write("INFO", "just now", at=time.time() - 30)

    assert texts(zephctl("tail-log", "--since", "1m").stdout) == ["INFO     just now"]
    assert zephctl("tail-log", "--since", "10s").stdout == ""


@pytest.mark.parametrize("moment", ["soon", "10", "10y", "2026-13-01", "-5m", "99999999999999d"])
def test_a_time_that_is_none_is_a_usage_error(zephctl: Zephctl, server: Server, moment: str) -> None:
    answer = zephctl("tail-log", f"--since={moment}")

    assert (answer.status, answer.stdout) == (2, "")
    assert "is no time; write 30s, 10m, 2h, 7d or 2026-11-22T15:00" in " ".join(answer.stderr.split())


def test_wishes_are_joined(zephctl: Zephctl, server: Server) -> None:
    server.log.write("ERROR", "disk of cash", service="cash")
    server.log.write("INFO", "disk of cash is back", service="cash")
    server.log.write("ERROR", "disk of others", service="other")

    answer = zephctl("tail-log", "--service", "cash", "--level", "error", "--grep", "disk", "--since", "9d")

    assert texts(answer.stdout) == ["ERROR    disk of cash"]


def test_lines_of_an_earlier_run_come_from_the_file(
    zephctl: Zephctl, folder: Path, write_settings: Callable[..., Path]
) -> None:
    write_settings(SERVICE_LIST=[])
    with running_server(folder) as first:
        first.log.write("INFO", "long ago")
    with running_server(folder):
        words = [line.split()[1] for line in texts(zephctl("tail-log", "-n", "6").stdout)]

    assert words == ["ready:", "long", "stopping:", "stopped", "zephserver", "ready:"]


def test_rotated_files_are_read_too(zephctl: Zephctl, serve: Serve, folder: Path) -> None:
    server = serve(LOG_MAX_BYTES=60_000)
    flood(server, 7_000)

    lines = texts(zephctl("tail-log", "-n", "6500").stdout)

    assert lines == [f"INFO     flood {number}" for number in range(500, 7_000)]
    assert (folder / "logging.log.5").exists()


def test_a_json_log_has_no_seam_either(zephctl: Zephctl, serve: Serve) -> None:
    server = serve(LOG_FORMAT="json")
    flood(server, 5_500)

    rows = [json.loads(line) for line in zephctl("tail-log", "-n", "5400", "-o", "jsonl").stdout.splitlines()]

    assert [row["text"][STAMP:] for row in rows] == [f"INFO     flood {number}" for number in range(100, 5_500)]
    assert [row["cursor"] for row in rows] == [
        f"{server.log.boot}:{seq}" for seq in range(rows[0]["seq"], server.log.journal.last + 1)
    ]


# -- resuming -----------------------------------------------------------------------------------------------------


def test_a_reader_resumes_after_its_cursor(zephctl: Zephctl, server: Server) -> None:
    cursor = zephctl("tail-log", "-n", "1", "-o", "json").json["cursor"]
    server.log.write("INFO", "news 1")
    server.log.write("INFO", "news 2")

    assert texts(zephctl("tail-log", "--after", cursor).stdout) == ["INFO     news 1", "INFO     news 2"]


def test_nothing_new_is_nothing(zephctl: Zephctl, server: Server) -> None:
    cursor = zephctl("tail-log", "-n", "1", "-o", "json").json["cursor"]

    assert zephctl("tail-log", "--after", cursor) == Answer(0, "", "")


def test_of_what_came_after_the_cursor_only_the_last_lines_are_shown(zephctl: Zephctl, server: Server) -> None:
    cursor = zephctl("tail-log", "-n", "1", "-o", "json").json["cursor"]
    for number in range(5):
        server.log.write("INFO", f"news {number}")

    assert texts(zephctl("tail-log", "--after", cursor, "-n", "2").stdout) == ["INFO     news 3", "INFO     news 4"]
    assert zephctl("tail-log", "--after", cursor, "-n", "0") == Answer(0, "", "")


def test_following_after_a_cursor_begins_with_the_last_lines(zephctl: Zephctl, server: Server) -> None:
    terminal = Terminal()
    terminal.when("line 12", lambda: server.log.write("INFO", "fresh"))
    terminal.when("fresh", interrupt)

    answer = zephctl("tail-log", "-f", "--after", f"{server.log.boot}:1", "-n", "1", "--color", "never",
                     terminal=terminal)  # fmt: skip

    assert answer.status == 130
    assert texts(answer.stdout) == ["INFO     line 12", "INFO     fresh"]


def test_a_cursor_of_an_earlier_run_and_a_number_get_the_last_lines_and_a_word(
    zephctl: Zephctl, server: Server
) -> None:
    answer = zephctl("tail-log", "--after", "00000000:3", "-n", "2")

    assert texts(answer.stdout) == ["INFO     line 11", "INFO     line 12"]
    assert answer.stderr == "the server was started anew since; its log so far follows\n"


def test_a_cursor_of_an_earlier_run_gets_the_whole_log_and_a_word(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("tail-log", "--after", "00000000:3")

    assert answer.status == 0
    assert len(answer.stdout.splitlines()) == server.log.journal.last
    assert answer.stderr == "the server was started anew since; its log so far follows\n"


def flood(server: Server, count: int) -> None:
    """Log more than the server remembers."""
    for number in range(count):
        server.log.write("INFO", f"flood {number}")


def test_lines_that_the_server_forgot_come_from_the_files(zephctl: Zephctl, server: Server) -> None:
    flood(server, 5_000)

    answer = zephctl("tail-log", "--after", f"{server.log.boot}:0")

    lines = texts(answer.stdout)
    assert (answer.status, answer.stderr) == (0, "")
    assert lines[-5_012:] == [f"INFO     line {n}" for n in range(1, 13)] + [
        f"INFO     flood {n}" for n in range(5_000)
    ]
    assert len(lines) == server.log.journal.last


def test_lines_that_even_the_files_have_lost_are_counted(zephctl: Zephctl, server: Server, folder: Path) -> None:
    flood(server, 5_000)
    wait_until(lambda: "flood 4999" in (folder / "logging.log").read_text(), "the log is written")
    (folder / "logging.log").write_text("")

    answer = zephctl("tail-log", "--after", f"{server.log.boot}:0", "--level", "error")

    lost = server.log.journal.last - 5_000
    assert answer == Answer(0, "", f"{lost} lines are lost: neither the server nor its files have them any more\n")


@pytest.mark.parametrize("cursor", ["xx", "abc:", "abc:-1", ":x"])
def test_a_cursor_that_is_none_is_a_usage_error(zephctl: Zephctl, server: Server, cursor: str) -> None:
    answer = zephctl("tail-log", "--after", cursor)

    looks = f"{server.log.boot}:{server.log.journal.last}"
    assert answer == Answer(2, "", f"zephctl: a cursor looks like {looks}, got {cursor!r}\n")


# -- following ----------------------------------------------------------------------------------------------------


def test_new_lines_are_shown_as_they_come(zephctl: Zephctl, server: Server) -> None:
    terminal = Terminal()
    terminal.when("line 12", lambda: server.log.write("INFO", "fresh"))
    terminal.when("fresh", interrupt)

    answer = zephctl("tail-log", "-f", "-n", "1", "--color", "never", terminal=terminal)

    assert (answer.status, answer.stderr.strip()) == (130, "")
    assert texts(answer.stdout) == ["INFO     line 12", "INFO     fresh"]


def test_a_quiet_log_is_no_time_out(zephctl: Zephctl, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "TIMEOUT", 0.1)
    terminal = Terminal()
    timer = threading.Timer(0.4, server.log.write, ["INFO", "fresh"])
    terminal.when("line 12", timer.start)
    terminal.when("fresh", interrupt)

    answer = zephctl("tail-log", "-f", "-n", "1", terminal=terminal)
    timer.join()

    assert (answer.status, answer.stderr.strip()) == (130, "")


def test_a_restart_of_the_server_is_followed_and_no_line_is_lost_or_doubled(
    zephctl: Zephctl, folder: Path, write_settings: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zephctl.commands.tail_log.PAUSE", 0.01)
    values = {"SERVICE_LIST": [], "PORT_ZEPH": 0}
    write_settings(**values)
    terminal = Terminal()
    with ExitStack() as stack:
        first = stack.enter_context(running_server(folder, **values))

        def start_again() -> None:
            second = stack.enter_context(running_server(folder, **values))
            second.log.write("INFO", "and so on")

        terminal.when("ready: 0 services", lambda: first.stop("the test"))
        terminal.when("stopped in", start_again)
        terminal.when("and so on", interrupt)
        answer = zephctl("tail-log", "-f", terminal=terminal)

    words = [line.split()[1] for line in texts(answer.stdout)]
    assert answer.status == 130
    assert words == ["zephserver", "ready:", "stopping:", "stopped", "zephserver", "ready:", "and"]
    assert answer.stderr.startswith("the server was started anew since; its log so far follows\n")


def test_a_traceback_has_its_own_lines_on_a_terminal_and_one_in_a_pipe(zephctl: Zephctl, server: Server) -> None:
    order(server, PUPPET, ValueError("no luck"))
    wait_until(lambda: "no luck" in zephctl("tail-log").stdout, "the death is logged")

    people = zephctl("tail-log", "--level", "error", "--color", "never", terminal=Terminal())
    program = zephctl("tail-log", "--level", "error")

    lines = people.stdout.splitlines()
    assert lines[0].endswith(f"service {PUPPET} died: ValueError: no luck")
    assert lines[1] == "    Traceback (most recent call last):"
    assert lines[-1] == "    ValueError: no luck"
    assert program.stdout.count("\n") == 1
    assert " | Traceback (most recent call last):\\n" in program.stdout


def test_levels_have_colours_on_a_terminal(zephctl: Zephctl, server: Server) -> None:
    server.log.write("ERROR", "oh")

    answer = zephctl("tail-log", "-n", "1", terminal=Terminal())

    assert answer.stdout.startswith("\x1b[31m")
    assert answer.stdout.endswith(" ERROR    oh\x1b[0m\n")


# -- without a server ---------------------------------------------------------------------------------------------


@pytest.fixture
def log(folder: Path, write_settings: Callable[..., Path]) -> Path:
    """The log of a server that does not run."""
    write_settings(SERVICE_LIST=[], LOG_PATH="old.log")
    log = folder / "old.log"
    log.write_bytes(b"one\ntwo\nthr\xffee\n")
    return log


def test_without_a_server_the_end_of_the_file_is_shown(zephctl: Zephctl, log: Path) -> None:
    answer = zephctl("tail-log", "-n", "2")

    assert answer == Answer(0, "two\nthr\\xffee\n", f"no server runs; these are the last lines of {log}\n")


def test_the_end_of_the_file_in_json(zephctl: Zephctl, log: Path) -> None:
    answer = zephctl("tail-log", "-n", "1", "-o", "jsonl")

    assert json.loads(answer.stdout) == {"text": "thr\\xffee"}


def test_without_a_server_rotated_files_are_searched(zephctl: Zephctl, log: Path) -> None:
    day = "2026-11-22 12:0"
    log.with_name("old.log.1").write_text(f"{day}1:00.000 ERROR    [cash] broke\n{day}2:00.000 INFO     [cash] well\n")
    log.write_text(f"{day}3:00.000 ERROR    broke too\n{day}4:00.000 ERROR    [cash] broke again\n")

    shown = zephctl("tail-log", "--service", "cash", "--level", "error", "--since", "2026-11-22T12:00").stdout

    assert texts(shown) == ["ERROR    [cash] broke", "ERROR    [cash] broke again"]


def test_without_a_server_and_a_file_it_is_a_failure_even_when_quiet(zephctl: Zephctl, log: Path) -> None:
    log.unlink()

    answer = zephctl("tail-log", "-q")

    assert answer == Answer(1, "", f"zephctl: {log} cannot be read: No such file or directory\n")


def test_a_log_that_is_a_fifo_or_a_link_is_not_read(zephctl: Zephctl, log: Path) -> None:
    log.rename(log.with_name("else"))
    log.symlink_to("else")
    assert zephctl("tail-log") == Answer(1, "", f"zephctl: {log} cannot be read: it is a symbolic link\n")

    log.unlink()
    os.mkfifo(log)
    assert zephctl("tail-log") == Answer(1, "", f"zephctl: {log} cannot be read: it is not a plain file\n")


def test_a_server_whose_socket_is_gone_is_not_said_to_be_down(zephctl: Zephctl, unheard: str, folder: Path) -> None:
    answer = zephctl("tail-log", "-n", "1")

    assert (answer.status, answer.stderr) == (0, f"{unheard}; these are the last lines of {folder}/logging.log\n")


def test_without_a_server_there_is_nothing_to_follow(zephctl: Zephctl, log: Path) -> None:
    answer = zephctl("tail-log", "-f")

    assert (answer.status, answer.stdout) == (5, "")
    assert answer.stderr.startswith("zephctl: no server listens on ")


def test_a_log_on_stderr_has_no_file(zephctl: Zephctl, write_settings: Callable[..., Path]) -> None:
    write_settings(SERVICE_LIST=[], LOG_PATH="-")

    answer = zephctl("tail-log")

    assert (answer.status, answer.stdout) == (1, "")
    assert "LOG_PATH is '-'" in answer.stderr
