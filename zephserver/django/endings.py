"""Sessions that have ended: closes their connections, also of those who come in meanwhile. Any thread."""

from __future__ import annotations

import time
from collections.abc import Set
from typing import TYPE_CHECKING, Any

from zephserver.core.errors import ServiceError

if TYPE_CHECKING:
    from zephserver.core.service import Service
    from zephserver.websocket_client import WebsocketClient

REMEMBERED = 120.0  # seconds that the end of a session is remembered, for look-ups and tokens that are under way
SWEPT = 8.0  # seconds in which somebody may still come in whose look-up began before the session ended
COME_BACK, SESSION_ENDED = 1012, 4003  # close codes: docs/protocol.md
WEBSOCKET_CLIENT = "zephserver.websocket_client/WebsocketClient"


class Endings:
    """The marks of sessions that ended lately. A mark of a user ("user:...") stands for all its signed cookies."""

    def __init__(self, service: Service) -> None:
        self._owner = service
        self._ended: dict[str, float] = {}  # mark -> when

    def has(self, mark: str) -> bool:
        """Whether that session has ended, as far as is remembered."""
        return mark in self._ended

    def note(self, marks: list[str], users: list[str]) -> int:
        """These sessions have ended, and something has changed about these users: how many connections are closed."""
        lasting = {mark for mark in marks if not mark.startswith("user:")}
        self._ended.update(dict.fromkeys(lasting, time.monotonic()))
        closed = self._close(lasting, SESSION_ENDED, "your session has ended")
        closed += self._close(set(marks) - lasting, COME_BACK, "")  # who has another good cookie comes back with it
        service = self._serving() if users else None
        if service is not None:
            wanted = set(users)

            def is_wanted(user: Any) -> bool:
                return _mark_of(user) is not None and str(user.pk) in wanted

            service.look_again(is_wanted)
        return closed

    def sweep(self) -> None:
        """Close those who came in while their session ended, and forget what ended long ago. Once a second or so."""
        now = time.monotonic()
        ages = {mark: now - ended for mark, ended in list(self._ended.items())}
        self._close({mark for mark, age in ages.items() if age < SWEPT}, SESSION_ENDED, "your session has ended")
        for mark, age in ages.items():
            if age > REMEMBERED:
                self._ended.pop(mark, None)

    def _close(self, marks: Set[str], code: int, reason: str) -> int:
        service = self._serving() if marks else None
        return 0 if service is None else service.disconnect_where(lambda user: _mark_of(user) in marks, code, reason)

    def _serving(self) -> WebsocketClient | None:
        """The service that has the connections, while it has any."""
        try:
            service: WebsocketClient = self._owner.server.get_service(WEBSOCKET_CLIENT)
        except ServiceError:
            return None
        return service if service.address is not None else None


def _mark_of(user: Any) -> str | None:
    from zephserver.django.logins import login_of

    login = login_of(user)
    return login.mark if login is not None else None
