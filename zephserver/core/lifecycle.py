"""The life of a service as a table, and when it may be born again. Pure: no I/O, no clock, no chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from zephserver.core.errors import IllegalTransition


class State(StrEnum):
    """Where a service stands. *Available* and *enabled* are the words of the documents; these are the finer ones."""

    DECLARED = "declared"  # named in SERVICE_LIST, no instance yet
    CONSTRUCTING = "constructing"  # __init__ is running
    AVAILABLE = "available"  # constructed, its thread is not running
    STARTING = "starting"  # its thread runs, it has not said ready() yet
    READY = "ready"  # its thread runs and it does its work
    STOPPING = "stopping"  # disable() was called, its thread still runs
    DEAD = "dead"  # main ended and nobody had disabled it; get_service() resurrects it
    BACKOFF = "back-off"  # it died and will be restarted after a pause
    FAILED = "failed"  # it died too often, or could not be constructed; reset to try again
    STUCK = "stuck"  # it ignored disable(), or __init__ does not come back; its thread still runs

    @property
    def is_enabled(self) -> bool:
        """The thread of the service runs."""
        return self in ENABLED

    @property
    def is_available(self) -> bool:
        """Constructed, its thread is not running. (A service can also have failed before it was constructed.)"""
        return self in (State.AVAILABLE, State.DEAD, State.BACKOFF)


class Trigger(StrEnum):
    """What moves a service from one state to another."""

    CONSTRUCT = "construct"
    CONSTRUCTED = "constructed"
    BROKE = "broke"  # the import or __init__ raised
    ENABLE = "enable"
    READY = "ready"
    DISABLE = "disable"
    ENDED = "ended"  # main returned or raised
    OVERRAN = "overran"  # it took longer than its time-out
    BACK_OFF = "back-off"
    GIVE_UP = "give-up"
    RESET = "reset"
    DELETE = "delete"


ENABLED = frozenset({State.STARTING, State.READY, State.STOPPING, State.STUCK})

TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (State.DECLARED, Trigger.CONSTRUCT): State.CONSTRUCTING,
    (State.CONSTRUCTING, Trigger.CONSTRUCTED): State.AVAILABLE,
    (State.CONSTRUCTING, Trigger.BROKE): State.FAILED,
    (State.CONSTRUCTING, Trigger.OVERRAN): State.STUCK,
    (State.AVAILABLE, Trigger.ENABLE): State.STARTING,
    (State.AVAILABLE, Trigger.DELETE): State.DECLARED,
    (State.STARTING, Trigger.READY): State.READY,
    (State.STARTING, Trigger.DISABLE): State.STOPPING,
    (State.STARTING, Trigger.ENDED): State.DEAD,
    (State.READY, Trigger.DISABLE): State.STOPPING,
    (State.READY, Trigger.ENDED): State.DEAD,
    (State.STOPPING, Trigger.ENDED): State.AVAILABLE,
    (State.STOPPING, Trigger.OVERRAN): State.STUCK,
    (State.STUCK, Trigger.ENDED): State.AVAILABLE,  # it did stop, late
    (State.STUCK, Trigger.CONSTRUCTED): State.AVAILABLE,  # __init__ did come back, late
    (State.STUCK, Trigger.BROKE): State.FAILED,
    (State.DEAD, Trigger.ENABLE): State.STARTING,  # resurrection, by get_service()
    (State.DEAD, Trigger.BACK_OFF): State.BACKOFF,
    (State.DEAD, Trigger.GIVE_UP): State.FAILED,
    (State.DEAD, Trigger.DISABLE): State.AVAILABLE,
    (State.DEAD, Trigger.DELETE): State.DECLARED,
    (State.BACKOFF, Trigger.ENABLE): State.STARTING,
    (State.BACKOFF, Trigger.DISABLE): State.AVAILABLE,
    (State.FAILED, Trigger.RESET): State.AVAILABLE,
    (State.FAILED, Trigger.DELETE): State.DECLARED,
}


def next_state(state: State, trigger: Trigger) -> State:
    """Where *trigger* leads from *state*."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise IllegalTransition(f"a service that is {state} cannot be told to {trigger}") from None


class Restart(StrEnum):
    """When a service whose main ended is started again without anybody asking for it."""

    NEVER = "never"
    ON_FAILURE = "on-failure"  # main raised
    ALWAYS = "always"  # main raised or returned


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """At most *intensity* deaths within *period* seconds, as in an OTP supervisor; the pause doubles as in systemd."""

    restart: Restart = Restart.ON_FAILURE
    delay: float = 0.1
    max_delay: float = 5.0
    intensity: int = 5
    period: float = 10.0
    jitter: float = 0.1

    def wants_restart(self, *, raised: bool) -> bool:
        """Whether main, having ended this way, is to be started again."""
        return self.restart is Restart.ALWAYS or (raised and self.restart is Restart.ON_FAILURE)

    def allows(self, deaths: Sequence[float], now: float) -> bool:
        """Whether the deaths (monotonic seconds) leave room for one more life."""
        return sum(now - death < self.period for death in deaths) <= self.intensity

    def pause(self, deaths_in_a_row: int, chance: float) -> float:
        """Seconds before the next life; *chance* from 0 to 1 spreads services that died together."""
        # The exponent is capped: 2.0 ** 1024 overflows.
        pause = min(self.max_delay, self.delay * 2.0 ** min(deaths_in_a_row - 1, 64))
        return pause * (1 + self.jitter * (2 * chance - 1))
