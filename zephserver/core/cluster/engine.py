"""What an engine of the cluster has to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Deliver = Callable[[str, bytes], None]


class ClusterEngine(Protocol):
    """Carries events, as JSON text, from this server to all others. Any thread may publish."""

    name: str

    def start(self, deliver: Deliver) -> None:
        """Join the cluster. *deliver(event, payload)* is called for each event of another server, in one thread of the
        engine's own, named `cluster`, in the order in which each server said them."""

    def publish(self, event: str, payload: bytes) -> None:
        """Send to all other servers. Never waits for a slow or dead one."""

    def stop(self) -> None:
        """Leave the cluster; deliver is not called any more when this returns."""
