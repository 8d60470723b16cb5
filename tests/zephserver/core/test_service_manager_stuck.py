"""Services that do not stop when they are told to."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from zephserver.core.errors import ServiceStuck
from zephserver.core.events import ServiceChanged, ServiceDied, ServiceOverran
from zephserver.core.lifecycle import State
from zephserver.core.managed_service import ServiceOptions
from zephserver.core.service_manager import ServiceManager
from zephserver.testing import wait_for, wait_until

if TYPE_CHECKING:
    from tests.zephserver.core.conftest import Bench, Call


def deaf(bench: Bench) -> tuple[ServiceManager, str, threading.Event]:
    """A manager with one service that runs until the gate opens, whatever disable() says."""
    gate, inside = bench.gate(), threading.Event()

    def ignore_everybody(self: object) -> None:
        inside.set()
        gate.wait()

    manager = bench.manager(name := bench.puppet("Deaf", main=ignore_everybody))
    manager.enable_service(name)
    assert inside.wait(5)
    return manager, name, gate


def disabling(bench: Bench, manager: ServiceManager, name: str) -> Call:
    """Disable it in another thread; returns when the service is stopping."""
    call = bench.call(lambda: manager.disable_service(name))
    wait_for(bench.bus, ServiceChanged, name=name, new=State.STOPPING)
    return call


def test_a_service_that_ignores_disable_is_stuck_after_its_stop_timeout(bench: Bench) -> None:
    manager, name, _ = deaf(bench)
    call = disabling(bench, manager, name)

    bench.advance(9)
    assert manager.state(name) is State.STOPPING
    bench.advance(1)

    with pytest.raises(ServiceStuck, match="its thread still runs 10 s after disable"):
        call.result()
    assert manager.state(name) is State.STUCK


def test_a_stuck_service_is_shown_with_its_stack(bench: Bench) -> None:
    manager, name, _ = deaf(bench)
    disabling(bench, manager, name)

    bench.advance(10)

    assert "in ignore_everybody" in wait_for(bench.bus, ServiceOverran, name=name, doing="stopping").traceback
    assert "in ignore_everybody" in manager.stack(name)
    assert manager.counts() == {"total": 1, "enabled": 1, "available": 0, "stuck": 1}


@pytest.mark.parametrize("act", ["enable_service", "disable_service", "restart_service", "delete_service"])
def test_a_stuck_service_is_refused_clearly(bench: Bench, act: str) -> None:
    manager, name, _ = deaf(bench)
    call = disabling(bench, manager, name)
    bench.advance(10)
    with pytest.raises(ServiceStuck):
        call.result()

    with pytest.raises(ServiceStuck, match=f"zephctl services stack {name}"):
        getattr(manager, act)(name)


def test_a_stuck_service_that_stops_late_is_available_and_can_be_enabled(bench: Bench) -> None:
    manager, name, gate = deaf(bench)
    disabling(bench, manager, name)
    bench.advance(10)

    gate.set()

    wait_for(bench.bus, ServiceChanged, name=name, old=State.STUCK, new=State.AVAILABLE)
    assert manager.enable_service(name) is True


def test_an_error_at_the_end_of_a_stop_is_told_but_is_no_death(bench: Bench) -> None:
    class Clumsy(bench.Puppet):
        def disable(self) -> None:
            self.orders.put(ValueError("while stopping"))

    manager = bench.manager(name := bench.add(Clumsy))
    manager.enable_service(name)

    manager.disable_service(name)

    assert manager.state(name) is State.AVAILABLE
    assert wait_for(bench.bus, ServiceDied, name=name).error == "ValueError: while stopping"


def test_a_disable_that_raises_does_not_keep_main_from_ending(bench: Bench) -> None:
    class Angry(bench.Puppet):
        def disable(self) -> None:
            super().disable()
            raise ValueError("do not disturb")

    manager = bench.manager(name := bench.add(Angry))
    manager.enable_service(name)

    assert manager.disable_service(name) is True

    assert wait_for(bench.bus, ServiceDied, name=name).error == "disable() raised ValueError: do not disturb"
    assert manager.state(name) is State.AVAILABLE


def test_a_disable_that_hangs_hangs_nobody_else(bench: Bench) -> None:
    gate = bench.gate()
    manager = bench.manager(
        name := bench.puppet("Hangs", disable=lambda self: gate.wait()), other := bench.puppet("Other")
    )
    manager.enable_all_services()
    call = disabling(bench, manager, name)

    assert manager.disable_service(other) is True
    bench.advance(10)

    with pytest.raises(ServiceStuck):
        call.result()
    manager.get_service(name).orders.put(None)


def test_a_second_disable_waits_for_the_first(bench: Bench) -> None:
    manager, name, gate = deaf(bench)
    first = disabling(bench, manager, name)
    second = bench.call(lambda: manager.disable_service(name))
    wait_until(lambda: "in wait_for" in second.stack())

    gate.set()

    assert (first.result(), second.result()) == (True, True)


def test_enabling_while_it_stops_waits_for_the_stop(bench: Bench) -> None:
    manager, name, gate = deaf(bench)
    first = disabling(bench, manager, name)
    second = bench.call(lambda: manager.enable_service(name))
    wait_until(lambda: "in wait_for" in second.stack())

    gate.set()

    assert first.result() is True
    assert second.result() is True


def test_the_stop_timeout_of_a_service_is_its_own(bench: Bench) -> None:
    gate = bench.gate()
    name = bench.puppet("Deaf", main=lambda self: gate.wait())
    manager = bench.manager(name, options={name: ServiceOptions(stop_timeout=120)})
    manager.enable_service(name)
    call = disabling(bench, manager, name)

    bench.advance(119)
    assert manager.state(name) is State.STOPPING
    bench.advance(1)

    with pytest.raises(ServiceStuck, match="120 s after disable"):
        call.result()


def test_a_shorter_timeout_of_the_caller_counts(bench: Bench) -> None:
    manager, name, _ = deaf(bench)
    call = bench.call(lambda: manager.disable_service(name, timeout=2.0))
    wait_for(bench.bus, ServiceChanged, name=name, new=State.STOPPING)

    bench.advance(2)

    with pytest.raises(ServiceStuck):
        call.result()
