"""Prints the scripts of the shells into completions/: `python -m docs.completions`. A test holds them current."""

from __future__ import annotations

from pathlib import Path

from zephctl.completion_scripts import FILES, SCRIPTS

FOLDER = Path(__file__).parent.parent / "completions"


def pages() -> dict[str, str]:
    """File name and text of every script."""
    return {FILES[shell]: text for shell, text in SCRIPTS.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"completions/{name}")
