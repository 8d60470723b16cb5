"""One service: created, enabled, asked for, disabled, deleted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from zephserver.core import runtime
from zephserver.core.errors import (
    CalledInConstructor,
    ServiceFailed,
    ServiceNotLoaded,
    ServiceStuck,
    UnknownService,
)
from zephserver.core.events import Event, ServiceChanged, ServiceDied
from zephserver.core.lifecycle import Restart, RestartPolicy, State
from zephserver.core.managed_service import ServiceOptions
from zephserver.core.service import Service
from zephserver.testing import wait_for, wait_until

if TYPE_CHECKING:
    from tests.zephserver.core.conftest import Bench

NEVER = ServiceOptions(policy=RestartPolicy(restart=Restart.NEVER))


def test_a_created_service_is_available(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())

    created = manager.create_service(name)

    assert created is True
    assert manager.state(name) is State.AVAILABLE
    assert isinstance(manager.get_service(name), bench.Puppet)


def test_a_service_is_constructed_once(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())
    manager.create_service(name)
    instance = manager.get_service(name)

    again = manager.create_service(name)

    assert again is False
    assert manager.get_service(name) is instance


def test_a_service_outside_the_list_joins_it_when_created(bench: Bench) -> None:
    manager = bench.manager()

    manager.create_service(name := bench.puppet())

    assert manager.names == [name]


def test_a_name_of_2015_is_translated_when_created(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet(), translate=lambda old: name)

    manager.create_service("old/Name")

    assert manager.names == [name]


def test_translating_a_name_holds_no_lock(bench: Bench) -> None:
    def translate(old: str) -> str:  # Server._translate() publishes an event, whose readers may ask the manager
        bench.call(manager.rows).result(2.0)
        return old

    manager = bench.manager(name := bench.puppet(), translate=translate)

    assert manager.create_service(name) is True


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_a_constructor_that_raises_fails_its_own_service_only(bench: Bench, error: BaseException) -> None:
    def explode(self: object) -> None:
        raise error

    manager = bench.manager(bad := bench.puppet("Bad", __init__=explode), good := bench.puppet("Good"))

    outcome = manager.create_all_services()

    assert isinstance(outcome[bad], ServiceNotLoaded)
    assert type(error).__name__ in str(outcome[bad])
    assert outcome[good] is None
    assert (manager.state(bad), manager.state(good)) == (State.FAILED, State.AVAILABLE)
    assert "in explode" in manager.details(bad)["traceback"]
    assert type(error).__name__ in wait_for(bench.bus, ServiceDied, name=bad).error


def test_a_service_that_could_not_be_constructed_is_tried_again_when_created_again(bench: Bench) -> None:
    faults = [ValueError("the first time")]

    def explode_once(self: object) -> None:
        if faults:
            raise faults.pop()

    manager = bench.manager(name := bench.puppet("Bad", __init__=explode_once))
    with pytest.raises(ServiceNotLoaded, match="the first time"):
        manager.create_service(name)

    created = manager.create_service(name)

    assert created is True
    assert manager.state(name) is State.AVAILABLE


@pytest.mark.parametrize("name", ["nowhere.at.all/Service", "bench/Missing", "no slash", "bench/not an identifier"])
def test_a_class_that_is_not_there_is_not_loaded(bench: Bench, name: str) -> None:
    manager = bench.manager(name)

    with pytest.raises(ServiceNotLoaded) as raised:
        manager.create_service(name)

    assert str(raised.value).count("is not loaded: ") == 1
    assert manager.state(name) is State.FAILED


def test_a_constructor_that_hangs_is_stuck_after_the_start_timeout(bench: Bench) -> None:
    gate, inside = bench.gate(), threading.Event()

    def hang(self: object) -> None:
        inside.set()
        gate.wait()

    manager = bench.manager(name := bench.puppet("Slow", __init__=hang))
    call = bench.call(lambda: manager.create_service(name))
    assert inside.wait(5)

    bench.advance(31)

    with pytest.raises(ServiceNotLoaded, match="__init__ has not come back after 31 s"):
        call.result()
    assert manager.state(name) is State.STUCK
    assert "gate.wait()" in manager.stack(name)


def test_a_constructor_that_comes_back_late_makes_the_service_available(bench: Bench) -> None:
    gate, inside = bench.gate(), threading.Event()

    def hang(self: object) -> None:
        inside.set()
        gate.wait()

    manager = bench.manager(name := bench.puppet("Slow", __init__=hang))
    call = bench.call(lambda: manager.create_service(name))
    assert inside.wait(5)
    bench.advance(31)
    with pytest.raises(ServiceNotLoaded):
        call.result()

    gate.set()

    wait_for(bench.bus, ServiceChanged, name=name, old=State.STUCK, new=State.AVAILABLE)
    assert manager.create_service(name) is False


def test_a_constructor_that_raises_late_fails(bench: Bench) -> None:
    gate, inside = bench.gate(), threading.Event()

    def hang(self: object) -> None:
        inside.set()
        gate.wait()
        raise ValueError("late")

    manager = bench.manager(name := bench.puppet("Slow", __init__=hang))
    call = bench.call(lambda: manager.create_service(name))
    assert inside.wait(5)
    bench.advance(31)
    with pytest.raises(ServiceNotLoaded):
        call.result()

    gate.set()

    wait_for(bench.bus, ServiceChanged, name=name, old=State.STUCK, new=State.FAILED)
    assert manager.details(name)["error"] == "ValueError: late"


def test_no_thread_for_a_constructor_fails_that_service_only(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*args: object, **more: object) -> None:
        raise RuntimeError("can't start new thread")

    manager = bench.manager(name := bench.puppet())
    monkeypatch.setattr(runtime, "spawn", no_thread)

    outcome = manager.create_all_services()

    assert isinstance(outcome[name], ServiceNotLoaded)


def test_a_constructor_that_asks_for_a_service_is_told_so(bench: Bench) -> None:
    def ask(self: object) -> None:
        manager.get_service(other)

    manager = bench.manager(name := bench.puppet("Asks", __init__=ask), other := bench.puppet("Other"))

    with pytest.raises(ServiceNotLoaded, match=r"bench/Asks.__init__ asks for service bench/Other.*main\(\)"):
        manager.create_service(name)


def test_asking_in_a_constructor_raises_called_in_constructor_with_both_names(bench: Bench) -> None:
    caught: list[CalledInConstructor] = []

    class Asks(bench.Puppet):
        def __init__(self) -> None:
            super().__init__()
            try:
                manager.get_service("bench/Other")
            except CalledInConstructor as error:
                caught.append(error)

    manager = bench.manager(name := bench.add(Asks), bench.puppet("Other"))

    manager.create_service(name)

    assert (caught[0].name, caught[0].wanted) == (name, "bench/Other")
    assert manager.state(name) is State.AVAILABLE


def test_an_enabled_service_runs_in_a_thread_named_after_it(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())

    started = manager.enable_service(name)

    assert started is True
    assert manager.state(name) is State.READY
    wait_until(lambda: manager.get_service(name).lives)
    assert manager.get_service(name).lives[0].name == f"service:{name}"
    assert manager.enable_service(name) is False


def test_the_thread_of_a_service_knows_which_service_it_works_for(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())
    manager.enable_service(name)
    seen: list[str] = []

    manager.get_service(name).orders.put(lambda: seen.append(runtime.current_service()))

    wait_until(lambda: seen == [name])


def test_a_service_that_announces_itself_is_starting_until_it_says_ready(bench: Bench) -> None:
    class Announced(bench.Puppet, Service):
        notify_ready = True

    manager = bench.manager(name := bench.add(Announced))
    manager.enable_service(name)
    assert manager.state(name) is State.STARTING

    manager.get_service(name).orders.put(manager.get_service(name).ready)

    assert manager.wait_ready([name], 5) == {}
    assert manager.state(name) is State.READY


def test_ready_of_an_earlier_life_is_ignored(bench: Bench) -> None:
    class Announced(bench.Puppet, Service):
        notify_ready = True

    manager = bench.manager(name := bench.add(Announced))
    manager.enable_service(name)
    notifier = manager.get_service(name)._notifier
    manager.restart_service(name)

    notifier.ready()

    assert manager.state(name) is State.STARTING


def test_a_service_that_does_not_say_ready_in_time_overran(bench: Bench) -> None:
    class Announced(bench.Puppet, Service):
        notify_ready = True

    manager = bench.manager(name := bench.add(Announced))
    manager.enable_service(name)

    bench.advance(31)

    assert manager.wait_ready(timeout=5) == {name: "it has not called ready() after 31 s"}
    manager.get_service(name).ready()
    assert manager.wait_ready(timeout=5) == {}


def test_a_service_tells_what_it_is_doing(bench: Bench) -> None:
    class Talks(bench.Puppet, Service):
        pass

    manager = bench.manager(name := bench.add(Talks))
    manager.enable_service(name)

    manager.get_service(name).status("counting sheep")

    assert manager.details(name)["status"] == "counting sheep"
    manager.disable_service(name)
    assert manager.details(name)["status"] == ""


def test_a_disabled_service_is_available_and_its_thread_is_gone(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())
    manager.enable_service(name)
    wait_until(lambda: manager.get_service(name).lives)

    stopped = manager.disable_service(name)

    assert stopped is True
    assert manager.state(name) is State.AVAILABLE
    assert not manager.get_service(name).lives[0].is_alive()
    assert manager.disable_service(name) is False


def test_get_service_does_not_resurrect_what_somebody_disabled(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())
    manager.enable_service(name)
    manager.disable_service(name)

    instance = manager.get_service(name)

    assert manager.state(name) is State.AVAILABLE
    assert len(instance.lives) == 1


def test_a_dead_service_is_resurrected_by_get_service(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet(), options={"bench/Puppet": NEVER})
    manager.enable_service(name)
    first = manager.get_service(name)
    assert bench.crash(manager, name) is State.DEAD

    second = manager.get_service(name)

    assert second is first
    assert manager.state(name) is State.READY
    wait_until(lambda: len(first.lives) == 2)
    assert first.lives[0] is not first.lives[1]
    assert manager.details(name)["restarts"] == 1


def test_a_thousand_threads_that_ask_at_once_start_one_thread(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet(), options={"bench/Puppet": NEVER})
    manager.enable_service(name)
    bench.crash(manager, name)
    start = threading.Event()

    def ask() -> object:
        start.wait()
        return manager.get_service(name)

    calls = [bench.call(ask) for _ in range(1_000)]
    start.set()
    instances = {id(call.result()) for call in calls}

    assert len(instances) == 1
    assert manager.details(name)["restarts"] == 1
    wait_until(lambda: len(manager.get_service(name).lives) == 2)


def test_a_service_disabled_after_its_death_is_not_resurrected(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet(), options={"bench/Puppet": NEVER})
    manager.enable_service(name)
    bench.crash(manager, name)

    assert manager.disable_service(name) is False

    manager.get_service(name)
    assert manager.state(name) is State.AVAILABLE


def test_a_deleted_service_is_declared_and_has_no_instance(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())
    manager.enable_service(name)

    deleted = manager.delete_service(name)

    assert deleted is True
    assert manager.state(name) is State.DECLARED
    assert manager.delete_service(name) is False
    with pytest.raises(ServiceNotLoaded, match="it is declared"):
        manager.get_service(name)


def test_a_deleted_service_gets_a_new_instance_when_enabled(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())
    manager.enable_service(name)
    first = manager.get_service(name)
    manager.delete_service(name)

    manager.enable_service(name)

    assert manager.get_service(name) is not first


def test_a_service_that_failed_can_be_deleted(bench: Bench) -> None:
    manager = bench.manager("bench/Missing")
    with pytest.raises(ServiceNotLoaded):
        manager.create_service("bench/Missing")

    assert manager.delete_service("bench/Missing") is True
    assert manager.state("bench/Missing") is State.DECLARED


def test_nobody_is_an_unknown_service_everywhere(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())

    for ask in (
        manager.get_service,
        manager.enable_service,
        manager.disable_service,
        manager.delete_service,
        manager.restart_service,
        manager.reset_service,
        manager.details,
        manager.stack,
        manager.state,
    ):
        with pytest.raises(UnknownService) as caught:
            ask("no/Body")
        assert caught.value.known == [name]


def test_restarting_starts_another_thread_with_a_clean_record(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())
    manager.enable_service(name)
    bench.crash(manager, name)
    manager.get_service(name)

    was_running = manager.restart_service(name)

    assert was_running is True
    assert manager.state(name) is State.READY
    assert manager.details(name)["traceback"] == ""


def test_restarting_what_does_not_run_starts_it(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())

    assert manager.restart_service(name) is False

    assert manager.state(name) is State.READY


def test_a_deleted_service_is_deleted_by_one_of_many(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())
    manager.enable_service(name)

    outcomes = [bench.call(lambda: manager.delete_service(name)) for _ in range(8)]

    assert sorted(call.result() for call in outcomes) == [False] * 7 + [True]


def test_a_service_that_is_enabled_while_it_is_deleted_is_deleted_all_the_same(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())
    manager.enable_service(name)
    stopped = ServiceChanged(name=name, old=State.STOPPING, new=State.AVAILABLE)
    enabled: list[bool] = []

    def interfere(event: Event) -> None:
        if event == stopped and not enabled:
            enabled.append(manager.enable_service(name))

    bench.bus.subscribe(interfere)

    assert manager.delete_service(name) is True

    assert enabled == [True]
    assert manager.state(name) is State.DECLARED


def test_commands_that_contradict_each_other_leave_a_service_that_works(bench: Bench) -> None:
    manager = bench.manager(name := bench.puppet())
    manager.create_service(name)
    refused: list[Exception] = []

    def insist(act: object) -> None:
        for _ in range(8):
            try:
                act(name)  # type: ignore[operator]
            except (ServiceFailed, ServiceStuck) as error:
                refused.append(error)

    acts = (manager.enable_service, manager.disable_service, manager.restart_service, manager.get_service)
    calls = [bench.call(lambda act=act: insist(act)) for act in acts * 2]  # type: ignore[misc]
    for call in calls:
        call.result(30)

    manager.disable_service(name)
    assert manager.state(name) is State.AVAILABLE
    assert manager.enable_service(name) is True
    assert refused == []
    assert sum(thread.is_alive() for thread in manager.get_service(name).lives) <= 1
