"""What the manager knows about one service."""

from __future__ import annotations

import threading

import pytest

from zephserver.core.lifecycle import RestartPolicy, State
from zephserver.core.managed_service import ManagedService, ServiceOptions


class Wishes:
    """A service that wishes for something."""

    requires = ("c/D",)
    essential = True


def service(**more: object) -> ManagedService:
    """A service named a/B."""
    return ManagedService("a/B", more.pop("options", ServiceOptions()), **more)  # type: ignore[arg-type]


def test_the_wishes_of_the_class_count_unless_the_options_say_otherwise() -> None:
    asked, told = (
        service(instance=Wishes()),
        service(instance=Wishes(), options=ServiceOptions(requires=(), essential=False)),
    )

    assert (asked.requires, asked.essential) == (("c/D",), True)
    assert (told.requires, told.essential) == ((), False)
    assert (service().requires, service().essential) == ((), False)


@pytest.mark.parametrize(
    ("state", "wanted", "error", "settled"),
    [
        (State.READY, True, None, True),
        (State.DEAD, True, None, True),
        (State.FAILED, True, None, True),
        (State.STUCK, True, None, True),
        (State.STARTING, True, None, False),
        (State.STARTING, True, "overran", True),
        (State.AVAILABLE, True, None, False),
        (State.AVAILABLE, True, "requires another", True),
        (State.AVAILABLE, False, None, True),
        (State.DECLARED, False, None, True),
        (State.CONSTRUCTING, True, None, False),
        (State.BACKOFF, True, "crash", False),
        (State.STOPPING, False, None, False),
    ],
)
def test_a_service_is_settled_when_waiting_makes_no_sense(
    state: State, wanted: bool, error: str | None, settled: bool
) -> None:
    assert service(state=state, wanted=wanted, error=error).is_settled is settled


def test_deaths_are_remembered_as_long_as_they_count() -> None:
    some = service(options=ServiceOptions(policy=RestartPolicy(period=10.0)))

    some.remember_death(0.0)
    some.remember_death(5.0)
    some.started = 5.0
    some.remember_death(12.0)

    assert some.deaths == [5.0, 12.0]
    assert some.deaths_in_a_row == 3


def test_a_long_life_starts_the_count_anew() -> None:
    some = service(started=0.0, deaths_in_a_row=7)

    some.remember_death(10.0)

    assert some.deaths_in_a_row == 1


def test_the_stack_is_where_the_thread_is() -> None:
    gate, inside = threading.Event(), threading.Event()

    def work_hard() -> None:
        inside.set()
        gate.wait()

    some = service()
    assert some.stack() == ""
    some.thread = threading.Thread(target=work_hard)
    assert some.stack() == ""
    some.thread.start()
    assert inside.wait(5)

    assert "in work_hard" in some.stack()
    gate.set()
    some.thread.join(5)
    assert some.stack() == ""


def test_a_row_is_what_a_list_shows() -> None:
    row = service(state=State.READY, instance=Wishes(), since=1.23456, restarts=2, error="x").row()

    assert row == {
        "name": "a/B", "state": "ready", "available": False, "enabled": True, "since": 1.235, "restarts": 2,
        "error": "x",
    }  # fmt: skip
    assert type(row["state"]) is str


def test_details_are_all_that_is_known() -> None:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, name="service:a/B")
    some = service(state=State.AVAILABLE, instance=Wishes(), status_text="busy", traceback="Trace")

    details = some.details()
    some.thread = thread
    assert some.details()["thread"] is None
    thread.start()
    running = some.details()["thread"]
    gate.set()
    thread.join(5)

    assert running == "service:a/B"
    assert details == some.row() | {
        "status": "busy", "thread": None, "requires": ["c/D"], "essential": True, "restart": "on-failure",
        "start_timeout": 30.0, "stop_timeout": 10.0, "traceback": "Trace",
    }  # fmt: skip
    assert details["available"] is True
