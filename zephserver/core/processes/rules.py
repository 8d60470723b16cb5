"""Which workers a command goes to, and how their answers become one. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from zephserver.core.processes import merge

LOOK = 5.0  # seconds for an answer that only tells what is


class Whom(Enum):
    """Who is asked."""

    FIRST = "first"  # the one with the lowest number
    KNOWING = "knowing"  # one after the other, until one knows who is meant
    ALL = "all"  # all at once
    ROLLING = "rolling"  # one after the other, so that the others do the work meanwhile


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done with a command. *within* is for the answer of each worker, in seconds; None is without end."""

    whom: Whom = Whom.FIRST
    merge: Callable[[merge.Answers], Any] = merge.first
    within: float | None = None


# What stands neither here nor in commands.py is for the first worker: it knows the rooms and users of all of them.
RULES: dict[str, Rule] = {
    "services.show": Rule(Whom.ALL, merge.agreed, LOOK),
    "services.enable": Rule(Whom.ALL, merge.agreed),
    "services.disable": Rule(Whom.ALL, merge.agreed),
    "services.restart": Rule(Whom.ROLLING, merge.agreed),
    "services.reset": Rule(Whom.ALL, merge.agreed),
    "services.stack": Rule(Whom.ALL, merge.stacked, LOOK),
    "services.wait": Rule(Whom.ALL, merge.agreed),
    "clients.list": Rule(Whom.ALL, merge.together, LOOK),
    "clients.kick": Rule(Whom.KNOWING),
    "tasks.running": Rule(Whom.ALL, merge.longest_first, LOOK),
    "tasks.reload": Rule(Whom.ROLLING),
    "tasks.rollback": Rule(Whom.ROLLING),
    "reload": Rule(Whom.ROLLING),
}
