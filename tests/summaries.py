"""What the tests note for the end of a run: figures of the reliability rows, and answers that are not strict.

A note travels with the report of its test, so it does not matter which process ran it. `ZEPH_SEED` repeats the chance
of a run, `ZEPH_CHAOS=full` takes the counts of the reliability plan instead of the short ones.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest

from tests.scale import FULL

# In the environment, where the processes of a parallel run find it.
SEED = int(os.environ.get("ZEPH_SEED") or random.SystemRandom().randrange(2**32))
os.environ["ZEPH_SEED"] = str(SEED)


class Summaries:
    """Collects the notes and shows them."""

    def __init__(self) -> None:
        self._notes: dict[str, list[str]] = {"figure": [], "not strict": []}

    def pytest_report_header(self) -> str:
        """The seed."""
        return f"chaos: {'full' if FULL else 'short'} counts, seed {SEED} (repeat with ZEPH_SEED={SEED})"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the notes of a test that is over."""
        if report.when == "teardown":
            for name, text in report.user_properties:
                if name in self._notes:
                    self._notes[name].append(str(text))

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """The figures that the rows reached, as docs/reliability.md has them; the answers that are allowed, but not
        what we want: how many, and all of them with -v."""
        if self._notes["figure"]:
            terminalreporter.section(f"reliability figures, seed {SEED}")
            for line in self._notes["figure"]:
                terminalreporter.line(line)
        if answers := sorted(self._notes["not strict"]):
            terminalreporter.section("conformance: allowed answers that are not strict")
            for target, number in Counter(line.partition(" ")[0] for line in answers).items():
                terminalreporter.line(f"{target}: {number}")
            if config.get_verbosity() > 0:
                for line in answers:
                    terminalreporter.line(line)
