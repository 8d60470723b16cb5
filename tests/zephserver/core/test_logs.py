"""The log: one event is one line, harmless to a terminal, without secrets."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zephserver.core import logs, runtime
from zephserver.core.bus import EventBus
from zephserver.core.events import CommandServed, Recovered, ServiceChanged, ServiceDied
from zephserver.core.lifecycle import State
from zephserver.core.log_file import LogFile
from zephserver.core.logs import Line, Log, LogHandler, LogStream, escape
from zephserver.testing import FakeClock, wait_until

Make = Callable[..., Log]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "logging.log"


@pytest.fixture
def make(path: Path) -> Iterator[Make]:
    """Makes started logs, closed at the end."""
    made: list[Log] = []

    def make(**more: object) -> Log:
        log = Log(LogFile(path), EventBus(FakeClock(0.0)), clock=FakeClock(0.0), **more)  # type: ignore[arg-type]
        log.start()
        made.append(log)
        return log

    yield make
    for log in made:
        log.close()


def written(log: Log, path: Path) -> list[str]:
    """The lines in the file, after the log is closed."""
    log.close()
    return path.read_text().splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ü 漢 \U0001f600", "plain ü 漢 \U0001f600"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x07\x00\x7f", r"\x1b[31mred\x07\x00\x7f"),
        ("\x80\x9b2J\x9f", r"\x80\x9b2J\x9f"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("\u202eevil\u202c\u2066\u2069", r"\u202eevil\u202c\u2066\u2069"),
        ("half \ud800", r"half \ud800"),
        ("a\x0bb\x0cc\x1cd\x1de\x1e", r"a\x0bb\x0cc\x1cd\x1de\x1e"),
    ],
)
def test_what_could_end_hide_or_colour_a_line_is_escaped(text: str, expected: str) -> None:
    assert escape(text) == expected
    assert len(escape(text).splitlines()) == 1


def test_one_line_has_time_level_service_and_text(make: Make, path: Path) -> None:
    log = make()

    log.write("WARNING", "careful\nnow", service="a/B", at=0.25)

    line = written(log, path)[0]
    assert line.endswith(r".250 WARNING  [a/B] careful\nnow")


def test_a_traceback_stands_on_the_same_line(make: Make, path: Path) -> None:
    log = make()

    log.write("ERROR", "broken", trace="Traceback:\n  here\n")

    assert written(log, path)[0].endswith(r"ERROR    broken | Traceback:\n  here")


def test_the_name_of_a_service_cannot_start_a_line_of_its_own(make: Make, path: Path) -> None:
    log = make()

    log.write("INFO", "hello", service="a\nb\x1b[2J")

    assert len(written(log, path)) == 1
    assert "\x1b" not in path.read_text()


def test_json_has_one_object_a_line(make: Make, path: Path) -> None:
    log = make(format="json")

    log.write("INFO", "hi\u2028", service="a/B", trace="x\ny", fields={"cid": 3, "odd": {1, 2}})
    log.write("INFO", "ho")

    first, second = map(json.loads, written(log, path))
    assert first == {
        "seq": 1, "at": 0.0, "level": "INFO", "text": r"hi\u2028", "service": "a/B", "trace": "x\ny",
        "fields": {"cid": 3, "odd": "{1, 2}"},
    }  # fmt: skip
    assert second == {"seq": 2, "at": 0.0, "level": "INFO", "text": "ho"}


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2",
        "login with Password: hunter2 failed",
        "{'db_password': 'hunter2', 'x': 1}",
        '{"secret": "hunter2 and more"}',
        "Authorization: Bearer hunter2",
        "authorization: basic hunter2",
        "Cookie: hunter2; path=/",
        "?session_id=hunter2&x=1",
        "sessionid = hunter2",
        "api_token=hunter2,",
        "the cluster secret is s3cr3t(.*)!",
    ],
)
def test_secrets_are_starred(make: Make, path: Path, format: str, text: str) -> None:
    log = make(format=format, secret_values=["s3cr3t(.*)!", ""])

    log.write("INFO", text, trace=text)

    line = written(log, path)[0]
    assert "hunter2" not in line
    assert "s3cr3t" not in line
    assert line.count("***") == 2


@pytest.mark.parametrize("format", ["text", "json"])
def test_secrets_in_the_facts_of_an_event_are_starred(make: Make, path: Path, format: str) -> None:
    log = make(format=format, secret_values=["s3cr3t"])

    error = "ValueError: password=hunter2, s3cr3t"
    log._bus.publish(ServiceDied(name="a/B", error=error, traceback=f"Traceback\n{error}\n"))

    line = written(log, path)[0]
    assert "hunter2" not in line
    assert "s3cr3t" not in line


def test_ordinary_words_are_left_as_they_are(make: Make, path: Path) -> None:
    log = make()

    log.write("INFO", "the password was changed; token ring; a:b=c")

    assert written(log, path)[0].endswith("the password was changed; token ring; a:b=c")


def test_a_very_long_line_is_cut(make: Make, path: Path) -> None:
    log = make()

    log.write("INFO", "x" * 1_000_000, trace="y" * 1_000_000)

    assert len(written(log, path)[0]) < 2 * logs.LONGEST + 100


def test_what_is_less_severe_than_the_level_is_left_out(make: Make, path: Path) -> None:
    log = make(level="WARNING")

    log.write("INFO", "no")
    log.write("ERROR", "yes")

    assert [line[-3:] for line in written(log, path)] == ["yes"]


def test_a_service_can_have_a_level_of_its_own(make: Make, path: Path) -> None:
    log = make(level="WARNING")
    log.set_level("DEBUG", "a/B")
    assert (log.level("a/B"), log.level("c/D"), log.level()) == ("DEBUG", "WARNING", "WARNING")
    assert log.floor == logging.DEBUG

    log.write("DEBUG", "one", service="a/B")
    log.write("DEBUG", "two", service="c/D")
    log.set_level("ERROR")
    log.write("WARNING", "three", service="a/B")

    assert log.levels() == {"": "ERROR"}
    assert [line[-3:] for line in written(log, path)] == ["one"]


def test_events_become_lines_with_their_service_and_level(make: Make, path: Path) -> None:
    log = make()
    bus = log._bus

    bus.publish(ServiceChanged(name="a/B", old=State.STARTING, new=State.READY))
    bus.publish(ServiceDied(name="a/B", error="oops", traceback="Traceback\nhere"))
    bus.publish(Recovered(what="something"))
    bus.publish(CommandServed(command="x", uid=0, seconds=0.1))  # DEBUG

    first, second, third = written(log, path)
    assert "INFO     service a/B went from starting to ready" in first
    assert r"ERROR    service a/B died: oops | Traceback\nhere" in second
    assert "WARNING  recovered: something" in third


def test_the_bus_is_asked_for_no_more_than_the_level_needs(make: Make) -> None:
    log = make()
    assert not log._bus.wants(CommandServed)

    log.set_level("DEBUG", "a/B")

    assert log._bus.wants(CommandServed)


def test_the_last_lines_are_kept_in_memory_with_numbers(make: Make) -> None:
    log = make()

    log.write("INFO", "one")
    log.write("INFO", "two")

    kept, lost = log.journal.after(0)
    assert [(line.seq, line.text) for line in kept] == [(1, "one"), (2, "two")]
    assert lost == 0
    assert len(log.boot) == 8


def test_after_closing_nothing_is_written(make: Make, path: Path) -> None:
    log = make()
    log.close()

    log.write("INFO", "too late")

    assert path.read_text() == ""


def test_a_log_that_was_never_started_can_be_closed(path: Path) -> None:
    Log(LogFile(path), EventBus()).close()

    assert path.read_text() == ""


def test_reopening_starts_a_new_file_with_the_next_line(make: Make, path: Path) -> None:
    log = make()
    log.write("INFO", "old")
    wait_until(lambda: "old" in path.read_text())
    path.rename(f"{path}-yesterday")

    log.reopen()
    log.write("INFO", "new")

    assert [line[-3:] for line in written(log, path)] == ["new"]


def test_a_reopening_that_fails_is_told_and_the_log_goes_on(make: Make, path: Path, tmp_path: Path) -> None:
    log = make()
    path.rename(f"{path}-yesterday")
    path.mkdir()

    log.reopen()
    log.write("INFO", "still here")

    wait_until(lambda: log.journal.last == 2)
    path.rmdir()
    log.write("INFO", "and here")
    assert [line[-8:] for line in written(log, path)][-1:] == ["and here"]
    assert "the log cannot be opened anew" in path.read_text() + Path(f"{path}-yesterday").read_text()


def test_lines_that_the_writer_could_not_keep_up_with_are_counted(
    make: Make, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "UNWRITTEN", 5)
    inside, gate = threading.Event(), threading.Event()
    log = make()
    write = log._file.write

    def slowly(lines: list[bytes]) -> None:
        inside.set()
        gate.wait(5)
        write(lines)

    monkeypatch.setattr(log._file, "write", slowly)
    log.write("INFO", "first")
    assert inside.wait(5)

    for number in range(10):
        log.write("INFO", f"line {number}")
    gate.set()

    text = "\n".join(written(log, path))
    assert "5 lines of this log are lost" in text
    assert "line 4" in text
    assert "line 5" not in text


def test_fifty_threads_lose_and_tear_no_line(make: Make, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "KEPT", 20_000)
    log = make()

    def write(who: int) -> None:
        for number in range(100):
            log.write("INFO", f"<{who}:{number}>")

    threads = [threading.Thread(target=write, args=(who,)) for who in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    found = [line.rpartition(" ")[2] for line in written(log, path)]
    assert sorted(found) == sorted(f"<{who}:{number}>" for who in range(50) for number in range(100))


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of its own, without handlers at the end."""
    logger = logging.getLogger("test.of.the.log")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    logger.handlers.clear()
    logger.propagate = True


def in_server(server: object, act: Callable[[], object], service: str = "") -> None:
    """Do something in a thread of the server."""
    runtime.spawn("test", act, server, service=service).join(5)  # type: ignore[arg-type]


def test_records_made_in_a_servers_threads_go_to_its_log(make: Make, path: Path, logger: logging.Logger) -> None:
    log, server, other = make(), object(), object()
    logger.addHandler(LogHandler(log, server, everything=False))

    in_server(server, lambda: logger.info("%s words", "mine"))
    in_server(server, lambda: logger.info("in a service"), service="a/B")
    in_server(other, lambda: logger.info("of another server"))
    logger.info("of the host program")

    lines = written(log, path)
    assert [line.partition("INFO     ")[2] for line in lines] == ["[test.of.the.log] mine words", "[a/B] in a service"]


def test_a_process_of_its_own_takes_the_records_of_all_threads(make: Make, path: Path, logger: logging.Logger) -> None:
    log = make()
    logger.addHandler(LogHandler(log, object(), everything=True))

    logger.warning("of nobody")

    assert written(log, path)[0].endswith("of nobody")


def test_records_carry_their_traceback(make: Make, path: Path, logger: logging.Logger) -> None:
    log = make()
    logger.addHandler(LogHandler(log, object(), everything=True))

    try:
        raise ValueError("inner")
    except ValueError:
        logger.exception("outer")

    line = written(log, path)[0]
    assert r"outer | Traceback (most recent call last):\n" in line
    assert line.endswith("ValueError: inner")


def test_a_wrong_format_string_is_logged_as_it_stands(make: Make, path: Path) -> None:
    log = make()

    LogHandler(log, object(), everything=True).emit(logging.LogRecord("x", 20, "f", 1, "%d of %d", (1,), None))

    assert "'%d of %d' % (1,) raised TypeError" in written(log, path)[0]


def test_a_text_of_a_traceback_is_taken_as_it_is(make: Make, path: Path, logger: logging.Logger) -> None:
    log = make()
    handler = LogHandler(log, object(), everything=True)
    record = logging.LogRecord("x", 35, "f.py", 1, "between two levels", None, None)
    record.exc_text = "cached"

    handler.emit(record)

    assert written(log, path)[0].endswith("WARNING  [x] between two levels | cached")


@pytest.mark.parametrize(("number", "name"), [(5, "DEBUG"), (20, "INFO"), (45, "ERROR"), (99, "CRITICAL")])
def test_a_number_between_two_levels_has_the_name_of_the_lower_one(number: int, name: str) -> None:
    assert logs._name(number) == name


def test_what_a_daemon_prints_becomes_lines(make: Make, path: Path) -> None:
    log = make()
    stream = LogStream(log, "WARNING")

    print("one\ntwo\n\n", file=stream)

    assert stream.writable()
    assert [line[-3:] for line in written(log, path)] == ["one", "two"]


def test_a_line_tells_its_facts_as_a_dict() -> None:
    assert Line(1, 0.1234567, "INFO", "", "x").as_dict() == {"seq": 1, "at": 0.123457, "level": "INFO", "text": "x"}


def test_a_line_of_a_worker_says_of_which(make: Make, path: Path) -> None:
    log = make()

    log.write("INFO", "hello", service="a/B", worker=3)

    (line,) = log.journal.after(0)[0]
    assert line.as_dict() == {
        "seq": 1, "at": 0.0, "level": "INFO", "text": "hello", "service": "a/B", "worker": 3
    }  # fmt: skip
    assert written(log, path)[0].endswith(" INFO     [a/B] worker 3: hello")


def test_an_unknown_level_counts_as_info(make: Make, path: Path) -> None:
    log = make()

    log.write("NOTICE", "heard")

    assert written(log, path)[0].endswith("heard")
    assert log.dropped == 0
