"""The life of a service as a table, and when it may be born again."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zephserver.core.errors import IllegalTransition
from zephserver.core.lifecycle import ENABLED, TRANSITIONS, Restart, RestartPolicy, State, Trigger, next_state

seconds = st.floats(0, 1e6)


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(State, Trigger)))
def test_the_table_answers_for_every_state_and_trigger(state: State, trigger: Trigger) -> None:
    if (state, trigger) in TRANSITIONS:
        assert next_state(state, trigger) is TRANSITIONS[state, trigger]
    else:
        with pytest.raises(IllegalTransition, match=f"a service that is {state} cannot be told to {trigger}"):
            next_state(state, trigger)


def test_every_state_can_be_reached_and_left() -> None:
    reached = {State.DECLARED}
    for _ in State:
        reached |= {new for (old, _), new in TRANSITIONS.items() if old in reached}

    assert reached == set(State)
    assert {old for old, _ in TRANSITIONS} == set(State)


def test_only_a_constructed_service_is_started_and_only_a_running_one_ends() -> None:
    for (old, trigger), new in TRANSITIONS.items():
        if new is State.STARTING:
            assert (old.is_available, trigger) == (True, Trigger.ENABLE)
        if trigger is Trigger.ENDED:
            assert old.is_enabled


def test_enabled_and_available_exclude_each_other() -> None:
    assert {state for state in State if state.is_enabled} == ENABLED
    assert {state for state in State if state.is_available} == {State.AVAILABLE, State.DEAD, State.BACKOFF}


@pytest.mark.parametrize(
    ("restart", "returned", "raised"),
    [(Restart.NEVER, False, False), (Restart.ON_FAILURE, False, True), (Restart.ALWAYS, True, True)],
)
def test_a_policy_wants_a_restart_after_some_ends(restart: Restart, returned: bool, raised: bool) -> None:
    policy = RestartPolicy(restart=restart)

    assert (policy.wants_restart(raised=False), policy.wants_restart(raised=True)) == (returned, raised)


def test_five_deaths_in_ten_seconds_are_allowed_and_a_sixth_is_not() -> None:
    policy = RestartPolicy()

    assert policy.allows([0, 1, 2, 3, 4], now=5)
    assert not policy.allows([0, 1, 2, 3, 4, 5], now=5)
    assert policy.allows([0, 1, 2, 3, 4, 5], now=10)  # the first one is ten seconds ago


def test_no_deaths_at_all_may_be_allowed() -> None:
    policy = RestartPolicy(intensity=0)

    assert policy.allows([], now=0)
    assert not policy.allows([0], now=0)


def test_the_pause_doubles_up_to_its_limit() -> None:
    policy = RestartPolicy(delay=0.1, max_delay=5.0)

    pauses = [policy.pause(deaths, chance=0.5) for deaths in range(1, 9)]

    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


@given(st.integers(1, 10**9), st.floats(0, 1), st.floats(1e-3, 1e6), st.floats(1e-3, 1e6), st.floats(0, 1))
def test_the_pause_stays_within_its_jitter(
    deaths: int, chance: float, delay: float, max_delay: float, jitter: float
) -> None:
    policy = RestartPolicy(delay=delay, max_delay=max_delay, jitter=jitter)

    pause = policy.pause(deaths, chance)

    assert min(delay, max_delay) * (1 - jitter) - 1e-9 <= pause <= max_delay * (1 + jitter) + 1e-9


@given(st.lists(seconds), seconds, st.integers(0, 10), st.floats(1e-3, 1e6))
def test_time_that_passes_never_makes_a_policy_stricter(
    deaths: list[float], now: float, intensity: int, period: float
) -> None:
    policy = RestartPolicy(intensity=intensity, period=period)

    if policy.allows(deaths, now):
        assert policy.allows(deaths, now + 1)
    assert policy.allows(deaths, now + 1e6 + period + 1)
