"""A fault in a file of the user's, with a mark below it."""

from __future__ import annotations

from typing import Any

import pytest

from zephctl.marks import marked


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        ({}, ["no"]),
        ({"source": None, "column": None}, ["no"]),
        ({"source": "  ", "column": 1}, ["no"]),
        ({"source": "  x = (", "column": None}, ["no", "    x = ("]),
        ({"source": "\tx = (", "column": 6}, ["no", "    x = (", "        ^"]),
        ({"source": "  x", "column": 1}, ["no", "    x"]),
        ({"source": "x", "column": 99}, ["no", "    x", "     ^"]),
        ({"source": "a\tb", "column": 3}, ["no", "    a b", "      ^"]),
    ],
)
def test_the_mark_is_below_the_fault(facts: dict[str, Any], lines: list[str]) -> None:
    assert marked("no", facts).split("\n") == lines
