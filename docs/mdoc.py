"""Pieces of mdoc(7), the language of manual pages. Pure: no I/O, no clock."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any


def entries(macro: str, rows: dict[str, str]) -> list[str]:
    """Names with what they mean."""
    lines = [".Bl -tag -width Ds"]
    for name, text in rows.items():
        lines += [f".It {macro} {safe(name)}".replace("  ", " "), *prose(text)]
    return [*lines, ".El"]


def examples(examples: Iterable[tuple[str, str]]) -> list[str]:
    """A section of commands; those with a sentence come after it, the others together."""
    lines: list[str] = []
    shown: set[str] = set()
    block = others = False
    for sentence, command in examples:
        if command in shown:
            continue
        shown.add(command)
        if not sentence and block and not others:
            sentence = "And:"
        others = others or not sentence or sentence == "And:"
        if sentence or not block:
            lines += [".Ed"] if block else []
            lines += [".Pp", *prose(sentence)] if sentence and lines else prose(sentence)
            lines.append(".Bd -literal -offset indent")
            block = True
        lines += [safe(line) for line in command.splitlines()]
    return [".Sh EXAMPLES", *lines, ".Ed"] if lines else []


def see_also(names: Iterable[str]) -> list[str]:
    """Other pages, in bold: a reference would be a fault wherever they are not installed yet."""
    shown = [f".Sy {safe(name)}" for name in sorted(names, key=lambda name: (name[-2], name))]
    return [".Sh SEE ALSO", *(f"{name} ," for name in shown[:-1]), shown[-1]]


def prose(text: str) -> Iterator[str]:
    """Prose: a sentence begins a line, as mdoc has it, and paragraphs are apart."""
    for number, paragraph in enumerate(filter(None, re.split(r"\n\s*\n", text))):
        if number:
            yield ".Pp"
        for sentence in re.split(r"(?<=[.!?]) (?=[A-Z\"'-])", " ".join(paragraph.split())):
            yield from map(safe, textwrap.wrap(sentence, 72, break_long_words=False, break_on_hyphens=False))


def safe(text: Any) -> str:
    """Text in which nothing means something to mdoc."""
    text = str(text).replace("\\", "\\e").replace('"', "\\(dq").replace("`", "\\(ga").replace("'", "\\(aq")
    text = text.replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha").replace("()", "\\&()")
    return f"\\&{text}" if text.startswith(".") else text
