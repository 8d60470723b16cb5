"""Several servers of one cluster in this process, with real clients, on any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import brokers
from tests.zephserver.conftest import PATIENCE, ROOM_HANDLER, ROUTER, SESSION_MANAGER, WEBSOCKET_CLIENT, Site
from zephserver.cluster import bridge
from zephserver.testing import running_server, wait_until

StartNode = Callable[..., Site]
on_every_engine = pytest.mark.parametrize("engine", ["mesh", "nats", "redis"])
with_a_broker = pytest.mark.parametrize("engine", ["nats", "redis"])


@pytest.fixture
def engine() -> str:
    """What joins the servers, unless a test is for every engine."""
    return "mesh"


@pytest.fixture
def broker(engine: str, tmp_path: Path) -> Iterator[brokers.Broker | None]:
    """What stands between the servers, if anything does."""
    if engine == "mesh":
        yield None
    else:
        with brokers.running(engine, tmp_path / "broker") as broker:
            yield broker


@pytest.fixture
def start_node(broker: brokers.Broker | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartNode]:
    """Starts the server with this name, of "abc"; all of them and their clients are gone at the end."""
    if broker is not None:  # there is no list that tells when all are there
        monkeypatch.setattr(bridge, "GRACE", 0.3)
        joined: dict[str, Any] = {"CLUSTER_ENGINE": broker.url}
    else:
        servers = [{"hostname": name, "address": f"unix:{tmp_path}/{name}.link", "port": 0} for name in "abc"]
        joined = {"CLUSTER_SERVER_LIST": servers}
    with ExitStack() as stack:

        def start(name: str, **settings: Any) -> Site:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            values: dict[str, Any] = {
                "SERVICE_LIST": [SESSION_MANAGER, ROOM_HANDLER, ROUTER, WEBSOCKET_CLIENT],
                **joined,
                "CLUSTER_NODE": name,
                "LEAVE_DELAY": 0,
                "ROOM_HISTORY": {"kept*": (1_000, 600.0)},
            }
            return Site(stack.enter_context(running_server(folder, **(values | settings))), stack)

        yield start


def wait_view(*sites: Site) -> None:
    """Wait until all of them know that these servers, and no others, are there."""
    names = frozenset(site.server.settings.cluster_node for site in sites)
    for site in sites:
        order = site.rooms._bridge.order
        wait_until(
            lambda order=order: order.view.nodes == names and order.view.is_settled,
            f"{names} at {site.server.settings.cluster_node}",
            timeout=PATIENCE,
        )


@pytest.fixture
def nodes(start_node: StartNode) -> list[Site]:
    """Three servers that know each other."""
    sites = [start_node(name) for name in "abc"]
    wait_view(*sites)
    return sites
