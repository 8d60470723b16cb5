"""Rooms that remember, over real connections: who comes back gets what was missed, or is told that it is gone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from zephserver.core.errors import BadMessage
from zephserver.task import Task
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite, Site, Talker

KEEP = {"chat-*": (5, 60.0)}


class Chat(Task):
    """Says to the room what it got."""

    async def main(self) -> None:
        self.say(self.data)


class ChatToOthers(Task):
    """Says to the others in the room what it got, from a thread."""

    def main(self) -> None:
        self.say(self.data, task="Chat", except_self=True)


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """Rooms 'chat-*' remember five messages for a minute."""
    return make_site(Chat, ChatToOthers, ROOM_HISTORY=KEEP)


def say(site: Site, *words: Any, room: str = "chat-1") -> None:
    """Say something to a room, from this thread."""
    for word in words:
        site.service.say({"task": "Chat", "data": word, "room": room})


def missed(talker: Talker, **join: Any) -> tuple[dict[str, Any], list[tuple[int, Any]]]:
    """Join; the answer, and offset and data of what came before the list of users."""
    talker.send(msgtype="join", **join)
    joined = talker.hear(msgtype="joined")
    return joined, [(message["offset"], message["data"]) for message in talker.until(msgtype="user_list")]


def come_back(site: Site, name: str = "ann", room: str = "chat-1", **more: Any) -> tuple[Any, list[tuple[int, Any]]]:
    """Somebody new who joins; whether it was recovered, and what was missed."""
    joined, heard = missed(site.join(name, room=None), room=room, **more)
    return joined.get("recovered"), heard


# -- offsets ----------------------------------------------------------------------------------------------------------


def test_who_joins_is_told_where_the_room_is(site: Site) -> None:
    ann = site.join("ann", room=None)

    first = ann.enter("chat-1", id=1)
    say(site, "a", "b")
    second = ann.enter("chat-1", id=2)

    assert first == {"msgtype": "joined", "room": "chat-1", "id": 1, "epoch": first["epoch"], "offset": 0}
    assert first["epoch"]
    assert (second["epoch"], second["offset"]) == (first["epoch"], 2)


def test_every_message_to_the_room_has_the_next_offset(site: Site) -> None:
    ann = site.join("ann", room="chat-1")

    say(site, "a")
    ann.send(task="Chat", data="b")
    ann.send(task="ChatToOthers", data="c")
    wait_until(lambda: site.rooms._histories.find("chat-1").offset == 3, "all three were said")
    say(site, "d")

    heard = [ann.hear(task="Chat") for _ in range(3)]
    assert heard[0] == {"task": "Chat", "data": "a", "room": "chat-1", "offset": 1}
    assert [(message["offset"], message["data"]) for message in heard[1:]] == [(2, "b"), (4, "d")]


def test_what_is_not_said_to_the_room_has_no_offset(site: Site) -> None:
    ann = site.join("ann", room="chat-1")

    for target in ({"all": True}, {"users": ["ann"]}, {"cid": ann.cid}):
        site.service.say({"task": "news", "data": 1, **target})

    assert [ann.hear(task="news") for _ in range(3)] == [{"task": "news", "data": 1}] * 3


def test_rooms_count_for_themselves(site: Site) -> None:
    ann = site.join("ann", room="chat-1")
    other = ann.enter("chat-2")
    lobby = ann.enter("lobby")

    say(site, "a")
    say(site, "b", room="chat-2")
    say(site, "c", room="lobby")

    heard = [ann.hear(task="Chat") for _ in range(3)]
    assert [message.get("offset") for message in heard] == [1, 1, None]
    assert (other["offset"], "offset" in lobby, "epoch" in lobby) == (0, False, False)


def test_a_message_that_json_cannot_carry_takes_no_offset(site: Site) -> None:
    ann = site.join("ann", room="chat-1")

    with pytest.raises(BadMessage):
        say(site, object())
    say(site, "a")

    assert ann.hear(task="Chat")["offset"] == 1


# -- recovery ---------------------------------------------------------------------------------------------------------


def test_who_comes_back_gets_what_was_missed_in_order_and_then_the_new(site: Site) -> None:
    ann, _ = site.join("ann", room=None), site.join("bob", room="chat-1")
    epoch = ann.enter("chat-1")["epoch"]
    say(site, "a")
    ann.hear(task="Chat")
    site.gone(ann)
    say(site, "b", "c")

    again = site.join("ann", room=None)
    joined, heard = missed(again, room="chat-1", epoch=epoch, offset=1, id=9)
    say(site, "d")

    assert joined == {
        "msgtype": "joined",
        "room": "chat-1",
        "id": 9,
        "epoch": epoch,
        "offset": 3,
        "recovered": True,
    }
    assert heard == [(2, "b"), (3, "c")]
    assert again.hear(task="Chat")["offset"] == 4


def test_the_first_message_may_ask_for_what_was_missed(site: Site) -> None:
    ann, _ = site.join("ann", room=None), site.join("bob", room="chat-1")
    epoch = ann.enter("chat-1")["epoch"]
    site.gone(ann)
    say(site, "a")

    again = site.connect()
    again.send(session_id="ann", room="chat-1", epoch=epoch, offset=0)

    assert again.hear(msgtype="joined")["recovered"] is True
    assert again.read()["data"] == "a"


def test_a_message_with_a_room_and_no_task_may_ask_for_it_too(site: Site) -> None:
    ann = site.join("ann", room=None)
    site.join("bob", room="chat-1")
    say(site, "a")

    ann.send(room="chat-1", epoch=site.rooms._histories.find("chat-1").epoch, offset=0)

    assert ann.hear(msgtype="joined")["recovered"] is True
    assert ann.read()["data"] == "a"


@pytest.mark.parametrize(
    ("place", "recovered", "heard"),
    [
        ({"offset": 7}, True, []),
        ({"offset": 4}, True, [(5, 4), (6, 5), (7, 6)]),
        ({"offset": 2}, True, [(3, 2), (4, 3), (5, 4), (6, 5), (7, 6)]),
        ({"offset": 1}, False, []),  # number 2 is gone: five are kept
        ({"offset": 0}, False, []),
        ({"offset": -1}, False, []),
        ({"offset": 8}, False, []),
        ({"offset": 10**30}, False, []),
        ({"offset": 4, "epoch": "other"}, False, []),
        ({"offset": 4, "epoch": ""}, False, []),
        ({"offset": 4, "epoch": None}, False, []),
        ({"offset": None}, False, []),
        ({"offset": None, "epoch": None}, None, []),
    ],
    ids=str,
)
def test_it_is_all_or_nothing(
    site: Site, place: dict[str, Any], recovered: bool | None, heard: list[tuple[int, Any]]
) -> None:
    site.join("bob", room="chat-1")
    say(site, *range(7))
    known = {"epoch": site.rooms._histories.find("chat-1").epoch} | place

    assert come_back(site, **known) == (recovered, heard)


@pytest.mark.parametrize("place", [{"offset": 1.5}, {"offset": "1"}, {"epoch": 5}, {"offset": True}])
def test_a_place_of_the_wrong_kind_is_a_bad_message(site: Site, place: dict[str, Any]) -> None:
    ann = site.join("ann", room=None)

    ann.send(msgtype="join", room="chat-1", **place)

    assert ann.read()["error"]["code"] == "bad-message"


def test_a_room_without_a_history_recovers_nothing(site: Site) -> None:
    site.join("bob", room="lobby")
    say(site, "a", room="lobby")

    assert come_back(site, room="lobby", epoch="e", offset=0) == (False, [])


def test_a_room_that_was_made_anew_recovers_nothing(make_site: MakeSite) -> None:
    site = make_site(ROOM_HISTORY={"*": (5, 0.2)})
    bob = site.join("bob", room=None)
    epoch = bob.enter("r")["epoch"]
    say(site, "a", room="r")
    site.gone(bob)

    wait_until(lambda: site.rooms._histories.sweep(site.rooms._loop.time()) or not len(site.rooms._histories), "gone")

    assert come_back(site, room="r", epoch=epoch, offset=1) == (False, [])


def test_what_is_too_old_is_not_recovered(make_site: MakeSite) -> None:
    site = make_site(ROOM_HISTORY={"*": (5, 0.1)})
    site.join("bob", room="r")
    say(site, "a", room="r")
    epoch = site.rooms._histories.find("r").epoch

    wait_until(lambda: site.rooms._histories.since("r", epoch, 0, site.rooms._loop.time()) is None, "too old")

    assert come_back(site, room="r", epoch=epoch, offset=0) == (False, [])
    assert come_back(site, room="r", epoch=epoch, offset=1) == (True, [])


@pytest.mark.parametrize(("count", "recovered"), [(4, True), (5, False)])
def test_more_than_half_a_send_queue_is_not_recovered(make_site: MakeSite, count: int, recovered: bool) -> None:
    site = make_site(ROOM_HISTORY={"*": (10, 60)}, SEND_QUEUE_BYTES=100_000)
    site.join("bob", room="r")
    say(site, *["x" * 10_000] * count, room="r")
    epoch = site.rooms._histories.find("r").epoch

    told, heard = come_back(site, room="r", epoch=epoch, offset=0)

    assert told is recovered
    assert len(heard) == (count if recovered else 0)


def test_when_all_histories_are_full_the_oldest_is_gone(make_site: MakeSite) -> None:
    site = make_site(ROOM_HISTORY={"*": (10, 60)}, HISTORY_BYTES=1_000)
    site.join("bob", room="r")
    say(site, *["x" * 300] * 4, room="r")
    epoch = site.rooms._histories.find("r").epoch

    assert come_back(site, "ann", room="r", epoch=epoch, offset=0) == (False, [])
    assert len(come_back(site, "carl", room="r", epoch=epoch, offset=2)[1]) == 2
    assert site.rooms._histories.size <= 1_000


def test_a_room_that_nobody_is_in_remembers(site: Site) -> None:
    bob = site.join("bob", room=None)
    epoch = bob.enter("chat-1")["epoch"]
    site.gone(bob)

    say(site, "a", "b")

    assert site.rooms.rooms() == []
    assert come_back(site, epoch=epoch, offset=0) == (True, [(1, "a"), (2, "b")])


def test_joining_where_one_is_recovers_nothing_and_repeats_nothing(site: Site) -> None:
    ann = site.join("ann", room=None)
    epoch = ann.enter("chat-1")["epoch"]
    say(site, "a")
    ann.hear(task="Chat")

    joined, heard = missed(ann, room="chat-1", epoch=epoch, offset=0)

    assert ("recovered" in joined, heard) == (False, [])


def test_what_one_said_to_the_others_is_missed_from_an_earlier_connection(site: Site) -> None:
    ann, bob = site.join("ann", room=None), site.join("bob", room="chat-1")
    epoch = ann.enter("chat-1")["epoch"]

    ann.send(task="ChatToOthers", data="hello", id=1)

    assert bob.hear(task="Chat")["data"] == "hello"
    assert [message for message in ann.until(id=1) if message.get("task") == "Chat"] == []
    site.gone(ann)
    assert come_back(site, epoch=epoch, offset=0) == (True, [(1, "hello")])


def test_the_service_may_be_restarted_and_histories_stay(site: Site) -> None:
    bob = site.join("bob", room=None)
    epoch = bob.enter("chat-1")["epoch"]
    say(site, "a")
    bob.enter("lobby")

    site.server.services.disable_service("zephserver.websocket_client/WebsocketClient")
    freed = (site.rooms.rooms(), site.rooms.clients(), site.rooms._users, site.service._clients)
    unheard = site.service.say({"task": "Chat", "data": "nobody", "room": "chat-1"})
    site.server.services.enable_service("zephserver.websocket_client/WebsocketClient")
    site.server.services.wait_ready(timeout=5)
    site.locate()

    assert freed == ([], [], {}, set())
    assert unheard == 0
    assert come_back(site, epoch=epoch, offset=0) == (True, [(1, "a")])
    assert set(site.rooms._histories._resting) == set()


def test_one_who_leaves_and_joins_at_once_hears_nothing_twice(site: Site) -> None:
    ann = site.join("ann", room=None)
    epoch = ann.enter("chat-1")["epoch"]
    [client] = site.rooms.clients()

    def leave_and_join() -> None:
        saying = threading.Thread(target=say, args=(site, "a"))  # between two messages of the client
        saying.start()
        saying.join()
        site.rooms.leave(client, "chat-1")
        site.rooms.join(client, "chat-1", epoch=epoch, offset=0)

    site.on_loop(leave_and_join)

    heard = [message["offset"] for message in ann.so_far() if message.get("task") == "Chat"]
    assert heard == [1]


def test_many_who_come_at_once_and_speak_at_once_are_all_served(make_site: MakeSite) -> None:
    """What they say makes the loop do what waits in the portal, and that is others who come and speak."""
    site = make_site(Chat, ROOM_HISTORY=KEEP, PRESENCE_LIMIT=1, LEAVE_DELAY=60)
    count = 200
    wires = [site.peer() for _ in range(count)]
    gate, paused = threading.Event(), threading.Event()
    portal = site.service.portal
    look_up = site.service.reception._sessions.get_user_session
    looked_up: list[Any] = []

    def slow_look_up(instance: Any, message: Any) -> Any:
        paused.wait(10)
        looked_up.append(instance)
        return look_up(instance, message)

    site.service.reception._sessions.get_user_session = slow_look_up
    for number, wire in enumerate(wires):
        wire.say(session_id=number, room="chat-1", task="Chat", data=number, id=number)
    wait_until(lambda: site.service.received == count, "all have spoken")
    portal.call_soon(lambda: (paused.set(), gate.wait(10)))  # the loop is busy for a while
    wait_until(lambda: len(looked_up) == count, "all are known")
    gate.set()

    try:
        wait_until(lambda: len(site.rooms.members("chat-1")) == count, "all are in the room", timeout=5)
        assert site.rooms._histories.find("chat-1").offset == count
    finally:
        del site.service.reception._sessions.get_user_session
