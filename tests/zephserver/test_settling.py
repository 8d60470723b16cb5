"""When a burst of saves is over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zephserver.settling import LONGEST, PAUSE, QUIET, STORM, Settling

A, B = Path("a.py"), Path("b.py")


def test_nothing_is_due_before_the_first_save() -> None:
    assert Settling().due is None


def test_a_save_is_over_after_a_moment_of_quiet() -> None:
    settling = Settling()
    settling.touch(A, 10.0)

    assert settling.due == pytest.approx(10.0 + QUIET)


def test_every_further_save_begins_the_moment_anew() -> None:
    settling = Settling()
    settling.touch(A, 10.0)
    settling.touch(B, 10.03)

    assert settling.due == pytest.approx(10.03 + QUIET)
    assert settling.take(10.1) == {A, B}


def test_saves_without_end_are_not_waited_for() -> None:
    settling = Settling()
    for step in range(100):
        settling.touch(A, 10.0 + step * 0.02)

    assert settling.due == pytest.approx(10.0 + LONGEST)


def test_a_burst_is_over_when_it_was_taken() -> None:
    settling = Settling()
    settling.touch(A, 10.0)

    assert settling.take(10.1) == {A}
    assert settling.due is None
    assert settling.take(10.2) == set()


def bursts(settling: Settling, count: int, *, span: float = 0.0, more: bool = False) -> float:
    """That many bursts, one at once after the other; when the last was taken."""
    now = 10.0
    for _ in range(count):
        settling.touch(A, now)
        settling.touch(A, now + span)
        now += span + QUIET
        settling.take(now)
        settling.done(more=more)
    return now


@pytest.mark.parametrize("how", [{"more": True}, {"span": 0.1}])
def test_bursts_that_do_not_end_by_themselves_get_a_pause(how: dict[str, Any]) -> None:
    settling = Settling()
    bursts(settling, STORM - 1, **how)
    assert not settling.is_storm
    taken = bursts(settling, 1, **how)

    settling.touch(A, taken + 0.01)

    assert settling.is_storm
    assert settling.due == pytest.approx(taken + PAUSE)


def test_a_storm_is_over_after_a_single_save() -> None:
    settling = Settling()
    bursts(settling, STORM, more=True)
    taken = bursts(settling, 1)

    settling.touch(A, taken + 0.01)

    assert not settling.is_storm
    assert settling.due == pytest.approx(taken + 0.01 + QUIET)


def test_whoever_saves_as_soon_as_the_new_code_answers_is_no_storm() -> None:
    settling = Settling()
    bursts(settling, 10 * STORM)

    assert not settling.is_storm
