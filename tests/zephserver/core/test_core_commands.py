"""What the core answers on the control socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from zephserver.core import core_commands
from zephserver.core.errors import (
    BadRequest,
    NoAnswer,
    ServiceFailed,
    ServiceNotLoaded,
    UnknownService,
    ZephError,
)
from zephserver.core.events import Recovered, ServiceDied
from zephserver.core.lifecycle import State
from zephserver.core.server import Server
from zephserver.core.service import Service
from zephserver.core.settings import make_settings
from zephserver.testing import wait_for, wait_until

if TYPE_CHECKING:
    from tests.zephserver.core.conftest import Bench

Run = Callable[..., Any]


@pytest.fixture
def server(bench: Bench, tmp_path: Path) -> Iterator[Server]:
    """A server with the services bench/Alpha and bench/Beta."""
    values = {"SERVICE_LIST": [bench.puppet("Alpha"), bench.puppet("Beta")], "METRICS_TOKEN": "hush"}
    with Server(make_settings(values, folder=tmp_path)) as server:
        yield server


@pytest.fixture
def run(server: Server) -> Run:
    """Run a command by its words, as the control socket does; streams come as a list."""

    def run(line: str, **args: Any) -> Any:
        row, words = server.table.find_words(line.split())
        result = row.call(words, args)
        return list(result) if isinstance(result, Iterator) else result

    return run


def test_help_has_every_command_with_its_usage_and_help(run: Run) -> None:
    rows = {row["command"]: row["help"] for row in run("help")}

    assert rows["ping"] == "Whether the server answers at all."
    assert rows["services show NAME"] == "Everything about one service."
    assert all(rows.values())
    assert not any("partial" in help for help in rows.values())


def test_ping_and_status_answer(run: Run, server: Server) -> None:
    assert run("ping") == "pong"
    assert run("status")["services"]["ready"] == 2


def test_services_are_listed_and_shown(run: Run) -> None:
    assert [(row["name"], row["state"]) for row in run("services list")] == [
        ("bench/Alpha", "ready"),
        ("bench/Beta", "ready"),
    ]
    assert run("services show bench/Alpha")["thread"] == "service:bench/Alpha"


def test_a_service_may_be_named_by_its_class(run: Run, server: Server) -> None:
    assert run("services show Alpha")["name"] == "bench/Alpha"
    with pytest.raises(UnknownService, match="SERVICE_LIST has: bench/Alpha, bench/Beta"):
        run("services show Gamma")


def test_a_class_that_several_services_have_is_not_enough(run: Run, server: Server) -> None:
    with pytest.raises(ServiceNotLoaded):
        server.services.create_service("elsewhere/Alpha")

    with pytest.raises(ZephError, match="'Alpha' is the class of several services: bench/Alpha, elsewhere/Alpha"):
        run("services show Alpha")


def test_a_service_is_disabled_and_enabled(run: Run, server: Server) -> None:
    disabled = run("services disable Alpha")
    assert (disabled["state"], disabled["changed"]) == ("available", True)
    assert run("services disable Alpha")["changed"] is False

    enabled = run("services enable Alpha")

    assert (enabled["state"], enabled["changed"]) == ("ready", True)
    assert run("services enable Alpha")["changed"] is False


def test_a_service_is_restarted(run: Run, server: Server) -> None:
    before = server.get_service("bench/Alpha").lives[-1]

    assert run("services restart Alpha")["state"] == "ready"

    wait_until(lambda: server.get_service("bench/Alpha").lives[-1] is not before)


def test_a_failed_service_is_reset(run: Run, server: Server) -> None:
    puppet = server.get_service("bench/Alpha")
    while server.services.state("bench/Alpha") is not State.FAILED:
        puppet.orders.put(RuntimeError("again"))
        try:
            server.get_service("bench/Alpha")
        except ServiceFailed:
            break
    while not puppet.orders.empty():
        puppet.orders.get()

    assert run("services reset Alpha")["state"] == "ready"

    assert run("services reset Alpha")["changed"] is False


def test_the_stack_of_a_service_is_shown(run: Run) -> None:
    assert "self.orders.get()" in run("services stack Alpha")
    run("services disable Alpha")
    assert run("services stack Alpha") == "service bench/Alpha has no thread: it is available"


def test_waiting_for_a_service(run: Run, server: Server, bench: Bench) -> None:
    class Slow(bench.Puppet, Service):
        notify_ready = True

    name = bench.add(Slow)
    server.services.create_service(name)
    assert run("services enable Slow no")["state"] == "starting"
    with pytest.raises(NoAnswer, match="service bench/Slow is not ready: it is starting"):
        run("services wait Slow 0.01")
    with pytest.raises(NoAnswer, match="not ready: bench/Slow: it is starting"):
        run("wait 0.01")

    server.get_service(name).ready()

    assert run("services wait Slow 5")["state"] == "ready"
    assert run("wait")["ready"] is True


def test_enabling_waits_until_the_service_is_ready_and_says_when_it_is_not(
    run: Run, server: Server, bench: Bench
) -> None:
    class Slow(bench.Puppet, Service):
        notify_ready = True

    name = bench.add(Slow)
    server.services.create_service(name)
    server.services._services[name].error = None
    object.__setattr__(server.settings, "start_timeout", -0.99)  # wait a hundredth of a second

    with pytest.raises(NoAnswer, match="service bench/Slow is not ready: it is starting"):
        run("services enable Slow")


def test_stopping_streams_its_progress(run: Run, server: Server) -> None:
    assert run("stop") == ["stopping", "stopped"]
    assert server.stop_reason == "command stop"


def test_a_stop_that_was_not_clean_says_so(run: Run, server: Server) -> None:
    server.exit_status = 1

    assert run("stop")[-1] == "stopped, but not cleanly: see the log"


def test_waiting_ends_when_the_server_stops(server: Server) -> None:
    server.request_stop("test")
    server.closed.wait(5)

    with pytest.raises(NoAnswer, match="not ready: "):
        core_commands.wait(server, 5)


def test_events_are_those_that_are_kept_and_those_that_come(run: Run, server: Server) -> None:
    kept = run("events 0 no")
    assert [event["kind"] for event in kept][:2] == ["ServerStarted", "ServiceChanged"]
    assert kept[0]["seq"] == 1
    assert run("events 2 no")[0]["seq"] == 3

    stream = core_commands.events(server)
    first: list[Any] = []
    reader = threading.Thread(target=lambda: first.append(next(event for event in stream if event)))
    reader.start()
    server.bus.publish(Recovered(what="something"))

    reader.join(5)
    assert first[0]["text"] == "recovered: something"
    stream.close()  # type: ignore[attr-defined]


def test_events_that_are_not_kept_any_more_are_counted(run: Run, server: Server) -> None:
    for number in range(1_100):
        server.bus.publish(Recovered(what=str(number)))

    first = run("events 0 no")[0]

    assert first["kind"] == "Lost"
    assert first["count"] == server.bus.journal.last - 1_000


def test_while_somebody_looks_the_events_that_nobody_else_reads_are_made(server: Server) -> None:
    from zephserver.core.events import CommandServed

    assert not server.bus.wants(CommandServed)
    stream = core_commands.events(server, after=0)
    next(stream)

    assert server.bus.wants(CommandServed)
    stream.close()  # type: ignore[attr-defined]
    assert not server.bus.wants(CommandServed)


def test_a_stream_gives_a_sign_of_life_and_ends_with_the_server(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_commands, "PULSE", 0.01)
    events, log = core_commands.events(server), core_commands.tail_log(server, lines=0, follow=True)

    assert next(events) is None
    assert next(log) is None
    server.stop()

    assert [event["kind"] for event in events if event][-1] == "ServerStopped"
    assert [line["text"] for line in log if line][-1].endswith("s")


def test_the_log_is_shown_from_its_end_with_a_cursor(run: Run, server: Server) -> None:
    for word in ("one", "two", "three"):
        server.log.write("INFO", word)

    lines = run("log tail 2")

    assert [line["text"].rpartition(" ")[2] for line in lines] == ["two", "three"]
    assert lines[1]["cursor"] == f"{server.log.boot}:{server.log.journal.last}"
    assert [line["text"][-5:] for line in run("log tail", cursor=lines[0]["cursor"])] == ["three"]


def test_the_log_is_filtered_by_level_and_service(run: Run, server: Server) -> None:
    server.log.write("ERROR", "bad", service="bench/Alpha")
    server.log.write("INFO", "fine", service="bench/Alpha")
    server.log.write("ERROR", "other", service="bench/Beta")
    server.log.write("ERROR", "of a logger", service="my.logger")

    def texts(**args: Any) -> list[str]:
        return [line["text"].rpartition("] ")[2] for line in run("log tail", **args)]

    assert texts(level="error", service="Alpha") == ["bad"]
    assert texts(service="bench/Beta", lines=1) == ["other"]
    assert texts(service="my.logger") == ["of a logger"]


def test_the_cursor_of_an_earlier_run_starts_at_the_beginning_and_says_so(run: Run, server: Server) -> None:
    lines = run("log tail", cursor="0badcafe:7")

    assert lines[0]["text"] == "the server was started anew since; its log so far follows"
    assert "started, pid" in lines[1]["text"]
    with pytest.raises(BadRequest, match=f"a cursor looks like {server.log.boot}:"):
        run("log tail", cursor="nonsense")


def test_lines_that_are_not_kept_any_more_are_counted(run: Run, server: Server) -> None:
    for number in range(5_100):
        server.log.write("INFO", str(number))

    first = run("log tail", cursor=f"{server.log.boot}:0")[0]

    assert first["lost"] == server.log.journal.last - 5_000


def test_following_the_log_shows_what_comes(server: Server) -> None:
    stream = core_commands.tail_log(server, lines=0, follow=True)
    found: list[Any] = []
    reader = threading.Thread(target=lambda: found.append(next(line for line in stream if line)))
    reader.start()

    server.log.write("INFO", "news")

    reader.join(5)
    assert found[0]["text"].endswith("news")


def test_log_levels_are_shown_and_set(run: Run, server: Server) -> None:
    assert run("log level") == {"server": "INFO"}
    assert run("log level debug Alpha") == {"server": "INFO", "bench/Alpha": "DEBUG"}
    assert run("log level warning") == {"server": "WARNING"}
    with pytest.raises(BadRequest, match="expected a level such as 'INFO', got 'loud'"):
        run("log level loud")


def test_the_log_is_reopened(run: Run, server: Server, tmp_path: Path) -> None:
    (tmp_path / "logging.log").rename(tmp_path / "yesterday.log")

    run("log reopen")
    server.log.write("INFO", "news")

    wait_until(lambda: (tmp_path / "logging.log").exists() and "news" in (tmp_path / "logging.log").read_text())


def test_settings_are_shown_without_secrets(run: Run) -> None:
    rows = {row["name"]: row["value"] for row in run("settings show")}

    assert rows["SERVICE_LIST"] == ["bench/Alpha", "bench/Beta"]
    assert rows["METRICS_TOKEN"] == "***"


def test_deaths_are_told_to_the_log_with_the_service(run: Run, server: Server) -> None:
    server.get_service("bench/Alpha").orders.put(RuntimeError("crash"))
    wait_for(server.bus, ServiceDied, name="bench/Alpha")

    wait_until(lambda: any("RuntimeError: crash" in line["text"] for line in run("log tail", service="Alpha")))
