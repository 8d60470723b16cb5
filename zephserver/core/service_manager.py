"""The main module of chapter one: constructs services, runs each in a thread of its own, resurrects and stops them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zephserver.core import runtime
from zephserver.core.bus import EventBus
from zephserver.core.clock import Clock, SystemClock
from zephserver.core.errors import (
    CalledInConstructor,
    ServiceError,
    ServiceFailed,
    ServiceNotLoaded,
    ServiceStuck,
    UnknownService,
)
from zephserver.core.lifecycle import State, Trigger
from zephserver.core.managed_service import ManagedService, ServiceOptions
from zephserver.core.service_runner import ServiceRunner

if TYPE_CHECKING:
    from zephserver.core.server import Server

# How long one constructor may hold up the next; after that it goes on beside the others.
PATIENCE = 1.0


class ServiceManager:
    """Owns every service of one server. Any thread, except where a method says otherwise.

    The lock is held for table look-ups only, never while a service's own code runs. Time-outs and pauses are kept by
    `tick(now)`, which somebody calls when the deadline it returned is reached; `wake` is called when that deadline
    moved. `essential_failed(name, why)` is called, under the lock, when an essential service is lost.
    """

    def __init__(
        self,
        bus: EventBus,
        names: Sequence[str],
        options: Mapping[str, ServiceOptions] | None = None,
        *,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        server: Server | None = None,
        wake: Callable[[], object] = lambda: None,
        essential_failed: Callable[[str, str], object] = lambda name, why: None,
        translate: Callable[[str], str] = lambda name: name,
    ) -> None:
        self._clock = clock or SystemClock()
        self._runner = ServiceRunner(
            bus, self._clock, chance, server=server, wake=wake, essential_failed=essential_failed
        )
        self._translate = translate
        self._options = dict(options or {})
        self._closing = False
        self._closed_for_good = False
        self._order: list[str] = []  # the services as they were enabled
        self._services: dict[str, ManagedService] = {}
        for name in names:
            self._declare(name)

    # -- one service ---------------------------------------------------------------------------------------------

    def create_service(self, name: str) -> bool:
        """Import and construct the service; True if that happened now, False if it had an instance already.

        A name that is not in SERVICE_LIST joins the list. Raises ServiceNotLoaded with what the import or __init__
        raised, or when __init__ does not come back within START_TIMEOUT.
        """
        name = self._translate(name)
        with self._runner.turn():
            service = self._declare(name)
            if service.instance is not None:
                return False
            self._runner.begin_construct(service, self._enable_late)
        self._runner.wait_while(service, State.CONSTRUCTING, service.options.start_timeout)
        self._raise_if_not_loaded(service)
        return True

    def delete_service(self, name: str) -> bool:
        """Disable the service if need be and forget its instance; False if there was none. Raises ServiceStuck."""
        service = self._find(name)
        self.disable_service(name)
        with self._runner.turn():
            if service.instance is None and service.state is not State.FAILED:
                return False
            if not service.state.is_enabled:
                self._runner.forget(service)
                return True
        return self.delete_service(name)  # somebody has enabled it meanwhile

    def enable_service(self, name: str) -> bool:
        """Start the thread of the service, after constructing it and enabling what it requires, if need be.

        True if the thread was started now, False if it was running. Returns when the thread runs; wait_ready() waits
        for ready(). Raises ServiceFailed (reset it first), ServiceStuck (its old thread still runs), ServiceNotLoaded.
        """
        service = self._find(name)
        self._open_again()
        return self._enable(service, path=())

    def disable_service(self, name: str, timeout: float | None = None) -> bool:
        """Call disable() of the service and wait until its thread has ended.

        True if the thread was running, False if there was nothing to stop. Raises ServiceStuck when the thread still
        runs after *timeout* seconds (the service's stop_timeout without).
        """
        service = self._find(name)
        with self._runner.turn():
            service.wanted = service.late = False
            if service.state in (State.DEAD, State.BACKOFF):
                self._runner.move(service, Trigger.DISABLE)
            if not service.state.is_enabled:
                return False
            if service.state in (State.STARTING, State.READY):
                limit = service.options.stop_timeout if timeout is None else min(timeout, service.options.stop_timeout)
                self._runner.move(service, Trigger.DISABLE, deadline=self._clock.monotonic() + limit)
                self._runner.ask_to_stop(service)
            threads = service.threads()
        self._runner.wait_while(service, State.STOPPING, service.options.stop_timeout)
        if service.state is State.STUCK:
            raise ServiceStuck(service.name, service.error or "its thread still runs")
        self._runner.settle(threads)
        return True

    def restart_service(self, name: str) -> bool:
        """Disable and enable the service, with a clean record; True if it was running before."""
        was_running = self.disable_service(name)
        self._forgive(self._find(name))
        self.enable_service(name)
        return was_running

    def reset_service(self, name: str) -> bool:
        """Forget the deaths of a failed service and try it again; False if it had not failed."""
        service = self._find(name)
        if not self._forgive(service):
            return False
        self.enable_service(name)
        return True

    def get_service(self, name: str) -> Any:
        """The instance of the service; one that died is relaunched in another thread (resurrection).

        However many threads ask at once, one thread is started. A service that somebody disabled is returned as it
        is. Raises UnknownService, ServiceNotLoaded, ServiceFailed when it died too often, and CalledInConstructor
        when the __init__ of a service asks.
        """
        constructing = runtime.constructing()
        if constructing:
            raise CalledInConstructor(constructing, name)
        service = self._services.get(name) or self._find(name)
        if service.state is State.READY:  # the usual case, without the lock
            return service.instance
        with self._runner.turn():
            if service.state is State.FAILED:
                raise ServiceFailed(service.name, service.error or "it died too often")
            if service.instance is None:
                raise ServiceNotLoaded(service.name, service.error or f"it is {service.state}")
            if service.state in (State.DEAD, State.BACKOFF) and not self._closing:
                self._runner.launch(service)
            return service.instance

    # -- all services --------------------------------------------------------------------------------------------

    def create_all_services(self) -> dict[str, ServiceError | None]:
        """Construct every service of the list, in order; what each one raised, or None.

        A constructor that takes longer than a second goes on beside the next ones, and its service is enabled as soon
        as it is constructed; it is *stuck* after START_TIMEOUT.
        """
        for service in list(self._services.values()):
            with self._runner.turn():
                if service.state is not State.DECLARED:
                    continue
                self._runner.begin_construct(service, self._enable_late)
            self._runner.wait_while(service, State.CONSTRUCTING, PATIENCE, margin=0.0)
        return self._outcome(self._raise_if_not_loaded)

    def enable_all_services(self) -> dict[str, ServiceError | None]:
        """Enable every service, in the order of the list but after what it requires; what each one raised, or None."""
        self._open_again()
        return self._outcome(lambda service: self._enable(service, path=()))

    def disable_all_services(
        self, timeout: float | None = None, *, for_good: bool = False
    ) -> dict[str, ServiceError | None]:
        """Disable every service in the reverse of the order they were enabled, within *timeout* seconds for all.

        No service is resurrected from here on, until one is enabled again, which cannot happen any more *for_good*.
        What each one raised, or None.
        """
        end = None if timeout is None else self._clock.monotonic() + timeout
        with self._runner.turn():
            self._closing = True
            self._closed_for_good |= for_good
            for service in self._services.values():
                service.wanted = service.late = False
            order = [self._services[name] for name in reversed(self._order)]
            order += [service for service in self._services.values() if service not in order]

        def disable(service: ManagedService) -> None:
            self.disable_service(service.name, None if end is None else max(0.0, end - self._clock.monotonic()))

        return self._outcome(disable, order)

    def delete_all_services(self) -> dict[str, ServiceError | None]:
        """Disable and forget every service; what each one raised, or None."""
        self.disable_all_services()
        return self._outcome(lambda service: self.delete_service(service.name))

    def get_all_services(self) -> dict[str, Any]:
        """The instances by name, as they are: nothing is resurrected, and what is not constructed is left out."""
        with self._runner.changed:
            return {s.name: s.instance for s in self._services.values() if s.instance is not None}

    def wait_ready(self, names: Sequence[str] | None = None, timeout: float = 30.0) -> dict[str, str]:
        """Wait until the services (all without *names*) are ready; those that are not, and why. {} is success.

        Comes back early when one of them cannot become ready any more.
        """
        services = [self._find(name) for name in names] if names is not None else list(self._services.values())
        self._runner.wait_for(lambda: all(s.is_settled for s in services), timeout)
        return {s.name: s.error or f"it is {s.state}" for s in services if s.state is not State.READY}

    # -- for the commands and for tick ----------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The services in the order of SERVICE_LIST."""
        return list(self._services)

    def rows(self) -> list[dict[str, Any]]:
        """One row a service, as `zephctl services list` shows them."""
        with self._runner.changed:
            return [service.row() for service in self._services.values()]

    def details(self, name: str) -> dict[str, Any]:
        """Everything about one service. Raises UnknownService."""
        service = self._find(name)
        with self._runner.changed:
            return service.details()

    def stack(self, name: str) -> str:
        """Where the thread of the service is right now; '' when it does not run. Raises UnknownService."""
        return self._find(name).stack()

    def state(self, name: str) -> State:
        """The state of one service. Raises UnknownService."""
        return self._find(name).state

    def counts(self) -> dict[str, int]:
        """How many services there are in all, enabled, available, and in each finer state that any is in."""
        with self._runner.changed:
            states = Counter(service.state for service in self._services.values())
            constructed = sum(s.instance is not None and not s.state.is_enabled for s in self._services.values())
        enabled = sum(count for state, count in states.items() if state.is_enabled)
        counts = {"total": states.total(), "enabled": enabled, "available": constructed}
        return counts | {str(state): count for state, count in states.items() if state is not State.AVAILABLE}

    def tick(self, now: float) -> float | None:
        """Do what is due at *now* (monotonic); when to call again, None for not before `wake` is called."""
        with self._runner.turn():
            for service in self._services.values():
                if service.deadline is not None and service.deadline <= now:
                    self._runner.due(service)
            return min((s.deadline for s in self._services.values() if s.deadline is not None), default=None)

    # -- within ----------------------------------------------------------------------------------------------------

    def _declare(self, name: str) -> ManagedService:
        service = self._services.get(name)
        if service is None:
            service = ManagedService(name, self._options.get(name, ServiceOptions()), since=self._clock.time())
            self._services[name] = service
        return service

    def _find(self, name: str) -> ManagedService:
        try:
            return self._services[self._translate(name)]
        except KeyError:
            raise UnknownService(name, self._services) from None

    def _outcome(
        self, act: Callable[[ManagedService], object], services: Sequence[ManagedService] | None = None
    ) -> dict[str, ServiceError | None]:
        outcome: dict[str, ServiceError | None] = {}
        for service in services if services is not None else list(self._services.values()):
            try:
                act(service)
                outcome[service.name] = None
            except ServiceError as error:
                outcome[service.name] = error
        return outcome

    def _raise_if_not_loaded(self, service: ManagedService) -> None:
        if service.instance is None and service.state is not State.CONSTRUCTING:
            raise ServiceNotLoaded(service.name, service.error or f"it is {service.state}")

    def _forgive(self, service: ManagedService) -> bool:
        with self._runner.turn():
            service.deaths, service.deaths_in_a_row, service.traceback = [], 0, ""
            if service.state is not State.FAILED:
                return False
            self._runner.move(service, Trigger.RESET if service.instance is not None else Trigger.DELETE)
            return True

    # enabling

    def _open_again(self) -> None:
        """Somebody enables something after everything was disabled."""
        with self._runner.changed:
            self._closing = self._closed_for_good

    def _enable(self, service: ManagedService, path: tuple[str, ...], *, late: bool = False) -> bool:
        """Enable what *path* requires; *late* is the end of a constructor that nobody waited for."""
        if service.name in path:
            cycle = " -> ".join([*path[path.index(service.name) :], service.name])
            raise ServiceFailed(service.name, f"the services require each other: {cycle}")
        if service.state is State.STOPPING:  # somebody is just disabling it: that comes first
            threads = service.threads()
            self._runner.wait_while(service, State.STOPPING, service.options.stop_timeout)
            self._runner.settle(threads)
        with self._runner.turn():
            if late and not service.wanted:
                return False  # disabled meanwhile
            service.wanted = True
            if service.state in (State.STARTING, State.READY):
                return False
            if service.state is State.CONSTRUCTING:
                service.late = True
                return True
            if service.state is State.STUCK:
                raise ServiceStuck(service.name, service.error or "its old thread still runs")
            if service.state is State.FAILED:
                raise ServiceFailed(service.name, service.error or "it died too often")
        if service.instance is None:
            self.create_service(service.name)
        try:
            for name in service.requires:
                self._enable_required(service, name, (*path, service.name))
        except ServiceError as error:
            with self._runner.turn():
                service.error = str(error)
            raise
        with self._runner.turn():
            if not service.wanted or service.state in (State.STARTING, State.READY):
                return False  # another thread was faster
            if self._closing:
                raise ServiceError(f"service {service.name} is not enabled: all services are being disabled")
            if service.state.is_available:
                if service.name not in self._order:
                    self._order.append(service.name)
                self._runner.launch(service)
                return True
        return self._enable(service, path, late=late)  # something else happened to it meanwhile: look again

    def _enable_late(self, service: ManagedService) -> None:
        """A service that was enabled while its constructor ran."""
        try:
            self._enable(service, path=(), late=True)
        except ServiceError as error:
            with self._runner.turn():
                service.error = str(error)

    def _enable_required(self, service: ManagedService, name: str, path: tuple[str, ...]) -> None:
        """Make sure that a service which *service* requires is ready."""
        try:
            required = self._find(name)
            self._enable(required, path)
        except UnknownService:
            raise ServiceFailed(service.name, f"it requires {name!r}, which SERVICE_LIST does not have") from None
        late = self.wait_ready([name], timeout=required.options.start_timeout)
        if late:
            why = f"it requires {name}, which is not ready: {late[required.name]}"
            raise ServiceFailed(service.name, why, because=required.name)
