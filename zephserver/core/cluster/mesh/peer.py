"""Another server of the mesh, as this one sees it. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zephserver.core.cluster.mesh.link import Inbound, Outbound


@dataclass(slots=True)
class Peer:
    """One other server, over all its lives. Cluster thread, but where it says otherwise."""

    name: str
    endpoint: str
    out: Outbound
    socket: Any = None
    boot: str = ""  # of its life that we speak to
    life: str = ""  # of its life that we spoke to last
    is_up: bool = False
    heard_at: float = 0.0
    inbound: Inbound | None = None
    asked: int = -1  # behind which number it was asked to say everything again
    asked_at: float = 0.0
    complaint: str = ""  # what was wrong with it, told once

    def row(self, now: float) -> dict[str, Any]:
        """What is shown of it; see ClusterEngine.rows(). Any thread: plain values are copied."""
        return {
            "name": self.name,
            "address": self.endpoint,
            "up": self.is_up,
            "silent": round(now - self.heard_at, 1) if self.heard_at else None,
            "queued": len(self.out),
            "queued_bytes": self.out.size,
            "lag": round(self.out.lag(now), 3),
            "dropped": self.out.dropped,
            "lost": self.inbound.lost if self.inbound is not None else 0,
            "problem": self.complaint,
        }
