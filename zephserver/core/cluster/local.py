"""The engine of a lone server: there is nobody to tell, and telling nobody always succeeds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from zephserver.core.cluster.engine import Listener


class LocalEngine:
    """Takes every event and does nothing. Any thread."""

    name = "local"

    def start(self, listener: Listener) -> None:
        """Nothing will ever be heard."""

    def publish(self, event: str, payload: bytes, to: Collection[str] | None = None, topic: str | None = None) -> None:
        """Done."""

    def follow(self, topic: str) -> None:
        """Done."""

    def unfollow(self, topic: str) -> None:
        """Done."""

    def rows(self) -> list[dict[str, Any]]:
        """There are no others."""
        return []

    def state(self) -> str:
        """All is well."""
        return ""

    def lost_for(self) -> float:
        """Never."""
        return 0.0

    def stop(self) -> None:
        """Done."""
