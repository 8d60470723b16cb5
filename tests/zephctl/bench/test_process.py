"""The process that makes a load, when things go wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.zephctl.commands.pseudo import ROOT
from zephctl.bench.process import run_load
from zephserver.core.errors import ZephError


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that makes the load finds this zephserver."""
    monkeypatch.setenv("PYTHONPATH", ROOT)


@pytest.mark.parametrize("plan", [{}, {"mode": "echo"}])
def test_a_process_that_ends_without_a_result_is_told(plan: dict[str, object]) -> None:
    with pytest.raises(ZephError, match=r"ended without a result \(1\)"):
        run_load(plan, lambda said: None)


def test_so_is_one_that_cannot_even_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(ZephError, match=r"ended without a result \(1\)"):
        run_load({"much": "x" * 1_000_000}, lambda said: None)


def test_modules_of_the_folder_are_not_taken_for_those_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "asyncio", "ssl"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ZephError, match="no client got in: "):
        run_load({"mode": "connect", "clients": 1, "seconds": 5.0, "host": "127.0.0.1", "port": 1}, lambda said: None)


def test_an_error_of_whoever_listens_ends_the_load() -> None:
    plan = {"mode": "connect", "clients": 50, "seconds": 600.0, "rate": 10.0, "host": "127.0.0.1", "port": 1}

    def fail(said: dict[str, object]) -> None:
        raise ValueError(said["phase"])

    with pytest.raises(ValueError, match="load"):
        run_load(plan, fail)
