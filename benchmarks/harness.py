"""What every benchmark shares: interleaved rounds, medians, ratios within a round, tables. Standard library only."""

from __future__ import annotations

import argparse
import json
import os
import pty
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent  # the programs that are measured stand beside this Python
Samples = dict[str, list[float]]  # name of a row: one value a round
Rows = dict[str, dict[str, list[float]]]  # who is measured: measured thing: one value a round

# A development container may forbid Python to keep compiled files. Then every start would compile the product, which
# is installed compiled everywhere else.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")}


@dataclass(frozen=True)
class Cost:
    """What one run of a program took: seconds on the wall, seconds of CPU."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Program:
    """One command line to be measured, and the exit status that says it did what was asked."""

    name: str
    argv: list[str]
    expected: int = 0
    folder: str = "."
    terminal: bool = False

    def run(self, output: int | None = None) -> Cost:
        """Run it once, from posix_spawn() to wait4(). Raises RuntimeError when it did not do what was asked."""
        controller, terminal = pty.openpty() if self.terminal else (-1, -1)
        target = terminal if self.terminal else os.open(os.devnull, os.O_RDWR) if output is None else output
        actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_DUP2, target, 1), (os.POSIX_SPAWN_DUP2, target, 2)]
        before = os.getcwd()
        os.chdir(self.folder)
        try:
            began = time.perf_counter()
            pid = os.posix_spawn(self.argv[0], self.argv, ENVIRONMENT, file_actions=actions)
            _, status, usage = os.wait4(pid, 0)
            wall = time.perf_counter() - began
        finally:
            os.chdir(before)
            if target != output:
                os.close(target)
            if self.terminal:
                os.close(controller)
        if os.waitstatus_to_exitcode(status) != self.expected:
            raise RuntimeError(f"{self.name}: exit status {os.waitstatus_to_exitcode(status)}, not {self.expected}")
        return Cost(wall, usage.ru_utime + usage.ru_stime)


@dataclass(frozen=True)
class Target:
    """A promise of the specification, and what was measured."""

    text: str
    measured: float
    limit: float
    unit: str = "x"

    def __str__(self) -> str:
        verdict = "reached" if self.measured <= self.limit else "MISSED"
        return f"{verdict:<8} {self.text}: {self.measured:.3g} {self.unit}, promised <= {self.limit:g} {self.unit}"


def interleave(work: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 1) -> Samples:
    """Do every piece of work once a round, each round beginning with another one.

    Whatever else the machine does falls on all of them alike. The rounds of the warm-up are not kept.
    """
    names = list(work)
    samples: Samples = {name: [] for name in names}
    for number in range(-warm_up, rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            value = work[name]()
            if number >= 0:
                samples[name].append(value)
        progress(f"round {number + 1}/{rounds}")
    progress("")
    return samples


def collect(work: Mapping[str, Callable[[], dict[str, float]]], rounds: int, warm_up: int) -> Rows:
    """Interleaved rounds. Who fails is named, and has no figure in that round."""
    rows: Rows = {}

    def once(name: str, measure: Callable[[], dict[str, float]]) -> Callable[[], float]:
        def run() -> float:
            try:
                figures = measure()
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"left out: {error}", file=sys.stderr)
                return nan
            for thing, value in figures.items():
                rows.setdefault(name, {}).setdefault(thing, []).append(value)
            return 0.0

        return run

    interleave({name: once(name, measure) for name, measure in work.items()}, rounds, warm_up)
    return {name: {thing: values[-rounds:] for thing, values in things.items()} for name, things in rows.items()}


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies, interpolated."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def ratios(samples: Samples, name: str, base: str) -> list[float]:
    """*name* as a multiple of *base*, round by round."""
    return [a / b for a, b in zip(samples[name], samples[base], strict=True)]


def ratio(samples: Samples, name: str, base: str) -> float:
    """The median of the ratios; not a number when one of the two was not measured."""
    return statistics.median(ratios(samples, name, base)) if name in samples and base in samples else float("nan")


def ratio_cell(samples: Samples, name: str, base: str) -> str:
    """As in '1.24 (1.10-1.51)': the median of the ratios and their 10 % and 90 % quantiles."""
    if base not in samples:
        return "-"
    values = ratios(samples, name, base)
    return f"{statistics.median(values):.2f} ({quantile(values, 0.1):.2f}-{quantile(values, 0.9):.2f})"


def spread_cell(values: Sequence[float], scale: float = 1000.0, digits: int = 1) -> str:
    """As in '23.4 (20.1-30.9)': median and 10 % and 90 % quantiles."""
    low, middle, high = (quantile(values, share) * scale for share in (0.1, 0.5, 0.9))
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table, so that it can be pasted into docs/performance.md."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}\n")
    for row in (head, ["-" * width for width in widths], *rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")


def progress(text: str) -> None:
    """Say on a terminal how far it is."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


@contextmanager
def gentle(timeout: float) -> Iterator[Callable[[], None]]:
    """Wait for a fact in steps of a millisecond; what is yielded raises TimeoutError after *timeout* seconds."""
    end = time.monotonic() + timeout

    def step() -> None:
        if time.monotonic() > end:
            raise TimeoutError(f"nothing after {timeout:g} s")
        time.sleep(0.001)

    yield step


def wait_until(fact: Callable[[], object], timeout: float = 30.0) -> float:
    """Wait until *fact()* is true; the moment, on the monotonic clock."""
    with gentle(timeout) as step:
        while not fact():
            step()
    return time.monotonic()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def can_read(descriptor: int, seconds: float) -> bool:
    """Whether something can be read within so many seconds."""
    return bool(select.select([descriptor], [], [], seconds)[0])


def arguments(what: str, rounds: int) -> argparse.Namespace:
    """--rounds N and --json FILE."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    parser.add_argument("--json", metavar="FILE", help="write every single measurement there")
    return parser.parse_args()


def report(options: argparse.Namespace, targets: Sequence[Target], **measured: object) -> int:
    """Print the targets, write the JSON file; 0, also when a target is missed: that is a finding, not a failure."""
    print()
    for target in targets:
        print(target)
    if options.json:
        record = {
            "python": sys.version.split()[0],
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "rounds": options.rounds,
            "targets": [asdict(target) | {"reached": target.measured <= target.limit} for target in targets],
            **measured,
        }
        Path(options.json).write_text(json.dumps(record, indent=1) + "\n")
    return 0
