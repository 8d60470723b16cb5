"""What a measurement says for itself: exact texts."""

from __future__ import annotations

import math
from typing import Any

import pytest

from zephctl.bench import report as bench_report
from zephctl.drawing import ASCII, UNICODE

RESULT: dict[str, Any] = {
    "mode": "echo",
    "clients": 100,
    "connected": 100,
    "seconds": 5.0,
    "received": 62_140,
    "per_second": 12_428.0,
    "latency": {"p50": 0.00121, "p90": 0.0023, "p99": 0.0081, "p99.9": 0.024, "max": 1.5, "mean": 0.002},
    "histogram": [],
    "server_cpu": 0.976,
    "cpu_per_message": 0.0000418,
    "client_cpu": 0.542,
    "interrupted": False,
    "refused": {},
    "lost": {},
    "errors": {},
    "unanswered": 0,
    "unsent": 0,
    "rate_limited": 0,
    "message_rate": [100, 200],
    "others": 0,
}


def test_the_facts_are_said_in_four_lines() -> None:
    assert bench_report.summary(RESULT) == [
        ("rate", "12,428/s  (62,140 answers in 5.0 s)"),
        ("latency", "p50 1.21 ms   p90 2.30 ms   p99 8.10 ms   p99.9 24.0 ms   max 1.50 s"),
        ("server", "97.6 % of a core, 42 us a message"),
        ("client", "54.2 % of a core"),
    ]


def test_a_server_elsewhere_does_not_tell_its_processor_time() -> None:
    found = bench_report.summary(RESULT | {"mode": "connect", "server_cpu": None})

    assert [label for label, _ in found] == ["rate", "latency", "client"]
    assert found[0][1].endswith("connections in 5.0 s)")


def test_without_an_answer_there_are_no_latencies() -> None:
    nothing = dict.fromkeys(("p50", "p90", "p99", "p99.9", "max", "mean"))

    found = bench_report.summary(RESULT | {"latency": nothing, "received": 0, "cpu_per_message": None})

    assert [label for label, _ in found] == ["rate", "server", "client"]


def test_figures_that_can_be_believed_need_no_warning() -> None:
    assert bench_report.warnings(RESULT) == []


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        ({"interrupted": True}, "stopped after 5.0 s; these are the figures until then"),
        (
            {"client_cpu": 0.97},
            "the load generator itself was the bottleneck (97.0 % of a core): the server can do more",
        ),
        (
            {"rate_limited": 7_733},
            "MESSAGE_RATE (100/s a client) held the load back 7,733 times; use more clients, or set it to None",
        ),
        (
            {"rate_limited": 1, "message_rate": None},
            "MESSAGE_RATE held the load back 1 times; use more clients, or set it to None",
        ),
        ({"connected": 90, "refused": {"HTTP 503": 10}}, "10 of 100 clients did not get in: HTTP 503 10"),
        ({"lost": {"close 1012": 3, "close 1009": 5}}, "the server ended connections: close 1009 5, close 1012 3"),
        ({"errors": {"overloaded": 12}}, "answers that were errors: overloaded 12"),
        ({"unanswered": 4}, "4 messages got no whole answer"),
        ({"unsent": 1_200}, "1,200 messages were not sent: the server was slower than --rate"),
        ({"others": 3}, "3 other clients were connected and felt the load"),
    ],
)
def test_what_one_has_to_know_is_said(more: dict[str, Any], warning: str) -> None:
    assert bench_report.warnings(RESULT | more) == [warning]


def buckets(*times: float) -> list[tuple[float, int]]:
    """As the load generator tells them: their limits lie up to 2 % above."""
    found: dict[float, int] = {}
    for seconds in sorted(times):
        limit = 1e-6 * math.exp((int(math.log(seconds / 1e-6) * 50) + 1) / 50)
        found[limit] = found.get(limit, 0) + 1
    return list(found.items())


def test_a_histogram_has_round_limits_and_loses_nothing() -> None:
    rows = bench_report.histogram(buckets(*(0.0005 + n / 1e5 for n in range(500))))

    assert [round(limit, 6) for limit, _ in rows] == [0.0005, 0.00063, 0.0008, 0.001, 0.00125, 0.0016, 0.002, 0.0025,
                                                      0.0032, 0.004, 0.005, 0.0063]  # fmt: skip
    assert sum(count for _, count in rows) == 500


@pytest.mark.parametrize("longest", [0.0011, 0.1, 10.0, 1000.0])
def test_a_histogram_fits_its_rows_however_far_it_reaches(longest: float) -> None:
    rows = bench_report.histogram(buckets(0.000012, longest), rows=16)

    assert 1 <= len(rows) <= 16
    assert sum(count for _, count in rows) == 2


def test_one_time_is_one_row() -> None:
    assert len(bench_report.histogram(buckets(0.001))) == 1
    assert bench_report.histogram([]) == []


def test_the_longest_bar_is_that_of_the_fullest_row() -> None:
    drawn = bench_report.draw_histogram([(0.001, 1), (0.002, 8), (0.004, 4)], 55, UNICODE)

    assert ["".join(row).rstrip() for row in drawn] == [
        "   up to 1.00 ms  ██                  7.7 %          1",
        "   up to 1.25 ms",
        "   up to 1.60 ms",
        "   up to 2.00 ms  ████████████████   61.5 %          8",
        "   up to 2.50 ms",
        "   up to 3.20 ms",
        "   up to 4.00 ms  ████████           30.8 %          4",
    ]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_a_histogram_fits_the_terminal(width: int) -> None:
    drawn = bench_report.draw_histogram([(0.001, 12_345_678), (0.002, 800)], width, ASCII)

    assert max(len("".join(row)) for row in drawn) <= max(width, 43)
    assert all("".join(row).isascii() for row in drawn)
