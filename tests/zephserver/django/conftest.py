"""A Django project that is set up once in this process, with a database of its own for each test."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.zephserver import conftest
from tests.zephserver.conftest import MakeSite, Site, Talker

MANAGER = "zephserver.django.session_manager/DjangoSessionManager"
MODULE = "tests.zephserver.django.project.settings"

make_site = conftest.make_site
gate = conftest.gate
began = conftest.began


with pytest.MonkeyPatch.context() as _patch:  # once in this process, before a test file imports a model
    _patch.setenv("DJANGO_SETTINGS_MODULE", MODULE)
    _patch.setenv("TZ", os.environ.get("TZ", ""))  # Django writes its own there, and other tests have not asked for it
    import django

    django.setup()
time.tzset()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables, to be copied."""
    from asgiref.sync import sync_to_async
    from django.core.management import call_command
    from django.db import connections

    asyncio.run(sync_to_async(int)())  # the thread that asgiref keeps is there before a test counts threads
    path = tmp_path_factory.mktemp("django") / "db.sqlite3"
    connections.settings["default"]["NAME"] = str(path)
    call_command("migrate", verbosity=0)
    connections.close_all()
    return path


@pytest.fixture(autouse=True)
def project(migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project with empty tables; its folder is that of the test."""
    from django.db import connections
    from django.test import override_settings

    from zephserver.django import publishing, reach

    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", MODULE)
    path = tmp_path / "db.sqlite3"
    shutil.copy(migrated, path)
    connections.close_all()
    values = connections.settings["default"]
    before = dict(values, OPTIONS=dict(values["OPTIONS"]))
    values["NAME"] = str(path)
    publishing._counts.clear()
    reach.forget()
    publishing._told_at = -publishing.TOLD_EVERY
    files = {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(tmp_path / "cache")}
    with override_settings(
        ZEPHSERVER={"SOCKET": str(tmp_path / "interface.sock")},
        SESSION_FILE_PATH=str(tmp_path),
        CACHES={"default": files},
    ):
        yield tmp_path
    connections.close_all()
    values.update(before)


@pytest.fixture
def user(project: Path) -> Any:
    """ann, whose password is 'secret'."""
    return make_user("ann")


def make_user(name: str, **more: Any) -> Any:
    """A user whose password is 'secret'."""
    from django.contrib.auth import get_user_model

    return get_user_model().objects.create_user(name, password="secret", **more)


def log_in(user: Any) -> Any:
    """A browser in which the user is logged in: Django's test client."""
    from django.test import Client

    browser = Client()
    browser.force_login(user)
    return browser


def key_of(browser: Any) -> str:
    """The session cookie of a browser."""
    return str(browser.cookies["sessionid"].value)


class DjangoSite:
    """A server in this process whose users are Django's."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def join(self, browser: Any = None, room: str | None = "lobby", **more: Any) -> Talker:
        """Somebody with the cookies of a browser, who was welcomed and is in the room."""
        return self.site.join(more.pop("session", None), room, **self.options(browser, more))

    def knock(self, browser: Any = None, session: Any = None, **more: Any) -> Talker:
        """Somebody who has said who it is, and has heard nothing yet."""
        talker = self.site.connect(**self.options(browser, more))
        talker.send(session_id=session)
        return talker

    def options(self, browser: Any, more: dict[str, Any]) -> dict[str, Any]:
        headers = dict(more.pop("headers", {}))
        if browser is not None:
            key = browser if isinstance(browser, str) else key_of(browser)
            headers["Cookie"] = f"csrftoken=x; sessionid={key}"
        return {"additional_headers": headers, **more}


MakeDjangoSite = Callable[..., DjangoSite]


@pytest.fixture
def make_django_site(make_site: MakeSite) -> MakeDjangoSite:
    """Starts a server with DjangoSessionManager."""

    def make(*tasks: type, **settings: Any) -> DjangoSite:
        names = [MANAGER, conftest.ROOM_HANDLER, conftest.ROUTER, conftest.WEBSOCKET_CLIENT]
        return DjangoSite(make_site(*tasks, **({"SERVICE_LIST": names, "MY_SESSION_HANDLER": MANAGER} | settings)))

    return make


def name_of(talker: Talker) -> Any:
    """Who the server says that this is."""
    return talker.hear(msgtype="welcome")["user"]["username"]
