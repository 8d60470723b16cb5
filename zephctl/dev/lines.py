"""What a person sees of an event of the development mode. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

QUIET_TASKS = frozenset({"TaskPing"})  # the heartbeat of old clients


def shown(event: Mapping[str, Any]) -> tuple[str, str]:
    """Its text, and the word whose colour it has; '' for what would only be noise."""
    match event["kind"]:
        case "TasksReloaded" | "ReloadMended":
            return event["text"], "ready"
        case "ReloadRefused":
            return _with_source(event), "ERROR"
        case "TaskFinished" if event["task"] not in QUIET_TASKS:
            return event["text"], "" if event["outcome"] == "done" else "WARNING"
        case "TaskRaised":
            return f"{event['text']}\n{event['traceback'].rstrip()}", "ERROR"
        case "ClientConnected" | "ClientClosed":
            return event["text"], "DEBUG"
        case "RestartNeeded" | "ClientRefused" | "ServiceDied" | "ServiceOverran":
            return event["text"], "WARNING"
    return "", ""


def _with_source(event: Mapping[str, Any]) -> str:
    """The sentence, then the line of the fault with a mark below it."""
    text: str = event["text"]
    line = event["source"].replace("\t", " ")  # a tab is one column of the mark, too
    source = line.strip()
    if source:
        text += f"\n    {source}"
        place = (event["column"] or 0) - 1 - (len(line) - len(line.lstrip()))
        if place >= 0:
            text += f"\n    {' ' * min(place, len(source))}^"
    return text
