"""The streams of Redis that events with numbers go through: how they are written, read, and kept small."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis import exceptions

from zephserver.core.cluster.redis.pipeline import run

LENGTH = 10_000  # messages that a stream keeps, about
BLOCK = 1_000  # milliseconds to wait for a message
COUNT = 64  # messages read at once, of up to half a MiB each
EXPIRE = 3_600  # seconds after which the stream of a server to which nobody speaks any more is gone
SHARE = 4  # a stream is measured whenever a fourth of what it may hold was written


class Streams:
    """The stream for all and the one for this server. Loop only.

    Memory of Redis is bounded: by the number of messages, by bytes (*max_bytes* a stream, and a fourth of it for each
    server that writes), and by time.
    """

    def __init__(self, prefix: str, own: bytes, max_bytes: int) -> None:
        self._prefix, self._own, self._max_bytes = prefix, own, max_bytes
        self._seen: dict[bytes, bytes] = {}  # the last entry that was read of each of our two streams
        self._touched: set[str] = set()  # streams to which something was added just now
        self._written: dict[str, int] = {}  # bytes since they were measured

    async def begin(self, writer: Any, node: str) -> None:
        """Find out where to read on. Raises RedisError."""
        names = [f"{self._prefix}:{name}".encode() for name in ("all", f"n:{node}")]
        newest = await run(writer, [("XREVRANGE", name, "+", "-", "COUNT", "1") for name in names])
        for name, entries in zip(names, newest, strict=True):
            last = entries[0][0] if entries else b"0-0"
            seen = self._seen.get(name)
            if seen is None:
                self._seen[name] = last  # what was said before this server began is not for it
            elif _order(last) < _order(seen):
                self._seen[name] = b"0-0"  # Redis has lost the stream; all that it has now is new

    async def read(self, reader: Any, heard: Callable[[bytes], None]) -> None:
        """Hear what others write, for ever. Raises RedisError."""
        while True:
            await reader.send_command(
                "XREAD", "COUNT", COUNT, "BLOCK", BLOCK, "STREAMS", *self._seen.keys(), *self._seen.values()
            )
            for name, entries in await reader.read_response() or ():
                for number, fields in entries:
                    self._seen[name] = number
                    if fields and fields[0] != self._own:
                        heard(fields[1])
                await asyncio.sleep(0)  # the other tasks have their turn

    def add(self, name: str, data: bytes) -> tuple[Any, ...]:
        """The command that writes a message."""
        stream = f"{self._prefix}:{name}"
        self._touched.add(stream)
        self._written[stream] = self._written.get(stream, 0) + len(data)
        return "XADD", stream, "MAXLEN", "~", LENGTH, "*", self._own, data

    def expiries(self) -> list[tuple[Any, ...]]:
        """The commands that have the streams forgotten when nobody writes to them any more."""
        commands = [("EXPIRE", stream, EXPIRE) for stream in sorted(self._touched)]
        self._touched.clear()
        return commands

    async def trim(self, writer: Any) -> None:
        """Cut the streams that have become too large. Raises RedisError when the connection is lost."""
        for stream, written in list(self._written.items()):
            if written * SHARE < self._max_bytes:
                continue
            del self._written[stream]
            try:
                size, length = await run(writer, [("MEMORY", "USAGE", stream), ("XLEN", stream)])
                if size and size > self._max_bytes:
                    await run(writer, [("XTRIM", stream, "MAXLEN", length * self._max_bytes // size)])
            except exceptions.NoPermissionError:
                pass  # the number of messages is a bound too


def _order(number: bytes) -> tuple[int, int]:
    first, _, second = number.partition(b"-")
    return int(first), int(second)
