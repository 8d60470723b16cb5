"""How messages get to a Redis server and back.

Events with numbers go into streams, one for all servers and one for each, so that who was away for a moment reads on
where it was. Everything else is published: signs of life and questions on channels of the same names, topics on sharded
ones. Three connections: one that writes, one that waits for streams, one that hears channels. They are used below the
client of redis-py, which would connect again by itself, in the middle, and tell nobody.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from redis import exceptions
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from zephserver.core.cluster.address import Address
from zephserver.core.cluster.broker.names import shard, token
from zephserver.core.cluster.broker.transport import BusLost, BusRefused, Message, Where, in_one_line, is_distrust
from zephserver.core.cluster.redis.pipeline import run
from zephserver.core.cluster.redis.streams import Streams

CONNECT = 2.0  # seconds to reach the server
ANSWER = 3.0  # seconds for it to answer; more than BLOCK, or an empty stream would look like a server that hangs
PING = 1.0  # seconds between two signs of life on the connection that only hears
AT_ONCE = 512  # topics in one command


class RedisTransport:
    """Three connections to one Redis server. Loop only."""

    def __init__(self, address: Address, prefix: str, stream_bytes: int) -> None:
        self._address, self._prefix = address, prefix
        self._own = secrets.token_hex(8).encode()  # marks our entries in the streams, which we read back
        self._streams = Streams(prefix, self._own, stream_bytes)
        self._connections: list[Any] = []
        self._pipes: list[asyncio.Transport] = []  # below them: the library forgets them before they are closed
        self._tasks: list[asyncio.Task[None]] = []
        self._sharded = True
        self._owed = 0  # subscriptions that Redis has not confirmed yet
        self._confirmed = asyncio.Event()
        self.limit = 524_288

    async def open(
        self, node: str, heard: Callable[[bytes], None], failed: Callable[[str], None], *, is_guest: bool = False
    ) -> None:
        """Connect, find out from where on to read, and begin to hear. Raises BusLost, BusRefused."""
        try:
            for _ in range(2 if is_guest else 3):
                await self._connect()
            writer, hearer = self._connections[0], self._connections[-1]
            self._owed = 0
            channels = [f"{self._prefix}:n:{token(node)}"]
            if not is_guest:
                channels.append(f"{self._prefix}:all")
                await self._streams.begin(writer, token(node))
                self._sharded = await self._has_sharded_channels(writer)
                self._start(self._streams.read(self._connections[1], heard), failed)
            self._start(self._hear(hearer, heard), failed)
            self._start(self._ping(hearer), failed)
            await self._subscribe("SUBSCRIBE", channels)
        except (exceptions.RedisError, OSError) as error:
            raise self._lost(error) from None

    async def follow(self, topics: Collection[str]) -> None:
        """Subscribe to these topics, and wait until Redis has done so. Raises BusLost."""
        await self._each("SSUBSCRIBE" if self._sharded else "SUBSCRIBE", list(topics))

    async def unfollow(self, topics: Collection[str]) -> None:
        """Undo follow(). Raises BusLost."""
        await self._each("SUNSUBSCRIBE" if self._sharded else "UNSUBSCRIBE", list(topics))

    async def send(self, messages: Sequence[Message]) -> None:
        """Write all of them at once, and wait for all answers. Raises BusLost."""
        if not self._connections:
            raise BusLost("the connection is closed")
        commands = [self._command(message) for message in messages]
        try:
            await run(self._connections[0], [*commands, *self._streams.expiries()])
            await self._streams.trim(self._connections[0])
        except (exceptions.RedisError, OSError) as error:
            raise self._lost(error) from None

    async def close(self) -> None:
        """Hang up at once: what Redis has not read by now is said again later."""
        for pipe in self._pipes:
            pipe.abort()  # a server that has stopped takes nothing, and the library would wait for it
        while self._tasks:  # asyncio.wait_for() of Python 3.11, which the library uses, may swallow a cancellation
            for task in self._tasks:
                task.cancel()
            _, pending = await asyncio.wait(self._tasks, timeout=0.1)
            self._tasks = list(pending)
        for connection in self._connections:
            await connection.disconnect(nowait=True)
        self._connections, self._pipes = [], []
        await asyncio.sleep(0)  # so that the sockets are closed

    async def _connect(self) -> None:
        address = self._address
        options: dict[str, Any] = {
            "db": address.database,
            "username": address.user,
            "password": address.password,
            "socket_timeout": ANSWER,
            "socket_connect_timeout": CONNECT,
            "protocol": 2,
        }
        connection: Any
        if address.scheme == "unix":
            connection = UnixDomainSocketConnection(path=address.path, **options)
        else:
            kind = SSLConnection if address.is_tls else Connection
            connection = kind(host=address.host, port=address.port, **options)
        self._connections.append(connection)
        await connection.connect()
        self._pipes.append(connection._writer.transport)

    def _command(self, message: Message) -> tuple[Any, ...]:
        if message.where is Where.TOPIC:
            return "SPUBLISH" if self._sharded else "PUBLISH", self._channel(message.name), message.data
        name = "all" if message.where is Where.ALL else f"n:{token(message.name)}"
        if message.numbered:
            return self._streams.add(name, message.data)
        return "PUBLISH", f"{self._prefix}:{name}", message.data

    def _channel(self, topic: str) -> str:
        """Topics of one shard stay together in a cluster of Redis servers."""
        return f"{self._prefix}:r:{{{shard(topic)}}}:{token(topic)}"

    async def _has_sharded_channels(self, writer: Any) -> bool:
        """Redis has them since version 7; before, the channels of topics are ordinary ones."""
        try:
            await run(writer, [("SPUBLISH", f"{self._prefix}:r:{{0}}:=", b"")])
        except exceptions.NoPermissionError:
            raise
        except exceptions.ResponseError:
            return False
        return True

    async def _each(self, command: str, topics: Sequence[str]) -> None:
        if topics and not self._connections:
            raise BusLost("the connection is closed")
        try:
            for start in range(0, len(topics), AT_ONCE):
                await self._subscribe(command, [self._channel(topic) for topic in topics[start : start + AT_ONCE]])
        except (exceptions.RedisError, OSError) as error:
            raise self._lost(error) from None

    async def _subscribe(self, command: str, channels: Sequence[str]) -> None:
        self._owed += len(channels)
        self._confirmed.clear()
        await self._connections[-1].send_command(command, *channels)
        try:
            async with asyncio.timeout(ANSWER):  # wait_for() of Python 3.11 may swallow a cancellation
                await self._confirmed.wait()
        except TimeoutError:
            raise exceptions.TimeoutError from None

    async def _hear(self, hearer: Any, heard: Callable[[bytes], None]) -> None:
        while True:
            answer = await hearer.read_response()  # a pong at least comes within ANSWER
            kind = answer[0]
            if kind in (b"message", b"smessage"):
                heard(answer[2])
            elif kind.endswith(b"subscribe"):
                self._owed -= 1
                if self._owed <= 0:
                    self._confirmed.set()

    async def _ping(self, hearer: Any) -> None:
        while True:
            await asyncio.sleep(PING)
            await hearer.send_command("PING")

    def _start(self, work: Coroutine[Any, Any, None], failed: Callable[[str], None]) -> None:
        """Run it beside; its end, however it comes, is the end of the connection."""

        async def watched() -> None:
            try:
                await work
            except (exceptions.RedisError, OSError) as error:
                failed(str(self._lost(error)))

        self._tasks.append(asyncio.get_running_loop().create_task(watched()))

    def _lost(self, error: Exception) -> BusLost:
        where = self._address
        if isinstance(error, (exceptions.TimeoutError, asyncio.TimeoutError)):
            return BusLost(f"{where} does not answer")
        if isinstance(error, exceptions.NoPermissionError):
            return BusRefused(f"{where} does not give this user the rights that it needs: {in_one_line(error)}")
        if isinstance(error, exceptions.AuthenticationError):
            return BusRefused(f"{where} refuses user and password; see CLUSTER_ENGINE")
        if isinstance(error, exceptions.ResponseError):
            return BusRefused(f"{where} refuses: {in_one_line(error)}")
        return (BusRefused if is_distrust(error) else BusLost)(f"{where}: {in_one_line(error)}")
