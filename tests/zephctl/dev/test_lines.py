"""What a person sees of an event of the development mode."""

from __future__ import annotations

from typing import Any

import pytest

from zephctl.dev.lines import shown
from zephserver.core.events import ServiceChanged
from zephserver.events import (
    ClientConnected,
    ReloadMended,
    ReloadRefused,
    RestartNeeded,
    TaskFinished,
    TaskRaised,
    TasksReloaded,
)

NOT = "not reloaded: x"
FACTS: dict[str, Any] = {"error": "x", "file": "a.py", "line": 1, "source": "", "column": None}


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (TasksReloaded(modules=("a",), seconds=0.01, running=0), ("reloaded 1 module (a) in 10 ms", "ready")),
        (ReloadMended(file="a.py"), ("mended: a.py is as it was, so there is nothing to load", "ready")),
        (ReloadRefused(**FACTS), ("not reloaded: x", "ERROR")),
        (ReloadRefused(**FACTS | {"source": "\tx = (", "column": 6}), (f"{NOT}\n    x = (\n        ^", "ERROR")),
        (ReloadRefused(**FACTS | {"source": "  x", "column": 1}), ("not reloaded: x\n    x", "ERROR")),
        (ReloadRefused(**FACTS | {"source": "x", "column": 99}), ("not reloaded: x\n    x\n     ^", "ERROR")),
        (ReloadRefused(**FACTS | {"source": "a\tb", "column": 3}), ("not reloaded: x\n    a b\n      ^", "ERROR")),
        (ReloadRefused(**FACTS | {"source": "  "}), ("not reloaded: x", "ERROR")),
        (TaskFinished(task="a", cid="c", seconds=0.002, outcome="done"), ("task a of c: done in 2.0 ms", "")),
        (TaskFinished(task="a", cid="", seconds=0.002, outcome="done"),
         ("task a of the command line: done in 2.0 ms", "")),
        (TaskFinished(task="a", cid="c", seconds=0.002, outcome="x"), ("task a of c: x in 2.0 ms", "WARNING")),
        (TaskFinished(task="TaskPing", cid="c", seconds=0.002, outcome="done"), ("", "")),
        (TaskRaised(task="a", cid="c", error="E", traceback="T\n"), ("task a of c raised E\nT", "ERROR")),
        (ClientConnected(cid="c", user="ann", address="::1"), ("client c connected: ann from ::1", "DEBUG")),
        (RestartNeeded(files=("a.py",)), ("a.py changed: stop the server and start it again to use that", "WARNING")),
        (ServiceChanged(name="a", old="x", new="y", error=None), ("", "")),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_person_sees_what_matters(event: Any, line: tuple[str, str]) -> None:
    assert shown(event.as_dict()) == line
