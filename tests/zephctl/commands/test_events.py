"""zephctl events: what happens in the server, as it happens."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from tests.zephctl.conftest import Answer, Terminal, interrupt
from zephctl import app
from zephserver.core.events import CommandServed
from zephserver.core.server import Server
from zephserver.testing import wait_until

Zephctl = Callable[..., Answer]
Serve = Callable[..., Server]

PUPPET = "workers/Puppet"


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
    assert lines[4].startswith("6\tready: 1 services in ")


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
        "text": f"service {PUPPET} went from starting to ready",
        "seq": 5,
        "name": PUPPET,
        "old": "starting",
        "new": "ready",
        "error": None,
    }


def test_events_are_followed_until_the_server_is_down(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()
    terminal = Terminal()
    terminal.when("ready: 0 services", lambda: server.request_stop("the test"))

    answer = zephctl("events", "--after", "0", terminal=terminal)

    assert answer.status == 0
    assert "\tstopping: the test\n" in answer.stdout
    assert answer.stdout.splitlines()[-1].partition("\t")[2].startswith("stopped in ")


def test_following_begins_now(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()

    def stop_when_followed() -> None:
        wait_until(lambda: server.bus.wants(CommandServed), "somebody reads every event")
        server.request_stop("the test")

    stopper = threading.Thread(target=stop_when_followed)
    stopper.start()
    answer = zephctl("events")
    stopper.join()

    assert answer.status == 0
    assert answer.stdout.splitlines()[0].endswith("\tstopping: the test")


def test_a_quiet_server_is_no_time_out(zephctl: Zephctl, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    monkeypatch.setattr(app, "TIMEOUT", 0.1)
    terminal = Terminal()
    timer = threading.Timer(0.4, server.request_stop, ["the test"])
    terminal.when("ready: 0 services", timer.start)

    answer = zephctl("events", "--after", "0", terminal=terminal)
    timer.join()

    assert (answer.status, answer.stderr) == (0, "")
    assert "\tstopping: the test\n" in answer.stdout


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
        server.request_stop("the test")

    terminal.when("ready: 0 services", break_it)

    answer = zephctl("events", "--after", "0", "--kind", "CommandServed", "--kind", "ServerReady", terminal=terminal)

    numbers = [int(line.partition("\t")[0]) for line in answer.stdout.splitlines()]
    assert answer.status in (0, 5)  # a server that is already down cannot be asked again
    assert numbers == sorted(set(numbers))
    if answer.status == 0:
        assert [f"lost{number}" in answer.stdout for number in range(3)] == [True] * 3
