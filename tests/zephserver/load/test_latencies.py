"""Many times in little memory, as exact as they are said to be."""

from __future__ import annotations

import random

import pytest

from zephserver.load.latencies import Latencies


def test_of_nothing_nothing_is_known() -> None:
    nothing = Latencies()

    assert set(nothing.as_dict().values()) == {None}
    assert nothing.rows() == []


def test_quantiles_are_at_most_two_percent_too_much_and_never_too_little() -> None:
    chance = random.Random(7)
    times = [chance.lognormvariate(-6, 2) for _ in range(5_000)]
    latencies = Latencies()
    for seconds in times:
        latencies.add(seconds)

    ordered = sorted(times)
    for share in (0.001, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = ordered[max(0, int(-(-share * len(ordered) // 1)) - 1)]
        assert exact <= (latencies.quantile(share) or 0.0) <= exact * 1.021


def test_the_longest_the_mean_and_the_count_are_exact() -> None:
    latencies = Latencies()
    for seconds in (0.001, 0.002, 0.006):
        latencies.add(seconds)

    found = latencies.as_dict()

    assert (latencies.count, found["max"], found["p99.9"]) == (3, 0.006, 0.006)
    assert found["mean"] == pytest.approx(0.003)


def test_what_is_too_short_to_measure_counts_too() -> None:
    latencies = Latencies()

    for seconds in (0.0, -1e-9, 1e-7, 1e-6):
        latencies.add(seconds)

    assert latencies.count == sum(count for _, count in latencies.rows()) == 4


def test_a_million_times_need_few_buckets() -> None:
    latencies = Latencies()

    for microseconds in range(1, 100_000, 7):
        latencies.add(microseconds / 1e6)

    assert len(latencies.rows()) < 600
