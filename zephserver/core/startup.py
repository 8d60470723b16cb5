"""The start of the services of a server: what keeps them from being ready, and how that is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zephserver.core.checks import check
from zephserver.core.errors import SettingsError, ZephError
from zephserver.core.lifecycle import State

if TYPE_CHECKING:
    from zephserver.core.server import Server
    from zephserver.core.service_manager import ServiceManager

BUSY = frozenset({State.CONSTRUCTING, State.STARTING, State.STOPPING, State.STUCK})


def start_services(server: Server) -> tuple[list[str], bool]:
    """Create and enable every service and wait for all: what is wrong, and whether an essential one is given up."""
    services = server.services
    errors = {name: error for name, error in services.create_all_services().items() if error}
    errors = {name: error for name, error in services.enable_all_services().items() if error} | errors
    faults = {name: str(error) for name, error in errors.items()}
    if not server.is_stopping:
        late = services.wait_ready(timeout=server.settings.start_timeout + 1)
        faults |= {name: f"service {name}: {why}" for name, why in late.items() if name not in errors}
        faults |= server.unready()
    known = set(faults)
    for name, why in errors.items():
        cause = getattr(why, "because", "") or getattr(why, "name", name)
        if cause != name and cause in known:
            del faults[name]  # what requires a service that failed only tells of that one again
    return list(faults.values()), any(_is_given_up(services, name) for name in errors)


def explained(failure: ZephError, server: Server) -> ZephError:
    """What to raise for a start that failed: all that `zephctl check` finds, or *failure* when that is nothing."""
    if isinstance(failure, SettingsError) or not BUSY.isdisjoint(server.services.counts()):
        return failure  # it is told already, or a service may hang in an import, for which check() would wait
    faults = check(server.settings)
    return SettingsError(faults) if faults else failure


def _is_given_up(services: ServiceManager, name: str) -> bool:
    """Whether a service is essential, and was not enabled at the start: nobody will try again."""
    return bool(services.details(name)["essential"]) and services.state(name) is State.AVAILABLE
