"""What `manage.py check` and `zephctl check` tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from tests.zephserver.django.conftest import MANAGER, MODULE
from zephserver.core.settings import make_settings
from zephserver.django import checks, options
from zephserver.django.session_manager import DjangoSessionManager

GOOD = f"""
MY_SESSION_HANDLER = {MANAGER!r}
SERVICE_LIST = [MY_SESSION_HANDLER]
DJANGO_SETTINGS_MODULE = {MODULE!r}
"""
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]


@pytest.fixture
def found(project: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`found(more)`: the ids and texts of what is found with these lines in the settings file of the server."""
    monkeypatch.chdir(project)

    def run(more: str = "") -> list[tuple[str, str]]:
        (project / "zephsettings.py").write_text(GOOD + more)
        return [(message.id.removeprefix("zephserver."), message.msg) for message in checks.check()]

    return run


def test_a_good_project_is_fine(found: Any) -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("line", "id", "text"),
    [
        ("ALLOWED_ORIGINS = ['*']", "E004", "'*' would let every web page act for its visitors"),
        ("ALLOWED_ORIGINS = ['www.example.com']", "E004", "'www.example.com' is no origin"),
        ("ALLOWED_ORIGINS = ['https://www.example.com/']", "E004", "is no origin; write scheme, host and port"),
        ("SAME_DOMAIN = False", "E004", "a session is taken from pages that are named only"),
        ("PORT_ZEHP = 1", "E002", "did you mean PORT_ZEPH?"),
        ("MY_SESSION_HANDLER = 'zephserver.session_manager/SimpleSessionManager'", "W002", "does not know Django's"),
        ("DJANGO_SETTINGS_MODULE = 'other.settings'", "W003", "but this process runs with"),
        ("CONFIGURATION_NETWORK_INTERFACE_SERVER = 'other.sock'", "W005", "nothing that is said will arrive"),
    ],
)
def test_a_fault_of_the_servers_settings_is_told(found: Any, line: str, id: str, text: str) -> None:
    messages = found(line)

    assert [found for found, _ in messages] == [id]
    assert text in messages[0][1]


@pytest.mark.parametrize(
    ("settings", "id", "text"),
    [
        ({"ZEPHSERVER": {"URLS": "/ws"}}, "E001", "unknown name 'URLS'; did you mean 'URL'?"),
        ({"ZEPHSERVER": {"COLOUR": 1}}, "E001", "unknown name 'COLOUR'; there are: SETTINGS, SOCKET"),
        ({"ZEPHSERVER": {"TIMEOUT": "1"}}, "E001", "expected seconds, got '1'"),
        ({"ZEPHSERVER": {"TIMEOUT": True}}, "E001", "expected seconds, got True"),
        ({"ZEPHSERVER": {"BASIC_AUTH": 1}}, "E001", "expected True or False, got 1"),
        ({"ZEPHSERVER": []}, "E001", "expected a dict, got []"),
        ({"SESSION_ENGINE": "no.such"}, "E003", "SESSION_ENGINE: 'no.such' cannot be used"),
        (
            {
                "SESSION_ENGINE": "django.contrib.sessions.backends.cache",
                "CACHES": {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
            },
            "E003",
            "sessions in a LocMemCache are seen by one process only",
        ),
        ({"MIDDLEWARE": MIDDLEWARE}, "W001", "AuthenticationMiddleware' nobody logs in"),
        ({"ROOT_URLCONF": "django.contrib.auth.urls"}, "W006", "the URLs of zephserver are not included"),
        ({"ZEPHSERVER": {"URL": ":8080/ws"}}, "W004", "their Origin will be refused"),
    ],
)
def test_a_fault_of_the_project_is_told(found: Any, settings: dict[str, Any], id: str, text: str) -> None:
    with override_settings(**settings):
        messages = found()

    assert [found for found, _ in messages] == [id]
    assert text in messages[0][1]


@pytest.mark.parametrize(
    "url", ["/ws", "/", ":8080/ws", ":8080", "ws://127.0.0.1:8080/ws", "wss://ws.example.com", "ws://[::1]:8080/ws?a=b"]
)
def test_an_address_to_which_browsers_can_connect_is_good(url: str) -> None:
    assert options.parse({"URL": url}) == (options.Options(url=url), [])


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8080/ws", "http://x/ws", "ws", "", "//x/ws", ":x/ws", ":99999/ws", ":/ws#a", "wss:///ws", "/w s",
        "WS:x", Path("/ws"), None,
    ],
)  # fmt: skip
def test_an_address_to_which_no_browser_can_connect_is_a_fault(url: Any) -> None:
    (fault,) = options.parse({"URL": url})[1]

    assert fault.startswith("ZEPHSERVER['URL']: expected a path as '/ws', a port as ':8080/ws', or an address as")


@pytest.mark.parametrize("app", ["django.contrib.sessions", "django.contrib.auth"])
def test_a_missing_app_is_told(found: Any, app: str) -> None:
    from django.conf import settings

    apps = [one for one in settings.INSTALLED_APPS if one != app]
    with override_settings(INSTALLED_APPS=apps):
        messages = found()

    assert [id for id, _ in messages] == ["E003"]
    assert f"need {app!r}; add it" in messages[0][1]


def test_without_a_settings_file_it_says_where_it_looked(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)

    (message,) = checks.check()

    assert message.id == "zephserver.E002"
    assert f"there is no zephsettings.py in {project}" in message.msg


def test_zephctl_check_tells_the_same(project: Path) -> None:
    settings = make_settings({"SERVICE_LIST": [], "ALLOWED_ORIGINS": ["*"]}, folder=project)

    assert "'*' would let every web page" in DjangoSessionManager.check(settings)[0]


def test_a_path_may_be_an_object(project: Path) -> None:
    assert options.parse({"SOCKET": project / "x.sock"})[0].socket == str(project / "x.sock")
