"""Fuzz a parser for a while: `python -m tests.fuzz assembler --seconds 60`, or `all`, two at a time.

libFuzzer does the mutating where atheris is installed, the engine of this folder elsewhere. Exit status 1: something
was found, and printed with its input. New inputs go to --keep FOLDER; whoever likes one copies it to the corpus.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random, SystemRandom

from tests.fuzz.engine import HERE, Target, fuzz

NAMES = tuple(sorted(path.stem for path in (HERE / "targets").glob("[a-z]*.py")))
HAS_ATHERIS = importlib.util.find_spec("atheris") is not None


def load(name: str) -> Target:
    """The target of this name."""
    target: Target = importlib.import_module(f"tests.fuzz.targets.{name}").TARGET
    return target


def run_own(name: str, seconds: float, seed: int, keep: Path | None) -> int:
    """Fuzz with the engine of this folder, which goes on after a finding; the exit status."""
    target, end = load(name), time.monotonic() + seconds
    report = fuzz(target, Random(seed), goes_on=lambda runs: time.monotonic() < end)
    for data in report.outcomes.values() if keep is not None else ():
        (keep / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    for place, finding in report.findings.items():
        print(f"{name}: FOUND {place}\n{finding}")
    print(f"{name}: {report.runs} inputs, {len(report.findings)} findings, seed {seed}")
    return 1 if report.findings else 0


def run_atheris(name: str, seconds: float, seed: int, keep: Path | None) -> int:
    """Fuzz with libFuzzer, which stops at its first finding; the exit status."""
    target = load(name)
    with tempfile.TemporaryDirectory() as folder:
        words, new = Path(folder, "words"), keep or Path(folder, "new")
        words.write_text("".join(f'"{_quoted(word)}"\n' for word in target.words), encoding="ascii")
        new.mkdir(exist_ok=True)
        options = [
            *(f"-max_total_time={seconds:.0f}", f"-seed={seed}", f"-dict={words}", f"-max_len={target.longest}"),
            *("-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={folder}/", "-timeout=10"),
        ]
        command = [sys.executable, "-m", "tests.fuzz.libfuzzer", name, *options, str(new), str(target.folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    told = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        print(told)
    runs = re.search(r"executed_units: *(\d+)", told)
    print(f"{name}: {runs[1] if runs else '?'} inputs, {1 if done.returncode else 0} findings, seed {seed}, libFuzzer")
    return 1 if done.returncode else 0


def _quoted(word: bytes) -> str:
    """As libFuzzer's dictionaries have it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


def run_all(words: Sequence[str], jobs: int) -> int:
    """Every target in a process of its own, some at a time; 1 when one of them found something."""

    def run(name: str) -> int:
        command = [sys.executable, "-m", "tests.fuzz", name, *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        print(done.stdout, end="", flush=True)
        return done.returncode

    with ThreadPoolExecutor(jobs) as pool:
        return 1 if any(list(pool.map(run, NAMES))) else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=[*NAMES, "all"])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="for a run that can be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="how many of 'all' run at once")
    parser.add_argument("--keep", type=Path, default=None, metavar="FOLDER", help="where new inputs are left")
    parser.add_argument("--engine", choices=["atheris", "own"], default="atheris" if HAS_ATHERIS else "own")
    options = parser.parse_args(argv)
    if options.target == "all":
        return run_all([f"--seconds={options.seconds:g}", f"--engine={options.engine}"], options.jobs)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    seed = options.seed if options.seed is not None else SystemRandom().randrange(1, 1 << 31)
    run = run_atheris if options.engine == "atheris" else run_own
    return run(options.target, options.seconds, seed, options.keep)


if __name__ == "__main__":
    sys.exit(main())
