"""The engine of a cluster with a broker: one thread, `cluster`, with an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Collection
from typing import Any

from zephserver.core.cluster.broker.inbox import Inbox, Load, Wish
from zephserver.core.cluster.broker.node import BEAT, Node
from zephserver.core.cluster.broker.transport import BusLost, BusRefused, Message, Transport
from zephserver.core.cluster.engine import Listener

MOST_EVENTS = 10_000  # kept for those who missed them
OPEN = 6.0  # seconds for the broker to let us in
PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between two attempts
WINDOW, SMALLEST, LARGEST = 65_536, 4_096, 4_194_304  # bytes handed to the broker at once: at first, at least, at most
QUICK, SLOW = 0.05, 0.5  # seconds that this takes; the window grows below, and shrinks above
LAST_WORDS = 1.0  # seconds at the end for what was published before
JOIN = 3.0  # seconds for the thread to end

_log = logging.getLogger("zephserver.cluster")


class BrokerEngine:
    """Any thread may publish; everything else happens in the cluster thread. A transport makes an engine of it."""

    def __init__(self, name: str, node: str, address: str, transport: Transport, *, queue_bytes: int) -> None:
        self.name = name
        self._address, self._transport, self._queue_bytes = address, transport, queue_bytes
        self._node_name = node
        self._node: Node | None = None
        self._inbox = Inbox(MOST_EVENTS, queue_bytes, self._wake)
        self._topics: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._awake: asyncio.Event
        self._living: asyncio.Task[None]
        self._failure = ""
        self._window = WINDOW
        self._is_stopping = False
        self._is_closing = False  # the connection; that is not interrupted
        self._state = f"connecting to {address}"
        self._told = ""
        self._lost_at: float | None = None

    # -- any thread -------------------------------------------------------------------------------------------------

    def start(self, listener: Listener) -> None:
        """Begin to look for the broker; a server works alone as long as it is not found."""
        life = secrets.token_hex(8)
        self._node = Node(self._node_name, life, listener, most=MOST_EVENTS, max_bytes=self._queue_bytes)
        self._lost_at = time.monotonic()
        self._loop = asyncio.new_event_loop()
        self._awake = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name="cluster", daemon=True)
        self._thread.start()

    def publish(self, event: str, payload: bytes, to: Collection[str] | None = None, topic: str | None = None) -> None:
        """Send to all other servers, to some, or to those who follow a topic. Never waits."""
        self._inbox.publish(Wish(event, payload, to, topic))

    def follow(self, topic: str) -> None:
        """Hear what is said on this topic; before anything is sent that is published after this."""
        self._inbox.follow(topic, True)

    def unfollow(self, topic: str) -> None:
        """Hear it no more."""
        self._inbox.follow(topic, False)

    def state(self) -> str:
        """'' while the broker takes and brings messages, otherwise why it does not."""
        return self._state

    def lost_for(self) -> float:
        """Seconds since the broker was lost; 0.0 while it is there."""
        lost_at = self._lost_at
        return 0.0 if lost_at is None else time.monotonic() - lost_at

    def rows(self) -> list[dict[str, Any]]:
        """The other servers that were found."""
        node = self._node
        if node is None:
            return []
        now = time.monotonic()
        (events, size), alone = node.waiting
        rows = []
        for peer in sorted(node.peers.copy().values(), key=lambda peer: peer.name):
            more_events, more_size = alone.get(peer.name, (0, 0))
            rows.append(
                {
                    "name": peer.name,
                    "address": self._address,
                    "up": peer.is_up,
                    "silent": round(now - peer.heard_at, 1),
                    "queued": events + more_events,
                    "queued_bytes": size + more_size,
                    "lag": round(self.lost_for() if events + more_events else 0.0, 3),
                    "dropped": node.dropped(peer),
                    "lost": peer.inbound.lost,
                    "problem": peer.problem,
                }
            )
        return rows

    def stop(self) -> None:
        """Leave; what could not be said by now is not said."""
        if self._thread is None:
            return
        self._is_stopping = True
        self._wake()
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._loop.call_later, LAST_WORDS, self._hurry)
        except RuntimeError:  # it has ended
            pass
        self._thread.join(JOIN)
        self._thread = None

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._awake.set)
            except RuntimeError:  # it is closed: nothing is sent any more
                pass

    # -- cluster thread ---------------------------------------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Body of the thread."""
        asyncio.set_event_loop(loop)
        try:
            self._living = loop.create_task(self._live())
            loop.run_until_complete(self._living)
        except asyncio.CancelledError:  # the last words took too long
            pass
        except Exception:
            _log.exception("the cluster has ended")
        finally:
            left = asyncio.all_tasks(loop)  # a library's, of a connection that ended badly
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=LAST_WORDS))
            asyncio.set_event_loop(None)
            loop.close()

    async def _live(self) -> None:
        """One connection after the other, until the server stops."""
        assert self._node is not None
        pause = PAUSE
        while not self._is_stopping:
            try:
                await self._connect(self._node)
                pause = PAUSE
                await self._talk(self._node)
            except BusLost as error:
                self._lose(error)
            except Exception as error:
                _log.exception("the connection to the broker of the cluster was given up")
                self._lose(BusLost(f"{type(error).__name__}; see the log"))
            finally:
                self._is_closing = True
                await self._transport.close()
                self._is_closing = False
            self._node.disconnected()
            until = time.monotonic() + pause
            while not self._is_stopping and time.monotonic() < until:
                await self._idle(self._node, until)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _connect(self, node: Node) -> None:
        self._failure = ""
        opening = asyncio.ensure_future(self._transport.open(self._node_name, self._heard, self._failed))
        opening.add_done_callback(lambda _: self._awake.set())
        until = time.monotonic() + OPEN
        try:
            while not opening.done() and not self._is_stopping and time.monotonic() < until:
                await self._idle(node, until)
        finally:
            if not opening.done():
                opening.cancel()
                await asyncio.wait([opening], timeout=1.0)
        if opening.cancelled() or not opening.done():
            raise BusLost(f"{self._address} does not answer")
        opening.result()
        await self._transport.follow(self._topics)

    async def _talk(self, node: Node) -> None:
        """Send and hear, until the connection is lost or the server stops."""
        node.connected(time.monotonic())
        while True:
            if self._failure:
                raise BusLost(self._failure)
            wake_at = node.tick(time.monotonic())
            is_last = self._is_stopping
            await self._take(node, self._inbox.take())
            messages = node.messages(self._window, self._transport.limit)
            if messages:
                await self._send(node, messages)
            elif is_last:
                return await self._say_bye(node)
            else:
                await self._sleep(wake_at)

    async def _send(self, node: Node, messages: list[Message]) -> None:
        """Hand over a batch; the next one is as large as what goes quickly."""
        began, size = time.monotonic(), sum(len(message.data) for message in messages)
        try:
            await self._transport.send(messages)
        except BusLost:
            self._window = max(SMALLEST, min(self._window, size) // 4)
            raise
        took = time.monotonic() - began
        node.accepted()
        if self._state:
            self._found()
        if took < QUICK and size > self._window // 2:
            self._window = min(LARGEST, 2 * self._window)
        elif took > SLOW:
            self._window = max(SMALLEST, self._window // 2)

    async def _say_bye(self, node: Node) -> None:
        node.bye()
        await self._transport.send(node.messages(self._window, self._transport.limit))

    async def _take(self, node: Node, load: Load | None) -> None:
        """Number what was published, and see to the topics first."""
        if load is None:
            return
        self._count(node, load)
        for wish in load.wishes:
            if wish.topic is not None:
                node.publish(wish.topic, wish.event, wish.payload)
        wanted = [topic for topic, is_wanted in load.topics.items() if is_wanted and topic not in self._topics]
        unwanted = [topic for topic, is_wanted in load.topics.items() if not is_wanted and topic in self._topics]
        self._topics = self._topics.union(wanted).difference(unwanted)
        if wanted:
            await self._transport.follow(wanted)
        if unwanted:
            await self._transport.unfollow(unwanted)

    @staticmethod
    def _count(node: Node, load: Load) -> None:
        if load.dropped or load.dropped_to:
            node.skip(load.dropped, load.dropped_to)
        for wish in load.wishes:
            if wish.topic is None:
                node.say(wish.event, wish.payload, wish.to)

    async def _idle(self, node: Node, until: float) -> None:
        """Wait without a bus. What is published is numbered meanwhile; what is for topics is gone."""
        node.tick_alone(time.monotonic())
        load = self._inbox.take()
        if load is not None:
            self._count(node, load)
            for topic, is_wanted in load.topics.items():
                (self._topics.add if is_wanted else self._topics.discard)(topic)
        await self._sleep(min(until, time.monotonic() + BEAT))

    async def _sleep(self, until: float) -> None:
        """Until that time, or until there is something to do."""
        pause = until - time.monotonic()
        if pause > 0 and not self._awake.is_set():
            timer = asyncio.get_running_loop().call_later(pause, self._awake.set)
            await self._awake.wait()
            timer.cancel()
        self._awake.clear()

    def _hurry(self) -> None:
        """The server stops and does not wait any longer. Repeated, because a library may swallow it."""
        if not self._living.done():
            if not self._is_closing:
                self._living.cancel()
            self._living.get_loop().call_later(0.2, self._hurry)

    def _heard(self, data: bytes) -> None:
        """The transport brings a message."""
        if self._node is not None and not self._is_stopping:
            self._node.receive(data, time.monotonic())
            if self._node.has_answers():
                self._awake.set()

    def _failed(self, why: str) -> None:
        """The transport has lost the connection."""
        self._failure = self._failure or why
        self._awake.set()

    def _found(self) -> None:
        _log.log(logging.INFO if not self._told else logging.WARNING, "the cluster is joined at %s", self._address)
        self._state, self._told, self._lost_at = "", "", None

    def _lose(self, error: BusLost) -> None:
        why = str(error)
        if self._lost_at is None:
            self._lost_at = time.monotonic()
        self._state = f"connecting: {why}"
        if why != self._told:  # once, not with each attempt
            self._told = why
            level = logging.ERROR if isinstance(error, BusRefused) else logging.WARNING
            _log.log(level, "the broker of the cluster is lost, this server works alone and keeps trying: %s", why)
