"""Every parser against its corpus, then against what the corpus mutates to: the short form of `make fuzz`."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz.__main__ import NAMES, load
from tests.fuzz.engine import HERE, Mutator, Promised, Target, fuzz, promise, shrink

RUNS = 10_000  # of each target: a second or two
SEED = 2_015


@pytest.fixture(params=NAMES)
def target(request: pytest.FixtureRequest) -> Target:
    return load(request.param)


def test_the_corpus_breaks_no_promise_and_shows_every_outcome(target: Target) -> None:
    outcomes = {target.try_input(data) for data in target.corpus()}

    assert target.outcomes - outcomes == set()


def test_mutations_of_the_corpus_break_no_promise(target: Target) -> None:
    report = fuzz(target, Random(SEED), goes_on=lambda runs: runs < RUNS)

    assert report.runs == RUNS
    assert not report.findings, "\n".join(map(str, report.findings.values()))


def test_the_corpus_stays_small() -> None:
    files = [path for path in (HERE / "corpus").rglob("*") if path.is_file()]

    assert {path.parent.name for path in files} == set(NAMES)
    assert len(files) < 200
    assert sum(path.stat().st_size for path in files) < 200_000


# -- the engine -------------------------------------------------------------------------------------------------------


def broken(data: bytes) -> str:
    """A parser that breaks its promises."""
    promise(b"(" not in data, "a bracket", data)
    if b"[" in data:
        raise KeyError
    return f"{len(data) // 8}"


def a_target(**more: object) -> Target:
    options = {"one_input": broken, "outcomes": frozenset(), "words": (b"(", b"[", b"abc")}
    return Target("nobody", **(options | more))  # type: ignore[arg-type]


def test_the_same_seed_makes_the_same_inputs() -> None:
    first, second = (Mutator(Random(7), (b"word",), 100) for _ in range(2))
    pool = [b"one two three", b""]

    made = [first.mutate(pool[0], pool) for _ in range(500)]

    assert made == [second.mutate(pool[0], pool) for _ in range(500)]
    assert len(set(made)) > 400
    assert max(map(len, made)) <= 100


def test_every_broken_promise_is_found_once_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "corpus", lambda self: [b"a long input to begin with"])

    report = fuzz(a_target(), Random(SEED), goes_on=lambda runs: runs < 2_000)

    assert sorted(finding.data for finding in report.findings.values()) == [b"(", b"["]
    assert "a bracket" in "".join(map(str, report.findings.values()))
    assert len(report.outcomes) > 3


def test_an_input_that_takes_long_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.engine.SLOW", 0.0)

    with pytest.raises(AssertionError, match="one input of 3 bytes took"):
        a_target().try_input(b"abc")


def test_shrinking_keeps_what_matters() -> None:
    assert shrink(b"x" * 1_000 + b"needle" + b"y" * 777, lambda less: b"needle" in less) == b"needle"


def test_a_promise_says_its_facts() -> None:
    promise(True, "never said")

    with pytest.raises(Promised, match="another value: 1: 'a'"):
        promise(False, "another value", 1, "a")
