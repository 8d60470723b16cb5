"""Whose session is it? Reads what Django keeps and never writes: a look-up must not touch anybody's session."""

from __future__ import annotations

import hashlib
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.core.exceptions import ValidationError
from django.utils.crypto import constant_time_compare, salted_hmac

LONGEST_KEY = 8_192  # characters: a session that is a signed cookie is as long as what is in it
CACHE = "django.contrib.sessions.backends.cache"
SIGNED_COOKIES = "django.contrib.sessions.backends.signed_cookies"
_ATTRIBUTE = "_zephserver_login"
_MARK = "zephserver.django.mark"


@dataclass(frozen=True, slots=True)
class Login:
    """How a connection came to be a user's. Frozen: any thread."""

    backend: str  # the authentication backend that knows the user
    hash: str  # of the password, as Django keeps it in a session
    mark: str  # names the session on the control socket and in the cluster, and cannot be used as one
    key: str | None = field(default=None, repr=False)  # of the session; None for a token and for HTTP Basic
    expires: float | None = None  # seconds since the epoch: the end of the session, where nothing else tells it
    issued: float | None = None  # seconds since the epoch: when the token was made that told who it is


def login_of(user: Any) -> Login | None:
    """How this user was found; None for an anonymous one."""
    return getattr(user, _ATTRIBUTE, None)


def with_login(user: Any, login: Login) -> Any:
    """The user, with a note of how it was found."""
    setattr(user, _ATTRIBUTE, login)
    return user


def find_by_session(key: str) -> Any | None:
    """The user whose session this is, None for a session that is nobody's: expired, forged, or of an anonymous user."""
    if not 0 < len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        return None
    session = open_session(key)
    try:
        id, backend, shown = session[SESSION_KEY], session[BACKEND_SESSION_KEY], session.get(HASH_SESSION_KEY, "")
    except KeyError:
        _raise_if_cache_is_down(session)
        return None
    user = find_user(id, backend, lambda user: _is_current(user, shown))
    return None if user is None else with_login(user, Login(backend, shown, mark_of(key, user), key))


def find_user(id: str, backend: str, test: Callable[[Any], bool]) -> Any | None:
    """The user with this id, if the backend still lets it in and it passes the test."""
    if backend not in settings.AUTHENTICATION_BACKENDS:
        return None
    try:
        key = get_user_model()._meta.pk.to_python(id)
    except (ValidationError, ValueError):
        return None
    user = load_backend(backend).get_user(key)  # None for one who is not active
    return user if user is not None and test(user) else None


def found_again(user: Any, login: Login) -> Any | None:
    """The user as it is now, None when it may not be here any more."""
    if login.expires is not None and login.expires <= time.time():
        return None
    if login.key is not None:
        fresh = find_by_session(login.key)
        return fresh if fresh is not None and fresh.pk == user.pk else None
    return find_user(str(user.pk), login.backend, lambda user: _is_current(user, login.hash))


def open_session(key: str) -> Any:
    """The session of the project's engine; nothing is read yet."""
    return importlib.import_module(settings.SESSION_ENGINE).SessionStore(key)


def mark_of(key: str | None, user: Any) -> str:
    """What names a session to others without being one. For a signed cookie, which has no name, it names the user."""
    if user is not None and (not key or is_signed_cookie()):
        seal = salted_hmac(_MARK, f"{user._meta.label}:{user.pk}", algorithm="sha256").hexdigest()
        return f"user:{seal[:32]}"
    return hashlib.sha256((key or "").encode()).hexdigest()[:32]


def is_signed_cookie() -> bool:
    """Whether sessions live in the cookie alone, so that a server cannot end one."""
    return _is_engine(SIGNED_COOKIES)


def hash_of(user: Any) -> str:
    """What changes with the password; '' for users that have no such thing."""
    return str(user.get_session_auth_hash()) if hasattr(user, "get_session_auth_hash") else ""


def _is_engine(name: str) -> bool:
    """Whether the project's engine is this one of Django's, or made of it."""
    store = importlib.import_module(settings.SESSION_ENGINE).SessionStore
    return issubclass(store, importlib.import_module(name).SessionStore)


def _raise_if_cache_is_down(session: Any) -> None:
    """Django's engine takes a cache that is down for a session that is not there, which would log everybody out."""
    if _is_engine(CACHE):
        session._cache.get("zephserver.django.probe")


def _is_current(user: Any, shown: str) -> bool:
    """Whether the hash is of today's password, with the key of today or one of SECRET_KEY_FALLBACKS."""
    if not hasattr(user, "get_session_auth_hash"):
        return True
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return bool(shown) and any(constant_time_compare(shown, one) for one in hashes)
