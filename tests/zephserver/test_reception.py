"""Into rooms and out of them over a real connection, and who may be there: asked in threads, answered in order."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.zephserver.tasks import Echo, ThreadEcho, task
from zephserver.events import ClientClosed, ClientRefused
from zephserver.room_handler import RoomHandler
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.conftest import Doorkeeper, MakeSite, Site

LONG = "x" * 2_049
DENIED = {"code": "access-denied", "message": "this room is not for you"}


# -- joining and leaving ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", [None, 0, 7, "a"])
def test_joining_and_leaving_are_answered_with_the_id(site: Site, id: Any) -> None:
    ann = site.join("ann", room=None)
    more = {} if id is None else {"id": id}

    ann.send(msgtype="join", room="news", **more)
    joined, listed = ann.read(), ann.read()
    ann.send(msgtype="user_list", room="news", **more)
    asked = ann.read()
    ann.send(msgtype="leave", room="news", **more)

    assert joined == {"msgtype": "joined", "room": "news", **more}
    assert listed == {"msgtype": "user_list", "data": ["ann"], "room": "news", "total": 1}
    assert asked == {**listed, **more}
    assert ann.read() == {"msgtype": "left", "room": "news", **more}
    assert site.rooms.rooms() == []


def test_one_may_be_in_several_rooms_and_hears_each(site: Site) -> None:
    ann, bob = site.join("ann", room="a"), site.join("bob", room="c")
    ann.enter("b")
    ann.enter("c", id="third")

    for room in ("a", "b", "c"):
        site.service.say({"task": "news", "data": room, "room": room})

    assert [ann.hear(task="news")["room"] for _ in range(3)] == ["a", "b", "c"]
    assert bob.hear(task="news")["room"] == "c"
    assert [row["rooms"] for row in site.service.list_clients() if row["cid"] == ann.cid] == [["a", "b", "c"]]


def test_a_task_gets_the_room_that_is_named_or_the_first(make_site: MakeSite) -> None:
    ann = make_site(task("Where", lambda self: self.reply(self.request["room"]))).join("ann", room="a")
    ann.enter("b")

    assert [ann.ask("Where")["data"], ann.ask("Where", room="b")["data"]] == ["a", "b"]
    ann.send(msgtype="leave", room="a")
    assert ann.ask("Where")["data"] == "b"


def test_who_has_left_a_room_hears_nothing_from_it(site: Site) -> None:
    ann, bob = site.join("ann"), site.join("bob")
    ann.hear(msgtype="join")

    bob.send(msgtype="leave", room="lobby")
    bob.hear(msgtype="left")
    site.service.say({"task": "news", "data": 1, "room": "lobby"})

    assert ann.hear(msgtype="leave") == {"msgtype": "leave", "username": "bob", "room": "lobby"}
    assert ann.hear(task="news")["data"] == 1
    assert bob.silent()


def test_joining_again_is_answered_and_no_news(site: Site) -> None:
    ann, bob = site.join("ann"), site.join("bob")
    ann.hear(msgtype="join")

    bob.enter("lobby", id=1)

    assert ann.silent()
    assert ann.users() == ["ann", "bob"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"msgtype": "join"}, "bad-message"),
        ({"msgtype": "join", "room": ""}, "bad-message"),
        ({"msgtype": "join", "room": LONG}, "bad-message"),
        ({"room": LONG}, "bad-message"),
        ({"msgtype": "leave", "room": "nowhere"}, "access-denied"),
        ({"msgtype": "leave"}, "access-denied"),
        ({"msgtype": "user_list", "room": "nowhere"}, "access-denied"),
        ({"msgtype": "welcome"}, "bad-message"),
        ({"msgtype": ""}, "bad-message"),
        ({}, "bad-message"),
        ({"task": None, "data": 1}, "bad-message"),
        ({"msgtype": "x" * 10_000}, "bad-message"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_with_a_verb_is_told_with_its_id_and_room(site: Site, message: dict[str, Any], code: str) -> None:
    ann = site.join("ann")

    ann.send(**message, id=1)

    answer = ann.read()
    room = {"room": message["room"]} if "room" in message else {}
    assert answer == {"task": "", "id": 1, **room, "error": {"code": code, "message": answer["error"]["message"]}}
    assert len(answer["error"]["message"]) < 200
    assert ann.users() == ["ann"]


def test_a_name_of_2048_characters_is_a_room(site: Site) -> None:
    ann = site.join("ann", room="é" * 2_048)

    assert site.rooms.rooms() == ["é" * 2_048]
    assert ann.silent()


def test_a_connection_in_as_many_rooms_as_it_may_be_is_told_so(make_site: MakeSite) -> None:
    site = make_site(ROOMS_PER_CLIENT=2)
    ann = site.join("ann", room="a")
    ann.enter("b")

    ann.send(msgtype="join", room="c", id=1)
    refused = ann.read()
    ann.send(msgtype="leave", room="a")

    assert (refused["id"], refused["room"], refused["error"]["code"]) == (1, "c", "too-many-rooms")
    assert ann.enter("c")
    assert sorted(site.rooms.rooms()) == ["b", "c"]


def test_a_full_room_is_told_until_somebody_leaves(make_site: MakeSite) -> None:
    site = make_site(ROOM_MEMBERS=1)
    ann, bob = site.join("ann"), site.join("bob", room=None)

    bob.send(msgtype="join", room="lobby")
    refused = bob.read()
    site.gone(ann)

    assert (refused["room"], refused["error"]["code"]) == ("lobby", "room-full")
    assert bob.enter("lobby")


def test_a_first_message_may_be_a_verb(site: Site) -> None:
    ann = site.connect()

    ann.send(msgtype="join", room="lobby", session_id="ann", id=5)

    assert ann.read()["user"]["id"] == "ann"
    assert ann.read() == {"msgtype": "joined", "room": "lobby", "id": 5}


@pytest.mark.parametrize("room", ["", LONG, "secret"])
def test_a_first_request_gets_one_answer_even_if_its_room_is_refused(make_site: MakeSite, room: str) -> None:
    site = make_site(Echo, room_handler=rule(lambda user, room: room != "secret"))
    ann = site.connect()

    ann.send(session_id="ann", room=room, task="Echo", data="x", id=1)

    ann.hear(msgtype="welcome")
    assert len([message for message in ann.so_far() if message.get("id") == 1]) == 1


# -- who may ----------------------------------------------------------------------------------------------------------


def rule(may_join: Callable[[Any, str], Any]) -> type[RoomHandler]:
    """A room handler with this rule."""
    return type("Rooms", (RoomHandler,), {"may_join": lambda self, user, room: may_join(user, room)})


class Bouncer:
    """Answers for may_join() when the test says so."""

    def __init__(self) -> None:
        self.asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.handler = rule(self.may_join)

    def may_join(self, user: Any, room: str) -> Any:
        self.asked.put(room)
        return self.answers.get(timeout=10)


@pytest.fixture
def bouncer() -> Iterator[Bouncer]:
    bouncer = Bouncer()
    yield bouncer
    for _ in range(100):  # whoever still waits
        bouncer.answers.put(False)


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    "answer",
    [
        lambda: False,
        lambda: None,
        lambda: 1,
        lambda: "yes",
        lambda: [True],
        lambda: _raise(RuntimeError("the database is gone")),
        lambda: _raise(KeyboardInterrupt()),
        lambda: sys.exit(0),
    ],
    ids=["false", "none", "one", "text", "list", "raises", "interrupt", "exit"],
)
def test_a_room_is_refused_unless_the_answer_is_true(make_site: MakeSite, answer: Callable[[], Any]) -> None:
    site = make_site(room_handler=rule(lambda user, room: answer() if room == "secret" else True))
    ann = site.join("ann")

    ann.send(msgtype="join", room="secret", id=1)

    assert ann.read() == {"task": "", "id": 1, "room": "secret", "error": DENIED}
    assert site.rooms.rooms() == ["lobby"]
    assert ann.enter("other")


def test_a_refused_first_room_leaves_the_connection_alone(make_site: MakeSite) -> None:
    site = make_site(Echo, room_handler=rule(lambda user, room: user.id == "ann"))
    bob = site.connect()

    bob.send(session_id="bob", room="lobby")

    assert bob.read()["msgtype"] == "welcome"
    assert bob.read() == {"task": "", "room": "lobby", "error": DENIED}
    assert bob.ask("Echo", 1)["data"] == 1
    assert site.join("ann").silent()


def test_what_comes_behind_a_join_waits_until_it_was_decided(make_site: MakeSite, bouncer: Bouncer) -> None:
    site = make_site(Echo, ThreadEcho, room_handler=bouncer.handler)
    ann, bob = site.join("ann", room=None), site.join("bob", room=None)
    ann.send(msgtype="join", room="slow", id=1)
    ann.send(task="Echo", data=2, room="slow", id=2)
    ann.send(task="ThreadEcho", data=3, id=3)
    ann.send(msgtype="join", room="second", id=4)
    ann.send(msgtype="leave", room="slow", id=5)
    assert bouncer.asked.get(timeout=5) == "slow"
    assert bob.ask("Echo", "meanwhile")["data"] == "meanwhile"
    assert bouncer.asked.empty()

    bouncer.answers.put(True)
    assert bouncer.asked.get(timeout=5) == "second"
    bouncer.answers.put(False)

    heard = [ann.read() for _ in range(6)]
    ids = [message["id"] for message in heard if "id" in message and message.get("task") != "ThreadEcho"]
    assert ids == [1, 2, 4, 5]
    assert {"task": "ThreadEcho", "data": 3, "id": 3} in heard


def test_a_room_that_one_is_in_is_not_asked_about_again(make_site: MakeSite, bouncer: Bouncer) -> None:
    site = make_site(room_handler=bouncer.handler)
    bouncer.answers.put(True)
    ann = site.join("ann")

    ann.enter("lobby")

    assert bouncer.asked.get(timeout=5) == "lobby"
    assert bouncer.asked.empty()


def test_who_has_gone_meanwhile_does_not_join(make_site: MakeSite, bouncer: Bouncer) -> None:
    site = make_site(room_handler=bouncer.handler)
    ann, bob = site.join("ann", room=None), site.join("bob", room=None)
    ann.send(msgtype="join", room="slow")
    bouncer.asked.get(timeout=5)

    ann.connection.close()
    bouncer.answers.put(True)
    site.wait(ClientClosed, cid=ann.cid)

    assert bob.silent()
    assert site.rooms.rooms() == []
    assert [row["cid"] for row in site.service.list_clients()] == [bob.cid]


def test_an_override_of_join_that_raises_hurts_nobody_for_ever(make_site: MakeSite) -> None:
    class Rooms(RoomHandler):
        def join(self, client: Any, name: str, *args: Any, **more: Any) -> None:
            if name == "broken":
                raise RuntimeError("a mistake in a room handler")
            super().join(client, name, *args, **more)

    site = make_site(Echo, room_handler=Rooms)
    ann = site.connect()
    ann.send(session_id="ann", msgtype="join", room="broken")
    ann.hear(msgtype="welcome")

    ann.connection.close()

    wait_until(lambda: site.service.stats()["connections"] == 0, "the connection is forgotten")


def test_when_too_many_look_ups_wait_a_join_is_refused_and_what_comes_behind_goes_on(
    make_site: MakeSite, bouncer: Bouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zephserver.reception.THREADS", 1)
    site = make_site(Echo, room_handler=bouncer.handler, MAX_CONNECTIONS=1)
    ann = site.join("ann", room=None)
    pool = site.service.reception._pool
    wait_until(lambda: pool._idle == 1, "its thread has found Ann")
    waiting = [pool.submit("test", bouncer.answers.get) for _ in range(2)]

    ann.send(msgtype="join", room="r", id=1)
    ann.send(task="Echo", id=2)

    assert waiting == [True, True]
    refused = ann.read()
    assert (refused["id"], refused["error"]["code"]) == (1, "overloaded")
    assert ann.read()["id"] == 2


# -- who is it --------------------------------------------------------------------------------------------------------


def test_a_connection_that_was_given_up_is_refused_once(make_site: MakeSite, doorkeeper: type[Doorkeeper]) -> None:
    site = make_site(session_manager=doorkeeper, IDENTIFY_TIMEOUT=0.2)
    doorkeeper.gate.clear()
    ann = site.peer()  # does not answer the close frame
    ann.say(session_id="raise")
    assert ann.close_code() == 1013

    doorkeeper.gate.set()
    site.wait_log("the database is gone")
    assert site.request("GET", "/readyz").status == 200  # whatever the thread gave to the loop has run

    assert len([event for event in site.events if isinstance(event, ClientRefused)]) == 1


class Unusual:
    """A user whose id is none."""

    username = "odd"

    def __init__(self, id: Any) -> None:
        self.id = id


@pytest.mark.parametrize(
    "user",
    [Unusual(["a", "list"]), Unusual(object()), {"id": 1, "username": "odd"}, True],
    ids=["unhashable", "not for JSON", "dict", "bool"],
)
@pytest.mark.parametrize("settings", [{}, {"MAX_CONNECTIONS_PER_USER": 5}], ids=["", "with a limit"])
def test_a_user_that_is_none_is_a_mistake_of_the_session_manager(
    make_site: MakeSite, user: Any, settings: dict[str, Any]
) -> None:
    class Sessions:
        disabled = threading.Event()

        def main(self) -> None:
            self.disabled.wait()

        def disable(self) -> None:
            self.disabled.set()

        def get_user_session(self, instance: Any, message: Any) -> Any:
            return user

    site = make_site(session_manager=Sessions, **settings)
    odd = site.connect()

    odd.send(session_id="odd")

    assert odd.closed()[0] == 1011


def test_too_many_look_ups_close_with_1013(
    make_site: MakeSite, doorkeeper: type[Doorkeeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zephserver.reception.THREADS", 1)
    site = make_site(session_manager=doorkeeper, MAX_CONNECTIONS=1)
    doorkeeper.gate.clear()
    for _ in range(2):
        assert site.service.reception._pool.submit("test", doorkeeper.gate.wait)
    ann = site.connect()

    ann.send(session_id="ann")

    assert ann.closed() == (1013, "try again later")
    doorkeeper.gate.set()
