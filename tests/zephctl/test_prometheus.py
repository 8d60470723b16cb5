"""Reading what the server counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zephctl.prometheus import Metrics, between, growth, quantile
from zephserver.core import metrics
from zephserver.core.server import Server

TEXT = """\
# HELP closes Connections that ended.
# TYPE closes counter
closes{code="1000",node="a"} 3
closes{code="1000",node="b"} 4
closes{code="1001",node="a"} 1e1
up 1
seconds_bucket{task="a",le="0.1"} 1
seconds_bucket{task="a",le="+Inf"} 2
seconds_bucket{task="b",le="0.1"} 10
seconds_bucket{task="b",le="+Inf"} 10
seconds_bucket{task="b"} 10
seconds_bucket{task="b",le="far"} 10
no number
nonsense{
"""


def test_samples_are_summed() -> None:
    found = Metrics(TEXT)

    assert found.value("up") == 1.0
    assert found.value("closes") == 17.0
    assert found.value("nothing") is None
    assert found.by("closes", "code") == {"1000": 7.0, "1001": 10.0}
    assert found.by("up", "code") == {"": 1.0}
    assert found.where("closes", node="b") == [({"code": "1000", "node": "b"}, 4.0)]


def test_buckets_are_those_of_a_label_or_of_all() -> None:
    found = Metrics(TEXT)

    assert found.buckets("seconds") == {0.1: 11.0, float("inf"): 12.0}
    assert found.buckets("seconds", task="a") == {0.1: 1.0, float("inf"): 2.0}
    assert found.buckets("other") == {}


def test_labels_may_have_any_text() -> None:
    assert Metrics('x{a="q\\"b\\\\n",b="l\\nm",c="{,}"} 1').where("x") == [
        ({"a": 'q"b\\n', "b": "l\nm", "c": "{,}"}, 1.0)
    ]


def test_everything_that_a_server_writes_can_be_read(serve: Callable[..., Server]) -> None:
    text = metrics.write(serve(SERVICE_LIST=["workers/Puppet"]))

    found = Metrics(text)

    assert found.value("zephserver_ready") == 1.0
    assert found.by("zephserver_service_state", "service") == {"workers/Puppet": 1.0}
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert sum(len(found.where(name)) for name in {line.partition(" ")[0].partition("{")[0] for line in lines}) == len(
        lines
    )


BUCKETS = {0.1: 10.0, 0.2: 30.0, 1.0: 40.0, float("inf"): 40.0}


@pytest.mark.parametrize(("share", "value"), [(0.25, 0.1), (0.5, 0.15), (0.75, 0.2), (0.875, 0.6), (1.0, 1.0)])
def test_a_quantile_lies_within_its_bucket(share: float, value: float) -> None:
    assert quantile(share, BUCKETS) == pytest.approx(value)


def test_a_quantile_above_the_last_limit_is_that_limit() -> None:
    assert quantile(0.99, {0.1: 1.0, float("inf"): 100.0}) == 0.1


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_quantile_below_the_first_limit_is_that_limit(share: float) -> None:
    assert quantile(share, {0.1: 10.0, 0.2: 10.0, float("inf"): 10.0}) == 0.1


def test_there_is_no_quantile_of_nothing() -> None:
    assert quantile(0.5, {}) is None
    assert quantile(0.5, {0.1: 0.0, float("inf"): 0.0}) is None
    assert quantile(0.5, {float("inf"): 3.0}) is None


def test_what_came_between_two_answers() -> None:
    assert between({0.1: 3.0}, {0.1: 5.0, 0.2: 6.0}) == {0.1: 2.0, 0.2: 6.0}
    assert growth({"a": 3.0, "b": 9.0}, {"a": 5.0, "b": 1.0, "c": 2.0}) == {"a": 2.0, "b": 1.0, "c": 2.0}
