"""How a Django process gets to a server: over the socket of one on its machine, else to any one of the cluster."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from tests import brokers
from tests.zephserver.cluster import conftest as of_cluster
from tests.zephserver.cluster.conftest import StartNode, on_every_engine, wait_view
from tests.zephserver.conftest import ROOM_HANDLER, ROUTER, WEBSOCKET_CLIENT, Site
from tests.zephserver.django.conftest import MANAGER, DjangoSite, log_in
from zephserver.core.control_client import ControlClient
from zephserver.django import reach, say, stats

broker = of_cluster.broker
engine = of_cluster.engine
start_node = of_cluster.start_node

SERVICES = [MANAGER, ROOM_HANDLER, ROUTER, WEBSOCKET_CLIENT]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is not the server's."""
    monkeypatch.setattr(reach.runtime, "find_server", lambda: None)


@pytest.fixture
def on_another_machine(broker: brokers.Broker | None, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Gives this process the settings of the cluster, in a folder where no server runs."""
    folder = tmp_path / "web"
    folder.mkdir()
    servers = [{"hostname": name, "address": f"unix:{tmp_path}/{name}.link", "port": 0} for name in "abc"]
    joined = f"CLUSTER_SERVER_LIST = {servers}" if broker is None else f"CLUSTER_ENGINE = {broker.url!r}"
    (folder / "zephsettings.py").write_text(f"SERVICE_LIST = ['only.on/TheServers']\nTLS_KEY = 'none/here'\n{joined}\n")
    options = {"SETTINGS": str(folder / "zephsettings.py"), "TIMEOUT": 20.0}
    with override_settings(ZEPHSERVER=options):
        yield lambda **more: options.update(more)
        reach.forget()


def cluster(start_node: StartNode) -> tuple[Site, Site]:
    """Two servers for the users of the project."""
    a, b = (start_node(name, SERVICE_LIST=SERVICES, MY_SESSION_HANDLER=MANAGER) for name in "ab")
    wait_view(a, b)
    return a, b


@on_every_engine
@pytest.mark.usefixtures("on_another_machine")
def test_where_no_server_runs_one_of_the_cluster_says_it_to_all(start_node: StartNode, user: Any) -> None:
    a, b = map(DjangoSite, cluster(start_node))
    ann, bob = a.join(log_in(user), "lobby"), b.join(None, "lobby")

    for number in range(20):
        say("news", number, room="lobby")
    assert [ann.hear(task="news")["data"] for _ in range(20)] == [*range(20)]
    assert [bob.hear(task="news")["data"] for _ in range(20)] == [*range(20)]
    say("news", "to ann", users=[user])
    assert ann.hear(task="news")["data"] == "to ann"
    say("news", "to all", everyone=True)
    assert ann.hear(task="news")["data"] == bob.hear(task="news")["data"] == "to all"
    assert stats() == {"sent": 22, "failed": 0, "skipped": 0}


@pytest.mark.usefixtures("on_another_machine")
def test_a_logout_on_another_machine_closes_the_connection(start_node: StartNode, user: Any) -> None:
    a, b = map(DjangoSite, cluster(start_node))
    browser = log_in(user)
    here, there = a.join(browser, "lobby"), b.join(browser, "lobby")

    browser.logout()

    assert here.closed()[0] == there.closed()[0] == 4003


@pytest.mark.usefixtures("on_another_machine")
def test_a_server_on_this_machine_comes_first(
    start_node: StartNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = cluster(start_node)
    ann = DjangoSite(a).join(None, "lobby")
    monkeypatch.setattr(reach, "_guest", None)
    os.symlink(tmp_path / "a" / "interface.sock", tmp_path / "web" / "interface.sock")

    say("news", "over the socket", room="lobby")

    assert ann.hear(task="news")["data"] == "over the socket"


def test_what_a_server_may_have_done_is_not_given_to_another(
    on_another_machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def went_away(self: ControlClient, command: str, **words: Any) -> None:
        raise reach.ControlUnreachable("the server went away before it answered")

    monkeypatch.setattr(ControlClient, "connect", lambda self: None)
    monkeypatch.setattr(ControlClient, "call", went_away)
    monkeypatch.setattr(reach, "_guest", None)

    say("news", 1, room="lobby")

    assert stats() == {"sent": 0, "failed": 1, "skipped": 0}


def test_without_any_server_nobody_is_held_up(
    on_another_machine: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    on_another_machine(TIMEOUT=0.3)
    began = time.monotonic()

    with caplog.at_level(logging.WARNING, "zephserver.django"):
        for _ in range(50):
            say("news", 1, room="lobby")

    assert time.monotonic() - began < reach.PAUSE
    assert stats() == {"sent": 0, "failed": 1, "skipped": 49}
    assert "no server of the cluster can be reached; see CLUSTER_SERVER_LIST" in caplog.text


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("CLUSTER_SERVER_LIST = [1, 2]", "CLUSTER_SERVER_LIST: expected"),
        ("CLUSTER_ENGINE = 'carrier pigeon'", "CLUSTER_ENGINE: expected"),
    ],
)
def test_a_fault_in_the_settings_is_told(
    on_another_machine: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str, why: str
) -> None:
    (tmp_path / "web" / "zephsettings.py").write_text(line)

    say("news", 1, room="lobby")

    assert stats()["failed"] == 1
    assert why in caplog.text
