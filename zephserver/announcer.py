"""Tells a room who came and who left, and who is there."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from zephserver import messages
from zephserver.cluster.notes import Key
from zephserver.core.settings_page import Settings
from zephserver.engines.interface import FrameCache

if TYPE_CHECKING:
    from zephserver.client import Client
    from zephserver.room_handler import RoomHandler

# The list of a room's users is sent again this long after it changed, and later in large rooms: ten thousand people who
# come at once would otherwise be sent ten thousand lists of up to ten thousand names.
LIST_PAUSE = 0.1  # seconds
LIST_PAUSE_PER_USER = 0.001


class Announcer:
    """Speaks for the room handler while the event loop runs. Loop only.

    Whoever loses the connection is said to have left only after LEAVE_DELAY, and was never gone when back by then.
    """

    def __init__(self, rooms: RoomHandler, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self._rooms, self._settings, self._loop = rooms, settings, loop
        self._leaving: deque[tuple[str, Key, float]] = deque()  # users who may still come back; since when
        self._changed: set[str] = set()  # rooms whose list of users is to be sent

    def came(self, room: str, username: str, but: Client | None = None) -> None:
        """A user is new in a room, here or on another server."""
        self._tell(room, "join", username, but)

    def gone(self, room: str, username: str) -> None:
        """A user whom another server had in a room is in it no more."""
        self._tell(room, "leave", username)

    def left(self, room: str, key: Key, now: float, delay: float) -> None:
        """A user's last connection left a room just *now*; the others hear of it after *delay*."""
        if not delay:
            self._forget(room, key, now)
            return
        self._leaving.append((room, key, now))
        if len(self._leaving) == 1:
            self._loop.call_later(delay, self._let_go)

    def _let_go(self) -> None:
        """Tell of those who did not come back in time."""
        due = self._loop.time() - self._settings.leave_delay
        while self._leaving and self._leaving[0][2] <= due:
            self._forget(*self._leaving.popleft())
        if self._leaving:
            self._loop.call_later(self._leaving[0][2] - due, self._let_go)

    def _forget(self, room: str, key: Key, left: float) -> None:
        username = self._rooms.forget_user(room, key, left)
        if username is not None:
            self._tell(room, "leave", username)

    def _tell(self, room: str, kind: str, username: str, but: Client | None = None) -> None:
        if self._rooms.user_count(room) > self._settings.presence_limit:
            return
        others = [member for member in self._rooms.members(room) if member is not but]
        send_all(others, messages.presence(kind, username, room))
        if others and room not in self._changed:
            self._changed.add(room)
            self._loop.call_later(LIST_PAUSE + LIST_PAUSE_PER_USER * len(others), self._tell_list, room)

    def _tell_list(self, room: str) -> None:
        self._changed.discard(room)
        usernames = self._rooms.user_list(room, self._settings.presence_limit)
        if usernames:
            total = self._rooms.user_count(room)
            send_all(self._rooms.members(room), messages.user_list(usernames, room, total))


def send_all(clients: Iterable[Client], payload: bytes) -> None:
    """Send one payload to many, compressed once. Loop only."""
    cache: FrameCache = {}
    for client in clients:
        client.send(payload, cache)
