"""Services that need others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from zephserver.core.errors import ServiceFailed
from zephserver.core.events import ServiceChanged
from zephserver.core.lifecycle import State
from zephserver.core.managed_service import ServiceOptions
from zephserver.core.service import Service
from zephserver.testing import wait_for, wait_until

if TYPE_CHECKING:
    from tests.zephserver.core.conftest import Bench


def test_what_a_service_requires_is_enabled_first(bench: Bench) -> None:
    manager = bench.manager(front := bench.puppet("Front", requires=("bench/Back",)), back := bench.puppet("Back"))

    manager.enable_service(front)

    ready = [event.name for event in bench.of(ServiceChanged) if event.new is State.READY]
    assert ready == [back, front]


def test_the_options_win_over_the_class(bench: Bench) -> None:
    front = bench.puppet("Front", requires=("bench/Nobody",), essential=True)
    manager = bench.manager(front, options={front: ServiceOptions(requires=(), essential=False)})

    manager.enable_service(front)

    assert manager.details(front)["requires"] == []
    assert manager.details(front)["essential"] is False


def test_a_service_waits_until_the_one_it_requires_is_ready(bench: Bench) -> None:
    class Back(bench.Puppet, Service):
        notify_ready = True

    manager = bench.manager(front := bench.puppet("Front", requires=("bench/Back",)), back := bench.add(Back))
    call = bench.call(lambda: manager.enable_service(front))
    wait_for(bench.bus, ServiceChanged, name=back, new=State.STARTING)
    assert manager.state(front) is State.AVAILABLE

    manager.get_service(back).ready()

    assert call.result() is True
    assert manager.state(front) is State.READY


def test_a_service_whose_requirement_does_not_become_ready_is_not_enabled(bench: Bench) -> None:
    class Back(bench.Puppet, Service):
        notify_ready = True

    manager = bench.manager(front := bench.puppet("Front", requires=("bench/Back",)), back := bench.add(Back))
    call = bench.call(lambda: manager.enable_service(front))
    wait_for(bench.bus, ServiceChanged, name=back, new=State.STARTING)

    bench.advance(31)

    with pytest.raises(ServiceFailed, match="requires bench/Back, which is not ready: it has not called ready"):
        call.result()
    assert manager.state(front) is State.AVAILABLE
    assert "bench/Back" in manager.wait_ready([front], 5)[front]


def test_a_requirement_that_is_not_in_the_list_is_named(bench: Bench) -> None:
    manager = bench.manager(front := bench.puppet("Front", requires=("bench/Nobody",)))

    with pytest.raises(ServiceFailed, match="requires 'bench/Nobody', which SERVICE_LIST does not have"):
        manager.enable_service(front)


def test_a_requirement_that_cannot_be_constructed_keeps_only_its_dependants_down(bench: Bench) -> None:
    manager = bench.manager(
        front := bench.puppet("Front", requires=("bench/Missing",)), "bench/Missing", free := bench.puppet("Free")
    )
    manager.create_all_services()

    outcome = manager.enable_all_services()

    assert isinstance(outcome[front], ServiceFailed)
    assert outcome[free] is None
    assert manager.state(free) is State.READY


def test_services_that_require_each_other_are_reported_as_a_cycle(bench: Bench) -> None:
    manager = bench.manager(
        first := bench.puppet("A", requires=("bench/B",)),
        bench.puppet("B", requires=("bench/C",)),
        bench.puppet("C", requires=("bench/A",)),
    )
    manager.create_all_services()

    outcome = manager.enable_all_services()

    assert "require each other: bench/A -> bench/B -> bench/C -> bench/A" in str(outcome[first])
    assert all(isinstance(error, ServiceFailed) for error in outcome.values())


def test_a_service_that_requires_itself_is_a_cycle(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet("Selfish", requires=("bench/Selfish",)))

    with pytest.raises(ServiceFailed, match="bench/Selfish -> bench/Selfish"):
        manager.enable_service(name)


def test_a_service_disabled_while_it_waits_for_another_is_not_enabled_after_all(bench: Bench) -> None:
    class Back(bench.Puppet, Service):
        notify_ready = True

    manager = bench.manager(front := bench.puppet("Front", requires=("bench/Back",)), back := bench.add(Back))
    call = bench.call(lambda: manager.enable_service(front))
    wait_for(bench.bus, ServiceChanged, name=back, new=State.STARTING)

    manager.disable_service(front)
    manager.get_service(back).ready()

    assert call.result() is False
    assert manager.state(front) is State.AVAILABLE


def test_a_slow_constructor_is_enabled_when_it_comes_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = bench.gate()

    class Slow(bench.Puppet):
        def __init__(self) -> None:
            gate.wait()
            super().__init__()

    monkeypatch.setattr("zephserver.core.service_manager.PATIENCE", 0.01)
    manager = bench.manager(slow := bench.add(Slow), quick := bench.puppet("Quick"))
    created = manager.create_all_services()
    enabled = manager.enable_all_services()
    assert (created, enabled) == ({slow: None, quick: None},) * 2
    assert manager.state(quick) is State.READY

    gate.set()

    assert manager.wait_ready(timeout=5) == {}


def test_a_slow_constructor_whose_requirement_fails_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = bench.gate()

    class Slow(bench.Puppet):
        requires = ("bench/Nobody",)

        def __init__(self) -> None:
            gate.wait()
            super().__init__()

    monkeypatch.setattr("zephserver.core.service_manager.PATIENCE", 0.01)
    manager = bench.manager(slow := bench.add(Slow))
    manager.create_all_services()
    manager.enable_all_services()

    gate.set()

    wait_until(lambda: "bench/Nobody" in (manager.details(slow)["error"] or ""))
    assert manager.state(slow) is State.AVAILABLE
