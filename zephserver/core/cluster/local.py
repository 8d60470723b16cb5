"""The engine of a lone server: there is nobody to tell, and telling nobody always succeeds."""

from __future__ import annotations

from zephserver.core.cluster.engine import Deliver


class LocalEngine:
    """Takes every event and does nothing. Any thread."""

    name = "local"

    def start(self, deliver: Deliver) -> None:
        """Nothing will ever be delivered."""

    def publish(self, event: str, payload: bytes) -> None:
        """Done."""

    def stop(self) -> None:
        """Done."""
