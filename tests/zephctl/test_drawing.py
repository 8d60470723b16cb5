"""Pictures made of text, and numbers for people."""

from __future__ import annotations

import pytest

from zephctl import drawing
from zephctl.drawing import ASCII, UNICODE, glyphs_for


def test_a_sparkline_is_as_high_as_its_values() -> None:
    assert drawing.sparkline([0, 1, 2, 3, 4, 5, 6, 7, 8], UNICODE) == " ▁▂▃▄▅▆▇█"


def test_a_small_value_is_seen_all_the_same() -> None:
    assert drawing.sparkline([0.001, 1000], UNICODE) == "▁█"


def test_small_values_alone_do_not_fill_a_picture() -> None:
    assert drawing.sparkline([0.01, 0.05], UNICODE, least=0.1) == "▁▄"


def test_what_is_not_known_is_a_gap() -> None:
    assert drawing.sparkline([8, None, 4], UNICODE) == "█ ▄"


def test_a_picture_of_nothing_is_empty() -> None:
    assert drawing.sparkline([], UNICODE) == ""
    assert drawing.sparkline([0.0, None], UNICODE) == "  "


def test_a_chart_has_several_lines() -> None:
    assert drawing.chart([0, 1, 2, 3, 4], 2, UNICODE) == ["   ▄█", " ▄███"]


def test_ascii_will_do() -> None:
    assert drawing.sparkline([0, 1, 2, 4], ASCII) == " :=@"
    assert drawing.bar(0.5, 4, ASCII) == "##"
    assert drawing.progress(0.5, 4, ASCII) == "##.."


@pytest.mark.parametrize(
    ("encoding", "glyphs"),
    [("utf-8", UNICODE), ("ascii", ASCII), ("latin-1", ASCII), ("nonsense", ASCII), (None, ASCII)],
)
def test_the_signs_are_those_that_the_encoding_has(encoding: str | None, glyphs: drawing.Glyphs) -> None:
    assert glyphs_for(encoding) is glyphs


@pytest.mark.parametrize(("share", "drawn"), [(0.0, ""), (0.0001, "▏"), (0.5, "██"), (0.53, "██▏"), (1.0, "████")])
def test_a_bar_grows_in_eighths(share: float, drawn: str) -> None:
    assert drawing.bar(share, 4, UNICODE) == drawn


def test_progress_fills_its_whole_width() -> None:
    assert [drawing.progress(share, 4, UNICODE) for share in (0.0, 0.5, 1.0)] == ["░░░░", "██░░", "████"]


# -- from many moments to few cells -------------------------------------------------------------------------------


def test_moments_that_fit_stay_as_they_are() -> None:
    assert drawing.resample([1, 2, 3], 3, 3, 3) == [1, 2, 3]


def test_there_are_gaps_before_the_first_moment() -> None:
    assert drawing.resample([1, 2], 4, 4, 2) == [None, None, 1, 2]


def test_several_moments_share_a_cell() -> None:
    assert drawing.resample([1, 3, 5, 7], 2, 4, 4) == [2, 6]


def test_only_the_last_moments_are_shown() -> None:
    assert drawing.resample([9, 9, 1, 3, 5, 7], 2, 4, 6) == [2, 6]


def test_a_new_moment_changes_the_last_cell_only() -> None:
    values = [float(n) for n in range(20)]
    before = drawing.resample(values[:18], 4, 12, 18)

    after = drawing.resample(values[:19], 4, 12, 19)

    assert after[:3] == before[1:]
    assert after[3] == 18.0


def test_a_cell_of_gaps_is_a_gap() -> None:
    assert drawing.resample([None, None, 1, None], 2, 4, 4) == [None, 1]


def test_no_width_is_no_picture() -> None:
    assert drawing.resample([1, 2, 3], 0, 3, 3) == []


# -- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0 us"),
        (0.000012, "12 us"),
        (0.0001, "0.10 ms"),
        (0.00124, "1.24 ms"),
        (0.0342, "34.2 ms"),
        (0.118, "118 ms"),
        (0.9999, "1.00 s"),
        (3.5, "3.50 s"),
        (75.0, "75.0 s"),
        (1000.0, "1000 s"),
    ],
)
def test_times_have_three_digits(seconds: float | None, text: str) -> None:
    assert drawing.short_time(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (812, "812 B"), (5_400, "5.4 kB"), (54_000_000, "54 MB"), (2.5e9, "2.5 GB")]
)
def test_bytes_have_a_unit(count: float | None, text: str) -> None:
    assert drawing.size(count) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(None, "-"), (0.04, "0.0"), (12.34, "12.3"), (99.96, "100"), (1204.4, "1,204")]
)
def test_large_rates_need_no_fractions(rate: float | None, text: str) -> None:
    assert drawing.per_second(rate) == text


def test_shares_and_counts() -> None:
    assert (drawing.percent(0.124), drawing.percent(None)) == ("12.4 %", "-")
    assert (drawing.amount(12_345.0), drawing.amount(None)) == ("12,345", "-")
