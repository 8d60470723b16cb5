"""What DjangoSessionManager needs of the project and of the server's settings, and what is missing."""

from __future__ import annotations

import importlib
import logging
import re

from django.apps import apps
from django.conf import settings as of_django

from zephserver.core.errors import SettingsError
from zephserver.core.settings_page import Settings
from zephserver.django import database, options

AUTH, SESSIONS = "django.contrib.auth", "django.contrib.sessions"
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#@]+", re.IGNORECASE)

_log = logging.getLogger("zephserver.django")


def faults_of(settings: Settings) -> list[str]:
    """One line for each fault."""
    return [*options.parse(getattr(of_django, options.NAME, {}))[1], *faults_of_project(), *faults_of_origins(settings)]


def require(settings: Settings) -> None:
    """Raise SettingsError with every fault, also when migrations were not run."""
    faults = faults_of(settings)
    if faults:
        raise SettingsError(faults)
    require_tables()


def faults_of_project() -> list[str]:
    """What is missing in the Django project."""
    if not apps.is_installed(AUTH):
        return [f"INSTALLED_APPS: users need {AUTH!r}; add it"]
    try:
        store = importlib.import_module(of_django.SESSION_ENGINE).SessionStore
    except (ImportError, AttributeError, RuntimeError) as error:
        if not apps.is_installed(SESSIONS):
            return [f"INSTALLED_APPS: sessions need {SESSIONS!r}; add it, then: python manage.py migrate"]
        return [f"SESSION_ENGINE: {of_django.SESSION_ENGINE!r} cannot be used: {error}"]
    if hasattr(store, "model") and not apps.is_installed(SESSIONS):
        return [f"INSTALLED_APPS: sessions in the database need {SESSIONS!r}; add it, then: python manage.py migrate"]
    backend = of_django.CACHES.get(of_django.SESSION_CACHE_ALIAS, {}).get("BACKEND", "")
    if of_django.SESSION_ENGINE.endswith(".cache") and backend.endswith((".LocMemCache", ".DummyCache")):
        return [
            f"SESSION_ENGINE: sessions in a {backend.rpartition('.')[2]} are seen by one process only; "
            "take a cache that is shared, such as django.core.cache.backends.redis.RedisCache, or 'cached_db'"
        ]
    return []


def faults_of_origins(settings: Settings) -> list[str]:
    """What is wrong with the list of pages that may connect."""
    allowed = settings.allowed_origins
    if allowed is None:
        if settings.same_domain:
            return []
        return [
            "ALLOWED_ORIGINS: with SAME_DOMAIN = False a session is taken from pages that are named only; "
            "name them, as in ['https://www.example.com']"
        ]
    faults = [
        f"ALLOWED_ORIGINS: {one!r} is no origin; write scheme, host and port only, as in 'https://www.example.com'"
        for one in allowed
        if one != "*" and not ORIGIN.fullmatch(one)
    ]
    if "*" in allowed:
        faults.append(
            "ALLOWED_ORIGINS: '*' would let every web page act for its visitors, whose session cookie comes along; "
            "name the pages, as in ['https://www.example.com']"
        )
    return faults


def require_tables() -> None:
    """Raise SettingsError when migrations were not run. A database that is down is only told: it may come back."""
    from django.contrib.auth import get_user_model
    from django.db import DatabaseError, InterfaceError, router

    store = importlib.import_module(of_django.SESSION_ENGINE).SessionStore
    models = [get_user_model()]
    if hasattr(store, "get_model_class"):
        models.append(store.get_model_class())
    with database.clean:
        for model in models:
            from django.db import connections

            connection = connections[router.db_for_read(model)]
            try:
                with connection.cursor() as cursor:
                    tables = connection.introspection.table_names(cursor, include_views=True)
            except (DatabaseError, InterfaceError) as error:
                _log.warning("the database cannot be asked yet: %s", database.in_one_line(error))
                return
            if model._meta.db_table.lower() not in {name.lower() for name in tables}:
                raise SettingsError(
                    [f"the database has no table {model._meta.db_table!r}; make it with: python manage.py migrate"]
                )
