"""What the service manager knows about one service."""

from __future__ import annotations

import sys
import threading
import traceback
from dataclasses import dataclass, field
from typing import Any

from zephserver.core.lifecycle import RestartPolicy, State


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """The wishes of SERVICE_OPTIONS for one service. Seconds."""

    policy: RestartPolicy = field(default_factory=RestartPolicy)
    requires: tuple[str, ...] | None = None  # None: what the class says
    essential: bool | None = None
    start_timeout: float = 30.0
    stop_timeout: float = 10.0


@dataclass(slots=True, eq=False)
class ManagedService:
    """One service: its instance, its thread, its past. Belongs to the manager, under the manager's lock."""

    name: str
    options: ServiceOptions
    state: State = State.DECLARED
    instance: Any = None
    thread: threading.Thread | None = None
    run: int = 0  # number of this life; news from an earlier one is ignored
    asking: threading.Thread | None = None  # runs disable()
    wanted: bool = False  # somebody enabled it and nobody disabled it since
    late: bool = False  # it was enabled while its constructor ran, and nobody waits for that
    since: float = 0.0  # wall clock, when it came into this state
    started: float = 0.0  # monotonic, when this life began
    deadline: float | None = None  # monotonic, when tick() has to look at it
    deaths: list[float] = field(default_factory=list)  # monotonic, within the period of the policy
    deaths_in_a_row: int = 0
    restarts: int = 0
    error: str | None = None
    traceback: str = ""
    status_text: str = ""

    @property
    def requires(self) -> tuple[str, ...]:
        """The names of the services that must be ready before this one is enabled."""
        if self.options.requires is not None:
            return self.options.requires
        return tuple(getattr(self.instance, "requires", ()))

    @property
    def essential(self) -> bool:
        """Whether the server ends when this service fails."""
        if self.options.essential is not None:
            return self.options.essential
        return bool(getattr(self.instance, "essential", False))

    @property
    def is_settled(self) -> bool:
        """Whether waiting longer for this service to become ready makes no sense: it is, or it cannot."""
        match self.state:
            case State.READY | State.DEAD | State.FAILED | State.STUCK:
                return True
            case State.STARTING:
                return self.error is not None  # it overran its start time-out
            case State.AVAILABLE | State.DECLARED:
                return not self.wanted or self.error is not None
            case _:
                return False

    def remember_death(self, now: float) -> None:
        """Keep the deaths that count for the restart limit; a long life makes the next pause short again."""
        period = self.options.policy.period
        self.deaths = [death for death in self.deaths if now - death < period] + [now]
        self.deaths_in_a_row = 1 if now - self.started >= period else self.deaths_in_a_row + 1

    def threads(self) -> list[threading.Thread]:
        """The threads of this life: of main(), and of disable() if it was called."""
        return [thread for thread in (self.thread, self.asking) if thread is not None]

    def stack(self) -> str:
        """Where the thread of the service is right now, innermost call last; '' when it has none."""
        thread = self.thread
        if thread is None or thread.ident is None or not thread.is_alive():
            return ""
        frame = sys._current_frames().get(thread.ident)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    def row(self) -> dict[str, Any]:
        """The service as `zephctl services list -o json` shows it; `since` is in seconds since 1970."""
        return {
            "name": self.name,
            "state": str(self.state),
            "available": self.instance is not None and not self.state.is_enabled,
            "enabled": self.state.is_enabled,
            "since": round(self.since, 3),
            "restarts": self.restarts,
            "error": self.error,
        }

    def details(self) -> dict[str, Any]:
        """All that `zephctl services show` tells."""
        return self.row() | {
            "status": self.status_text,
            "thread": self.thread.name if self.thread is not None and self.thread.is_alive() else None,
            "requires": list(self.requires),
            "essential": self.essential,
            "restart": str(self.options.policy.restart),
            "start_timeout": self.options.start_timeout,
            "stop_timeout": self.options.stop_timeout,
            "traceback": self.traceback,
        }
