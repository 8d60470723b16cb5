"""The `_all_` forms, and what the manager tells about all services."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from zephserver.core.errors import ServiceError, ServiceFailed, ServiceNotLoaded, ServiceStuck
from zephserver.core.events import Event, ServiceChanged
from zephserver.core.lifecycle import State
from zephserver.core.service import Service
from zephserver.testing import wait_for, wait_until

if TYPE_CHECKING:
    from tests.zephserver.core.conftest import Bench


def test_all_services_are_enabled_in_the_order_of_the_list_and_disabled_in_reverse(bench: Bench) -> None:
    names = [bench.puppet(word) for word in ("One", "Two", "Three")]
    manager = bench.manager(*names)

    created = manager.create_all_services()
    enabled = manager.enable_all_services()
    disabled = manager.disable_all_services()

    assert created == enabled == disabled == dict.fromkeys(names)
    changes = bench.of(ServiceChanged)
    assert [event.name for event in changes if event.new is State.READY] == names
    assert [event.name for event in changes if event.new is State.STOPPING] == names[::-1]


def test_what_others_require_is_disabled_after_them(bench: Bench) -> None:
    manager = bench.manager(front := bench.puppet("Front", requires=("bench/Back",)), back := bench.puppet("Back"))
    manager.enable_all_services()

    manager.disable_all_services()

    stopping = [event.name for event in bench.of(ServiceChanged) if event.new is State.STOPPING]
    assert stopping == [front, back]


def test_creating_all_names_those_that_were_not_loaded(bench: Bench) -> None:
    manager = bench.manager("bench/Missing", good := bench.puppet("Good"))

    outcome = manager.create_all_services()

    assert list(outcome) == ["bench/Missing", good]
    assert isinstance(outcome["bench/Missing"], ServiceNotLoaded)
    assert outcome[good] is None
    assert manager.create_all_services().keys() == outcome.keys()  # and again: nothing is constructed twice


def test_enabling_all_names_those_that_have_failed(bench: Bench) -> None:
    manager = bench.manager("bench/Missing", good := bench.puppet("Good"))
    manager.create_all_services()

    outcome = manager.enable_all_services()

    assert isinstance(outcome["bench/Missing"], ServiceFailed)
    assert manager.state(good) is State.READY


def test_disabling_all_goes_on_after_a_stuck_service(bench: Bench) -> None:
    gate = bench.gate()
    manager = bench.manager(good := bench.puppet("Good"), bad := bench.puppet("Bad", main=lambda self: gate.wait()))
    manager.enable_all_services()
    call = bench.call(manager.disable_all_services)
    wait_for(bench.bus, ServiceChanged, name=bad, new=State.STOPPING)

    bench.advance(10)

    outcome = call.result()
    assert isinstance(outcome[bad], ServiceStuck)
    assert outcome[good] is None
    assert manager.state(good) is State.AVAILABLE


def test_disabling_all_shares_one_timeout(bench: Bench) -> None:
    gate = bench.gate()
    names = [bench.puppet(word, main=lambda self: gate.wait()) for word in ("One", "Two")]
    manager = bench.manager(*names)
    manager.enable_all_services()
    call = bench.call(lambda: manager.disable_all_services(timeout=4.0))

    wait_for(bench.bus, ServiceChanged, name=names[1], new=State.STOPPING)
    bench.advance(4)
    wait_for(bench.bus, ServiceChanged, name=names[0], new=State.STOPPING)
    bench.advance(0)

    assert [type(error) for error in call.result().values()] == [ServiceStuck, ServiceStuck]


def test_nothing_is_resurrected_after_all_are_disabled_until_one_is_enabled(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet(), other := bench.puppet("Other"))
    manager.enable_all_services()
    bench.crash(manager, name)
    manager._closing = True  # disable_all_services() has begun and has not reached this service yet

    manager.get_service(name)
    assert manager.state(name) is State.BACKOFF
    manager.enable_service(other)
    manager.disable_service(other)
    manager.enable_service(other)
    manager.get_service(name)

    assert manager.state(name) is State.READY


def test_enabling_all_stops_when_all_are_disabled_meanwhile(bench: Bench) -> None:
    class Slow(bench.Puppet, Service):
        notify_ready = True

    slow = bench.add(Slow)
    manager = bench.manager(slow, bench.puppet("Front", requires=(slow,)), last := bench.puppet("Last"))
    manager.create_all_services()
    call = bench.call(manager.enable_all_services)
    wait_for(bench.bus, ServiceChanged, name=slow, new=State.STARTING)

    manager.disable_all_services()
    call.result()

    assert manager.counts()["enabled"] == 0
    assert manager.state(last) is State.AVAILABLE


def test_a_service_constructed_while_all_are_disabled_is_not_enabled(bench: Bench) -> None:
    gate = bench.gate()

    class Slow(bench.Puppet):
        def __init__(self) -> None:
            super().__init__()
            gate.wait()

    manager = bench.manager(name := bench.add(Slow))
    stop = ServiceChanged(name=name, old=State.CONSTRUCTING, new=State.AVAILABLE)
    disabled: list[object] = []

    def read(event: Event) -> None:
        if event == stop and not disabled:
            disabled.append(manager.disable_all_services())

    bench.bus.subscribe(read)
    call = bench.call(lambda: manager.enable_service(name))
    wait_for(bench.bus, ServiceChanged, name=name, new=State.CONSTRUCTING)

    gate.set()
    with suppress(ServiceError):  # a word about it is welcome
        call.result()

    assert disabled == [{name: None}]
    wait_for(bench.bus, ServiceChanged, name=name, new=State.AVAILABLE)
    for thread in [manager._services[name].thread]:
        assert thread is not None
        thread.join(5)
    assert manager.state(name) is State.AVAILABLE


def test_deleting_all_forgets_every_instance(bench: Bench) -> None:
    names = [bench.puppet(word) for word in ("One", "Two")]
    manager = bench.manager(*names)
    manager.enable_all_services()

    outcome = manager.delete_all_services()

    assert outcome == dict.fromkeys(names)
    assert manager.get_all_services() == {}
    assert {manager.state(name) for name in names} == {State.DECLARED}


def test_getting_all_resurrects_nobody_and_leaves_out_what_is_not_constructed(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet(), "bench/Missing")
    manager.create_all_services()
    manager.enable_service(name)
    bench.crash(manager, name)

    instances = manager.get_all_services()

    assert list(instances) == [name]
    assert manager.state(name) is State.BACKOFF


def test_waiting_comes_back_early_when_one_cannot_become_ready(bench: Bench) -> None:
    manager = bench.manager("bench/Missing", good := bench.puppet("Good"))
    manager.create_all_services()
    manager.enable_all_services()

    late = manager.wait_ready(timeout=60)

    assert list(late) == ["bench/Missing"]
    assert "no class 'Missing'" in late["bench/Missing"]
    assert manager.wait_ready([good], 5) == {}


def test_waiting_names_what_is_not_ready_when_the_time_is_over(bench: Bench) -> None:
    class Slow(bench.Puppet, Service):
        notify_ready = True

    manager = bench.manager(name := bench.add(Slow))
    manager.enable_service(name)

    assert manager.wait_ready(timeout=0.01) == {name: "it is starting"}


def test_the_counts_and_rows_tell_where_each_service_stands(bench: Bench) -> None:
    names = [bench.puppet(word) for word in ("Idle", "Works", "Ill")]
    manager = bench.manager(*names, "bench/Missing")
    manager.create_all_services()
    manager.enable_service(names[1])
    manager.enable_service(names[2])
    bench.crash(manager, names[2])

    counts, rows = manager.counts(), manager.rows()

    assert counts == {"total": 4, "enabled": 1, "available": 2, "ready": 1, "back-off": 1, "failed": 1}
    assert [row["state"] for row in rows] == ["available", "ready", "back-off", "failed"]
    assert [row["available"] for row in rows] == [True, False, True, False]


def test_readers_of_the_events_may_ask_the_manager(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())
    seen: list[object] = []
    bench.bus.subscribe(lambda event: seen.append(manager.counts()))

    manager.enable_service(name)
    manager.disable_service(name)

    wait_until(lambda: len(seen) == len(bench.of(ServiceChanged)) == 6)
