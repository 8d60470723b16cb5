"""A server that runs although nobody listens on its control socket."""

from __future__ import annotations

import os

from zephserver.core.errors import ServerUnheard, SettingsError
from zephserver.core.settings_file import find_settings_file, interface_of, lock_of


def unheard(interface: str, settings: str | None, folder: str | None) -> ServerUnheard | None:
    """What is wrong when the lock of these settings is held while nobody listens on *interface*, which is theirs."""
    try:
        file = find_settings_file(settings, folder)
        if os.path.abspath(interface) != interface_of(file):
            return None
        lock = lock_of(file)
    except SettingsError:  # a socket that was named needs no settings
        return None
    from zephserver.core.lock import lock_state

    is_held, pid = lock_state(lock)
    return ServerUnheard(interface, lock, pid) if is_held else None
