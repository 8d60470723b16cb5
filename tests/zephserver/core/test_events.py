"""Every event writes itself as one line of English and as plain values."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
from typing import Any

import pytest

from zephserver.core import events
from zephserver.core.events import Event
from zephserver.core.lifecycle import State

EXAMPLES: list[tuple[Event, str]] = [
    (events.ServerStarted(version="1", pid=7), "zephserver 1 started, pid 7"),
    (events.ServerReady(seconds=1.234, services=4), "ready: 4 services in 1.23 s"),
    (events.ServerReady(seconds=1.234, services=1), "ready: 1 service in 1.23 s"),
    (events.ServerStopping(reason="signal SIGTERM"), "stopping: signal SIGTERM"),
    (events.ServerStopped(seconds=0.5, clean=True), "stopped in 0.50 s"),
    (events.ServerStopped(seconds=0.5, clean=False), "stopped in 0.50 s, not cleanly: a service is stuck"),
    (events.Recovered(what="x"), "recovered: x"),
    (events.SettingsWarned(text="careful"), "careful"),
    (events.ServiceChanged(name="a/B", old=State.STARTING, new=State.READY), "service a/B went from starting to ready"),
    (
        events.ServiceChanged(name="a/B", old=State.READY, new=State.DEAD, error="no"),
        "service a/B went from ready to dead: no",
    ),
    (events.ServiceDied(name="a/B", error="no", traceback="..."), "service a/B died: no"),
    (events.ServiceOverran(name="a", doing="stopping", seconds=9.0), "service a has not finished stopping after 9 s"),
    (events.CommandServed(command="x", uid=1, seconds=0.1), "command x from uid 1"),
    (events.CommandServed(command="x", uid=1, seconds=0.1, error="busy"), "command x from uid 1 refused: busy"),
    (events.ControlRefused(uid=1, pid=2, why="another user"), "control client refused (uid 1, pid 2): another user"),
    (events.ClusterSaid(event="prices", data=1), "cluster event 'prices' was said"),
    (events.PeerUp(peer="b"), "server b is there"),
    (events.PeerDown(peer="b", why="silent for 3.5 s"), "server b is gone: silent for 3.5 s"),
    (events.ClusterGap(peer="b", lost=1), "1 cluster event was lost on the way from server b"),
    (events.ClusterGap(peer="b", lost=2), "2 cluster events were lost on the way from server b"),
    (events.WorkerStarted(worker=2, pid=7), "worker 2 started, pid 7"),
    (events.WorkerDied(worker=2, pid=7, how="SIGKILL"), "worker 2 (pid 7) died: SIGKILL"),
    (events.WorkerEnded(worker=2, pid=7, how="exit 0"), "worker 2 (pid 7) has ended: exit 0"),
    (events.WorkerSaid(worker=2, event={"kind": "WorkerSaid", "text": "hello"}), "worker 2: hello"),
    (events.ReaderDropped(reader="r", error="e"), "reader r of the events raised and was let go: e"),
    (events.SubscriberFailed(event="x", error="e"), "a subscriber of cluster event 'x' raised e"),
]  # fmt: skip
KINDS = [
    kind for kind in vars(events).values() if inspect.isclass(kind) and issubclass(kind, Event) and kind is not Event
]


@pytest.mark.parametrize(("event", "text"), EXAMPLES)
def test_an_event_writes_itself_as_one_line(event: Event, text: str) -> None:
    assert str(event) == text


@pytest.mark.parametrize("event", [event for event, _ in EXAMPLES])
def test_an_event_holds_plain_values(event: Event) -> None:
    row: dict[str, Any] = event.as_dict()

    assert json.loads(json.dumps(row)) == row
    assert (row["kind"], row["text"], row["seq"]) == (type(event).__name__, str(event), 0)
    assert row.get("level") == (None if isinstance(event, events.WorkerSaid) else logging.getLevelName(event.level))


def test_the_kinds_are_those_that_can_be_seen() -> None:
    names = events.kinds()

    assert {kind.__name__ for kind in KINDS} - set(names) == {"WorkerSaid"}
    assert names == sorted(set(names))


def test_every_kind_has_an_example_here() -> None:
    assert {type(event) for event, _ in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_frozen_and_says_what_happened(kind: type[Event]) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert kind.__doc__
    assert dataclasses.is_dataclass(kind)


def test_number_and_time_do_not_make_two_events_different() -> None:
    assert events.Recovered(what="x", seq=1, at=2.0) == events.Recovered(what="x", seq=3)


def test_what_a_worker_said_keeps_its_kind_and_is_numbered_among_ours() -> None:
    theirs = {"kind": "Listening", "text": "listening on http://x/", "url": "http://x/", "seq": 3, "at": 1.0}

    said = events.WorkerSaid(worker=2, event=theirs, seq=40, at=2.0)

    assert said.as_dict() == {
        **theirs, "text": "worker 2: listening on http://x/", "worker": 2, "seq": 40, "at": 2.0
    }  # fmt: skip
    assert said.url == "http://x/"


def test_a_log_that_takes_everything_does_not_take_what_a_worker_said() -> None:
    assert events.WorkerSaid.level < logging.DEBUG  # it comes to the log on a way of its own
