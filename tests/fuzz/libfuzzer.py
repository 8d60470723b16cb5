"""The process that libFuzzer runs in, through atheris: `python -m tests.fuzz` starts it. It never returns."""

from __future__ import annotations

import importlib
import sys

import atheris


def main(name: str, options: list[str]) -> None:
    """Fuzz the target of this name; *options* are libFuzzer's."""
    with atheris.instrument_imports(include=["zephserver"]):
        target = importlib.import_module(f"tests.fuzz.targets.{name}").TARGET

    def one_input(data: bytes) -> None:
        try:
            target.try_input(data)
        except Exception:
            print(f"{name}: FOUND with {data!r}", flush=True)
            raise

    atheris.Setup([name, *options], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
