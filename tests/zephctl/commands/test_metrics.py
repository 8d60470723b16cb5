"""zephctl metrics."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.zephctl.conftest import Answer, Terminal
from tests.zephserver.conftest import Site
from zephserver.core.server import Server

Zephctl = Callable[..., Answer]

# https://prometheus.io/docs/instrumenting/exposition_formats/
SAMPLE = re.compile(r'([a-z_]+)(?:\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? [-+0-9.eEInfNa]+')


def samples(text: str) -> dict[str, str]:
    """The value of each sample, labels included."""
    pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def without_the_moment(text: str) -> list[str]:
    """The names of the samples; the values change from one look to the next."""
    return [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]


def test_every_line_is_a_sample_or_a_comment_of_the_format(zephctl: Zephctl, site: Site) -> None:
    site.join("ann").ask("echo", 1)

    answer = zephctl("metrics")

    assert (answer.status, answer.stderr) == (0, "")
    kinds: dict[str, str] = {}
    for line in answer.stdout.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            found = SAMPLE.fullmatch(line)
            assert found, line
            assert found[1] in kinds or re.sub("_(bucket|sum|count)$", "", found[1]) in kinds
    assert set(kinds.values()) == {"gauge", "counter", "histogram"}


def test_it_counts_what_happens(zephctl: Zephctl, site: Site) -> None:
    before = samples(zephctl("metrics").stdout)
    ann = site.join("ann")
    ann.ask("echo", 1)
    ann.ask("fail", ["mine", "no"])

    after = samples(zephctl("metrics").stdout)

    assert (before["zephserver_connections"], after["zephserver_connections"]) == ("0", "1")
    assert (after["zephserver_rooms"], after["zephserver_users"]) == ("1", "1")
    assert after['zephserver_tasks_total{task="echo",outcome="done"}'] == "1"
    assert after['zephserver_tasks_total{task="fail",outcome="mine"}'] == "1"
    assert after["zephserver_messages_received_total"] == "3"
    assert after["zephserver_ready"] == "1"


def test_it_is_what_the_server_says_to_prometheus(zephctl: Zephctl, site: Site) -> None:
    response = site.request("GET", "/metrics")

    told = zephctl("metrics").stdout

    assert response.status == 200
    assert without_the_moment(told) == without_the_moment(response.body.decode())


def test_a_terminal_sees_the_same_lines_as_a_pipe(zephctl: Zephctl, site: Site) -> None:
    on_terminal = zephctl("metrics", terminal=Terminal())

    assert without_the_moment(on_terminal.stdout) == without_the_moment(zephctl("metrics", "-q").stdout)


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_in_json_the_text_is_a_field(zephctl: Zephctl, site: Site, mode: str) -> None:
    answer = zephctl("metrics", "-o", mode)

    assert answer.status == 0
    assert list(answer.json) == (["schema", "metrics"] if mode == "json" else ["metrics"])
    assert without_the_moment(answer.json["metrics"]) == without_the_moment(zephctl("metrics").stdout)


def test_a_server_without_websockets_counts_too(zephctl: Zephctl, other_server: Server) -> None:
    counted = samples(zephctl("metrics").stdout)

    assert counted['zephserver_service_state{service="workers/Puppet",state="ready"}'] == "1"
    assert "zephserver_connections" not in counted


def test_no_server_is_exit_5(zephctl: Zephctl, no_server: None) -> None:
    answer = zephctl("metrics")

    assert (answer.status, answer.stdout) == (5, "")
    assert answer.stderr.startswith("zephctl: no server listens on ")
    assert answer.stderr.count("\n") == 1


def test_a_server_that_does_not_answer_is_exit_8(zephctl: Zephctl, silent_server: tuple[str, ...]) -> None:
    answer = zephctl("metrics", *silent_server)

    assert answer == Answer(8, "", "zephctl: the server on silent.sock gave no answer in time; see its log\n")


def test_it_takes_no_words(zephctl: Zephctl) -> None:
    assert zephctl("metrics", "all").status == 2
