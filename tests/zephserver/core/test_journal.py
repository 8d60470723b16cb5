"""The recent past of a stream, and readers that come and go."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zephserver.core.journal import Journal


def journal(count: int, size: int = 5) -> Journal[int]:
    """A journal that has seen the numbers from 1 to *count*."""
    journal: Journal[int] = Journal(size)
    for number in range(1, count + 1):
        assert journal.append(number) == number
    return journal


@pytest.mark.parametrize(
    ("seen", "items", "lost"),
    [
        (0, [4, 5, 6, 7, 8], 3),
        (2, [4, 5, 6, 7, 8], 1),
        (3, [4, 5, 6, 7, 8], 0),
        (7, [8], 0),
        (8, [], 0),
        (99, [], 0),  # of an earlier run
    ],
)
def test_a_reader_gets_what_it_has_not_seen_and_is_told_what_it_lost(seen: int, items: list[int], lost: int) -> None:
    assert journal(8).after(seen) == (items, lost)


def test_nothing_yet_is_nothing_lost() -> None:
    assert journal(0).after(0) == ([], 0)


@given(st.integers(0, 30), st.integers(1, 8), st.integers(0, 40))
def test_lost_and_read_add_up_to_what_was_said(count: int, size: int, seen: int) -> None:
    items, lost = journal(count, size).after(seen)

    assert len(items) + lost == max(0, count - seen)
    assert items == list(range(count - len(items) + 1, count + 1))


def test_a_reader_that_waits_is_woken_by_the_next_item() -> None:
    some = journal(3)
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.append(some.after(3, timeout=None)))
    reader.start()

    some.append(4)

    reader.join(5)
    assert found == [([4], 0)]


def test_a_wait_ends_empty_when_its_time_is_over() -> None:
    assert journal(3).after(3, timeout=0.01) == ([], 0)


def test_closing_lets_the_readers_go_and_keeps_what_is_there() -> None:
    some = journal(3)
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.append(some.after(3, timeout=None)))
    reader.start()

    some.close()

    reader.join(5)
    assert found == [([], 0)]
    assert some.closed
    assert some.after(1, timeout=None) == ([2, 3], 0)
    assert some.after(3, timeout=None) == ([], 0)
