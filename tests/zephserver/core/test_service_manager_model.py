"""The manager and a model of it, a dozen lines long, do the same things and agree after each.

Short in CI; `ZEPH_CHAOS=full` runs it for minutes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.scale import FULL
from zephserver.core.errors import ServiceFailed, ServiceNotLoaded
from zephserver.core.lifecycle import RestartPolicy, State
from zephserver.core.managed_service import ServiceOptions
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.core.conftest import Bench

PROFILE = settings(
    max_examples=2_000 if FULL else 60,
    stateful_step_count=60 if FULL else 30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
NAMES = ("bench/One", "bench/Two")
POLICY = RestartPolicy(intensity=2, period=10.0, delay=1.0, max_delay=4.0)
names = st.sampled_from(NAMES)


@dataclass
class Model:
    """What one service should be like."""

    state: State = State.DECLARED
    started: float = 0.0
    due: float = 0.0
    in_a_row: int = 0
    deaths: list[float] = field(default_factory=list)

    def start(self, now: float) -> None:
        self.state, self.started = State.READY, now

    def die(self, now: float, *, raised: bool) -> None:
        self.deaths = [death for death in self.deaths if now - death < POLICY.period] + [now]
        self.in_a_row = 1 if now - self.started >= POLICY.period else self.in_a_row + 1
        if len(self.deaths) > POLICY.intensity:
            self.state = State.FAILED
        elif raised:
            self.state, self.due = State.BACKOFF, now + min(4.0, 2.0 ** (self.in_a_row - 1))
        else:
            self.state = State.DEAD

    def forgive(self) -> None:
        self.deaths, self.in_a_row = [], 0


class Machine(RuleBasedStateMachine):
    """Two services, each beside its model."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        for name in NAMES:
            bench.puppet(name.partition("/")[2])
        self.manager = bench.manager(*NAMES, options=dict.fromkeys(NAMES, ServiceOptions(policy=POLICY)))
        self.models = {name: Model() for name in NAMES}

    @property
    def now(self) -> float:
        return self.bench.clock.monotonic()

    def some_run(self) -> bool:
        return any(model.state is State.READY for model in self.models.values())

    def running(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from([name for name in NAMES if self.models[name].state is State.READY]))

    @rule(name=names)
    def create(self, name: str) -> None:
        model = self.models[name]
        assert self.manager.create_service(name) is (model.state is State.DECLARED)
        if model.state is State.DECLARED:
            model.state = State.AVAILABLE

    @rule(name=names)
    def enable(self, name: str) -> None:
        model = self.models[name]
        if model.state is State.FAILED:
            with pytest.raises(ServiceFailed):
                self.manager.enable_service(name)
        else:
            self.manager.enable_service(name)
            if model.state is not State.READY:
                model.start(self.now)

    @precondition(some_run)
    @rule(data=st.data(), raised=st.booleans())
    def end(self, data: st.DataObject, raised: bool) -> None:
        name = self.running(data)
        self.bench.end(self.manager, name, RuntimeError("crash") if raised else None)
        wait_until(lambda: self.manager.state(name) is not State.DEAD or not raised)
        self.models[name].die(self.now, raised=raised)

    @rule(name=names)
    def disable(self, name: str) -> None:
        model = self.models[name]
        assert self.manager.disable_service(name) is (model.state is State.READY)
        if model.state in (State.READY, State.DEAD, State.BACKOFF):
            model.state = State.AVAILABLE

    @rule(name=names)
    def get(self, name: str) -> None:
        model = self.models[name]
        if model.state in (State.DECLARED, State.FAILED):
            with pytest.raises(ServiceNotLoaded if model.state is State.DECLARED else ServiceFailed):
                self.manager.get_service(name)
        else:
            assert self.manager.get_service(name) is self.manager.get_all_services()[name]
            if model.state in (State.DEAD, State.BACKOFF):
                model.start(self.now)

    @rule(name=names)
    def reset(self, name: str) -> None:
        model = self.models[name]
        assert self.manager.reset_service(name) is (model.state is State.FAILED)
        model.forgive()
        if model.state is State.FAILED:
            model.start(self.now)

    @rule(name=names)
    def delete(self, name: str) -> None:
        model = self.models[name]
        assert self.manager.delete_service(name) is (model.state is not State.DECLARED)
        if model.state is not State.DECLARED:
            model.state, model.deaths, model.in_a_row = State.DECLARED, [], 0

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 9.0, 11.0]))
    def tick(self, seconds: float) -> None:
        self.bench.advance(seconds)
        for model in self.models.values():
            if model.state is State.BACKOFF and model.due <= self.now:
                model.start(self.now)

    @invariant()
    def they_agree(self) -> None:
        assert {name: self.manager.state(name) for name in NAMES} == {n: m.state for n, m in self.models.items()}

    @invariant()
    def a_service_has_one_thread_when_it_is_enabled_and_none_otherwise(self) -> None:
        for name in NAMES:
            wanted = int(self.manager.state(name).is_enabled)
            wait_until(lambda name=name, wanted=wanted: threads(name) == wanted, f"{name} has {wanted} threads")  # type: ignore[misc]

    @invariant()
    def what_is_enabled_is_constructed(self) -> None:
        instances = self.manager.get_all_services()
        assert all(name in instances for name in NAMES if self.manager.state(name).is_enabled)

    @invariant()
    def whoever_may_live_again_by_itself_is_within_its_budget(self) -> None:
        for service in self.manager._services.values():
            recent = sum(self.now - death < POLICY.period for death in service.deaths)
            assert recent <= POLICY.intensity or service.state not in (State.BACKOFF, State.DEAD)

    @invariant()
    def nobody_holds_the_lock(self) -> None:
        assert len(self.bench.call(self.manager.rows).result(5.0)) == len(NAMES)

    def teardown(self) -> None:
        self.bench.close()


def threads(name: str) -> int:
    """The threads that run main() of the service."""
    return sum(thread.name == f"service:{name}" for thread in threading.enumerate())


@pytest.mark.chaos
@pytest.mark.timeout(1_800 if FULL else 120)
def test_the_manager_and_its_model_agree_after_every_step(make_bench: Callable[[], Bench]) -> None:
    run_state_machine_as_test(lambda: Machine(make_bench()), settings=PROFILE)
