"""One connection from its first message to its end, with a service and a connection that take notes."""

from __future__ import annotations

import contextlib

import pytest

from tests.zephserver.fakes import ANN, Stall
from zephserver import messages
from zephserver.client import INBOX, Client, Stage
from zephserver.core.errors import AccessDenied, UnknownTask
from zephserver.session_manager import User


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


def test_the_room_of_the_first_message_is_joined_before_what_comes_behind_it(stall: Stall) -> None:
    stall.hear(task="a", room="lobby")
    stall.hear(task="b")

    stall.be_known()

    assert stall.service.joined == ["lobby"]
    assert [task for task, _ in stall.tasks()] == ["a", "b"]


def test_a_first_message_with_a_verb_is_served_like_any_other(stall: Stall) -> None:
    stall.hear(msgtype="join", room="lobby", id=1)

    stall.be_known()

    assert stall.service.joined == []
    assert [(message.msgtype, message.room) for message in stall.service.dispatched] == [("join", "lobby")]


def test_a_client_that_says_much_before_it_is_known_is_not_read_and_loses_nothing(stall: Stall) -> None:
    for number in range(INBOX + 2):  # the last ones were read already
        stall.hear(task="a", data=number)
    assert stall.connection.told == ["pause"]

    stall.be_known()

    assert [data for _, data in stall.tasks()] == list(range(INBOX + 2))
    assert stall.connection.told == ["pause", "resume"]
    assert stall.connection.sent == []


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_a_client_that_is_held_is_served_when_it_is_released_in_order(stall: Stall) -> None:
    stall.be_ready()
    stall.client.hold()
    stall.hear(task="a", data=0)
    stall.hear(task="a", data=1)
    assert stall.tasks() == []

    stall.client.release()
    stall.hear(task="a", data=2)

    assert [data for _, data in stall.tasks()] == [0, 1, 2]


def test_a_message_that_holds_the_client_holds_those_behind_it(stall: Stall) -> None:
    stall.hear(session_id="ann")
    for number in range(3):
        stall.hear(task="a", data=number)
    stall.service.answer = lambda client, message: client.hold()

    stall.be_known()
    assert [data for _, data in stall.tasks()] == [0]
    stall.client.release()

    assert [data for _, data in stall.tasks()] == [0, 1]


def test_a_client_with_as_many_tasks_as_it_may_have_waits_for_one_to_end() -> None:
    stall = Stall(tasks_per_client=2)
    stall.be_ready()
    stall.service.answer = lambda client, message: client.jobs.add(message)  # type: ignore[arg-type]
    for number in range(4):
        stall.hear(task="a", data=number)
    assert [data for _, data in stall.tasks()] == [0, 1]

    stall.client.jobs.pop()
    stall.client.go_on()

    assert [data for _, data in stall.tasks()] == [0, 1, 2]
    assert stall.connection.told == []


def test_reading_pauses_when_much_waits_and_goes_on_when_nothing_does(stall: Stall) -> None:
    stall.be_ready()
    stall.client.hold()
    for number in range(INBOX - 1):
        stall.hear(task="a", data=number)
    before = list(stall.connection.told)
    stall.hear(task="a", data=INBOX - 1)
    stall.hear(task="a", data=INBOX)

    stall.client.release()

    assert before == []
    assert stall.connection.told == ["pause", "resume"]
    assert [data for _, data in stall.tasks()] == list(range(INBOX + 1))


def test_reading_goes_on_when_neither_the_rate_nor_the_inbox_is_against_it() -> None:
    stall = Stall(rate=(10.0, INBOX - 1.0))
    stall.be_ready()
    stall.client.hold()
    for _ in range(INBOX):
        stall.hear(task="a")
    stall.loop.advance(1.0)
    while_it_is_held = list(stall.connection.told)

    stall.client.release()

    assert while_it_is_held == ["pause"]
    assert stall.connection.told == ["pause", "resume"]


def test_serving_one_message_may_end_another_without_disorder(stall: Stall) -> None:
    stall.be_ready()
    stall.client.hold()
    for number in range(3):
        stall.hear(task="a", data=number)
    stall.service.answer = lambda client, message: client.go_on()

    stall.client.release()

    assert [data for _, data in stall.tasks()] == [0, 1, 2]


def test_a_dispatch_that_raises_does_not_silence_the_client_for_ever(stall: Stall) -> None:
    stall.be_ready()
    stall.client.hold()
    stall.hear(task="broken")
    stall.hear(task="a")

    def answer(client: Client, message: messages.Message) -> None:
        if message.task == "broken":
            raise RuntimeError("a room handler of the user's own")

    stall.service.answer = answer
    with contextlib.suppress(RuntimeError):
        stall.client.release()
    stall.client.go_on()
    stall.hear(task="b")

    assert [task for task, _ in stall.tasks()] == ["broken", "a", "b"]
    stall.client.closed(1000, "")
    assert stall.service.departures == [(1000, "")]


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


def test_the_refusal_of_a_room_names_the_room(stall: Stall) -> None:
    stall.client.refuse(messages.Message(msgtype="join", room="r", id=2), AccessDenied("no"))

    assert stall.connection.sent == [
        {"task": "", "id": 2, "room": "r", "error": {"code": "access-denied", "message": "no"}}
    ]


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
def test_the_service_hears_of_the_end(stall: Stall, stage: Stage) -> None:
    if stage is Stage.IDENTIFYING:
        stall.hear(session_id="ann")
    elif stage is Stage.READY:
        stall.be_ready()

    stall.client.closed(1001, "bye")

    assert stall.service.departures == [(1001, "bye")]
    assert stall.client.stage is Stage.CLOSED


def test_the_service_hears_of_the_end_at_once_and_what_was_sent_before_is_served(stall: Stall) -> None:
    stall.be_ready()
    stall.client.hold()
    for number in range(3):
        stall.hear(task="a", data=number)

    stall.client.closed(1000, "")
    departures = list(stall.service.departures)
    stall.client.release()

    assert departures == [(1000, "")]
    assert [data for _, data in stall.tasks()] == [0, 1, 2]
    assert stall.service.departures == [(1000, "")]


def test_a_client_that_is_given_up_departs_with_what_waits_unserved(stall: Stall) -> None:
    stall.be_ready()
    stall.client.hold()
    stall.hear(task="a")
    stall.client.closed(1000, "")

    stall.client.give_up()

    assert stall.tasks() == []
    assert stall.service.departures == [(1000, "")]


def test_a_closed_client_is_sent_nothing(stall: Stall) -> None:
    stall.be_ready()
    stall.client.closed(1001, "bye")

    stall.client.send(b'{"task": "a"}')
    stall.client.idle()

    assert stall.connection.sent == []
    assert stall.service.sent == 0


@pytest.mark.parametrize("code", [4003, 4004])
def test_a_client_that_may_not_be_here_any_more_is_not_served_what_it_had_sent(stall: Stall, code: int) -> None:
    stall.be_ready()
    stall.client.hold()
    stall.hear(task="a")

    stall.client.close(code, "log in first")
    stall.client.closed(code, "log in first")
    stall.client.release()

    assert stall.tasks() == []


def test_only_a_client_that_is_known_hears_a_heartbeat(stall: Stall) -> None:
    stall.client.idle()
    before = list(stall.connection.sent)
    stall.be_ready()

    stall.client.idle()

    assert before == []
    assert stall.connection.sent == [{"msgtype": "heartbeat"}]


def test_messages_are_counted_both_ways(stall: Stall) -> None:
    stall.be_ready()
    stall.client.received("nonsense")

    assert (stall.service.received, stall.service.sent) == (2, 1)


def test_the_room_is_the_one_that_was_joined_first(stall: Stall) -> None:
    stall.client.rooms += ["first", "second"]

    assert stall.client.room == "first"


def test_users_are_told_apart_by_id_and_anonymous_ones_by_connection(stall: Stall) -> None:
    assert stall.client.member_key == ("cid", "")
    stall.hear()

    stall.be_known(User())
    assert stall.client.member_key == ("cid", "c1")

    stall.client.user = ANN
    assert stall.client.member_key == ("user", "ann")


def test_binary_messages_are_nothing_to_a_client(stall: Stall) -> None:
    stall.client.received_binary(b"\x00")

    assert stall.client.stage is Stage.NEW
    assert stall.connection.sent == []
