"""Which server may be loaded."""

from __future__ import annotations

import re
import resource
from pathlib import Path
from typing import Any

import click
import pytest

from zephctl.app import App
from zephctl.bench import target as bench_target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("ws://127.0.0.1:8080/ws", {"host": "127.0.0.1", "port": 8080, "tls": False, "path": "/ws"}),
        ("ws://localhost", {"host": "localhost", "port": 80, "tls": False, "path": "/ws"}),
        ("wss://[::1]/a?b=c", {"host": "::1", "port": 443, "tls": True, "path": "/a?b=c"}),
        ("unix:web.sock", {"unix": "web.sock"}),
    ],
)
def test_this_machine_may_be_loaded(url: str, target: dict[str, Any]) -> None:
    assert bench_target.of_url(url, is_meant=False) == target


@pytest.mark.parametrize(
    "url", ["ws://example.com/ws", "wss://192.0.2.7", "ws://[2001:db8::1]/", "ws://127.0.0.1.example/"]
)
def test_another_machine_only_when_that_is_meant(url: str) -> None:
    with pytest.raises(click.UsageError, match="add --yes"):
        bench_target.of_url(url, is_meant=False)

    assert bench_target.of_url(url, is_meant=True)["host"] in url


@pytest.mark.parametrize("url", ["", "localhost:8080", "http://localhost/", "ws://", "ws://localhost:x/", "ws://[::1/"])
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(click.UsageError, match="is no address"):
        bench_target.of_url(url, is_meant=True)


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("localhost", "localhost"),
        ("", "127.0.0.1"),
    ],
)
def test_the_server_of_the_folder_is_reached_over_loopback(host: str, reached: str) -> None:
    target = bench_target.of_server(None, 81, {"HOST_ZEPH": host, "TLS_CERTIFICATE": None})  # type: ignore[arg-type]

    assert (target["host"], target["port"], target["tls"]) == (reached, 81, False)


def test_its_certificate_is_not_asked_for_the_name_of_loopback() -> None:
    target = bench_target.of_server(None, 81, {"HOST_ZEPH": "::1", "TLS_CERTIFICATE": "c.pem"})  # type: ignore[arg-type]

    assert (target["tls"], target["verify"], bench_target.url_of(target)) == (True, False, "wss://[::1]:81/ws")


def test_a_server_elsewhere_is_named_in_full() -> None:
    with pytest.raises(click.UsageError, match=re.escape("--url ws://192.0.2.7:81/ws --yes")):
        bench_target.of_server(None, 81, {"HOST_ZEPH": "192.0.2.7"})  # type: ignore[arg-type]


def test_a_unix_socket_needs_no_port_and_lies_beside_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App(
        settings=None,
        folder=None,
        interface=str(tmp_path / "i.sock"),
        mode=None,
        color="auto",
        quiet=False,
        timeout=None,
    )
    monkeypatch.chdir("/")

    for host, path in (("unix:web.sock", str(tmp_path / "web.sock")), ("unix:/run/web.sock", "/run/web.sock")):
        target = bench_target.of_server(app, None, {"HOST_ZEPH": host})
        assert bench_target.url_of(target) == f"unix:{path}"


@pytest.mark.parametrize(("limit", "most"), [(1_024, 960), (64, 1), (resource.RLIM_INFINITY, 1_000_000)])
def test_some_descriptors_are_kept_free(monkeypatch: pytest.MonkeyPatch, limit: int, most: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))

    assert bench_target.most_clients() == most
