"""Sessions that have ended: closes their connections, also of those who come in meanwhile. Any thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zephserver.core.errors import ServiceError

if TYPE_CHECKING:
    from zephserver.core.service import Service
    from zephserver.django.logins import Login
    from zephserver.websocket_client import WebsocketClient

REMEMBERED = 120.0  # seconds that the end of a session is remembered, for look-ups and tokens that are under way
SWEPT = 8.0  # seconds in which somebody may still come in whose look-up began before the session ended
COME_BACK, SESSION_ENDED = 1012, 4003  # close codes: docs/protocol.md
WEBSOCKET_CLIENT = "zephserver.websocket_client/WebsocketClient"


class Endings:
    """The marks of sessions that ended lately. A mark of a user ("user:...") stands for all its signed cookies.

    Those outlive a logout, for nobody can take them back; but no token that was made before it counts any more.
    """

    def __init__(self, service: Service, lifetime: float = 0.0) -> None:
        self._owner = service
        self._remembered = max(REMEMBERED, lifetime + SWEPT)  # longer than a token is good for
        self._ended: dict[str, tuple[float, float]] = {}  # mark -> when: by our clock, and since the epoch

    def has(self, login: Login) -> bool:
        """Whether that session has ended, as far as is remembered."""
        if login.mark not in self._ended:
            return False
        _, ended = self._ended[login.mark]
        return not login.mark.startswith("user:") or (login.issued is not None and login.issued <= ended)

    def note(self, marks: list[str], users: list[str]) -> int:
        """These sessions have ended, and something has changed about these users: how many connections are closed."""
        self._ended.update(dict.fromkeys(marks, (time.monotonic(), time.time())))
        ended = {mark for mark in marks if not mark.startswith("user:")}
        cookies = set(marks) - ended
        closed = self._close(lambda login: login.mark in ended, SESSION_ENDED, "your session has ended") if ended else 0
        if cookies:  # who has another good cookie comes back with it
            closed += self._close(lambda login: login.mark in cookies, COME_BACK, "")
        service = self._serving() if users else None
        if service is not None:
            wanted = set(users)

            def is_wanted(user: Any) -> bool:
                return _login_of(user) is not None and str(user.pk) in wanted

            service.look_again(is_wanted)
        return closed

    def sweep(self) -> None:
        """Close those who came in while their session ended, and forget what ended long ago. Once a second or so."""
        now = time.monotonic()
        ages = {mark: now - ended for mark, (ended, _) in list(self._ended.items())}
        if any(age < SWEPT for age in ages.values()):
            self._close(self.has, SESSION_ENDED, "your session has ended")
        for mark, age in ages.items():
            if age > self._remembered:
                self._ended.pop(mark, None)

    def _close(self, test: Callable[[Login], bool], code: int, reason: str) -> int:
        service = self._serving()
        if service is None:
            return 0

        def has_ended(user: Any) -> bool:
            login = _login_of(user)
            return login is not None and test(login)

        return service.disconnect_where(has_ended, code, reason)

    def _serving(self) -> WebsocketClient | None:
        """The service that has the connections, while it has any."""
        try:
            service: WebsocketClient = self._owner.server.get_service(WEBSOCKET_CLIENT)
        except ServiceError:
            return None
        return service if service.address is not None else None


def _login_of(user: Any) -> Login | None:
    from zephserver.django.logins import login_of  # Django may be loaded by now

    return login_of(user)
