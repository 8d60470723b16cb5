"""One message between two servers: a mark, a version, a head in JSON, and the events as they are. Pure: no I/O.

What comes from a broker may come from anybody who may write there, so everything is looked at, and nothing is executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from zephserver.core.cluster.address import LONGEST_NODE

VERSION = 1  # of what is on the wire
MARK = b"zephC"
LARGEST = 17_825_792  # bytes of one message: an event of 16 MiB and its head

_START = len(MARK) + 5


class NotOurs(ValueError):
    """Bytes that no server of this cluster has written."""


class OtherVersion(NotOurs):
    """Bytes of a server with another version of the wire."""

    def __init__(self, version: int, node: str) -> None:
        super().__init__(f"version {version}")
        self.version, self.node = version, node


def pack(head: Mapping[str, Any], bodies: Iterable[bytes] = ()) -> bytes:
    """A message; `f` of its head names the server that says it, `l` its life, `t` what it is."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join((MARK, bytes((VERSION,)), len(text).to_bytes(4, "big"), text, *bodies))


def unpack(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Head and body. Raises NotOurs; OtherVersion with the name of the server that has it."""
    if len(data) < _START or data[: len(MARK)] != MARK:
        raise NotOurs("no mark")
    end = _START + int.from_bytes(data[_START - 4 : _START], "big")
    if end > len(data):
        raise NotOurs("cut off")
    try:
        head = json.loads(data[_START:end])
    except (ValueError, RecursionError):
        raise NotOurs("no head") from None
    if not isinstance(head, dict) or not is_name(head.get("f")) or not is_name(head.get("l")):
        raise NotOurs("no sender")
    if data[len(MARK)] != VERSION:
        raise OtherVersion(data[len(MARK)], head["f"])
    return head, data[end:]


def is_name(value: object) -> bool:
    """Whether this can be the name of a server, or of a life of one."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NODE and value.isprintable()


def whole(value: object) -> int:
    """A number of events, checked. Raises NotOurs."""
    if type(value) is int and 0 <= value < 1 << 62:
        return value
    raise NotOurs(f"expected a number, got {value!r:.40}")


def slices(entries: Sequence[Any], body: bytes) -> Iterator[tuple[Any, str, bytes]]:
    """The events of a body: entry, name, payload. Every entry begins with name and size. Raises NotOurs."""
    if not isinstance(entries, list) or sum(whole(entry[1]) for entry in entries) != len(body):
        raise NotOurs("sizes that are none")
    start = 0
    for entry in entries:
        name, size = entry[0], entry[1]
        if not isinstance(name, str):
            raise NotOurs("an event without a name")
        yield entry, name, body[start : start + size]
        start += size
