"""Another server of the mesh, as this one sees it. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zephserver.core.cluster.mesh.link import Inbound, Outbound

if TYPE_CHECKING:
    from zephserver.core.cluster.mesh.watch import Watch


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
    lost_at: float = 0.0  # since when it is not up
    watch: Watch = field(init=False)  # why there is no link
    problem: str = ""  # why it cannot be spoken to
    told: set[str] = field(default_factory=set)  # problems of this outage that the log has

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
            "problem": self.problem,
        }
