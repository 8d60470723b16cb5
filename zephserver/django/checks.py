"""What `manage.py check` finds, before anybody connects in vain."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from django.conf import settings as of_django
from django.core import checks
from django.urls import NoReverseMatch, Resolver404, reverse

from zephserver.core.errors import SettingsError
from zephserver.core.settings import load_settings
from zephserver.core.settings_page import Settings
from zephserver.django import options, project, requirements

TAG = "zephserver"
MANAGER = "zephserver.django.session_manager/DjangoSessionManager"
SESSION_MIDDLEWARE = "django.contrib.sessions.middleware.SessionMiddleware"
AUTH_MIDDLEWARE = "django.contrib.auth.middleware.AuthenticationMiddleware"


def register() -> None:
    """Add the checks to Django's."""
    checks.register(check, TAG)


def check(app_configs: Any = None, **more: Any) -> list[Any]:
    """One message for each fault. Errors: E001 the setting ZEPHSERVER, E002 the settings file of the server, E003 what
    sessions need, E004 the pages that may connect. Warnings: W001 and on, what will disappoint somebody."""
    given, faults = options.parse(getattr(of_django, options.NAME, {}))
    found = [checks.Error(fault, id="zephserver.E001") for fault in faults]
    found += [checks.Error(fault, id="zephserver.E003") for fault in requirements.faults_of_project()]
    found += _of_middleware()
    try:
        server = load_settings(project.settings_file(given.settings))
    except SettingsError as error:
        found += [checks.Error(fault, id="zephserver.E002") for fault in error.faults]
    else:
        found += [checks.Error(fault, id="zephserver.E004") for fault in requirements.faults_of_origins(server)]
        found += _of_server(server, given)
    found += _of_urls()
    return found


def _of_middleware() -> Iterator[Any]:
    for name in (SESSION_MIDDLEWARE, AUTH_MIDDLEWARE):
        if name not in of_django.MIDDLEWARE:
            yield checks.Warning(f"MIDDLEWARE: without {name!r} nobody logs in; add it", id="zephserver.W001")


def _of_server(server: Settings, given: options.Options) -> Iterator[Any]:
    if server.my_session_handler != MANAGER:
        yield checks.Warning(
            f"{server.file}: MY_SESSION_HANDLER is {server.my_session_handler!r}, which does not know Django's users",
            hint=f"Write MY_SESSION_HANDLER = {MANAGER!r}, in SERVICE_LIST too.",
            id="zephserver.W002",
        )
    named, current = server.django_settings_module, os.environ.get(project.DJANGO_VARIABLE)
    if named and current and named != current:
        yield checks.Warning(
            f"{server.file}: DJANGO_SETTINGS_MODULE is {named!r}, but this process runs with {current!r}: "
            "users and sessions may come from two databases",
            id="zephserver.W003",
        )
    if server.same_domain and given.url.startswith(":") and server.allowed_origins is None:
        yield checks.Warning(
            f"{server.file}: pages come from another port than {given.url!r}, so their Origin will be refused",
            hint="Name them: ALLOWED_ORIGINS = ['http://127.0.0.1:8000', 'http://localhost:8000']",
            id="zephserver.W004",
        )
    if given.socket is not None and given.socket != str(server.configuration_network_interface_server):
        yield checks.Warning(
            f"ZEPHSERVER['SOCKET'] is {given.socket!r}, but the server of {server.file} listens on "
            f"{str(server.configuration_network_interface_server)!r}: nothing that is said will arrive",
            id="zephserver.W005",
        )


def _of_urls() -> Iterator[Any]:
    try:
        reverse("zephserver:client", args=["zephclient.js"])
    except (NoReverseMatch, Resolver404):
        yield checks.Warning(
            "the URLs of zephserver are not included, so the template tag has no client to load",
            hint="Add path('zephserver/', include('zephserver.django.urls')) to the urlpatterns.",
            id="zephserver.W006",
        )
    except Exception:
        return  # the URLs of the project have a fault of their own, which Django tells
