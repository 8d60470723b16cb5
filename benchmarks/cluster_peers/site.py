"""Servers of one cluster, of each kind: how they are joined. Standard library only."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from cluster_peers.brokers import Broker
from harness import free_port, wait_until
from websocket_peers.contenders import CHANNELS, CONTENDERS, SOCKETIO, ZEPHSERVER, Contender, Running, running

NODES = "abc"
SECRET = "only-for-a-benchmark-known-to-everybody"


@dataclass(frozen=True)
class Joined:
    """Servers of one kind, and what joins them."""

    name: str
    contender: Contender
    by: str  # "mesh", "nats", "redis"
    layer: str = ""  # of Channels
    is_secret: bool = False
    is_for_quick: bool = True

    def environments(self, broker: Broker | None, nodes: str) -> list[dict[str, str]]:
        """What each server has to know."""
        if self.contender.name == ZEPHSERVER:
            return [{"MORE_SETTINGS": json.dumps(s)} for s in settings_of(broker, nodes, is_secret=self.is_secret)]
        assert broker is not None
        return [{"REDIS_URL": broker.url, "LAYER": self.layer} for _ in nodes]


def settings_of(broker: Broker | None, nodes: str = NODES, *, is_secret: bool = False) -> list[dict[str, Any]]:
    """The settings of the servers of a cluster: a mesh, when there is no broker."""
    if broker is not None:
        return [{"CLUSTER_ENGINE": broker.url, "CLUSTER_NODE": node} for node in nodes]
    servers = [{"hostname": node, "address": "127.0.0.1", "port": free_port()} for node in nodes]
    more = {"CLUSTER_SECRET": SECRET} if is_secret else {}
    return [{"CLUSTER_SERVER_LIST": servers, "CLUSTER_NODE": node, **more} for node in nodes]


@contextmanager
def some(kind: Joined, brokers: Mapping[str, Broker], nodes: str = NODES) -> Iterator[tuple[list[Running], list[int]]]:
    """Servers that run and know each other, and all processes that belong to them: the broker too."""
    broker = brokers.get(kind.by)
    with ExitStack() as stack:
        environments = kind.environments(broker, nodes)
        servers = [stack.enter_context(running(kind.contender, more, is_pinned=False)) for more in environments]
        if kind.contender.name == ZEPHSERVER:
            wait_until(lambda: all(peers_of(server.port) == len(nodes) - 1 for server in servers))
        yield servers, [server.pid for server in servers] + ([broker.pid] if broker is not None else [])


def peers_of(port: int) -> int:
    """How many other servers a zephserver can speak to. Raises RuntimeError when it has ended."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5.0) as answer:
            lines = answer.read().decode().splitlines()
    except OSError as error:  # somebody else had taken one of its ports, most likely
        raise RuntimeError(f"a server of the cluster does not answer: {error}") from None
    return sum(line.startswith("zephserver_cluster_up{") and line.endswith(" 1") for line in lines)


_named = {contender.name: contender for contender in CONTENDERS}
KINDS = [
    Joined("zephserver, mesh", _named[ZEPHSERVER], "mesh"),
    Joined("zephserver, mesh, encrypted", _named[ZEPHSERVER], "mesh", is_secret=True, is_for_quick=False),
    Joined("zephserver, nats", _named[ZEPHSERVER], "nats"),
    Joined("zephserver, redis", _named[ZEPHSERVER], "redis"),
    Joined("Django Channels, channels_redis", _named[CHANNELS], "redis", "channels_redis.core.RedisChannelLayer"),
    Joined(
        "Django Channels, its pub/sub layer",
        _named[CHANNELS],
        "redis",
        "channels_redis.pubsub.RedisPubSubChannelLayer",
        is_for_quick=False,
    ),
    Joined("python-socketio, Redis manager", _named[SOCKETIO], "redis"),
]
