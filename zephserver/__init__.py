"""Zephserver: a Python service manager that can be used as a WebSocket server.

The public names are listed here and imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from zephserver.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zephserver.access import login_required, room_required, user_passes_test
    from zephserver.core.bootstrap import command_stop, run, start_server
    from zephserver.core.command_table import command
    from zephserver.core.events import Event
    from zephserver.core.runtime import get_service, say, subscribe, unsubscribe
    from zephserver.core.server import Server
    from zephserver.core.service import Service
    from zephserver.core.settings import load_settings, make_settings
    from zephserver.core.settings_page import Settings
    from zephserver.session_manager import User
    from zephserver.task import Request, Task

_HOMES = {
    "Event": "zephserver.core.events",
    "Request": "zephserver.task",
    "Server": "zephserver.core.server",
    "Service": "zephserver.core.service",
    "Settings": "zephserver.core.settings_page",
    "Task": "zephserver.task",
    "User": "zephserver.session_manager",
    "command": "zephserver.core.command_table",
    "command_stop": "zephserver.core.bootstrap",
    "get_service": "zephserver.core.runtime",
    "load_settings": "zephserver.core.settings",
    "login_required": "zephserver.access",
    "make_settings": "zephserver.core.settings",
    "room_required": "zephserver.access",
    "run": "zephserver.core.bootstrap",
    "say": "zephserver.core.runtime",
    "start_server": "zephserver.core.bootstrap",
    "subscribe": "zephserver.core.runtime",
    "unsubscribe": "zephserver.core.runtime",
    "user_passes_test": "zephserver.access",
}

__all__ = [
    "Event",
    "Request",
    "Server",
    "Service",
    "Settings",
    "Task",
    "User",
    "__version__",
    "command",
    "command_stop",
    "get_service",
    "load_settings",
    "login_required",
    "make_settings",
    "room_required",
    "run",
    "say",
    "start_server",
    "subscribe",
    "unsubscribe",
    "user_passes_test",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'zephserver' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
