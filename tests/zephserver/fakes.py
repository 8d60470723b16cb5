"""Doubles of what stands around a client and a room: time that the test moves, and things that take notes."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from zephserver import messages
from zephserver.client import Client
from zephserver.core.settings import make_settings
from zephserver.engines.interface import FrameCache, Handshake
from zephserver.room_handler import RoomHandler
from zephserver.session_manager import User

ANN = User("ann", "ann")


class FakeTimer:
    """What call_later() gives."""

    def __init__(self, when: float, function: Callable[..., object], args: tuple[Any, ...] = ()) -> None:
        self.when, self._function, self._args, self.is_over = when, function, args, False

    def cancel(self) -> None:
        self.is_over = True

    def fire(self) -> None:
        if not self.is_over:
            self.is_over = True
            self._function(*self._args)


class FakeLoop:
    """Time that moves when the test says so."""

    def __init__(self) -> None:
        self._now = 0.0
        self.timers: list[FakeTimer] = []

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, function: Callable[..., object], *args: Any) -> FakeTimer:
        self.timers = [timer for timer in self.timers if not timer.is_over]
        self.timers.append(FakeTimer(self._now + delay, function, args))
        return self.timers[-1]

    def advance(self, seconds: float) -> None:
        """Let time pass and fire what is due, in order."""
        end = self._now + seconds
        while due := sorted((t for t in self.timers if not t.is_over and t.when <= end), key=lambda t: t.when):
            self._now = max(self._now, due[0].when) + 1e-9  # a real clock never stands still
            due[0].fire()
        self._now = max(self._now, end)


class FakePortal:
    """The door to a loop that is always here."""

    def call_soon(self, function: Callable[..., Any], *args: Any) -> bool:
        function(*args)
        return True

    call = call_soon

    def flush(self) -> None:
        """There is nothing that waits."""


class FakeConnection:
    """A connection that remembers what it was told to do."""

    handshake = Handshake("/ws", {}, "10.0.0.1")

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.told: list[Any] = []

    def send(self, payload: bytes, cache: FrameCache | None = None, *, binary: bool = False) -> None:
        self.sent.append(json.loads(payload))

    def close(self, code: int, reason: str = "") -> None:
        self.told.append((code, reason))

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


@dataclass(eq=False)
class Member:
    """A client without its connection: remembers what it is sent."""

    user: User
    cid: str = field(default_factory=lambda: secrets.token_hex(4))
    rooms: list[str] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)

    @property
    def member_key(self) -> Any:
        return ("cid", self.cid) if self.user.id is None else ("user", self.user.id)

    def send(self, payload: bytes, cache: FrameCache | None = None) -> None:
        self.heard.append(json.loads(payload))

    def news(self) -> list[dict[str, Any]]:
        """What it was sent since the last time."""
        heard, self.heard = self.heard, []
        return heard


class Hall:
    """An open room handler on a loop whose time the test moves, with short ways to fill its rooms."""

    def __init__(self, **settings: Any) -> None:
        self.loop = FakeLoop()
        self.handler: Any = RoomHandler()
        self.handler.open(make_settings({"SERVICE_LIST": []} | settings), self.loop, FakePortal())

    def enter(self, id: Any, *rooms: str, name: str | None = None) -> Member:
        """A new connection of this user, in these rooms, which has read what it was sent."""
        member = Member(User(id, name or (str(id) if id is not None else "anonymous")))
        assert self.handler.enter(member) == member.cid
        for room in rooms:
            self.handler.join(member, room)
        return member

    def settle(self) -> None:
        """Let the lists of users be sent that are due soon."""
        self.loop.advance(0.9)

    def targets(self, **answer: Any) -> list[Member]:
        """The members that an answer goes to."""
        return self.handler.targets(answer)  # type: ignore[no-any-return]


def welcomed(room: str = "r", **more: Any) -> dict[str, Any]:
    """To the one who joined."""
    return {"msgtype": "joined", "room": room, **more}


def joined(name: str, room: str = "r") -> dict[str, Any]:
    """To the others."""
    return {"msgtype": "join", "username": name, "room": room}


def left(name: str, room: str = "r") -> dict[str, Any]:
    """To the others."""
    return {"msgtype": "leave", "username": name, "room": room}


def users(*names: str, room: str = "r", total: int | None = None) -> dict[str, Any]:
    """Who is there."""
    return {"msgtype": "user_list", "data": list(names), "room": room, "total": len(names) if total is None else total}


class FakeService:
    """The WebSocket service as a client sees it, and its reception."""

    def __init__(self, rate: tuple[float, float] | None = None, tasks_per_client: int = 1_000) -> None:
        self.loop = FakeLoop()
        self.rate: float | None = rate[0] if rate is not None else None
        self.burst = rate[1] if rate is not None else 0.0
        self.tasks_per_client = tasks_per_client
        self.received = self.sent = 0
        self.server = SimpleNamespace(settings=SimpleNamespace(identify_timeout=10.0))
        self.reception = self
        self.look_up_timeout = float("inf")
        self.dispatched: list[messages.Message] = []
        self.identifying: list[messages.Message] = []
        self.joined: list[str | None] = []
        self.departures: list[tuple[int, str]] = []
        self.refusals: list[str] = []
        self.counters: Counter[str] = Counter()
        self.answer: Callable[[Client, messages.Message], None] = lambda client, message: None

    def dispatch(self, client: Client, message: messages.Message) -> None:
        self.dispatched.append(message)
        self.answer(client, message)

    def departed(self, client: Client, code: int, reason: str) -> None:
        self.departures.append((code, reason))

    def count(self, what: str) -> None:
        self.counters[what] += 1

    # the reception

    def identify(self, client: Client, message: messages.Message) -> None:
        self.identifying.append(message)

    def join(self, client: Client, message: messages.Message) -> None:
        self.joined.append(message.room)

    def note_refusal(self, client: Client, why: str) -> None:
        self.refusals.append(why)


class Stall:
    """A client between two fakes."""

    def __init__(self, rate: tuple[float, float] | None = None, tasks_per_client: int = 1_000) -> None:
        self.service = FakeService(rate, tasks_per_client)
        self.loop = self.service.loop
        self.connection = FakeConnection()
        service: Any = self.service  # it has what a client asks of a WebsocketClient
        self.client = Client(service, self.connection)

    def hear(self, **message: Any) -> None:
        """A message comes from the peer."""
        self.client.received(json.dumps(message))

    def be_ready(self) -> None:
        """Say who it is, and be known."""
        self.hear(session_id="ann")
        self.be_known()

    def be_known(self, user: User = ANN, cid: str = "c1") -> None:
        """The session manager found the user, the room handler gave a cid."""
        self.client.user, self.client.cid = user, cid
        self.client.identified()

    def tasks(self) -> list[tuple[str | None, Any]]:
        """Task and data of what reached the service."""
        return [(message.task, message.data) for message in self.service.dispatched]
