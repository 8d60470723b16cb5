"""Django: its sessions and users for zephserver, and what Django itself says to those who are connected.

`zephserver.django` in INSTALLED_APPS is the app; `DjangoSessionManager` is the service on the other side. The public
names are imported when they are first used, because Django imports this package before its apps are ready.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zephserver.access import login_required, room_required
    from zephserver.django.access import permission_required, user_passes_test
    from zephserver.django.database import in_thread
    from zephserver.django.publishing import asay, say, stats
    from zephserver.django.tokens import token_for

_HOMES = {
    "asay": "zephserver.django.publishing",
    "in_thread": "zephserver.django.database",
    "login_required": "zephserver.access",
    "permission_required": "zephserver.django.access",
    "room_required": "zephserver.access",
    "say": "zephserver.django.publishing",
    "stats": "zephserver.django.publishing",
    "token_for": "zephserver.django.tokens",
    "user_passes_test": "zephserver.django.access",
}

__all__ = [
    "asay",
    "in_thread",
    "login_required",
    "permission_required",
    "room_required",
    "say",
    "stats",
    "token_for",
    "user_passes_test",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'zephserver.django' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
