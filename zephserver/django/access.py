"""Who may run a task: Django's decorators for the constructor of a task, or for its class. They fail closed.

A test may ask the database; the constructor of an async task that has one is run in a thread for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from zephserver.access import guarded

T = TypeVar("T", bound=Callable[..., Any])


def permission_required(permissions: str | Iterable[str], message: str = "not allowed") -> Callable[[T], T]:
    """The task is for users who have the permission, or all of several: 'app.verb_model'."""
    wanted = (permissions,) if isinstance(permissions, str) else tuple(permissions)

    def has_them(request: dict[str, Any]) -> bool:
        return bool(wanted) and request["user"].has_perms(wanted) is True

    return lambda target: guarded(target, has_them, message, "permission_required", waits=True)


def user_passes_test(test: Callable[[Any], object], message: str = "not allowed") -> Callable[[T], T]:
    """The task is for users for whom ``test(user)`` is true; it may ask the database. A test that raises denies."""
    return lambda target: guarded(
        target, lambda request: test(request["user"]), message, "user_passes_test", waits=True
    )
