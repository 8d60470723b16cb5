"""From CLUSTER_ENGINE to a cluster that works, or that says why it does not: through real servers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import brokers
from tests.zephserver.conftest import MakeSite
from tests.zephserver.core.cluster.conftest import Bus
from zephserver.core import metrics
from zephserver.core.cluster.factory import make_engine
from zephserver.core.errors import StartFailed
from zephserver.core.server import Server
from zephserver.core.settings import make_settings
from zephserver.testing import running_server, wait_until


def settings(**values: Any) -> Any:
    return make_settings({"SERVICE_LIST": [], **values})


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "local"),
        ({"CLUSTER_SERVER_LIST": [{"hostname": "a", "address": "127.0.0.1", "port": 1}]}, "local"),
        ({"CLUSTER_ENGINE": "nats://127.0.0.1"}, "nats"),
        ({"CLUSTER_ENGINE": "tls://127.0.0.1,tls://127.0.0.2:5222"}, "nats"),
        ({"CLUSTER_ENGINE": "redis://127.0.0.1"}, "redis"),
        ({"CLUSTER_ENGINE": "unix:///run/redis.sock"}, "redis"),
    ],
)
def test_the_setting_names_the_engine(values: dict[str, Any], name: str) -> None:
    assert make_engine(settings(**values)).name == name


def test_the_mesh_needs_two_servers() -> None:
    servers = [{"hostname": name, "address": "127.0.0.1", "port": port} for port, name in enumerate("ab", 1)]

    assert make_engine(settings(CLUSTER_SERVER_LIST=servers, CLUSTER_NODE="a")).name == "mesh"


def test_two_servers_of_one_broker_are_a_cluster_and_others_are_not(brokered: Bus, tmp_path: Path) -> None:
    url = brokered.broker.url
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    with (
        running_server(folders[0], CLUSTER_ENGINE=url, CLUSTER_NODE="a") as a,
        running_server(folders[1], CLUSTER_ENGINE=url, CLUSTER_NODE="b") as b,
        running_server(folders[2], CLUSTER_ENGINE=url, CLUSTER_NODE="c", CLUSTER_NAME="another") as c,
    ):
        heard: list[Any] = []
        b.cluster.subscribe("news", heard.append)
        c.cluster.subscribe("news", heard.append)
        wait_until(lambda: a.cluster.peers and b.cluster.peers, "they meet", timeout=20.0)

        a.cluster.say("news", 1)
        wait_until(lambda: heard == [1], "it is heard", timeout=20.0)

        assert (a.cluster.peers, b.cluster.peers, c.cluster.peers) == ({"b"}, {"a"}, frozenset())
        assert "zephserver_cluster_connected 1\n" in metrics.write(a)
        assert 'zephserver_cluster_up{peer="b"} 1\n' in metrics.write(a)
        status = a.table.find("cluster.status").call([], {})
        assert (status["engine"], status["state"], status["servers"]) == (brokered.kind, "connected", ["a", "b"])
        assert [peer["name"] for peer in status["peers"]] == ["b"]
        assert a.table.find("cluster.peers").call([], {})[0]["name"] == "b"
        assert a.table.find("cluster.say").call([], {"event": "x"}) == 1


def test_a_lost_bus_makes_a_server_unready_until_it_is_back(brokered: Bus, make_site: MakeSite) -> None:
    site = make_site(CLUSTER_ENGINE=brokered.broker.url, CLUSTER_GRACE=0.2)
    wait_until(lambda: not site.server.cluster.state(), "the bus", timeout=20.0)
    before = site.request("GET", "/readyz")

    brokered.broker.kill()
    wait_until(lambda: not site.server.is_ready, "it is lost", timeout=20.0)
    meanwhile = site.request("GET", "/readyz")
    status = site.server.status()

    where = f"{brokered.kind}://127.0.0.1:{brokered.broker.port}"
    assert (before.status, before.body) == (200, b"ready\n")
    assert meanwhile.status == 503
    assert meanwhile.body.decode().startswith(f"not ready: the cluster cannot be reached: connecting: {where}")
    assert (status["ready"], meanwhile.body.decode()) == (False, f"not ready: {status['not_ready']}\n")
    assert "zephserver_cluster_connected 0\n" in metrics.write(site.server)
    brokered.broker.start()
    wait_until(lambda: site.request("GET", "/readyz").status == 200, "it is back", timeout=20.0)


def test_a_server_may_be_told_to_stay_ready_without_its_bus(make_site: MakeSite) -> None:
    site = make_site(CLUSTER_ENGINE=f"nats://127.0.0.1:{brokers.free_port()}", CLUSTER_GRACE=None)
    wait_until(lambda: "refused" in site.server.cluster.state(), "it is not there", timeout=20.0)

    assert site.request("GET", "/readyz").status == 200
    assert "not_ready" not in site.server.status()


def test_no_page_and_no_log_shows_the_password(brokered: Bus, tmp_path: Path) -> None:
    brokered.use(password=True)
    wrong = brokered.broker.url_with("wrong-horse%21battery")

    with running_server(tmp_path, CLUSTER_ENGINE=wrong, CLUSTER_NODE="a") as server:
        wait_until(lambda: "refuses" in server.cluster.state(), "it is refused", timeout=20.0)
        server.log.write("INFO", f"somebody logs {wrong} and wrong-horse!battery")
        shown = f"{server.settings.rows()} {server.cluster.rows()} {server.status()} {metrics.write(server)}"
        log = Path(server.settings.log_path)
        wait_until(lambda: "somebody logs" in log.read_text())

        row = next(row for row in server.settings.rows() if row["name"] == "CLUSTER_ENGINE")
        assert row["value"] == f"{brokered.kind}://***@127.0.0.1:{brokered.broker.port}"
        assert "horse" not in shown + log.read_text()


def test_the_mesh_has_nothing_between_its_servers_to_lose(make_bus: Callable[[str], Bus]) -> None:
    node = make_bus("mesh").start("a")

    assert (node.cluster.state(), node.cluster.lost_for()) == ("", 0.0)


def test_the_first_start_does_not_wait_for_the_broker(tmp_path: Path) -> None:
    server = Server(
        make_settings(
            {"SERVICE_LIST": [], "CLUSTER_ENGINE": f"redis://127.0.0.1:{brokers.free_port()}"}, folder=tmp_path
        )
    )
    try:
        server.start()
        assert server.is_ready
    except StartFailed as error:
        pytest.fail(str(error))
    finally:
        server.stop()
