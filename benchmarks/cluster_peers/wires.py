"""What carries events from one process to another: our engines, and the bare clients of the brokers.

All have one interface, so that the same load runs over each: any thread sends some payloads at once, and what the
other process sends is told in a thread of the wire's own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

Heard = Callable[[bytes], None]


class Wire(Protocol):
    """One end of it."""

    def start(self, heard: Heard) -> None:
        """Connect, and have *heard* called with what the other end sends."""

    def send(self, payloads: Sequence[bytes]) -> None:
        """Send these to the other end, in order."""

    def stop(self) -> None:
        """Hang up."""


class Engine:
    """One of ours, below the cluster manager."""

    def __init__(self, me: str, other: str, settings: dict[str, Any]) -> None:
        from pathlib import Path

        from zephserver.core.cluster.factory import make_engine
        from zephserver.core.settings import make_settings

        values = {"SERVICE_LIST": [], "CLUSTER_NODE": me, **settings}
        self._engine = make_engine(make_settings(values, folder=Path.cwd()))
        self._other = other

    def start(self, heard: Heard) -> None:
        self._heard = heard
        self._engine.start(self)

    def heard(self, peer: str, event: str, payload: bytes) -> None:
        self._heard(payload)

    def came(self, peer: str) -> None:
        pass

    def went(self, peer: str, why: str) -> None:
        pass

    def lost(self, peer: str, count: int) -> None:
        raise RuntimeError(f"{count} events of {peer} were lost")

    def send(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self._engine.publish("measured", payload)

    def stop(self) -> None:
        self._engine.stop()


class BareNats:
    """nats-py: a subject for each end, a callback, and its event loop in a thread."""

    def __init__(self, me: str, other: str, url: str) -> None:
        self._me, self._other, self._url = f"bench.{me}", f"bench.{other}", url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self, heard: Heard) -> None:
        self._thread.start()
        self._run(self._open(heard))

    def send(self, payloads: Sequence[bytes]) -> None:
        self._run(self._publish(payloads))

    def stop(self) -> None:
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30.0)

    async def _open(self, heard: Heard) -> None:
        import nats

        async def take(message: Any) -> None:
            heard(message.data)

        self._client = await nats.connect(self._url)
        await self._client.subscribe(self._me, cb=take)
        await self._client.flush()

    async def _publish(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            await self._client.publish(self._other, payload)


class BareRedis:
    """redis-py: a channel for each end, what is sent at once in one pipeline, and a thread that listens."""

    def __init__(self, me: str, other: str, url: str) -> None:
        import redis

        self._me, self._other = f"bench:{me}", f"bench:{other}"
        self._writer, self._reader = redis.Redis.from_url(url), redis.Redis.from_url(url)
        self._is_open = True
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def start(self, heard: Heard) -> None:
        self._heard = heard
        self._begin()
        self._thread.start()

    def stop(self) -> None:
        self._is_open = False
        self._thread.join()
        self._reader.close()
        self._writer.close()

    def send(self, payloads: Sequence[bytes]) -> None:
        pipeline = self._writer.pipeline(transaction=False)
        for payload in payloads:
            self._put(pipeline, payload)
        pipeline.execute()

    def _put(self, pipeline: Any, payload: bytes) -> None:
        pipeline.publish(self._other, payload)

    def _begin(self) -> None:
        self._channel = self._reader.pubsub(ignore_subscribe_messages=True)
        self._channel.subscribe(self._me)
        self._channel.get_message(timeout=5.0)  # that it is subscribed

    def _listen(self) -> None:
        while self._is_open:
            message = self._channel.get_message(timeout=0.2)
            if message is not None:
                self._heard(message["data"])
        self._channel.close()


class BareStreams(BareRedis):
    """The same with a stream for each end."""

    def _begin(self) -> None:
        self._last: Any = "0-0"

    def _put(self, pipeline: Any, payload: bytes) -> None:
        pipeline.xadd(self._other, {b"d": payload}, maxlen=10_000, approximate=True)

    def _listen(self) -> None:
        while self._is_open:
            for _stream, entries in self._reader.xread({self._me: self._last}, count=500, block=200) or ():
                for _, fields in entries:
                    self._heard(fields[b"d"])
                self._last = entries[-1][0]


def wire(kind: str, me: str, other: str, where: Any) -> Wire:
    """One end of a wire of this kind; *where* are settings for ours, a URL for the others."""
    kinds: dict[str, Callable[..., Wire]] = {"ours": Engine, "nats": BareNats, "redis": BareRedis}
    return (kinds | {"streams": BareStreams})[kind](me, other, where)
