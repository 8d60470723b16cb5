"""The cluster manager: triggers events on all the other servers, and hears theirs."""

from __future__ import annotations

import json
import logging
import threading
import traceback
from collections.abc import Callable, Collection
from typing import Any

from zephserver.core.bus import EventBus
from zephserver.core.cluster.engine import ClusterEngine
from zephserver.core.command_table import CommandTable
from zephserver.core.errors import ClusterError, UnknownCommand, ZephError
from zephserver.core.events import ClusterGap, PeerDown, PeerUp, SubscriberFailed

Subscriber = Callable[[Any], object]
Taker = Callable[[str, bytes], object]  # of the name of the server that said it, and what it said
OURS = "zephserver:"  # what the names of events begin with that zephserver itself says

_log = logging.getLogger("zephserver.cluster")


class ClusterManager:
    """`say`, `subscribe` and `unsubscribe` of the documents, on any engine. Any thread."""

    def __init__(
        self,
        engine: ClusterEngine,
        bus: EventBus,
        table: CommandTable | None = None,
        *,
        is_ready: Callable[[], bool] = lambda: True,
        longest: int = 16_777_216,
    ) -> None:
        self._engine, self._bus, self._longest = engine, bus, longest
        self._table, self._is_ready = table or CommandTable(), is_ready
        self._lock = threading.Lock()
        self._subscribers: dict[str, tuple[Subscriber, ...]] = {}
        self._takers: dict[str, Taker] = {}
        self._wondered: set[tuple[str, str]] = set()
        self._watchers: tuple[Callable[[str, bool], object], ...] = ()
        self._peers: frozenset[str] = frozenset()

    @property
    def engine(self) -> str:
        """The name of the engine."""
        return self._engine.name

    @property
    def peers(self) -> frozenset[str]:
        """The names of the other servers that can be spoken to."""
        return self._peers

    def rows(self) -> list[dict[str, Any]]:
        """The other servers: name, `up`, what is queued, dropped and lost."""
        return self._engine.rows()

    def state(self) -> str:
        """'' when the other servers can be reached, otherwise why not, in one line."""
        return self._engine.state()

    def lost_for(self) -> float:
        """Seconds since what joins the servers was lost; 0.0 while it is there."""
        return self._engine.lost_for()

    def start(self) -> None:
        """Join the cluster."""
        self._engine.start(self)

    def stop(self) -> None:
        """Leave the cluster."""
        self._engine.stop()

    def say(self, event: str, obj: object) -> None:
        """Trigger *event* on all other servers, with a copy of *obj* made by JSON; never waits for them.

        Without a cluster this does nothing and succeeds. Raises ClusterError when *obj* cannot be sent, on a lone
        server too, so that the mistake is found before there is a second one.
        """
        if not isinstance(event, str) or not event:
            raise ClusterError(f"the name of an event is a text, got {event!r}")
        if event.startswith(OURS):
            raise ClusterError(f"event {event!r}: names with {OURS!r} are zephserver's own; choose another")
        try:
            payload = json.dumps(obj, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ClusterError(f"event {event!r}: the object cannot be written as JSON: {error}") from None
        if len(payload) > self._longest:
            raise ClusterError(
                f"event {event!r}: the object has {len(payload)} bytes, at most {self._longest} are sent"
            )
        self._engine.publish(event, payload)

    def subscribe(self, event: str, function: Subscriber) -> None:
        """Call *function* with the object when another server says *event*.

        It runs in the cluster thread, so it has to be quick. Subscribed twice, it is called twice.
        """
        if not callable(function):
            raise ClusterError(f"event {event!r}: {function!r} cannot be called")
        with self._lock:
            self._subscribers[event] = (*self._subscribers.get(event, ()), function)

    def unsubscribe(self, event: str, function: Subscriber) -> None:
        """Undo one subscribe() of this very function; a function that was not subscribed is ignored."""
        with self._lock:
            functions = list(self._subscribers.get(event, ()))
            if function in functions:
                functions.remove(function)
            if functions:
                self._subscribers[event] = tuple(functions)
            else:
                self._subscribers.pop(event, None)

    # -- for zephserver itself --------------------------------------------------------------------------------------

    def send(self, event: str, payload: bytes, to: Collection[str] | None = None, topic: str | None = None) -> None:
        """As say(), with bytes, to all other servers or to some; see ClusterEngine.publish()."""
        self._engine.publish(event, payload, to, topic)

    def follow(self, topic: str) -> None:
        """Hear what is sent on this topic."""
        self._engine.follow(topic)

    def unfollow(self, topic: str) -> None:
        """Hear it no more."""
        self._engine.unfollow(topic)

    def take(self, event: str, taker: Taker | None) -> None:
        """Have *taker* called, in the cluster thread, with what is sent as *event*; None: nobody."""
        with self._lock:
            if taker is None:
                self._takers.pop(event, None)
            else:
                self._takers[event] = taker

    def watch(self, watcher: Callable[[str, bool], object]) -> None:
        """Have *watcher* called, in the cluster thread, with the name of a server that came (True) or went (False).

        A server that came while it was there has begun a new life.
        """
        with self._lock:
            self._watchers = (*self._watchers, watcher)

    def unwatch(self, watcher: Callable[[str, bool], object]) -> None:
        """Undo watch()."""
        with self._lock:
            self._watchers = tuple(other for other in self._watchers if other != watcher)

    # -- what the engine tells; cluster thread ----------------------------------------------------------------------

    def heard(self, peer: str, event: str, payload: bytes) -> None:
        """An event of another server. A subscriber that raises harms no other."""
        taker = self._takers.get(event)
        if taker is not None:
            self._call(event, taker, peer, payload)
        elif event.startswith(OURS):
            self._wonder(peer, event)
        for function in self._subscribers.get(event, ()):
            self._call(event, lambda function=function: function(json.loads(payload)))  # a copy each

    def came(self, peer: str) -> None:
        """Another server can be spoken to, or has begun a new life."""
        self._peers |= {peer}
        self._bus.publish(PeerUp(peer=peer))
        for watcher in self._watchers:
            self._call("came", watcher, peer, True)

    def went(self, peer: str, why: str) -> None:
        """Another server is gone."""
        self._peers -= {peer}
        self._bus.publish(PeerDown(peer=peer, why=why))
        for watcher in self._watchers:
            self._call("went", watcher, peer, False)

    def lost(self, peer: str, count: int) -> None:
        """Events of another server will never come."""
        self._bus.publish(ClusterGap(peer=peer, lost=count))

    def asked(self, command: str, args: bytes) -> str | None:
        """A guest gives a command; see Listener."""
        try:
            row = self._table.find(command)
            if not (row.for_guests and self._is_ready()):
                return None
            row.call((), json.loads(args))
        except UnknownCommand:
            return None
        except (ZephError, TypeError, ValueError, RecursionError) as error:
            return " ".join(str(error).split())
        except Exception as error:
            self._bus.publish(SubscriberFailed(event=command, error=repr(error), traceback=traceback.format_exc()))
            return f"{type(error).__name__}; see the log of the server"
        return ""

    def _wonder(self, peer: str, event: str) -> None:
        """An event of zephserver itself that nobody takes: told once when another version of it is taken."""
        kind = event.partition(" ")[0] + " "
        known = next((taken for taken in list(self._takers) if taken.startswith(kind)), None)
        if known is not None and (peer, event) not in self._wondered:
            self._wondered.add((peer, event))
            _log.error(
                "server %s says %r, and this one understands %r: they share no rooms and users; run the same version "
                "of zephserver on both",
                peer,
                event[:80],
                known,
            )

    def _call(self, event: str, function: Callable[..., object], *args: Any) -> None:
        try:
            function(*args)
        except Exception as error:
            trace = traceback.format_exc()
            self._bus.publish(SubscriberFailed(event=event, error=repr(error), traceback=trace))
