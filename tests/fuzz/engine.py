"""A small mutation fuzzer, seeded and guided: it keeps what makes the target say something new.

It runs everywhere and its runs can be repeated. Where atheris is installed, `python -m tests.fuzz` lets libFuzzer do
the mutating, guided by the branches that an input takes.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

SLOW = 1.0  # seconds of CPU for one input; every parser here answers within milliseconds
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Target:
    """A parser under test.

    *one_input* raises when the parser broke a promise, otherwise it says in a few words what became of the input.
    *outcomes* are those words that the corpus must show, *words* what the grammar of the input is made of.
    """

    name: str
    one_input: Callable[[bytes], str]
    outcomes: frozenset[str]
    words: tuple[bytes, ...]
    longest: int = 4_096

    @property
    def folder(self) -> Path:
        """Where its corpus is."""
        return HERE / "corpus" / self.name

    def corpus(self) -> list[bytes]:
        """The inputs that are kept, in the order of their names."""
        return [path.read_bytes() for path in sorted(self.folder.iterdir())]

    def try_input(self, data: bytes) -> str:
        """What becomes of one input. Raises AssertionError when it takes too long, and what one_input() raises."""
        begin = time.thread_time()
        outcome = self.one_input(data)
        taken = time.thread_time() - begin
        assert taken < SLOW, f"one input of {len(data)} bytes took {taken:.1f} s"
        return outcome


class Promised(AssertionError):
    """A parser broke a promise; the text says which."""


def promise(holds: object, broken: str, *facts: object) -> None:
    """Raise Promised with these words and facts unless it *holds*."""
    if not holds:
        raise Promised(": ".join([broken, *map(repr, facts)]))


@dataclass
class Finding:
    """An input that broke a promise, made small, and what was raised."""

    data: bytes
    error: Exception

    def __str__(self) -> str:
        told = traceback.format_exception(self.error)
        return f"{self.data!r}\n{''.join(told)}"


@dataclass
class Report:
    """What a run saw."""

    runs: int = 0
    outcomes: dict[str, bytes] = field(default_factory=dict)  # with the first input of each
    findings: dict[str, Finding] = field(default_factory=dict)  # by place


class Mutator:
    """Makes inputs from inputs. The same *random* makes the same ones."""

    def __init__(self, random: Random, words: tuple[bytes, ...], longest: int) -> None:
        self._random, self._words, self._longest = random, words, longest

    def mutate(self, data: bytes, pool: list[bytes]) -> bytes:
        """One input after one to eight changes."""
        changed = bytearray(data)
        for _ in range(1 << self._random.randrange(4)):
            self._random.choice(_CHANGES)(self, changed, pool)
        return bytes(changed[: self._longest])

    def _flip(self, data: bytearray, pool: list[bytes]) -> None:
        if data:
            data[self._at(data)] ^= 1 << self._random.randrange(8)

    def _set(self, data: bytearray, pool: list[bytes]) -> None:
        if data:
            data[self._at(data)] = self._random.choice(_ODD) if self._coin() else self._random.randrange(256)

    def _cut(self, data: bytearray, pool: list[bytes]) -> None:
        begin, end = self._span(data)
        del data[begin:end]

    def _double(self, data: bytearray, pool: list[bytes]) -> None:
        begin, end = self._span(data)
        data[end:end] = data[begin:end] * self._random.choice((1, 1, 2, 16))

    def _word(self, data: bytearray, pool: list[bytes]) -> None:
        word = self._random.choice(self._words)
        at = self._random.randint(0, len(data))
        data[at : at + (len(word) if self._coin() else 0)] = word  # over what was there, or before it

    def _noise(self, data: bytearray, pool: list[bytes]) -> None:
        at = self._random.randint(0, len(data))
        data[at:at] = self._random.randbytes(self._random.randint(1, 8))

    def _splice(self, data: bytearray, pool: list[bytes]) -> None:
        other = self._random.choice(pool)
        begin, end = self._span(other)
        at = self._random.randint(0, len(data))
        data[at : at + (end - begin if self._coin() else 0)] = other[begin:end]

    def _cross(self, data: bytearray, pool: list[bytes]) -> None:
        other = self._random.choice(pool)
        data[self._random.randint(0, len(data)) :] = other[self._random.randint(0, len(other)) :]

    def _at(self, data: bytearray) -> int:
        return self._random.randrange(len(data))

    def _span(self, data: bytes | bytearray) -> tuple[int, int]:
        begin = self._random.randint(0, len(data))
        return begin, min(len(data), begin + self._random.randint(0, self._random.choice((1, 4, 16, 256))))

    def _coin(self) -> bool:
        return self._random.random() < 0.5


_ODD = b"\x00\x01\x09\x0a\x0b\x0c\x0d\x1f !\"%&',-./0:;<=?@[\\]{}~\x7e\x7f\x80\x85\xa0\xc0\xff"
_CHANGES = (
    *(Mutator._flip, Mutator._set, Mutator._cut, Mutator._double),
    *(Mutator._word, Mutator._word, Mutator._noise, Mutator._splice, Mutator._cross),
)


def fuzz(target: Target, random: Random, *, goes_on: Callable[[int], bool]) -> Report:
    """Try the corpus, then what it mutates to, while *goes_on(runs)*. Findings are collected, one for each place."""
    report, pool = Report(), target.corpus()
    for data in pool:
        _try(target, data, report)
    mutator = Mutator(random, target.words, target.longest)
    while goes_on(report.runs):
        data = mutator.mutate(random.choice(pool), pool)
        if _try(target, data, report):
            pool.append(data)
    return report


def _try(target: Target, data: bytes, report: Report) -> bool:
    """Whether the outcome is new."""
    report.runs += 1
    try:
        outcome = target.try_input(data)
    except Exception as error:  # any exception is a finding: one_input() knows the documented ones
        place = _place(error)
        if place not in report.findings:
            small = shrink(data, lambda less: _fails_at(target, less) == place)
            report.findings[place] = Finding(small, error)
        return False
    if outcome in report.outcomes:
        return False
    report.outcomes[outcome] = data
    return True


def _fails_at(target: Target, data: bytes) -> str | None:
    try:
        target.try_input(data)
    except Exception as error:  # compared by its place
        return _place(error)
    return None


def _place(error: Exception) -> str:
    """Tells findings apart: kind of the exception, and the line that asked for it."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.name not in ("promise", "one_input")
    ]
    last = frames[-1]
    words = str(error).partition(":")[0] if isinstance(error, Promised) else ""
    return f"{type(error).__name__} {Path(last.filename).name}:{last.lineno} {words}".rstrip()


def shrink(data: bytes, still: Callable[[bytes], bool], *, tries: int = 2_000) -> bytes:
    """A shorter input for which it is *still* so: pieces are left out, large ones first."""
    size = len(data)
    while size:
        size //= 2
        at = 0
        while at < len(data) and size and tries:
            tries -= 1
            less = data[:at] + data[at + size :]
            if still(less):
                data = less
            else:
                at += size
    return data


def lines_of(data: bytes, count: int) -> list[str]:
    """The input as this many lines of Latin-1, as headers are read; '' for those that are missing."""
    texts = [line.decode("latin-1") for line in data.split(b"\n", count - 1)]
    return texts + [""] * (count - len(texts))
