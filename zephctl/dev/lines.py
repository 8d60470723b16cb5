"""What a person sees of an event of the development mode. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zephctl.marks import marked

QUIET_TASKS = frozenset({"TaskPing"})  # the heartbeat of old clients


def shown(event: Mapping[str, Any]) -> tuple[str, str]:
    """Its text, and the word whose colour it has; '' for what would only be noise."""
    match event["kind"]:
        case "TasksReloaded" | "ReloadMended":
            return event["text"], "ready"
        case "ReloadRefused":
            return marked(event["text"], event), "ERROR"
        case "TaskFinished" if event["task"] not in QUIET_TASKS:
            return event["text"], "" if event["outcome"] == "done" else "WARNING"
        case "TaskRaised":
            return f"{event['text']}\n{event['traceback'].rstrip()}", "ERROR"
        case "ClientConnected" | "ClientClosed":
            return event["text"], "DEBUG"
        case "RestartNeeded" | "ClientRefused" | "ServiceDied" | "ServiceOverran":
            return event["text"], "WARNING"
    return "", ""
