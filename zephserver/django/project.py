"""The Django project that the server works for: loading it, and finding the server's settings from within it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from zephserver.core.errors import SettingsError
from zephserver.core.settings_file import NAMES, VARIABLE, find_settings_file
from zephserver.core.settings_page import Settings

DJANGO_VARIABLE = "DJANGO_SETTINGS_MODULE"


def load(settings: Settings | None) -> None:
    """Set Django up with the module that DJANGO_SETTINGS_MODULE names, in the settings or the environment.

    Once or many times. Raises SettingsError, with the next step on its one line.
    """
    if importlib.util.find_spec("django") is None:
        raise SettingsError(["Django is not installed; get it with: pip install 'zephserver[django]'"])
    wanted = settings.django_settings_module if settings is not None else None
    current = os.environ.get(DJANGO_VARIABLE)
    if wanted is not None and current not in (None, wanted):
        from django.conf import settings as of_django

        if of_django.configured:
            raise SettingsError(
                [f"DJANGO_SETTINGS_MODULE: {wanted!r}, but this process runs with {current!r}; name one of them only"]
            )
    name = wanted or current
    if not name:
        raise SettingsError(
            ["DJANGO_SETTINGS_MODULE: not set; name the settings of the Django project, as in 'mysite.settings'"]
        )
    os.environ[DJANGO_VARIABLE] = name
    _set_up(name)


_stuck = ""  # what went wrong when Django loaded the project in part: it does not begin anew in this process


def _set_up(name: str) -> None:
    global _stuck
    import django
    from django.apps import apps
    from django.conf import settings

    if apps.ready:
        return
    if _stuck:
        raise SettingsError([_stuck])
    try:
        if not settings.configured:
            importlib.import_module(name)
        django.setup()
    except (Exception, SystemExit) as error:
        why = f"DJANGO_SETTINGS_MODULE: {name!r}: {_told(name, error)}"
        if apps.loading:
            _stuck = why
        raise SettingsError([why]) from error
    for model in apps.get_models():  # Django keeps each, and would keep the old one beside a new one
        sys.modules[model.__module__].__zeph_once__ = True  # type: ignore[attr-defined] # no attribute of modules


def _told(name: str, error: BaseException) -> str:
    """In one line why the project cannot be loaded."""
    from django.core.exceptions import ImproperlyConfigured

    if isinstance(error, ModuleNotFoundError) and error.name and (name + ".").startswith(error.name + "."):
        return f"there is no module {error.name!r} in the settings folder or installed"
    if isinstance(error, ImproperlyConfigured):
        return " ".join(str(error).split())
    return f"loading the project raised {error!r}"


def settings_file(named: str | None = None) -> str:
    """The zephsettings.py of this project: the one *named*, or $ZEPHSETTINGS, or in this folder, or in BASE_DIR.

    Raises SettingsError, saying where was looked.
    """
    from django.conf import settings

    if named is not None or os.environ.get(VARIABLE):
        return find_settings_file(named)
    folders = [Path.cwd()]
    if getattr(settings, "BASE_DIR", None):
        folders.append(Path(settings.BASE_DIR))
    for folder in folders:
        for name in NAMES:
            if (folder / name).exists():
                return find_settings_file(str(folder / name))
    places = " or ".join(str(folder) for folder in dict.fromkeys(folders))
    raise SettingsError([f"there is no {NAMES[0]} in {places}; name it: ZEPHSERVER = {{'SETTINGS': '...'}}"])
