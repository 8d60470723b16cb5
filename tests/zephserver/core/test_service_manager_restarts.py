"""Services that die: the pause, the limit, the reset, and who is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from zephserver.core import runtime
from zephserver.core.errors import ServiceFailed
from zephserver.core.events import ServiceDied
from zephserver.core.lifecycle import Restart, RestartPolicy, State
from zephserver.core.managed_service import ServiceOptions
from zephserver.core.service_manager import ServiceManager
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.core.conftest import Bench


def enabled(bench: Bench, restart: Restart = Restart.ON_FAILURE, **more: object) -> tuple[ServiceManager, str]:
    """A manager with one service that runs."""
    name = bench.puppet()
    manager = bench.manager(name, options={name: ServiceOptions(policy=RestartPolicy(restart=restart))}, **more)
    manager.enable_service(name)
    return manager, name


def fail(bench: Bench, manager: ServiceManager, name: str) -> None:
    """Let it die until it is not restarted any more."""
    while bench.crash(manager, name, "again") is State.BACKOFF:
        bench.advance(0.1)
        manager.get_service(name)


def test_a_service_that_raised_is_back_after_a_pause(bench: Bench) -> None:
    manager, name = enabled(bench)
    assert bench.crash(manager, name) is State.BACKOFF

    bench.advance(0.09)
    assert manager.state(name) is State.BACKOFF
    bench.advance(0.02)

    assert manager.state(name) is State.READY
    assert manager.details(name)["restarts"] == 1


def test_the_pause_doubles_with_every_death(bench: Bench) -> None:
    manager, name = enabled(bench)
    pauses = []

    for _ in range(4):
        bench.crash(manager, name)
        now = bench.clock.monotonic()
        due = manager.tick(now)
        assert due is not None
        pauses.append(round(due - now, 6))
        bench.advance(due - now)

    assert pauses == [0.1, 0.2, 0.4, 0.8]


def test_a_long_life_makes_the_pause_short_again(bench: Bench) -> None:
    manager, name = enabled(bench)
    bench.crash(manager, name)
    bench.advance(0.1)
    bench.advance(60)

    bench.crash(manager, name)

    bench.advance(0.1)
    assert manager.state(name) is State.READY


def test_get_service_does_not_wait_for_the_pause(bench: Bench) -> None:
    manager, name = enabled(bench)
    bench.crash(manager, name)

    manager.get_service(name)

    assert manager.state(name) is State.READY


def test_six_deaths_within_ten_seconds_are_too_many(bench: Bench) -> None:
    manager, name = enabled(bench)

    fail(bench, manager, name)

    assert len(bench.of(ServiceDied)) == 6
    assert manager.state(name) is State.FAILED
    assert manager.details(name)["error"] == "it ended 6 times in 10 s; the last time: RuntimeError: again"
    assert "RuntimeError: again" in manager.details(name)["traceback"]


def test_a_failed_service_stays_down_and_says_how_to_reset_it(bench: Bench) -> None:
    manager, name = enabled(bench)
    fail(bench, manager, name)

    bench.advance(3_600)

    assert manager.state(name) is State.FAILED
    for act in (manager.get_service, manager.enable_service):
        with pytest.raises(ServiceFailed, match=f"zephctl services reset {name}"):
            act(name)


def test_a_reset_service_gets_its_whole_budget_again(bench: Bench) -> None:
    manager, name = enabled(bench)
    fail(bench, manager, name)

    assert manager.reset_service(name) is True

    assert manager.state(name) is State.READY
    assert bench.crash(manager, name) is State.BACKOFF
    assert manager.reset_service(name) is False


def test_a_service_that_could_not_be_constructed_can_be_reset(bench: Bench) -> None:
    faults = [ValueError("once")]

    class Moody(bench.Puppet):
        def __init__(self) -> None:
            super().__init__()
            if faults:
                raise faults.pop()

    manager = bench.manager(name := bench.add(Moody))
    manager.create_all_services()

    assert manager.reset_service(name) is True

    assert manager.state(name) is State.READY


def test_deaths_that_are_long_ago_do_not_count(bench: Bench) -> None:
    manager, name = enabled(bench)

    for _ in range(20):
        assert bench.crash(manager, name) is State.BACKOFF
        bench.advance(6)

    assert manager.state(name) is State.READY


@pytest.mark.parametrize(
    ("restart", "after_return", "after_raise"),
    [
        (Restart.NEVER, State.DEAD, State.DEAD),
        (Restart.ON_FAILURE, State.DEAD, State.BACKOFF),
        (Restart.ALWAYS, State.BACKOFF, State.BACKOFF),
    ],
)
def test_the_policy_says_which_ends_are_followed_by_a_new_life(
    bench: Bench, restart: Restart, after_return: State, after_raise: State
) -> None:
    manager, name = enabled(bench, restart)

    returned = bench.end(manager, name, None)
    manager.get_service(name)
    raised = bench.crash(manager, name)

    assert (returned, raised) == (after_return, after_raise)


def test_a_service_that_returns_too_often_fails_too(bench: Bench) -> None:
    manager, name = enabled(bench, Restart.ALWAYS)

    while bench.end(manager, name, None) is State.BACKOFF:
        manager.get_service(name)

    assert manager.details(name)["error"] == "it ended 6 times in 10 s; the last time: main returned"


@pytest.mark.parametrize("error", [SystemExit(7), KeyboardInterrupt(), GeneratorExit()])
def test_exits_and_interrupts_in_main_are_a_crash_of_that_service_only(bench: Bench, error: BaseException) -> None:
    manager = bench.manager(bad := bench.puppet("Bad"), good := bench.puppet("Good"))
    manager.enable_all_services()

    state = bench.end(manager, bad, error)

    assert state is State.BACKOFF
    assert type(error).__name__ in manager.details(bad)["error"]
    assert manager.state(good) is State.READY


def test_disabling_while_it_waits_for_its_next_life_ends_the_waiting(bench: Bench) -> None:
    manager, name = enabled(bench)
    bench.crash(manager, name)

    assert manager.disable_service(name) is False

    bench.advance(60)
    assert manager.state(name) is State.AVAILABLE


def test_a_machine_without_threads_left_is_a_death(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*args: object, **more: object) -> None:
        raise RuntimeError("can't start new thread")

    manager = bench.manager(name := bench.puppet())
    manager.create_service(name)
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "spawn", no_thread)

        manager.enable_service(name)

    assert manager.state(name) is State.BACKOFF
    bench.advance(0.1)
    assert manager.state(name) is State.READY


def test_an_essential_service_is_reported_when_it_has_failed_and_not_before(bench: Bench) -> None:
    lost: list[str] = []
    name = bench.puppet("Essential", essential=True)
    manager = bench.manager(name, essential_failed=lambda name, why: lost.append(name))
    manager.enable_service(name)

    bench.crash(manager, name)
    assert lost == []
    manager.get_service(name)
    fail(bench, manager, name)

    assert lost == [name]


def test_an_essential_service_that_is_never_restarted_is_lost_with_its_first_failure(bench: Bench) -> None:
    lost: list[str] = []
    name = bench.puppet("Essential")
    options = ServiceOptions(policy=RestartPolicy(restart=Restart.NEVER), essential=True)
    manager = bench.manager(name, options={name: options}, essential_failed=lambda name, why: lost.append(name))
    manager.enable_service(name)

    bench.end(manager, name, None)
    assert lost == []  # it returned: it had nothing left to do
    manager.get_service(name)
    bench.crash(manager, name)

    assert lost == [name]


def test_the_tick_says_when_it_wants_to_be_called_again(bench: Bench) -> None:
    woken: list[None] = []
    manager, name = enabled(bench, wake=lambda: woken.append(None))
    assert manager.tick(bench.clock.monotonic()) is None

    bench.crash(manager, name)

    assert woken
    assert manager.tick(bench.clock.monotonic()) == pytest.approx(bench.clock.monotonic() + 0.1)


def test_news_of_an_earlier_life_change_nothing(bench: Bench) -> None:
    manager, name = enabled(bench)
    service = manager._services[name]
    wait_until(lambda: manager.get_service(name).lives)
    service.run += 1  # as if another life had begun meanwhile

    manager.get_service(name).orders.put(RuntimeError("from the past"))

    wait_until(lambda: not manager.get_service(name).lives[0].is_alive())
    assert manager.state(name) is State.READY
    service.state = State.AVAILABLE
