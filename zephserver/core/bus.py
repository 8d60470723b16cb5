"""One stream of typed events, and its readers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

from zephserver.core.clock import Clock, SystemClock
from zephserver.core.events import Event, ReaderDropped
from zephserver.core.journal import Journal

Reader = Callable[[Event], object]


class EventBus:
    """Hands each published event to every reader, in one order for all. Any thread.

    Readers run in the thread of whoever publishes at that moment, outside the lock, one event at a time; so a reader
    must be quick and wait for nobody. `journal` keeps the recent past for readers that come and go.
    """

    def __init__(self, clock: Clock | None = None, *, recent: int = 1_000) -> None:
        self.journal: Journal[Event] = Journal(recent)
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._pending: deque[Event] = deque()
        self._delivering = False
        self._subscriptions: tuple[Subscription, ...] = ()
        self._wanted: dict[type[Event], bool] = {}

    def publish(self, event: Event) -> None:
        """Stamp *event* and hand it to the readers."""
        self.post(event)
        self.deliver()

    def post(self, event: Event) -> None:
        """Stamp *event* and queue it; the caller calls deliver() when it has let go of its own locks."""
        with self._lock:
            object.__setattr__(event, "seq", self.journal.last + 1)
            object.__setattr__(event, "at", self._clock.time())
            self.journal.append(event)
            self._pending.append(event)

    def deliver(self) -> None:
        """Hand on what is queued. If another thread is handing on right now, that one does it: order first."""
        with self._lock:
            if self._delivering or not self._pending:
                return
            self._delivering = True
        try:
            while True:
                with self._lock:
                    if not self._pending:
                        self._delivering = False
                        return
                    event = self._pending.popleft()
                    subscriptions = self._subscriptions
                for subscription in subscriptions:
                    try:
                        subscription.offer(event)
                    except Exception as error:
                        self.drop(subscription)
                        self.post(ReaderDropped(reader=repr(subscription.reader), error=repr(error)))
        except BaseException:
            with self._lock:
                self._delivering = False
            raise

    def wants(self, kind: type[Event]) -> bool:
        """Whether any reader takes this kind of event: lets a busy place skip building one that nobody reads."""
        answers = self._wanted  # replaced whole when a reader comes or goes: what we note may then be noted in vain
        try:
            return answers[kind]
        except KeyError:
            wanted = answers[kind] = any(subscription.takes(kind) for subscription in self._subscriptions)
            return wanted

    def subscribe(self, reader: Reader, *kinds: type[Event], replay: bool = False, floor: int = 0) -> Subscription:
        """Call *reader* with every event of *kinds* (all without) whose level is at least *floor*, from now on.

        With *replay* the recent past comes first; nothing is missed or seen twice. The past is offered under the lock
        of the bus, so such a reader only takes notes. Leave with `Subscription.close()` or as a context manager.
        """
        subscription = Subscription(self, reader, kinds or (Event,), floor)
        with self._lock:
            past = self.journal.after(0)[0] if replay else []
            # What another thread is about to deliver reaches the new reader that way, so it is not replayed.
            for event in past[: max(0, len(past) - len(self._pending))]:
                subscription.offer(event)
            self._subscriptions += (subscription,)
            self._wanted = {}
        return subscription

    def forget_answers(self) -> None:
        """What readers want has changed."""
        with self._lock:
            self._wanted = {}

    def drop(self, subscription: Subscription) -> None:
        """Stop calling this reader."""
        with self._lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)
            self._wanted = {}


class Subscription:
    """A reader's place on the bus; leaving the `with` block, or close(), gives it up."""

    __slots__ = ("_bus", "floor", "kinds", "reader")

    def __init__(self, bus: EventBus, reader: Reader, kinds: tuple[type[Event], ...], floor: int) -> None:
        self._bus, self.reader, self.kinds, self.floor = bus, reader, kinds, floor

    def takes(self, kind: type[Event]) -> bool:
        """Whether the reader wants events of this kind."""
        return issubclass(kind, self.kinds) and kind.level >= self.floor

    def offer(self, event: Event) -> None:
        """Call the reader if it takes this kind."""
        if self.takes(type(event)):
            self.reader(event)

    def set_floor(self, floor: int) -> None:
        """Change the least level that the reader wants."""
        self.floor = floor
        self._bus.forget_answers()

    def close(self) -> None:
        """Take no more events."""
        self._bus.drop(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
