"""The app for INSTALLED_APPS: 'zephserver.django'."""

from __future__ import annotations

from django.apps import AppConfig
from django.apps import apps as installed


class ZephserverConfig(AppConfig):
    """Checks, the command `manage.py zephserver`, the template tag, and the ends of sessions told to the server."""

    name = "zephserver.django"
    label = "zephserver"
    verbose_name = "Zephserver"

    def ready(self) -> None:
        """Every app is loaded."""
        from zephserver.django import checks
        from zephserver.django.requirements import AUTH, faults_of_project

        checks.register()
        if installed.is_installed(AUTH) and not faults_of_project():
            from zephserver.django import live

            live.connect()
