"""The engine that CLUSTER_ENGINE names, and a guest who speaks to such."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zephserver.core.cluster import address
from zephserver.core.cluster.engine import ClusterEngine, Guest
from zephserver.core.cluster.local import LocalEngine
from zephserver.core.settings_page import Settings

if TYPE_CHECKING:
    from zephserver.core.cluster.broker.transport import Transport


def make_engine(settings: Settings) -> ClusterEngine:
    """The engine for these settings; its library is imported only when there is a cluster."""
    if settings.cluster_engine != address.MESH:
        return _with_broker(settings)
    if len(settings.cluster_server_list) < 2:
        return LocalEngine()
    from zephserver.core.cluster.mesh.engine import MeshEngine

    return MeshEngine(
        settings.cluster_node,
        settings.cluster_server_list,
        secret=settings.cluster_secret,
        queue_bytes=settings.cluster_queue_bytes,
    )


def make_guest(settings: Settings) -> Guest | None:
    """A guest of the cluster that these settings name; None without one. CLUSTER_NODE does not matter."""
    if settings.cluster_engine != address.MESH:
        from zephserver.core.cluster.broker.guest import BrokerGuest

        return BrokerGuest(lambda: _transport(settings))
    if len(settings.cluster_server_list) < 2:
        return None
    from zephserver.core.cluster.mesh.guest import MeshGuest

    return MeshGuest(settings.cluster_server_list, secret=settings.cluster_secret)


def _with_broker(settings: Settings) -> ClusterEngine:
    from zephserver.core.cluster.broker.engine import BrokerEngine

    addresses = address.parse(settings.cluster_engine)
    name = "nats" if addresses[0].scheme in address.NATS else "redis"
    where = ", ".join(map(str, addresses))
    return BrokerEngine(
        name, settings.cluster_node, where, _transport(settings), queue_bytes=settings.cluster_queue_bytes
    )


def _transport(settings: Settings) -> Transport:
    addresses = address.parse(settings.cluster_engine)
    if addresses[0].scheme in address.NATS:
        from zephserver.core.cluster.nats.transport import NatsTransport

        return NatsTransport(addresses, settings.cluster_name)
    from zephserver.core.cluster.redis.transport import RedisTransport

    return RedisTransport(addresses[0], settings.cluster_name, settings.cluster_queue_bytes)
