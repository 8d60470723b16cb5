"""Every event writes itself as one line of English."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from zephserver import events
from zephserver.core.events import Event

SENTENCES: list[tuple[Event, str, int]] = [
    (
        events.Listening(url="http://127.0.0.1:80/", host="127.0.0.1", port=80),
        "listening on http://127.0.0.1:80/",
        logging.INFO,
    ),
    (
        events.ClientConnected(cid="c1", user="ann", address="10.0.0.1"),
        "client c1 connected: ann from 10.0.0.1",
        logging.DEBUG,
    ),
    (events.ClientClosed(cid="c1", code=1001, reason="bye"), "client c1 closed with 1001 bye", logging.DEBUG),
    (events.ClientClosed(cid="", code=4001, reason=""), "client (not identified) closed with 4001", logging.DEBUG),
    (
        events.ClientRefused(address="10.0.0.1", why="it is full"),
        "connection from 10.0.0.1 refused: it is full",
        logging.WARNING,
    ),
    (
        events.ClientRefused(address="", why="it is full"),
        "connection from unknown refused: it is full",
        logging.WARNING,
    ),
    (
        events.TaskFinished(task="Echo", cid="c1", seconds=0.01234, outcome="done"),
        "task Echo of c1: done in 12.3 ms",
        logging.DEBUG,
    ),
    (
        events.TaskFinished(task="Echo", cid="", seconds=0.01234, outcome="done"),
        "task Echo of the command line: done in 12.3 ms",
        logging.DEBUG,
    ),
    (
        events.TaskRaised(task="Echo", cid="", error="KeyError('x')", traceback="..."),
        "task Echo of the command line raised KeyError('x')",
        logging.ERROR,
    ),
    (
        events.TaskRaised(task="Echo", cid="c1", error="KeyError('x')", traceback="..."),
        "task Echo of c1 raised KeyError('x')",
        logging.ERROR,
    ),
    (
        events.ReloadRefused(error="invalid syntax", file="tasks.py", line=1, source="def", column=3),
        "not reloaded: invalid syntax",
        logging.ERROR,
    ),
    (
        events.ReloadMended(file="tasks.py"),
        "mended: tasks.py is as it was, so there is nothing to load",
        logging.INFO,
    ),
    (
        events.ReloadMended(file=None),
        "mended: the code is as it was, so there is nothing to load",
        logging.INFO,
    ),
    (
        events.RestartNeeded(files=("a.py", "b.py"), services=("a/A",)),
        "a.py, b.py changed: stop the server and start it again to use that in a/A",
        logging.WARNING,
    ),
    (
        events.RestartNeeded(files=("zephsettings.py",)),
        "zephsettings.py changed: stop the server and start it again to use that",
        logging.WARNING,
    ),
    (
        events.RestartNeeded(files=("zephsettings.py",), faults=("PORT_ZEPH: no", "LOG_LEVEL: no")),
        "zephsettings.py changed, and the server would not start with that: PORT_ZEPH: no; LOG_LEVEL: no",
        logging.WARNING,
    ),
    (
        events.TasksReloaded(modules=("tasks",), seconds=0.0123, running=0, keep_old=()),
        "reloaded 1 module (tasks) in 12 ms",
        logging.INFO,
    ),
    (
        events.TasksReloaded(modules=("a", "b"), seconds=1.0, running=2, keep_old=("models",)),
        "reloaded 2 modules (a, b) in 1000 ms; 2 running tasks end on the old code; "
        "models will use it when the server is stopped and started again",
        logging.INFO,
    ),
]


@pytest.mark.parametrize(("event", "sentence", "level"), SENTENCES, ids=lambda value: type(value).__name__)
def test_an_event_is_a_sentence_with_a_level(event: Event, sentence: str, level: int) -> None:
    assert str(event) == sentence
    assert event.level == level
    assert event.as_dict()["kind"] == type(event).__name__


def test_an_event_cannot_be_changed() -> None:
    event = events.ClientClosed(cid="c1", code=1000, reason="")

    with pytest.raises(dataclasses.FrozenInstanceError):
        event.code = 1001  # type: ignore[misc]


def test_every_event_of_the_module_has_its_sentence_here() -> None:
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)}

    assert kinds - {Event} == {type(event) for event, _, _ in SENTENCES}
