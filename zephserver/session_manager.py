"""Who is at the other end of a connection."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from zephserver.core.service import Service
from zephserver.engines.interface import Handshake

LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who is connected. An anonymous user has no id. Frozen: any thread."""

    id: str | int | None = None
    username: str = "anonymous"

    @property
    def is_anonymous(self) -> bool:
        """Nobody knows who this is."""
        return self.id is None

    @property
    def is_authenticated(self) -> bool:
        """The session manager knows who this is; how well, depends on the session manager."""
        return self.id is not None


class UserLike(Protocol):
    """What a session manager returns: anything with an id and a username, Django's own user too."""

    @property
    def id(self) -> Any:
        """Tells users apart; None for an anonymous one."""

    @property
    def username(self) -> str:
        """What other people see."""


class SessionManager(Protocol):
    """The service that MY_SESSION_HANDLER names."""

    def get_user_session(self, instance: Handshake, message: Mapping[str, Any]) -> UserLike | None:
        """The user, or None to refuse the connection.

        *instance* has cookies, headers, path and address of the handshake, *message* is the first message of the
        client. Runs in a thread where it may wait for a database; an exception refuses the connection too.
        """


class SimpleSessionManager(Service):
    """Believes what the client says of itself: for demonstrations, tests and trusted networks.

    `session_id` is an object {"id", "username"}, or a text that is both, or missing for an anonymous user. Anything
    else is refused.
    """

    def __init__(self) -> None:
        self._disabled = threading.Event()

    def main(self) -> None:
        """There is nothing to do until somebody asks."""
        self._disabled.wait()
        self._disabled.clear()  # for the next life; at the beginning it would forget a disable() that was faster

    def disable(self) -> None:
        """End main()."""
        self._disabled.set()

    def get_user_session(self, instance: Handshake, message: Mapping[str, Any]) -> User | None:
        """The user that the first message names. Any thread."""
        session = message.get("session_id")
        if session is None or session == "":
            return User()
        if isinstance(session, dict):
            id = session.get("id")
            username = session.get("username", str(id))
        else:
            id, username = session, str(session)
        is_number = isinstance(id, int) and not isinstance(id, bool)
        if not (is_number or _is_name(id)) or not _is_name(username):
            return None
        return User(id, username)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()
