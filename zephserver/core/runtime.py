"""The only global state: which server the current thread works for.

A thread that a server starts is marked with it, so that `zephserver.get_service()` finds its way even when several
servers live in one process. A thread of somebody else's gets the only server that runs, if there is just one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from zephserver.core.errors import ZephError

if TYPE_CHECKING:
    from zephserver.core.server import Server

running: list[Server] = []
_server: ContextVar[Server | None] = ContextVar("zephserver", default=None)
_service: ContextVar[str] = ContextVar("zephserver_service", default="")
_constructing: ContextVar[str] = ContextVar("zephserver_constructing", default="")


def find_server() -> Server | None:
    """The server of this thread, or the only one that runs, or None. Any thread."""
    server = _server.get()
    if server is None and len(running) == 1:
        server = running[0]
    return server


def current_server() -> Server:
    """As find_server(); raises ZephError when there is none, or more than one."""
    server = find_server()
    if server is None:
        how_many = "several servers run" if running else "no server runs"
        raise ZephError(f"{how_many} in this process; call the method of the Server object that you mean")
    return server


def current_service() -> str:
    """The name of the service whose thread this is, '' elsewhere."""
    return _service.get()


def constructing() -> str:
    """The name of the service whose __init__ runs in this thread, '' elsewhere."""
    return _constructing.get()


def spawn(
    name: str,
    target: Callable[[], object],
    server: Server | None,
    *,
    service: str = "",
    constructing: str = "",
) -> threading.Thread:
    """Start a daemon thread, named after its work, that knows which server and service it works for.

    Daemon, because Python cannot end a thread that hangs, and a hung service must not keep the process alive.
    """

    def body() -> None:
        _server.set(server)
        _service.set(service or constructing)
        _constructing.set(constructing)
        target()

    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    return thread


def get_service(name: str) -> Any:
    """The instance of the service *name* ('path.to.module/ClassName'), resurrected if it had died. Any thread.

    Raises UnknownService, ServiceNotLoaded, ServiceFailed, or CalledInConstructor from a service's __init__.
    """
    return current_server().get_service(name)


def say(event: str, obj: object) -> None:
    """Trigger *event* on all other servers of the cluster; a lone server succeeds and does nothing. Any thread."""
    current_server().cluster.say(event, obj)


def subscribe(event: str, function: Callable[[Any], object]) -> None:
    """Call *function* with the object whenever another server says *event*; it runs in the cluster thread."""
    current_server().cluster.subscribe(event, function)


def unsubscribe(event: str, function: Callable[[Any], object]) -> None:
    """Undo one subscribe() of this very function; unknown functions are ignored."""
    current_server().cluster.unsubscribe(event, function)
