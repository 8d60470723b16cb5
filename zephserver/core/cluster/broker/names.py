"""How servers and topics are named where a broker has rules for names. Pure: no I/O, no clock."""

from __future__ import annotations

import hashlib
import re

SHARDS = 128  # of topics: what belongs together on a broker of several machines

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def token(name: str) -> str:
    """The name itself when every broker takes it, or '=' and a hash, which no plain name looks like."""
    if _PLAIN.fullmatch(name):
        return name
    return "=" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def shard(name: str) -> int:
    """In which of the SHARDS a topic is; the same on every server."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:4], "big") % SHARDS
