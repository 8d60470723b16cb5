"""The cluster manager: triggers events on all the other servers, and hears theirs."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable
from typing import Any

from zephserver.core.bus import EventBus
from zephserver.core.cluster.engine import ClusterEngine
from zephserver.core.errors import ClusterError
from zephserver.core.events import SubscriberFailed

Subscriber = Callable[[Any], object]


class ClusterManager:
    """`say`, `subscribe` and `unsubscribe` of the documents, on any engine. Any thread."""

    def __init__(self, engine: ClusterEngine, bus: EventBus, *, longest: int = 16_777_216) -> None:
        self._engine, self._bus, self._longest = engine, bus, longest
        self._lock = threading.Lock()
        self._subscribers: dict[str, tuple[Subscriber, ...]] = {}

    @property
    def engine(self) -> str:
        """The name of the engine."""
        return self._engine.name

    def start(self) -> None:
        """Join the cluster."""
        self._engine.start(self._deliver)

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

    def _deliver(self, event: str, payload: bytes) -> None:
        """An event of another server. Cluster thread. A subscriber that raises harms no other."""
        for function in self._subscribers.get(event, ()):
            try:
                function(json.loads(payload))  # a copy each: one subscriber cannot change what the next one gets
            except Exception as error:
                trace = traceback.format_exc()
                self._bus.publish(SubscriberFailed(event=event, error=repr(error), traceback=trace))
