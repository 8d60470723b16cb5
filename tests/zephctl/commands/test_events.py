"""zephctl events: what happens in the server, as it happens."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

from tests.zephctl.conftest import Answer, Terminal, interrupt
from zephctl import app
from zephserver.core.events import CommandServed, SettingsWarned
from zephserver.core.server import Server
from zephserver.testing import running_server, wait_until

Zephctl = Callable[..., Answer]
Serve = Callable[..., Server]

PUPPET = "workers/Puppet"
STAMP = len("2026-11-22 12:43:06.027 ")


def test_past_events_are_numbered_sentences(zephctl: Zephctl, serve: Serve) -> None:
    serve(SERVICE_LIST=[PUPPET])

    answer = zephctl("events", "--after", "1", "--no-follow")

    lines = answer.stdout.splitlines()
    assert (answer.status, answer.stderr) == (0, "")
    assert lines[:4] == [
        f"2\tservice {PUPPET} went from declared to constructing",
        f"3\tservice {PUPPET} went from constructing to available",
        f"4\tservice {PUPPET} went from available to starting",
        f"5\tservice {PUPPET} went from starting to ready",
    ]
    assert lines[4].startswith("6\tready: 1 service in ")


def test_without_following_the_past_is_shown_from_the_start(zephctl: Zephctl, serve: Serve) -> None:
    serve()

    lines = zephctl("events", "--no-follow").stdout.splitlines()

    assert lines[0].startswith("1\tzephserver ")


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_events_in_json_are_objects_one_a_line(zephctl: Zephctl, serve: Serve, mode: str) -> None:
    serve(SERVICE_LIST=[PUPPET])

    lines = zephctl("events", "--after", "4", "--no-follow", "-o", mode).stdout.splitlines()

    event = json.loads(lines[0])
    assert event.pop("at") > 0
    assert event == {
        "kind": "ServiceChanged",
        "level": "INFO",
        "text": f"service {PUPPET} went from starting to ready",
        "seq": 5,
        "name": PUPPET,
        "old": "starting",
        "new": "ready",
        "error": None,
    }


def test_on_a_terminal_an_event_has_its_time(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()

    line = zephctl("events", "--no-follow", "--color", "never", terminal=Terminal()).stdout.splitlines()[0]

    at = datetime.fromtimestamp(server.bus.journal.after(0)[0][0].at).isoformat(" ", "milliseconds")
    assert line.startswith(f"{at}     1 zephserver ")


def test_events_are_followed_over_a_restart(
    zephctl: Zephctl, folder: Path, write_settings: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zephctl.commands.events.PAUSE", 0.01)
    values = {"SERVICE_LIST": [], "PORT_ZEPH": 0}
    write_settings(**values)
    terminal = Terminal()
    with ExitStack() as stack:
        first = stack.enter_context(running_server(folder, **values))

        def start_again() -> None:
            second = stack.enter_context(running_server(folder, **values))
            second.bus.publish(CommandServed(command="again", uid=0, seconds=0.0))

        terminal.when("ready: 0 services", lambda: first.stop("the test"))
        terminal.when("stopped in", start_again)
        terminal.when("command again", interrupt)
        answer = zephctl("events", "--after", "0", "--color", "never", terminal=terminal)

    words = [line[STAMP:].split()[:2] for line in answer.stdout.splitlines()]
    run = [["1", "zephserver"], ["2", "ready:"], ["3", "stopping:"], ["4", "stopped"]]
    assert answer.status == 130
    assert words[: len(run) + 2] == run + run[:2]
    assert answer.stderr.startswith("the server was started anew; its events are numbered anew\n")


def test_following_begins_now(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()
    terminal = Terminal()
    terminal.when("stopping: the test", interrupt)

    def stop_when_followed() -> None:
        wait_until(lambda: server.bus.wants(CommandServed), "somebody reads every event")
        server.request_stop("the test")

    stopper = threading.Thread(target=stop_when_followed)
    stopper.start()
    answer = zephctl("events", "--color", "never", terminal=terminal)
    stopper.join()

    assert answer.status == 130
    assert answer.stdout.splitlines()[0].endswith(" stopping: the test")


def test_a_quiet_server_is_no_time_out(zephctl: Zephctl, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    monkeypatch.setattr(app, "TIMEOUT", 0.1)
    terminal = Terminal()
    timer = threading.Timer(0.4, server.request_stop, ["the test"])
    terminal.when("ready: 0 services", timer.start)
    terminal.when("stopping: the test", interrupt)

    answer = zephctl("events", "--after", "0", terminal=terminal)
    timer.join()

    assert (answer.status, answer.stderr.strip()) == (130, "")


def test_events_that_are_not_kept_any_more_are_counted(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()
    for _ in range(1_100):
        server.bus.publish(CommandServed(command="ping", uid=0, seconds=0.0))

    lines = zephctl("events", "--after", "0", "--no-follow").stdout.splitlines()

    assert lines[0] == "102 events are not kept any more"
    assert lines[1] == "103\tcommand ping from uid 0"


def test_ctrl_c_ends_it_with_130(zephctl: Zephctl, serve: Serve) -> None:
    serve()
    terminal = Terminal()
    terminal.when("ready: 0 services", interrupt)

    answer = zephctl("events", "--after", "0", terminal=terminal)

    assert (answer.status, answer.stderr.strip()) == (130, "")


def test_no_server_is_exit_5(zephctl: Zephctl, write_settings: Callable[..., object]) -> None:
    write_settings(SERVICE_LIST=[])

    answer = zephctl("events")

    assert (answer.status, answer.stdout) == (5, "")
    assert answer.stderr.startswith("zephctl: no server listens on ")


# -- only some ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ServiceChanged", "servicechanged"])
def test_events_of_one_kind_can_be_picked(zephctl: Zephctl, serve: Serve, kind: str) -> None:
    serve(SERVICE_LIST=[PUPPET])

    lines = zephctl("events", "--no-follow", "--kind", kind).stdout.splitlines()

    assert len(lines) == 4
    assert all(f"service {PUPPET} went from " in line for line in lines)


def test_several_kinds_are_joined(zephctl: Zephctl, serve: Serve) -> None:
    serve(SERVICE_LIST=[PUPPET])

    answer = zephctl("events", "--no-follow", "--kind", "ServerStarted", "--kind", "ServerReady", "-o", "jsonl")

    assert [json.loads(line)["kind"] for line in answer.stdout.splitlines()] == ["ServerStarted", "ServerReady"]


@pytest.mark.parametrize("more", [[], ["-f"]])
def test_a_kind_that_there_is_not_is_a_usage_error_with_those_there_are(
    zephctl: Zephctl, serve: Serve, more: list[str]
) -> None:
    serve()

    answer = zephctl("events", "--kind", "Nope", *more)

    assert (answer.status, answer.stdout) == (2, "")
    assert "No event is of the kind 'Nope'; there are: " in answer.stderr
    assert "ServerReady" in answer.stderr


def test_a_kind_of_a_service_is_known(zephctl: Zephctl, serve: Serve, folder: Path) -> None:
    (folder / "cash.py").write_text(
        "from workers import Puppet\nfrom zephserver.core.events import Event\n\n\n"
        "class Sold(Event):\n    pass\n\n\nclass Desk(Puppet):\n    pass\n"
    )
    serve(SERVICE_LIST=["cash/Desk"])

    assert zephctl("events", "--no-follow", "--kind", "Sold") == Answer(0, "", "")


@pytest.mark.parametrize("name", [PUPPET, "Puppet"])
def test_events_about_one_service_can_be_picked(zephctl: Zephctl, serve: Serve, name: str) -> None:
    serve(SERVICE_LIST=[PUPPET, "workers/Other"])

    lines = zephctl("events", "--no-follow", "--service", name).stdout.splitlines()

    assert len(lines) == 4
    assert all(f"service {PUPPET} went from " in line for line in lines)


@pytest.mark.parametrize("more", [[], ["--no-follow"]])
def test_a_service_that_nobody_has_is_exit_4(zephctl: Zephctl, serve: Serve, more: list[str]) -> None:
    serve(SERVICE_LIST=[PUPPET])

    answer = zephctl("events", "--service", "Pupet", *more)

    assert answer == Answer(4, "", f"zephctl: no service named 'Pupet'; SERVICE_LIST has: {PUPPET}\n")


def test_less_severe_events_can_be_left_out(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()
    server.bus.publish(SettingsWarned(text="write it otherwise"))

    answer = zephctl("events", "--no-follow", "--level", "warning", "-o", "jsonl")

    assert [json.loads(line)["text"] for line in answer.stdout.splitlines()] == ["write it otherwise"]


def test_events_with_an_expression_can_be_picked(zephctl: Zephctl, serve: Serve) -> None:
    serve(SERVICE_LIST=[PUPPET])

    lines = zephctl("events", "--no-follow", "--grep", "to (starting|ready)$").stdout.splitlines()

    assert [line.rpartition(" ")[2] for line in lines] == ["starting", "ready"]


def test_an_expression_that_is_none_is_a_usage_error(zephctl: Zephctl, serve: Serve) -> None:
    serve()

    assert zephctl("events", "--grep", "(").status == 2


def test_events_since_a_moment(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()
    server.clock.advance(3 * 86_400.0)  # type: ignore[attr-defined]  # it started three days ago
    server.bus.publish(CommandServed(command="ping", uid=0, seconds=0.0))

    answer = zephctl("events", "--since", "1h", "--no-follow")

    assert [line.partition("\t")[2] for line in answer.stdout.splitlines()] == ["command ping from uid 0"]
    assert zephctl("events", "--since", "9d", "--no-follow").stdout.startswith("1\tzephserver ")


# -- a connection that breaks ---------------------------------------------------------------------------------------


def test_a_connection_that_breaks_is_made_anew_and_no_event_is_lost(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()
    terminal = Terminal()

    def break_it() -> None:
        for client in list(server.control._clients):
            client.shut()
        for number in range(3):
            server.bus.publish(CommandServed(command=f"lost{number}", uid=0, seconds=0.0))

    terminal.when("ready: 0 services", break_it)
    terminal.when("lost2", interrupt)

    answer = zephctl("events", "--after", "0", "--grep", "lost|ready", "--color", "never", terminal=terminal)

    lines = [line[STAMP:].split(maxsplit=1) for line in answer.stdout.splitlines()]
    assert [text for _, text in lines][1:] == [f"command lost{number} from uid 0" for number in range(3)]
    assert [int(number) for number, _ in lines] == sorted({int(number) for number, _ in lines})
