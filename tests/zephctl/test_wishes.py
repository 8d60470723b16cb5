"""What one may ask of a stream: times, expressions, levels."""

from __future__ import annotations

import re
import time
from typing import Any

import click
import pytest

from zephctl.live_names import LEVELS
from zephctl.wishes import Level, LineFilter, Moment, Pattern
from zephserver.core import settings_kinds


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7_200), ("1.5h", 5_400), ("7d", 604_800), ("1w", 604_800)]
)
def test_a_time_may_be_so_long_ago(text: str, seconds: float) -> None:
    assert Moment().convert(text, None, None) == pytest.approx(time.time() - seconds, abs=5)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T15:00+00:00", 1_795_359_600.0),
        ("2026-11-22T16:00+01:00", 1_795_359_600.0),
        ("2026-11-22T15:00", time.mktime((2026, 11, 22, 15, 0, 0, 0, 0, -1))),
        ("2026-11-22 15:00:30.5", time.mktime((2026, 11, 22, 15, 0, 30, 0, 0, -1)) + 0.5),
        ("2026-11-22", time.mktime((2026, 11, 22, 0, 0, 0, 0, 0, -1))),
    ],
)
def test_a_time_may_be_a_date(text: str, moment: float) -> None:
    assert Moment().convert(text, None, None) == moment


def test_a_value_that_was_converted_stays() -> None:
    assert Moment().convert(7.0, None, None) == 7.0
    assert Pattern().convert(re.compile("x"), None, None) == re.compile("x")


@pytest.mark.parametrize(("kind", "text"), [(Moment(), "soon"), (Pattern(), "("), (Level(), "loud")])
def test_what_cannot_be_read_is_a_usage_error(kind: Any, text: str) -> None:
    with pytest.raises(click.BadParameter, match=re.escape(repr(text))):
        kind.convert(text, None, None)


def test_the_levels_are_those_of_the_settings() -> None:
    assert LEVELS == settings_kinds.LEVELS


@pytest.mark.parametrize(
    ("row", "is_taken"),
    [
        ({"service": "zephserver.router/Router", "text": "x"}, True),
        ({"service": "Router", "text": "x"}, True),
        ({"service": "zephserver.router/Routers", "text": "x"}, False),
        ({"text": "service zephserver.router/Router died"}, True),
        ({"text": "Routers"}, False),
        ({"text": "Router", "cursor": "a:1"}, False),
    ],
)
def test_a_service_is_named_in_full_or_by_its_class(row: dict[str, Any], is_taken: bool) -> None:
    assert LineFilter(service="Router").takes(row) is is_taken


def test_a_line_without_level_and_time_is_as_good_as_any() -> None:
    assert LineFilter(since=5.0).takes({"text": "what a daemon printed"})
    assert not LineFilter(level="INFO").takes({"text": "what a daemon printed"})
