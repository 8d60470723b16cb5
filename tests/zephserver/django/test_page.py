"""What a page gets: the template tag, and the files it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, Template
from django.test import Client, RequestFactory, override_settings

import zephserver
from tests.zephserver.django.conftest import key_of, log_in
from zephserver.django.templatetags.zephserver import address_of


def attributes(html: str) -> dict[str, str]:
    return dict(re.findall(r'(data-[a-z-]+)="([^"]*)"', html))


def test_the_tag_names_the_client_the_address_and_a_token(user: Any) -> None:
    browser = log_in(user)
    html = browser.get("/page").content.decode()

    found = attributes(html)

    assert re.findall(r'src="([^"]+)"', html) == ["/zephserver/zephclient.min.js", "/zephserver/connect.js"]
    assert found["data-url"] == "ws://testserver/ws"
    assert len(found["data-token"]) > 50
    assert "data-token-url" not in found
    assert key_of(browser) not in html


def test_an_anonymous_page_has_no_token() -> None:
    assert attributes(Client().get("/page").content.decode()) == {"data-url": "ws://testserver/ws"}


def test_a_page_with_a_token_is_not_for_other_visitors(user: Any) -> None:
    assert "Cookie" in log_in(user).get("/page")["Vary"]


def test_there_is_no_inline_script(user: Any) -> None:
    html = log_in(user).get("/page").content.decode()

    assert re.findall(r">([^<\s]+)<", html) == []


@override_settings(ZEPHSERVER={"URL": "wss://ws.example.com/ws"})
def test_elsewhere_the_page_can_fetch_a_new_token(user: Any) -> None:
    assert attributes(log_in(user).get("/page").content.decode())["data-token-url"] == "/zephserver/token"


@pytest.mark.parametrize(
    ("url", "host", "secure", "expected"),
    [
        ("/ws", "example.com", False, ("ws://example.com/ws", False)),
        ("/ws", "example.com:8000", True, ("wss://example.com:8000/ws", False)),
        (":8080/ws", "127.0.0.1:8000", False, ("ws://127.0.0.1:8080/ws", False)),
        (":8080/ws", "[::1]:8000", False, ("ws://[::1]:8080/ws", False)),
        ("ws://127.0.0.1:9000/ws", "127.0.0.1:8000", False, ("ws://127.0.0.1:9000/ws", False)),
        ("wss://ws.example.com/ws", "www.example.com", True, ("wss://ws.example.com/ws", True)),
    ],
)
def test_the_address_is_that_of_the_setting(url: str, host: str, secure: bool, expected: tuple[str, bool]) -> None:
    request = RequestFactory(HTTP_HOST=host).get("/", secure=secure)

    assert address_of(url, request) == expected


def test_without_the_request_the_tag_says_what_is_missing() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"needs the request; add 'django.template.context_processors"):
        Template("{% load zephserver %}{% zephserver_client %}").render(Context())


@override_settings(ROOT_URLCONF="django.contrib.auth.urls")
def test_without_its_urls_the_tag_says_what_is_missing() -> None:
    with pytest.raises(ImproperlyConfigured, match="needs its URLs; add path"):
        Template("{% load zephserver %}{% zephserver_client %}").render(Context({"request": RequestFactory().get("/")}))


@pytest.mark.parametrize("name", ["zephclient.js", "zephclient.min.js", "zephclient.esm.js"])
def test_the_client_is_the_one_of_this_version(name: str) -> None:
    answer = Client().get(f"/zephserver/{name}")

    assert answer.content == (Path(zephserver.__file__).parent / "static" / name).read_bytes()
    assert answer["Content-Type"] == "text/javascript; charset=utf-8"
    assert Client().get(f"/zephserver/{name}", HTTP_IF_NONE_MATCH=answer["ETag"]).status_code == 304


@pytest.mark.parametrize("name", ["other.js", "..%2Fversion.py", "__init__.py"])
def test_nothing_else_is_given_out(name: str) -> None:
    assert Client().get(f"/zephserver/{name}").status_code == 404
