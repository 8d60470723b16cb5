"""What can be found wrong with a folder before its server is started."""

from __future__ import annotations

from zephserver.core.errors import ServiceNotLoaded
from zephserver.core.service import load_service
from zephserver.core.settings_page import Settings


def check(settings: Settings) -> list[str]:
    """Import every service and ask those that have a `check(settings)` of their own; one line for each fault."""
    faults = []
    # The session manager first: what it sets up, tasks and other services may need to be imported.
    for name in sorted(settings.service_list, key=lambda name: name != settings.my_session_handler):
        try:
            service = load_service(name)
        except ServiceNotLoaded as error:
            faults.append(f"SERVICE_LIST: {error}")
            continue
        own_check = getattr(service, "check", None)
        if callable(own_check):
            faults += own_check(settings)
    return [f"{settings.file}: {fault}" if settings.file else fault for fault in faults]
