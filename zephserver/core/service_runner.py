"""How a service changes state: its threads, its deaths, its time-outs."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zephserver.core import runtime
from zephserver.core.bus import EventBus
from zephserver.core.clock import Clock
from zephserver.core.errors import ServiceNotLoaded, SettingsError, ZephError
from zephserver.core.events import ServiceChanged, ServiceDied, ServiceOverran
from zephserver.core.lifecycle import State, Trigger, next_state
from zephserver.core.managed_service import ManagedService
from zephserver.core.service import load_service

if TYPE_CHECKING:
    from zephserver.core.server import Server


class ServiceRunner:
    """Owns the lock of the services of one server, and is the only one who moves them from state to state.

    The lock is held for looking up and moving only, never while a service's own code runs. Methods that say "under the
    lock" are called within `with runner.turn():`.
    """

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        chance: Callable[[], float],
        *,
        server: Server | None,
        wake: Callable[[], object],
        essential_failed: Callable[[str, str], object],
    ) -> None:
        self._bus, self._clock, self._chance = bus, clock, chance
        self._server, self._wake, self._essential_failed = server, wake, essential_failed
        self.changed = threading.Condition(threading.Lock())

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the lock; hand the events out after letting it go, so that no reader runs under it."""
        try:
            with self.changed:
                yield
        finally:
            self._bus.deliver()

    def wait_for(self, fact: Callable[[], object], timeout: float) -> None:
        """Wait for a fact about the services."""
        with self.changed:
            self.changed.wait_for(fact, timeout)

    def wait_while(self, service: ManagedService, state: State, timeout: float, *, margin: float = 1.0) -> None:
        """Wait until the service leaves *state*; due() sees to that when it overruns, *margin* is for a late due()."""
        self.wait_for(lambda: service.state is not state, timeout + margin)

    def move(
        self, service: ManagedService, trigger: Trigger, *, error: str | None = None, deadline: float | None = None
    ) -> None:
        """The one place where a service changes state. Under the lock."""
        old, service.state = service.state, next_state(service.state, trigger)
        service.since, service.error, service.deadline = self._clock.time(), error, deadline
        self._bus.post(ServiceChanged(name=service.name, old=old, new=service.state, error=error))
        self.changed.notify_all()
        if deadline is not None:
            self._wake()

    def begin_construct(self, service: ManagedService, when_late: Callable[[ManagedService], object]) -> None:
        """Import and construct in a thread of its own; *when_late* is called if somebody enabled it meanwhile. Under
        the lock."""
        if service.state is State.FAILED:
            self.move(service, Trigger.DELETE)
        if service.state is not State.DECLARED:
            return  # another thread is at it, or it is stuck
        service.run += 1
        run = service.run
        deadline = self._clock.monotonic() + service.options.start_timeout
        self.move(service, Trigger.CONSTRUCT, deadline=deadline)
        try:
            service.thread = runtime.spawn(
                f"construct:{service.name}",
                lambda: self._construct(service, run, when_late),
                self._server,
                constructing=service.name,
            )
        except RuntimeError as error:  # the machine has no thread left
            self._broke(service, error, "")

    def _construct(self, service: ManagedService, run: int, when_late: Callable[[ManagedService], object]) -> None:
        """Body of the thread that constructs a service."""
        try:
            instance = load_service(service.name)()
            if self._server is not None:
                self._server.adopt(instance)
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a constructor end the service, not us
            trace = _trace_of(error)
            with self.turn():
                if service.run == run:
                    self._broke(service, error, trace)
            return
        with self.turn():
            if service.run != run:
                return
            service.instance = instance
            self.move(service, Trigger.CONSTRUCTED)
            late, service.late = service.late, False
        if late:
            when_late(service)

    def _broke(self, service: ManagedService, error: BaseException, trace: str) -> None:
        """The service could not be constructed. Under the lock."""
        service.traceback = trace
        why = error.why if isinstance(error, ServiceNotLoaded) else _short(error)
        self.move(service, Trigger.BROKE, error=why)
        self._bus.post(ServiceDied(name=service.name, error=why, traceback=trace))
        self._lost(service)

    def forget(self, service: ManagedService) -> None:
        """Drop the instance; what its threads may still say is not heard any more. Under the lock."""
        self.move(service, Trigger.DELETE)
        if self._server is not None and service.instance is not None:
            self._server.disown(service.instance)
        service.instance, service.thread, service.asking = None, None, None
        service.deaths, service.deaths_in_a_row = [], 0
        service.run += 1

    def launch(self, service: ManagedService) -> None:
        """Start a new life. Under the lock."""
        if service.state is not State.AVAILABLE:
            service.restarts += 1
        service.run += 1
        service.started = self._clock.monotonic()
        run = service.run
        waits = bool(getattr(service.instance, "notify_ready", False))
        self.move(service, Trigger.ENABLE, deadline=service.started + service.options.start_timeout if waits else None)
        if hasattr(service.instance, "_notifier"):
            service.instance._notifier = _Notifier(self, service, run)
        if not waits:
            self.move(service, Trigger.READY)
        try:
            service.thread = runtime.spawn(
                f"service:{service.name}", lambda: self._live(service, run), self._server, service=service.name
            )
        except RuntimeError as error:  # the machine has no thread left
            self._ended(service, error, "")

    def _live(self, service: ManagedService, run: int) -> None:
        """Body of the thread of a service."""
        failure: BaseException | None = None
        trace = ""
        try:
            service.instance.main()
        except BaseException as error:  # SystemExit and KeyboardInterrupt in main are a crash of that service only
            failure, trace = error, _trace_of(error)
        with self.turn():
            if service.run == run:
                self._ended(service, failure, trace)

    def _ended(self, service: ManagedService, failure: BaseException | None, trace: str) -> None:
        """main() returned or raised. Under the lock."""
        now = self._clock.monotonic()
        was_asked = service.state in (State.STOPPING, State.STUCK)
        error = _short(failure) if failure is not None else None
        self.move(service, Trigger.ENDED, error=error)
        service.status_text = ""
        if failure is not None:
            service.traceback = trace
            self._bus.post(ServiceDied(name=service.name, error=_short(failure), traceback=trace))
        if was_asked:
            return
        service.remember_death(now)
        policy = service.options.policy
        if isinstance(failure, SettingsError):  # it would fail again
            self.move(service, Trigger.GIVE_UP, error=error)
            self._lost(service)
        elif not policy.allows(service.deaths, now):
            last = error or "main returned"
            why = f"it ended {len(service.deaths)} times in {policy.period:g} s; the last time: {last}"
            self.move(service, Trigger.GIVE_UP, error=why)
            self._lost(service)
        elif policy.wants_restart(raised=failure is not None) and service.wanted:
            pause = policy.pause(service.deaths_in_a_row, self._chance())
            self.move(service, Trigger.BACK_OFF, error=error, deadline=now + pause)
        elif failure is not None:
            self._lost(service)

    def _lost(self, service: ManagedService) -> None:
        """The service will not come back by itself. Under the lock."""
        if service.essential:
            self._essential_failed(service.name, service.error or "it ended")

    def notify_ready(self, service: ManagedService, run: int) -> None:
        with self.turn():
            if service.run == run and service.state is State.STARTING:
                self.move(service, Trigger.READY)

    def ask_to_stop(self, service: ManagedService) -> None:
        """Call disable() in a thread of its own, for it may hang as well. Under the lock."""
        run = service.run

        def ask() -> None:
            with self.changed:
                if service.run != run or service.state is not State.STOPPING:
                    return  # main() has ended by itself: disable() would hit the next life
            try:
                service.instance.disable()
            except BaseException as error:  # whatever disable() does wrong, main() may still end
                trace = traceback.format_exc()
                text = f"disable() raised {_short(error)}"
                self._bus.publish(ServiceDied(name=service.name, error=text, traceback=trace))

        service.asking = runtime.spawn(f"disable:{service.name}", ask, self._server, service=service.name)

    def settle(self, threads: list[threading.Thread]) -> None:
        """After the end of a life: wait for the last moments of its threads, at most a second each."""
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(1.0)

    def due(self, service: ManagedService) -> None:
        """The deadline of the service is reached. Under the lock."""
        waited = self._clock.time() - service.since
        match service.state:
            case State.BACKOFF:
                self.launch(service)
            case State.CONSTRUCTING:
                self._overran(service, "__init__", waited)
                self.move(service, Trigger.OVERRAN, error=f"__init__ has not come back after {waited:.0f} s")
                self._lost(service)
            case State.STOPPING:
                self._overran(service, "stopping", waited)
                error = f"its thread still runs {waited:.0f} s after disable()"
                self.move(service, Trigger.OVERRAN, error=error)
            case State.STARTING:
                self._overran(service, "starting", waited)
                service.deadline, service.error = None, f"it has not called ready() after {waited:.0f} s"
                self.changed.notify_all()
            case _:
                service.deadline = None

    def _overran(self, service: ManagedService, doing: str, waited: float) -> None:
        event = ServiceOverran(name=service.name, doing=doing, seconds=round(waited, 1), traceback=service.stack())
        self._bus.post(event)


class _Notifier:
    """What Service.ready() and Service.status() talk to during one life."""

    def __init__(self, runner: ServiceRunner, service: ManagedService, run: int) -> None:
        self._runner, self._service, self._run = runner, service, run

    def ready(self) -> None:
        self._runner.notify_ready(self._service, self._run)

    def status(self, text: str) -> None:
        self._service.status_text = str(text)


def _trace_of(error: BaseException) -> str:
    """The traceback of the error that is handled; '' for faults of settings, which say what is wrong by themselves."""
    return "" if isinstance(error, SettingsError) else traceback.format_exc()


def _short(error: BaseException) -> str:
    """The error as one line for `status`: kind and text."""
    if isinstance(error, SettingsError):
        return "; ".join(error.faults)
    text = str(error).partition("\n")[0]
    if isinstance(error, ZephError):  # already a sentence for people
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
