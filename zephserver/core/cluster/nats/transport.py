"""How messages get to a NATS server and back: subjects below one prefix, and one connection after the other.

nats-py could reconnect by itself; it does not here, so that everything is said anew to a server that may have forgotten
everything, and so that no queue of its own stands between an event and its number.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection, Sequence
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from zephserver.core.cluster.address import Address
from zephserver.core.cluster.broker.names import shard, token
from zephserver.core.cluster.broker.transport import BusLost, BusRefused, Message, Where, in_one_line, is_distrust

CONNECT = 2  # seconds to reach one server
ANSWER = 3.0  # seconds for the server to say that it has what was sent
PENDING_MESSAGES = 65_536  # that wait to be heard, for one subject; more are dropped, and asked for again
PENDING_BYTES = 67_108_864
NEVER = 1 << 40  # bytes; the engine's window bounds what waits to be written
LOOK = 0.1  # seconds between two looks at a connection that may be closed while the server is asked
HANG_UP = 0.5  # seconds for the library to close; then the socket is closed under it


class NatsTransport:
    """One connection to one of several NATS servers. Loop only."""

    def __init__(self, addresses: Sequence[Address], prefix: str) -> None:
        self._addresses = list(addresses)
        self._prefix = prefix
        self._client: Client | None = None
        self._topics: dict[str, Subscription] = {}
        self._error: Exception | None = None
        self._denied = ""  # the right that we do not have
        self.limit = 1_048_576

    async def open(
        self, node: str, heard: Callable[[bytes], None], failed: Callable[[str], None], *, is_guest: bool = False
    ) -> None:
        """Connect to the first server that lets us in. Raises BusLost, BusRefused."""
        troubles: list[BusLost] = []
        for address in list(self._addresses):
            try:
                await self._open(address, node, heard, failed, is_guest)
                return
            except BusLost as error:
                troubles.append(error)
                await self.close()
                self._addresses.append(self._addresses.pop(0))  # another one first, the next time
        refused = [error for error in troubles if isinstance(error, BusRefused)]
        raise (BusRefused if refused else BusLost)("; ".join(dict.fromkeys(map(str, troubles)))) from None

    async def _open(
        self,
        address: Address,
        node: str,
        heard: Callable[[bytes], None],
        failed: Callable[[str], None],
        is_guest: bool,
    ) -> None:
        client = self._client = Client()
        self._address, self._error, self._denied = address, None, ""

        async def lost() -> None:
            if client is self._client:
                failed(_why(address, self._error or client.last_error))

        async def trouble(error: Exception) -> None:
            if "permissions violation" in str(error).lower():
                self._denied = in_one_line(error)
            elif not isinstance(error, nats.errors.SlowConsumerError):  # what it drops is asked for again
                self._error = error

        async def take(message: Msg) -> None:
            heard(message.data)

        self._heard = take
        try:
            await client.connect(
                [f"{address.scheme}://{_host(address)}:{address.port}"],
                name=f"zephserver {node}",
                user=_told(client, address, address.user) if address.password is not None else None,
                password=_told(client, address, address.password),
                token=_told(client, address, address.user) if address.password is None else None,
                tls=ssl.create_default_context() if address.is_tls else None,
                tls_hostname=address.host if address.is_tls else None,
                no_echo=True,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT,
                ping_interval=2,
                max_outstanding_pings=2,
                pending_size=NEVER,  # when it is reached, a publish() waits, and cannot be cancelled
                closed_cb=lost,
                error_cb=trouble,
            )
            self.limit = client.max_payload
            for name in (f"n.{token(node)}", *(() if is_guest else ("all",))):
                await self._subscribe(client, f"{self._prefix}.{name}")
            async with asyncio.timeout(ANSWER):
                await self._answered(client)
        except (TimeoutError, OSError, nats.errors.Error, _PlainText) as error:
            raise _lost(address, self._error if isinstance(error, nats.errors.NoServersError) else error) from None

    async def follow(self, topics: Collection[str]) -> None:
        """Subscribe to these topics; the server knows it before anything that is sent later."""
        client = self._open_client()
        try:
            for topic in topics:
                if topic not in self._topics:
                    self._topics[topic] = await self._subscribe(client, self._subject_of(topic))
        except (TimeoutError, nats.errors.Error) as error:
            raise _lost(self._address, error) from None

    async def unfollow(self, topics: Collection[str]) -> None:
        """Undo follow()."""
        self._open_client()
        try:
            for topic in topics:
                subscription = self._topics.pop(topic, None)
                if subscription is not None:
                    async with asyncio.timeout(ANSWER):
                        await subscription.unsubscribe()
        except (TimeoutError, nats.errors.Error) as error:
            raise _lost(self._address, error) from None

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish, and wait until the server says that it has everything."""
        client = self._open_client()
        try:
            async with asyncio.timeout(ANSWER):
                for message in messages:
                    await client.publish(self._subject(message), message.data)
                await self._answered(client)
        except (TimeoutError, OSError, nats.errors.Error) as error:
            raise _lost(self._address, self._error or error) from None

    async def close(self) -> None:
        """Hang up."""
        client, self._client = self._client, None
        self._topics.clear()
        if client is None:
            return
        for subscription in list(client._subs.values()):  # the library forgets them when its last words fail
            subscription._stop_processing()
        closing = asyncio.ensure_future(client.close())
        await asyncio.wait([closing], timeout=HANG_UP)
        # A server that has stopped takes nothing, and the library would wait for it for ever.
        writer = getattr(client._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        if not closing.done():
            await asyncio.wait([closing], timeout=HANG_UP)
            closing.cancel()
        await asyncio.sleep(0)  # so that the socket is closed
        if closing.done() and not closing.cancelled():
            closing.exception()  # it is closed, however badly

    async def _answered(self, client: Client) -> None:
        """Wait until the server has everything."""
        turns = 0
        while client.pending_data_size and client.is_connected:  # a PING may overtake what is not written yet
            turns += 1
            await asyncio.sleep(0 if turns < 10 else 0.002)
        # Not flush(): that succeeds at once when the task that reads has died. And rtt() does not hear of the end.
        asking = asyncio.ensure_future(client.rtt())
        try:
            while not (await asyncio.wait([asking], timeout=LOOK))[0]:
                if not client.is_connected:
                    raise nats.errors.ConnectionClosedError
            asking.result()
        finally:
            asking.cancel()
        if self._denied:  # the server says so, and goes on as if nothing were
            raise BusRefused(f"{self._address} does not give this user the rights that it needs: {self._denied}")

    async def _subscribe(self, client: Client, subject: str) -> Subscription:
        async with asyncio.timeout(ANSWER):
            return await client.subscribe(
                subject, cb=self._heard, pending_msgs_limit=PENDING_MESSAGES, pending_bytes_limit=PENDING_BYTES
            )

    def _open_client(self) -> Client:
        if self._client is None or not self._client.is_connected:
            raise BusLost("the connection is closed")
        return self._client

    def _subject(self, message: Message) -> str:
        if message.where is Where.ALL:
            return f"{self._prefix}.all"
        if message.where is Where.NODE:
            return f"{self._prefix}.n.{token(message.name)}"
        return self._subject_of(message.name)

    def _subject_of(self, topic: str) -> str:
        return f"{self._prefix}.r.{shard(topic)}.{token(topic)}"


class _PlainText(Exception):
    """A server that is to be spoken to over TLS offers none."""


def _told(client: Client, address: Address, secret: str | None) -> Callable[[], str] | None:
    """Tells a secret to the library when it is to be sent, and never in plain text where TLS is asked for."""
    if secret is None:
        return None

    def tell() -> str:
        writer: Any = getattr(client._transport, "_io_writer", None)
        if address.is_tls and (writer is None or writer.get_extra_info("ssl_object") is None):
            raise _PlainText
        return secret

    return tell


def _host(address: Address) -> str:
    return f"[{address.host}]" if ":" in address.host else address.host


def _lost(address: Address, error: Exception | None) -> BusLost:
    text = _why(address, error)
    if isinstance(error, _PlainText) or "authorization" in str(error).lower() or is_distrust(error):
        return BusRefused(text)
    return BusLost(text)


def _why(address: Address, error: Exception | None) -> str:
    """One line for a person."""
    if isinstance(error, _PlainText):
        return f"{address} offers no TLS; write nats:// if that is right, or give it a certificate"
    if error is None or isinstance(error, (asyncio.TimeoutError, nats.errors.TimeoutError)):
        return f"{address} does not answer"
    if "authorization" in str(error).lower():
        return f"{address} refuses user and password; see CLUSTER_ENGINE"
    return f"{address}: {in_one_line(error)}"
