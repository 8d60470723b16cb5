"""Messages that are longer than a broker takes, cut into parts and joined again. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zephserver.core.cluster.broker.frames import LARGEST, NotOurs, pack, whole

HEAD = 1_024  # bytes of a part that are not of the message, at most
UNFINISHED = 4  # messages of one server that are joined at once; the oldest goes when there is one more


def cut(message: bytes, limit: int, head: Mapping[str, Any], numbers: Iterator[int]) -> Iterator[bytes]:
    """The message in parts of at most *limit* bytes, or itself when it fits."""
    if len(message) <= limit:
        yield message
        return
    step = limit - HEAD
    number, count = next(numbers), -(-len(message) // step)
    for index in range(count):
        part = {**head, "t": "part", "k": number, "i": index, "c": count, "n": len(message)}
        yield pack(part, [message[index * step : (index + 1) * step]])


class Joiner:
    """Joins the parts of one server, in whichever order they come; what stays unfinished makes room."""

    def __init__(self) -> None:
        self._unfinished: dict[int, dict[int, bytes]] = {}

    def add(self, head: Mapping[str, Any], body: bytes) -> bytes | None:
        """The whole message, once its last part is here. Raises NotOurs."""
        number, index, count, size = (whole(head[key]) for key in "kicn")
        if not index < count <= size <= LARGEST or not body:
            raise NotOurs("a part that is none")
        parts = self._unfinished.pop(number, {})
        parts[index] = body
        if sum(map(len, parts.values())) > size:
            raise NotOurs("parts that are too large")
        if len(parts) == count:
            whole_message = b"".join(parts[i] for i in sorted(parts))
            if len(whole_message) != size or max(parts) != count - 1:
                raise NotOurs("parts that do not fit together")
            return whole_message
        self._unfinished[number] = parts  # the last one of the dict: the one that grew last
        while len(self._unfinished) > UNFINISHED:
            del self._unfinished[next(iter(self._unfinished))]
        return None
