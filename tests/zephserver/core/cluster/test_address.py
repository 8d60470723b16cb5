"""The URLs of CLUSTER_ENGINE: what they mean, what is refused, and what of them is shown."""

from __future__ import annotations

import importlib.util

import pytest

from zephserver.core.cluster.address import Address, parse, secrets_of, shown
from zephserver.core.errors import SettingsError
from zephserver.core.settings import make_settings


@pytest.mark.parametrize(
    ("url", "address", "text"),
    [
        ("nats://ann:p%40ss@host:1", Address("nats", "host", 1, user="ann", password="p@ss"), "nats://host:1"),
        ("nats://token@host", Address("nats", "host", 4222, user="token"), "nats://host:4222"),
        ("tls://[::1]", Address("tls", "::1", 4222), "tls://[::1]:4222"),
        ("redis://host", Address("redis", "host", 6379), "redis://host:6379"),
        ("redis://:pw@host/3", Address("redis", "host", 6379, database=3, password="pw"), "redis://host:6379"),
        ("rediss://host:7/", Address("rediss", "host", 7), "rediss://host:7"),
        ("unix:///run/r.sock", Address("unix", path="/run/r.sock"), "unix:///run/r.sock"),
        ("unix://ann:pw@/run/r", Address("unix", path="/run/r", user="ann", password="pw"), "unix:///run/r"),
    ],
)
def test_a_url_names_a_broker(url: str, address: Address, text: str) -> None:
    assert parse(url) == (address,)
    assert str(address) == text
    assert address.is_tls == (address.scheme in ("tls", "rediss"))
    assert "pw" not in repr(address)
    assert "p@ss" not in repr(address)


def test_several_servers_of_nats_may_be_named() -> None:
    assert [str(address) for address in parse("nats://a, nats://b:1")] == ["nats://a:4222", "nats://b:1"]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("mush", "expected 'mesh', or a URL such as"),
        ("http://host", "expected 'mesh', or a URL such as"),
        ("nats://", "names no host"),
        ("nats://host:port", "host or port of the URL are none"),
        ("nats://host/1", "expected nothing behind the port"),
        ("redis://host/one", "the number of a database"),
        ("redis://host?password=hush", "without '\\?' and '#'"),
        ("redis://a,redis://b", "several, with commas, are for nats"),
        ("nats://a,tls://b", "for all of the URLs, not both"),
        ("unix://host/run", "the path of Redis' socket"),
        ("unix://", "the path of Redis' socket"),
    ],
)
def test_what_is_no_url_of_a_broker_is_told(url: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse(url)


@pytest.mark.parametrize(
    ("url", "text", "secrets"),
    [
        ("mesh", "mesh", []),
        ("nats://host", "nats://host", []),
        ("nats://ann:hush-hush@host,nats://token@two", "nats://***@host,nats://***@two", ["hush-hush", "token"]),
        ("redis://:p%40ss%3Aw@h/1", "redis://***@h/1", ["p%40ss%3Aw", "p@ss:w"]),
        ("redis://:abc@h", "redis://***@h", []),  # to star this would make a log unreadable
    ],
)
def test_users_and_passwords_are_not_shown(url: str, text: str, secrets: list[str]) -> None:
    assert shown(url) == text
    assert secrets_of(url) == secrets


def faults(**values: object) -> str:
    with pytest.raises(SettingsError) as refused:
        make_settings({"SERVICE_LIST": [], **values})
    return str(refused.value)


def test_a_url_that_is_wrong_is_told_without_it() -> None:
    text = faults(CLUSTER_ENGINE="nats://ann:hush-hush@host:port")

    assert text.startswith("CLUSTER_ENGINE: expected 'mesh', or a URL such as")
    assert "hush" not in text.replace("user:password", "")
    assert "hush" not in faults(CLUSTER_ENGINE=["redis://:hush-hush@host"])


@pytest.mark.parametrize(("url", "library"), [("nats://127.0.0.1", "nats"), ("redis://127.0.0.1", "redis")])
def test_a_library_that_is_missing_is_named(url: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    text = faults(CLUSTER_ENGINE=url)

    assert text == f"CLUSTER_ENGINE: {library}:// needs a library; install it with: pip install 'zephserver[{library}]'"


def test_a_broker_needs_no_list_and_takes_the_host_name() -> None:
    settings = make_settings({"SERVICE_LIST": [], "CLUSTER_ENGINE": "nats://127.0.0.1"})

    assert settings.cluster_node
    assert settings.warnings == ()


@pytest.mark.parametrize("node", ["x" * 256, "a\nb"])
def test_the_name_of_a_server_is_short_and_printable(node: str) -> None:
    assert "CLUSTER_NODE: expected printable text" in faults(CLUSTER_ENGINE="nats://127.0.0.1", CLUSTER_NODE=node)


@pytest.mark.parametrize("name", ["", "a.b", "ä", "x" * 65, 7])
def test_the_name_of_a_cluster_is_one_that_every_broker_takes(name: object) -> None:
    assert "CLUSTER_NAME: expected 1 to 64 of A-Z, a-z, 0-9, _ and -" in faults(CLUSTER_NAME=name)


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("nats://ann:hush-hush@192.0.2.1", True),
        ("tls://192.0.2.1", False),
        ("redis://broker", True),
        ("rediss://broker", False),
        ("redis://127.0.0.1", False),
        ("unix:///run/r", False),
    ],
)
def test_plain_text_to_another_machine_is_warned_about(url: str, warns: bool) -> None:
    warnings = make_settings({"SERVICE_LIST": [], "CLUSTER_ENGINE": url}).warnings

    assert [("is not encrypted" in text, "hush" in text) for text in warnings] == [(True, False)] * warns
