"""One connection from its first message to its end, with a service and a connection that take notes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from zephserver import messages
from zephserver.client import INBOX, Client, Stage
from zephserver.core.errors import UnknownTask
from zephserver.engines.interface import DeflateCache, Handshake
from zephserver.session_manager import User

ANN = User("ann", "ann")


class FakeTimer:
    """What call_later() gives."""

    def __init__(self, when: float, function: Callable[[], object]) -> None:
        self.when, self._function, self.is_over = when, function, False

    def cancel(self) -> None:
        self.is_over = True

    def fire(self) -> None:
        if not self.is_over:
            self.is_over = True
            self._function()


class FakeLoop:
    """Time that moves when the test says so."""

    def __init__(self) -> None:
        self._now = 0.0
        self.timers: list[FakeTimer] = []

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, function: Callable[[], object]) -> FakeTimer:
        self.timers.append(FakeTimer(self._now + delay, function))
        return self.timers[-1]

    def advance(self, seconds: float) -> None:
        """Let time pass and fire what is due, in order."""
        end = self._now + seconds
        while due := sorted((t for t in self.timers if not t.is_over and t.when <= end), key=lambda t: t.when):
            self._now = max(self._now, due[0].when)
            due[0].fire()
        self._now = end


class FakeConnection:
    """A connection that remembers what it was told to do."""

    handshake = Handshake("/ws", {}, "10.0.0.1")

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.told: list[Any] = []

    def send(self, payload: bytes, cache: DeflateCache | None = None, *, binary: bool = False) -> None:
        self.sent.append(json.loads(payload))

    def close(self, code: int, reason: str = "") -> None:
        self.told.append((code, reason))

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


class FakeService:
    """The WebSocket service as a client sees it."""

    def __init__(self, rate: tuple[float, float] | None = None) -> None:
        self.loop = FakeLoop()
        self.rate: float | None = rate[0] if rate is not None else None
        self.burst = rate[1] if rate is not None else 0.0
        self.server = SimpleNamespace(settings=SimpleNamespace(identify_timeout=10.0))
        self.dispatched: list[messages.Message] = []
        self.identifying: list[messages.Message] = []
        self.departures: list[tuple[int, str, bool]] = []
        self.refusals: list[str] = []
        self.counters: Counter[str] = Counter()

    def dispatch(self, client: Client, message: messages.Message) -> None:
        self.dispatched.append(message)

    def identify(self, client: Client, message: messages.Message) -> None:
        self.identifying.append(message)

    def departed(self, client: Client, code: int, reason: str, *, was_ready: bool) -> None:
        self.departures.append((code, reason, was_ready))

    def refused(self, client: Client, why: str) -> None:
        self.refusals.append(why)

    def count(self, what: str) -> None:
        self.counters[what] += 1


class Stall:
    """A client between two fakes."""

    def __init__(self, rate: tuple[float, float] | None = None) -> None:
        self.service = FakeService(rate)
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


@pytest.fixture
def stall() -> Stall:
    return Stall()


def test_a_new_client_is_nobody_in_no_room(stall: Stall) -> None:
    assert stall.client.stage is Stage.NEW
    assert (stall.client.user, stall.client.cid, stall.client.room) == (None, "", None)


def test_the_first_message_identifies(stall: Stall) -> None:
    stall.hear(session_id={"id": 1}, room="lobby")

    assert stall.client.stage is Stage.IDENTIFYING
    assert [(m.session_id, m.room) for m in stall.service.identifying] == [({"id": 1}, "lobby")]
    assert stall.service.dispatched == []


def test_what_comes_before_the_user_is_known_is_served_afterwards_in_order(stall: Stall) -> None:
    stall.hear(task="a", data=0, session_id="ann", room="lobby")
    stall.hear(task="b", data=1)
    stall.hear(task="a", data=2)
    assert stall.tasks() == []

    stall.be_known()
    stall.hear(task="c", data=3)

    assert stall.tasks() == [("a", 0), ("b", 1), ("a", 2), ("c", 3)]
    assert len(stall.service.identifying) == 1
    assert (stall.client.stage, stall.client.user, stall.client.cid) == (Stage.READY, ANN, "c1")


def test_a_first_message_without_a_task_is_not_dispatched(stall: Stall) -> None:
    stall.hear(session_id="ann", room="lobby")

    stall.be_known()

    assert stall.service.dispatched == []


def test_a_client_that_says_too_much_before_it_is_known_hears_that_it_is_too_much(stall: Stall) -> None:
    for number in range(INBOX + 2):
        stall.hear(task="a", data=number, id=number)

    stall.be_known()

    assert [data for _, data in stall.tasks()] == list(range(INBOX))
    assert [(said["id"], said["error"]["code"]) for said in stall.connection.sent] == [
        (INBOX, "overloaded"),
        (INBOX + 1, "overloaded"),
    ]
    assert stall.service.counters["overloaded"] == 2


@pytest.mark.parametrize("text", ["hello", "[]", '{"task": 1}', "[" * 100_000])
def test_bad_input_is_answered_and_changes_nothing(stall: Stall, text: str) -> None:
    stall.client.received(text)
    stall.be_ready()
    stall.client.received(text)
    stall.hear(task="a")

    assert [said["error"]["code"] for said in stall.connection.sent] == ["bad-message", "bad-message"]
    assert stall.service.counters["bad-message"] == 2
    assert stall.tasks() == [("a", None)]


def test_a_refusal_names_task_and_id_and_is_counted(stall: Stall) -> None:
    stall.client.refuse(messages.Message(task="buy", id="7"), UnknownTask("buy"))

    assert stall.connection.sent == [
        {"task": "buy", "id": "7", "error": {"code": "unknown-task", "message": "no task named 'buy'"}}
    ]
    assert stall.service.counters == {"unknown-task": 1}


def test_a_client_that_says_nothing_in_time_is_closed(stall: Stall) -> None:
    stall.loop.advance(9.9)
    assert stall.connection.told == []

    stall.loop.advance(0.2)

    assert stall.connection.told == [(4001, "send the first message sooner")]
    assert stall.service.refusals == ["nothing that identifies it came in time"]


def test_bad_input_does_not_put_the_deadline_off(stall: Stall) -> None:
    stall.loop.advance(9.0)
    stall.client.received("hello")

    stall.loop.advance(1.5)

    assert stall.connection.told == [(4001, "send the first message sooner")]


def test_a_client_that_is_known_has_no_deadline(stall: Stall) -> None:
    stall.be_ready()

    stall.loop.advance(1_000)

    assert stall.connection.told == []


def test_a_client_that_has_left_has_no_deadline(stall: Stall) -> None:
    stall.client.closed(1006, "")

    stall.loop.advance(1_000)

    assert stall.connection.told == []


def test_a_client_that_is_being_closed_has_no_deadline(stall: Stall) -> None:
    stall.client.close(1012, "bye")

    stall.loop.advance(1_000)

    assert stall.connection.told == [(1012, "bye")]


@pytest.mark.parametrize("stage", [Stage.NEW, Stage.IDENTIFYING, Stage.READY])
def test_the_service_hears_of_the_end_and_whether_the_user_was_known(stall: Stall, stage: Stage) -> None:
    if stage is Stage.IDENTIFYING:
        stall.hear(session_id="ann")
    elif stage is Stage.READY:
        stall.be_ready()

    stall.client.closed(1001, "bye")

    assert stall.service.departures == [(1001, "bye", stage is Stage.READY)]
    assert stall.client.stage is Stage.CLOSED


def test_a_closed_client_is_sent_nothing_and_not_listened_to(stall: Stall) -> None:
    stall.be_ready()
    stall.client.closed(1001, "bye")

    stall.client.send(b'{"task": "a"}')
    stall.hear(task="a")

    assert stall.connection.sent == []
    assert stall.tasks() == []


def test_the_room_is_the_one_that_was_joined_first(stall: Stall) -> None:
    stall.client.rooms += ["first", "second"]

    assert stall.client.room == "first"


def test_users_are_told_apart_by_id_and_anonymous_ones_by_connection(stall: Stall) -> None:
    assert stall.client.member_key == ("cid", "")

    stall.be_known(User())
    assert stall.client.member_key == ("cid", "c1")

    stall.be_known()
    assert stall.client.member_key == ("user", "ann")


def test_within_the_burst_reading_goes_on() -> None:
    stall = Stall(rate=(10.0, 5.0))

    for _ in range(5):
        stall.hear(task="a")

    assert stall.connection.told == []


def test_beyond_the_burst_reading_pauses_until_there_is_a_token_again() -> None:
    stall = Stall(rate=(10.0, 5.0))

    for _ in range(6):
        stall.hear(task="a")
    assert stall.connection.told == ["pause"]
    stall.loop.advance(0.09)
    assert stall.connection.told == ["pause"]
    stall.loop.advance(0.02)

    assert stall.connection.told == ["pause", "resume"]
    assert stall.service.counters["rate"] == 1


def test_no_message_is_lost_by_a_pause() -> None:
    stall = Stall(rate=(10.0, 5.0))
    stall.be_ready()

    for number in range(20):  # the rest was read already when the pause began
        stall.hear(task="a", data=number)

    assert [data for _, data in stall.tasks()] == list(range(20))
    assert stall.connection.told == ["pause"]


def test_what_was_read_already_is_paid_for_later() -> None:
    stall = Stall(rate=(10.0, 1.0))
    for _ in range(11):  # ten too many: a debt of a second
        stall.hear(task="a")
    stall.loop.advance(0.2)

    stall.hear(task="a")

    assert stall.connection.told == ["pause", "resume", "pause"]
    stall.loop.advance(0.8)
    assert stall.connection.told == ["pause", "resume", "pause"]
    stall.loop.advance(0.2)
    assert stall.connection.told[-1] == "resume"


def test_over_a_long_time_the_rate_is_kept() -> None:
    stall = Stall(rate=(10.0, 5.0))
    served = 0

    for _ in range(1_000):  # ten seconds
        if not stall.connection.told or stall.connection.told[-1] == "resume":
            stall.hear(task="a")
            served += 1
        stall.loop.advance(0.01)

    assert 95 <= served <= 106


def test_tokens_do_not_pile_up_beyond_the_burst() -> None:
    stall = Stall(rate=(10.0, 5.0))
    stall.be_ready()
    stall.loop.advance(1_000)

    for _ in range(6):
        stall.hear(task="a")

    assert stall.connection.told == ["pause"]


def test_a_bad_message_costs_a_token_too() -> None:
    stall = Stall(rate=(10.0, 2.0))

    for _ in range(3):
        stall.client.received("hello")

    assert stall.connection.told == ["pause"]


def test_a_client_that_left_while_it_was_paused_is_not_resumed() -> None:
    stall = Stall(rate=(10.0, 1.0))
    stall.be_ready()
    stall.hear(task="a")

    stall.client.closed(1006, "")
    stall.loop.advance(10)

    assert stall.connection.told == ["pause"]


def test_without_a_rate_nothing_pauses(stall: Stall) -> None:
    for _ in range(1_000):
        stall.hear(task="a")

    assert stall.connection.told == []


def test_binary_messages_are_nothing_to_a_client(stall: Stall) -> None:
    stall.client.received_binary(b"\x00")

    assert stall.client.stage is Stage.NEW
    assert stall.connection.sent == []
