"""Service: finds Django's own user by Django's own session."""

from __future__ import annotations

import base64
import binascii
import copy
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from zephserver.core import runtime
from zephserver.core.command_table import command
from zephserver.core.errors import SessionExpired, SettingsError
from zephserver.core.service import Service
from zephserver.core.settings_page import Settings
from zephserver.django import project
from zephserver.django.endings import Endings
from zephserver.engines.interface import Handshake
from zephserver.origins import is_allowed

ENDED = "zephserver.django.ended"  # the event of the cluster


class DjangoSessionManager(Service):
    """The session manager for the users of a Django project.

    With SAME_DOMAIN the session cookie of the handshake tells who it is; without it, `session_id` of the first message,
    and only from a page whose Origin is allowed. A connection ends with its session.
    """

    notify_ready: ClassVar[bool] = True
    look_up_timeout: ClassVar[float] = 4.5

    def __init__(self) -> None:
        server = runtime.find_server()
        project.load(server.settings if server is not None else None)
        from zephserver.django import database, options, requirements

        if server is not None:  # here and not in main(): a second try would find the same
            requirements.require(server.settings)
        self._options = options.read()
        self._disabled = threading.Event()
        self._endings = Endings(self, self._options.token_lifetime)
        self._trouble = database.Trouble("sessions cannot be looked up")
        self.around_task = database.AroundTask()

    # -- the service ------------------------------------------------------------------------------------------------

    @staticmethod
    def check(settings: Settings) -> list[str]:
        """What is wrong, for `zephctl check`."""
        try:
            project.load(settings)
        except SettingsError as error:
            return error.faults
        from zephserver.django import requirements

        return requirements.faults_of(settings)

    def main(self) -> None:
        """End what is left of sessions that ended."""
        from zephserver.django import database

        database.limit(self._options.database_timeout)
        database.watch_strays()
        self.server.cluster.subscribe(ENDED, self._heard)
        self.ready()
        try:
            while not self._disabled.wait(1.0):
                database.close_strays()
                self._endings.sweep()
        finally:
            self.server.cluster.unsubscribe(ENDED, self._heard)
            database.close_pool()
            self._disabled.clear()

    def disable(self) -> None:
        """End main()."""
        self._disabled.set()

    # -- who is it? -------------------------------------------------------------------------------------------------

    def get_user_session(self, instance: Handshake, message: Mapping[str, Any]) -> Any | None:
        """The user, an anonymous one for who is not logged in, None to refuse.

        Any thread. Raises SessionExpired for a token that is too old, Overloaded when the database does not answer.
        """
        from zephserver.django import database

        if not self.server.settings.same_domain and not self._is_page_allowed(instance):
            return None
        with self._trouble.becomes_overloaded(), database.clean:
            user = self._find(instance, message.get("session_id"))
        return user if user is None else _presentable(user)

    def is_valid(self, instance: Handshake, user: Any) -> bool:
        """Whether the session of a connection still is what it was. Any thread; raises when nobody can be asked."""
        from zephserver.django import database
        from zephserver.django.logins import found_again, login_of

        login = login_of(user)
        if login is None:
            return True
        if self._endings.has(login):
            return False
        with database.clean:
            fresh = found_again(user, login)
        if fresh is None:
            return False
        changed = dict(vars(fresh))
        changed.pop("_state"), changed.pop("_zephserver_login", None)
        vars(user).update(changed)  # in one step: tasks are given copies meanwhile
        return True

    def user_for_task(self, user: Any) -> Any:
        """A user of its own for each task: what one has loaded or changed, no other sees."""
        if not hasattr(user, "__dict__"):
            return user  # whoever calls a task from the shell is no user of Django's
        kept = {name: value for name, value in list(vars(user).items()) if not name.startswith("_")}
        twin = object.__new__(type(user))
        vars(twin).update(kept)
        if hasattr(user, "_state"):
            state = copy.copy(user._state)
            state.fields_cache = {}
            twin._state = state
        return twin

    def _find(self, instance: Handshake, shown: object) -> Any | None:
        from django.contrib.auth.models import AnonymousUser

        user = None
        if self._options.basic_auth and "authorization" in instance.headers:
            return self._find_by_password(instance.headers["authorization"])
        if self.server.settings.same_domain:
            user = self._find_by_cookie(instance)
        if user is None and isinstance(shown, str) and shown:
            user = self._find_by_message(shown)
        if user is not None:
            return user
        return AnonymousUser() if self._options.anonymous else None

    def _find_by_cookie(self, instance: Handshake) -> Any | None:
        from django.conf import settings

        from zephserver.django.logins import find_by_session

        key = instance.cookies.get(settings.SESSION_COOKIE_NAME)
        return self._still_there(find_by_session(key)) if key else None

    def _find_by_message(self, shown: str) -> Any | None:
        """By a token, and where pages come from elsewhere also by the key of a session, as in 2015."""
        from zephserver.django.logins import find_by_session, is_signed_cookie, login_of
        from zephserver.django.tokens import find_by_token

        user = find_by_token(shown)
        login = login_of(user)
        if login is not None and is_signed_cookie() and self._endings.has(login):
            raise SessionExpired("its session may have ended; who is still logged in gets a new one")
        if user is None and not self.server.settings.same_domain:
            user = find_by_session(shown)
        return self._still_there(user)

    def _find_by_password(self, header: str) -> Any | None:
        """HTTP Basic (RFC 7617): None for anything but a good name and password."""
        from django.contrib.auth import authenticate

        from zephserver.django.logins import Login, hash_of, with_login

        scheme, _, encoded = header.partition(" ")
        try:
            name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if scheme.lower() != "basic" or not colon or "\0" in name:
            return None
        user = authenticate(None, username=name, password=password)
        if user is None:
            return None
        return with_login(user, Login(user.backend, hash_of(user), f"basic:{user.pk}"))

    def _is_page_allowed(self, instance: Handshake) -> bool:
        """Without the same domain a session travels in a message, which only a page that is named may send."""
        origin = instance.headers.get("origin")
        allowed = self.server.settings.allowed_origins
        return origin is not None and is_allowed(origin, instance.headers.get("host", ""), allowed)

    def _still_there(self, user: Any | None) -> Any | None:
        """The user, unless its session has ended since the look-up began."""
        from zephserver.django.logins import login_of

        login = login_of(user)
        return None if login is not None and self._endings.has(login) else user

    # -- sessions that end ------------------------------------------------------------------------------------------

    @command("django.ended", for_guests=True)
    def end(self, marks: list[str] | None = None, users: list[str] | None = None) -> int:
        """Close the connections of sessions that have ended, by their marks, and look again at those of these users."""
        self.server.cluster.say(ENDED, {"marks": marks or [], "users": users or []})
        return self._endings.note(marks or [], users or [])

    def _heard(self, event: Any) -> None:
        self._endings.note(event["marks"], event["users"])


def _presentable(user: Any) -> Any:
    """The user with a name that others can see, also where the project's model calls it otherwise."""
    if not getattr(user, "username", ""):
        user.username = "anonymous" if user.pk is None else str(user.get_username())
    if not hasattr(user, "id"):
        user.id = user.pk
    return user
