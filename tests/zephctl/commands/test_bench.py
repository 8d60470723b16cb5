"""zephctl bench: small loads on a real server, and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.zephctl.commands.pseudo import ROOT, PseudoTerminal
from tests.zephctl.conftest import Answer
from tests.zephserver.conftest import Site
from zephserver.core.server import Server
from zephserver.testing import wait_until

Zephctl = Callable[..., Answer]
OpenSite = Callable[..., Site]

SMALL = ("--clients", "5", "--seconds", "0.4")
SIMPLE = "zephserver.session_manager/SimpleSessionManager"
TOKEN = "zephserver.session_manager/TokenSessionManager"
FREE: dict[str, Any] = {"MESSAGE_RATE": None}  # no limit


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that makes the load finds this zephserver, and is never called the bottleneck, however busy it is."""
    monkeypatch.setenv("PYTHONPATH", ROOT)
    monkeypatch.setattr("zephctl.bench.report.BUSY", float("inf"))


@pytest.fixture
def free_site(open_site: OpenSite) -> Site:
    """A server that does not limit anybody."""
    return open_site(sessions=SIMPLE, **FREE)


def measured(answer: Answer) -> dict[str, Any]:
    """The result, which has to be one."""
    assert answer.status == 0, answer.stderr
    return answer.json  # type: ignore[no-any-return]


# -- what is measured ---------------------------------------------------------------------------------------------


def test_echo_counts_answers_and_their_times(zephctl: Zephctl, free_site: Site) -> None:
    found = measured(zephctl("bench", "echo", *SMALL, "-o", "json"))

    assert (found["schema"], found["mode"], found["task"], found["clients"], found["connected"]) == (
        1,
        "echo",
        "echo",
        5,
        5,
    )
    assert found["url"] == free_site.url
    assert 0.3 < found["seconds"] < 5.0
    assert found["sent"] >= found["received"] > 0
    assert found["per_second"] == pytest.approx(found["received"] / found["seconds"], rel=0.01)
    latency = found["latency"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"] <= latency["max"] < 5
    assert sum(row["count"] for row in found["histogram"]) == found["received"]
    assert (found["errors"], found["refused"], found["lost"], found["unanswered"], found["others"]) == (
        {},
        {},
        {},
        0,
        0,
    )
    assert 0 < found["server_cpu"] < 3
    assert found["cpu_per_message"] > 0
    wait_until(lambda: free_site.service.stats()["connections"] == 0, "the clients are gone")


def test_a_rate_is_kept(zephctl: Zephctl, free_site: Site) -> None:
    found = measured(zephctl("bench", "echo", *SMALL, "--rate", "100", "-o", "json"))

    assert found["sent"] <= 0.4 * 100 + 2
    assert found["received"] > 0
    assert found["wanted_rate"] == 100


def test_messages_are_as_long_as_asked_for(zephctl: Zephctl, free_site: Site) -> None:
    seen = []
    dispatch = free_site.service.dispatch

    def look(client: Any, message: Any) -> None:
        seen.append((message.task, len(message.data["text"])))
        dispatch(client, message)

    free_site.service.dispatch = look
    measured(zephctl("bench", "echo", *SMALL, "--rate", "20", "--size", "3000", "--task", "thread", "-o", "json"))

    assert set(seen) == {("thread", 3000)}


def test_a_server_without_echo_is_asked_for_its_ping(zephctl: Zephctl, open_site: OpenSite) -> None:
    open_site(sessions=SIMPLE, TASKS_PATH={})

    found = measured(zephctl("bench", "echo", *SMALL, "-o", "json"))

    assert found["task"] == "TaskPing"
    assert found["received"] > 0


def test_fanout_without_a_task_speaks_over_the_control_socket(zephctl: Zephctl, free_site: Site) -> None:
    found = measured(zephctl("bench", "fanout", *SMALL, "-o", "json"))

    assert (found["task"], found["room"]) == (None, "zephbench")
    assert found["received"] > 0
    assert found["received"] <= found["sent"] * 5
    assert found["unanswered"] == 0


def test_fanout_with_a_task_has_one_client_speak(zephctl: Zephctl, free_site: Site) -> None:
    found = measured(zephctl("bench", "fanout", *SMALL, "--task", "tell", "--room", "lobby", "-o", "json"))

    assert (found["task"], found["room"]) == ("tell", "lobby")
    assert found["received"] > 0
    assert found["errors"] == {}


def test_fanout_keeps_a_rate(zephctl: Zephctl, free_site: Site) -> None:
    found = measured(zephctl("bench", "fanout", *SMALL, "--rate", "30", "-o", "json"))

    assert 0 < found["sent"] <= 0.4 * 30 + 2


def test_connect_opens_everybody_once(zephctl: Zephctl, free_site: Site) -> None:
    found = measured(zephctl("bench", "connect", "--clients", "30", "-o", "json"))

    assert (found["connected"], found["received"], found["refused"]) == (30, 30, {})
    assert sum(row["count"] for row in found["histogram"]) == 30
    wait_until(lambda: free_site.service.stats()["connections"] == 0, "the clients are gone")


def test_connect_keeps_a_rate(zephctl: Zephctl, free_site: Site) -> None:
    found = measured(zephctl("bench", "connect", "--clients", "100", "--rate", "10", "--seconds", "2", "-o", "json"))

    assert 0 < found["connected"] <= 25  # not 100; as many as the machine can, and not more than was asked for


def test_a_task_that_speaks_to_nobody_is_told(zephctl: Zephctl, free_site: Site) -> None:
    answer = zephctl("bench", "fanout", *SMALL, "--task", "quiet")

    assert (answer.status, answer.stdout) == (1, "")
    assert answer.stderr == "zephctl: nobody heard the message; does task 'quiet' say it to its room?\n"


def test_a_task_that_only_fails_is_told(zephctl: Zephctl, free_site: Site) -> None:
    answer = zephctl("bench", "echo", *SMALL, "--task", "trip")

    assert answer.status == 1
    assert re.fullmatch(r"zephctl: task 'trip' answered with errors only: task-failed \(\d+\)\n", answer.stderr)


def test_a_task_that_does_not_answer_is_told(zephctl: Zephctl, free_site: Site) -> None:
    answer = zephctl("bench", "echo", *SMALL, "--task", "wait")

    assert (answer.status, answer.stderr) == (1, "zephctl: task 'wait' answered nothing in 0.4 s\n")


# -- what one has to know -----------------------------------------------------------------------------------------


def test_the_limit_of_the_server_is_named_when_it_held_the_load_back(zephctl: Zephctl, open_site: OpenSite) -> None:
    open_site(sessions=SIMPLE, MESSAGE_RATE=(5, 1))

    found = measured(zephctl("bench", "echo", *SMALL, "-o", "json"))

    assert found["rate_limited"] > 0
    assert any(warning.startswith("MESSAGE_RATE (5/s a client) held the load back") for warning in found["warnings"])


def test_clients_that_did_not_get_in_are_counted(zephctl: Zephctl, open_site: OpenSite) -> None:
    open_site(sessions=SIMPLE, MAX_CONNECTIONS=3, **FREE)

    found = measured(zephctl("bench", "echo", *SMALL, "-o", "json"))

    assert (found["connected"], found["refused"]) == (3, {"HTTP 503": 2})
    assert found["warnings"] == ["2 of 5 clients did not get in: HTTP 503 2"]


def test_when_nobody_gets_in_the_reason_is_told(zephctl: Zephctl, open_site: OpenSite) -> None:
    open_site(sessions=TOKEN, TOKEN_SECRET="s" * 32)

    answer = zephctl("bench", "echo", *SMALL, "--token", "nonsense")

    assert answer.status == 1
    assert answer.stderr == "zephctl: no client got in: close 4003 (5); give a good token with --token\n"


def test_a_server_that_wants_tokens_signs_one(zephctl: Zephctl, open_site: OpenSite) -> None:
    open_site(sessions=TOKEN, TOKEN_SECRET="s" * 32)

    assert measured(zephctl("bench", "connect", "--clients", "3", "-o", "json"))["connected"] == 3


def test_other_clients_are_mentioned(zephctl: Zephctl, free_site: Site) -> None:
    free_site.join("ann")

    answer = zephctl("bench", "connect", "--clients", "3")

    assert answer.status == 0
    assert answer.stderr == "note: 1 other clients were connected and felt the load\n"


def test_a_client_that_is_the_bottleneck_is_told(
    zephctl: Zephctl, free_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zephctl.bench.report.BUSY", 0.0)

    found = measured(zephctl("bench", "echo", *SMALL, "-o", "json"))

    assert found["warnings"][0].startswith("the load generator itself was the bottleneck (")


# -- how it is shown ----------------------------------------------------------------------------------------------


def test_a_pipe_gets_a_fact_a_line(zephctl: Zephctl, free_site: Site) -> None:
    answer = zephctl("bench", "echo", *SMALL)

    facts = dict(line.split("\t") for line in answer.stdout.splitlines())
    assert list(facts) == [
        "mode", "url", "connected", "seconds", "received", "per_second", "p50_ms", "p90_ms", "p99_ms", "p99.9_ms",
        "max_ms", "mean_ms", "server_cpu", "client_cpu",
    ]  # fmt: skip
    assert (facts["mode"], facts["connected"]) == ("echo", "5")
    assert answer.stderr == ""


def test_a_terminal_gets_a_histogram(free_site: Site) -> None:
    with PseudoTerminal("bench", "echo", *SMALL, lines=40) as terminal:
        assert terminal.ended() == 0

        lines = terminal.text.splitlines()
        assert any(line.startswith(f"echo echo, 5 clients, {free_site.url}") for line in lines)
        assert re.search(r"^  rate     [\d,.]+/s  \([\d,]+ answers in 0.\d s\)$", terminal.text, re.MULTILINE)
        assert re.search(r"^  latency  p50 .* p90 .* p99 .* p99.9 .* max ", terminal.text, re.MULTILINE)
        assert re.search(r"^ +up to [\d.]+ m?u?s  █+", terminal.text, re.MULTILINE)
        assert terminal.style_of("█").fg == "cyan"
        assert max(len(line) for line in lines) <= 80
        assert "░" not in terminal.text  # the progress is gone


def test_a_terminal_sees_the_progress(free_site: Site) -> None:
    with PseudoTerminal("bench", "echo", *SMALL) as terminal:
        terminal.until("░")
        terminal.until(" s, ")
        assert terminal.ended() == 0


def test_no_colours_when_nobody_wants_them(free_site: Site) -> None:
    with PseudoTerminal("bench", "connect", "--clients", "3", NO_COLOR="1") as terminal:
        assert terminal.ended() == 0

        assert "rate" in terminal.text
        assert terminal.colours() == {"default"}


# -- it ends ------------------------------------------------------------------------------------------------------


def test_ctrl_c_prints_what_was_measured(free_site: Site) -> None:
    with PseudoTerminal("bench", "echo", "--clients", "3", "--seconds", "600", lines=40) as terminal:
        terminal.until(" of 600 s, ")
        terminal.type("\x03")

        assert terminal.ended() == 130
        assert "  latency  p50 " in terminal.text
        assert "note: stopped after" in terminal.text
        assert "Traceback" not in terminal.text
    wait_until(lambda: free_site.service.stats()["connections"] == 0, "the clients are gone")


def test_ctrl_c_while_connecting_ends_it_too(free_site: Site) -> None:
    words = ("connect", "--clients", "500", "--rate", "20", "--seconds", "600")
    with PseudoTerminal("bench", *words) as terminal:
        terminal.until(" of 500 clients")
        terminal.type("\x03")

        assert terminal.ended() == 130
    wait_until(lambda: free_site.service.stats()["connections"] == 0, "the clients are gone")


def test_the_load_does_not_outlive_a_killed_command(free_site: Site) -> None:
    words = [sys.executable, "-m", "zephctl", "bench", "echo", "--clients", "3", "--seconds", "600"]
    command = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    wait_until(lambda: free_site.service.stats()["connections"] == 3, "the clients are there", timeout=20)

    os.kill(command.pid, signal.SIGKILL)
    command.wait()

    wait_until(lambda: free_site.service.stats()["connections"] == 0, "the clients are gone", timeout=20)


def test_a_server_that_stops_ends_the_load(open_site: OpenSite, folder: Path) -> None:
    site = open_site(sessions=SIMPLE, **FREE)
    words = [sys.executable, "-m", "zephctl", "bench", "echo", "--clients", "3", "--seconds", "600", "-o", "json"]
    command = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: site.router.stats()["tasks"]["finished"] > 0, "the load has begun", timeout=20)

    site.server.services.disable_service("zephserver.websocket_client/WebsocketClient")
    stdout, _ = command.communicate(timeout=30)

    found = json.loads(stdout)
    assert found["lost"] == {"close 1012": 3}
    assert found["seconds"] < 60


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["jump"],
        ["echo", "--clients", "0"],
        ["echo", "--clients", "99999999"],
        ["echo", "--seconds", "0"],
        ["echo", "--seconds", "3601"],
        ["echo", "--seconds", "nan"],
        ["echo", "--rate", "0"],
        ["echo", "--size", "2000000"],
        ["echo", "--url", "ws://192.0.2.7/ws"],
        ["echo", "--url", "nonsense"],
        ["fanout", "--url", "ws://127.0.0.1:1/ws"],
    ],
)
def test_wrong_words_are_a_usage_error(zephctl: Zephctl, words: list[str]) -> None:
    answer = zephctl("bench", *words)

    assert (answer.status, answer.stdout) == (2, "")


def test_a_task_that_does_not_exist_is_told(zephctl: Zephctl, free_site: Site) -> None:
    answer = zephctl("bench", "echo", "--task", "jump")

    assert (answer.status, answer.stderr) == (4, "zephctl: no task named 'jump'; see: zephctl tasks list\n")


def test_a_server_without_web_sockets_is_told(zephctl: Zephctl, other_server: Server) -> None:
    answer = zephctl("bench", "echo")

    assert answer.status == 1
    assert answer.stderr == "zephctl: this server has no port; see: zephctl services list\n"


@pytest.mark.usefixtures("no_server")
def test_without_a_server_there_is_nothing_to_load(zephctl: Zephctl) -> None:
    assert zephctl("bench", "echo").status == 5


def test_a_url_is_loaded_without_its_control_socket(zephctl: Zephctl, free_site: Site) -> None:
    found = measured(zephctl("bench", "echo", *SMALL, "--url", free_site.url, "-o", "json"))

    assert (found["task"], found["server_cpu"], found["cpu_per_message"]) == ("TaskPing", None, None)
    assert found["received"] > 0


def test_an_address_where_nobody_listens_is_told(zephctl: Zephctl) -> None:
    answer = zephctl("bench", "echo", *SMALL, "--url", "ws://127.0.0.1:1/ws")

    assert answer.status == 1
    assert answer.stderr.startswith("zephctl: no client got in: ")


def test_a_unix_socket_can_be_loaded(zephctl: Zephctl, open_site: OpenSite, folder: Path) -> None:
    site = open_site(sessions=SIMPLE, HOST_ZEPH="unix:web.sock", **FREE)

    found = measured(zephctl("bench", "connect", "--clients", "3", "-o", "json"))

    assert (found["connected"], found["url"]) == (3, f"unix:{site.host}")
