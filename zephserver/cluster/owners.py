"""Which server decides the order of a room's messages. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b


def owner_of(room: str, nodes: Iterable[str]) -> str | None:
    """The server of these that owns a room; None when there is none.

    Rendezvous hashing (Thaler and Ravishankar, 1998): all who know the same servers choose the same one, and when one
    comes or goes, only the rooms that it gets or had change hands.
    """
    name = room.encode("utf-8", "surrogatepass")
    return max(nodes, key=lambda node: (_weight(name, node), node), default=None)


def _weight(room: bytes, node: str) -> bytes:
    return blake2b(room, digest_size=8, key=_key(node)).digest()


@lru_cache(1_024)
def _key(node: str) -> bytes:
    return blake2b(node.encode(), digest_size=32).digest()
