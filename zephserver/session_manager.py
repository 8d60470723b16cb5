"""Who is at the other end of a connection."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from zephserver.core import runtime
from zephserver.core.command_table import command
from zephserver.core.errors import BadRequest, SettingsError
from zephserver.core.service import Service
from zephserver.core.settings_page import Settings
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
        client. Runs in a thread where it may wait for a database; an exception refuses the connection too. Raise
        SessionExpired for something that was good once: the client fetches a new one and comes back.

        Raise Overloaded when nobody can be looked up now: the client comes back later.

        A session manager may also have these:

        ``is_valid(instance, user)`` is asked every SESSION_CHECK_INTERVAL seconds for each connection, in a thread, and
        False closes the connection. An exception changes nothing.

        ``user_for_task(user)``: what a task gets as its user, asked for each. Loop only, so it must not wait.

        ``around_task``, a context manager that each threaded task and each may_join() of the room handler runs in, in
        its thread; entered by many at once.

        ``look_up_timeout``: seconds for finding a user, where that shall be less than IDENTIFY_TIMEOUT.
        """


class _Resident(Service):
    """A service that does its work in the threads of those who ask."""

    def __init__(self) -> None:
        self._disabled = threading.Event()

    def main(self) -> None:
        """There is nothing to do until somebody asks."""
        self._disabled.wait()
        self._disabled.clear()  # for the next life; at the beginning it would forget a disable() that was faster

    def disable(self) -> None:
        """End main()."""
        self._disabled.set()


class SimpleSessionManager(_Resident):
    """Believes what the client says of itself: for demonstrations, tests and trusted networks.

    `session_id` is an object {"id", "username"}, or a text that is both, or missing for an anonymous user. Anything
    else is refused.
    """

    def get_user_session(self, instance: Handshake, message: Mapping[str, Any]) -> User | None:
        """The user that the first message names. Any thread."""
        session = message.get("session_id")
        if session is None or session == "":
            return User()
        if isinstance(session, dict):
            id = session.get("id")
            return user_of(id, session.get("username", str(id)))
        return user_of(session, str(session))


class TokenSessionManager(_Resident):
    """Believes tokens that are signed with TOKEN_SECRET, by `zephctl token` or by a web application (tokens.py).

    The token comes as `session_id` of the first message, or, from programs, in a header `Authorization: Bearer`. It has
    to be good when the connection is made; an open connection outlives it.
    """

    def __init__(self) -> None:
        super().__init__()
        server = runtime.find_server()
        faults = self.check(server.settings) if server is not None else []
        if faults:  # here and not in main(): who requires it shall not begin
            raise SettingsError(faults)

    @staticmethod
    def check(settings: Settings) -> list[str]:
        """What is wrong, for `zephctl check`."""
        if settings.token_secret is not None:
            return []
        return ["TOKEN_SECRET: TokenSessionManager needs a secret; make one with: openssl rand -hex 32"]

    def get_user_session(self, instance: Handshake, message: Mapping[str, Any]) -> User | None:
        """The user that the token names, None without a good one. Raises SessionExpired. Any thread."""
        from zephserver import tokens

        token = message.get("session_id") or _bearer(instance)
        if not isinstance(token, str):
            return None
        try:
            return tokens.read(self.server.settings.token_secret or "", token)
        except tokens.BadToken:
            return None

    @command("token")
    def token(self, user: str, name: str = "", lifetime: float = 60.0, number: bool = False) -> str:
        """Sign a token for USER, good for LIFETIME seconds; with NUMBER its id is a number."""
        from zephserver import tokens

        if number and re.fullmatch("-?[0-9]{1,18}", user) is None:
            raise BadRequest(f"{user[:40]!r} is no number")
        id = int(user) if number else user
        if user_of(id, name or str(id)) is None:
            raise BadRequest(f"a user has an id and a name of 1 to {LONGEST_NAME} printable characters")
        if not 1.0 <= lifetime <= 1e9:
            raise BadRequest(f"a token is good for 1 second or more, not for {lifetime:g}")
        return tokens.sign(self.server.settings.token_secret or "", id, name or None, lifetime)


def user_of(id: object, username: object) -> User | None:
    """A user with this id and name, None when they are not what an id and a name may be."""
    is_number = isinstance(id, int) and not isinstance(id, bool)
    if not (is_number or _is_name(id)) or not _is_name(username):
        return None
    return User(id, username)  # type: ignore[arg-type]


def _bearer(instance: Handshake) -> str:
    """The token in a header `Authorization: Bearer ...`; the scheme has no case (RFC 9110, 11.1)."""
    scheme, _, token = instance.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()
