"""A fault in a file of the user's, shown with its line and a mark below it. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def marked(text: str, facts: Mapping[str, Any]) -> str:
    """The sentence, then the line of the fault with a mark below its column, as far as *facts* have these."""
    line = (facts.get("source") or "").replace("\t", " ")  # a tab is one column of the mark, too
    source = line.strip()
    if not source:
        return text
    text += f"\n    {source}"
    place = (facts.get("column") or 0) - 1 - (len(line) - len(line.lstrip()))
    return f"{text}\n    {' ' * min(place, len(source))}^" if place >= 0 else text
