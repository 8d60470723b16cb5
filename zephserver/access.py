"""Who may run a task: decorators for the constructor of a task, or for its class. They fail closed."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from zephserver.core.errors import AccessDenied

T = TypeVar("T", bound=Callable[..., Any])

_log = logging.getLogger("zephserver.access")


def login_required(target: T) -> T:
    """The task is for users that the session manager knows; others get the error `access-denied`."""
    return guarded(target, lambda request: _is_known(request["user"]), "log in first", "login_required")


def user_passes_test(test: Callable[[Any], object], message: str = "not allowed") -> Callable[[T], T]:
    """The task is for users for whom ``test(user)`` is true; a test that raises or is a coroutine denies."""
    return lambda target: guarded(target, lambda request: test(request["user"]), message, "user_passes_test")


def room_required(*patterns: str) -> Callable[[T], T]:
    """The task is for clients in a room whose name matches one of the patterns ('game-*'), in any room without."""
    wanted = patterns or ("*",)

    def is_inside(request: dict[str, Any]) -> bool:
        room = request["room"]
        return room is not None and any(fnmatchcase(room, pattern) for pattern in wanted)

    return lambda target: guarded(target, is_inside, "join the room first", "room_required")


def guards_of(task: type[Any]) -> frozenset[str]:
    """The names of the decorators that guard a task."""
    return getattr(task.__init__, "__zeph_guards__", frozenset())


def waits_when_made(task: type[Any]) -> bool:
    """Whether one of the decorators asks something that takes time, so that the loop must not make the task."""
    return getattr(task.__init__, "__zeph_waits__", False)


def _is_known(user: Any) -> bool:
    return user is not None and user.is_authenticated is True


def guarded(target: T, test: Callable[[dict[str, Any]], object], message: str, guard: str, *, waits: bool = False) -> T:
    """A task, or its constructor, behind a test of the request; *guard* names it, *waits* keeps it off the loop."""
    if isinstance(target, type):
        target.__init__ = guarded(target.__init__, test, message, guard, waits=waits)  # type: ignore[misc] # mypy: nobody replaces __init__
        return target

    @functools.wraps(target)
    def init(self: Any, request: dict[str, Any], *args: Any, **more: Any) -> Any:
        try:
            allowed = test(request)
            if inspect.isawaitable(allowed):
                if inspect.iscoroutine(allowed):
                    allowed.close()
                raise TypeError("the test must be awaited, and a decorator cannot wait")
        except Exception:
            _log.exception("the test of %s raised, so access is denied", target.__qualname__)
            allowed = False
        if not allowed:
            raise AccessDenied(message)
        return target(self, request, *args, **more)

    inner: frozenset[str] = getattr(target, "__zeph_guards__", frozenset())
    init.__zeph_guards__ = inner | {guard}  # type: ignore[attr-defined] # no attribute of functions
    init.__zeph_waits__ = waits or getattr(target, "__zeph_waits__", False)  # type: ignore[attr-defined]
    return init  # type: ignore[return-value]
