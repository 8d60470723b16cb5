"""The whole server in this process, visited by real clients: rooms, and what is said to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from zephserver.core.errors import BadMessage
from zephserver.events import ClientClosed
from zephserver.task import Task

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite, Site


class Say(Task):
    """Says something to whom the client names, and answers how many get it."""

    def main(self) -> None:
        self.reply(self.say("hello", task="Heard", **self.data))


class WhoAmI(Task):
    """Answers what the server knows of the client."""

    def main(self) -> None:
        user = self.request["user"]
        known = {name: value for name, value in self.request.items() if name not in ("user", "data")}
        self.reply(known | {"user": [user.id, user.username]})


# -- rooms ------------------------------------------------------------------------------------------------------------


def test_the_room_hears_who_comes_and_goes(site: Site) -> None:
    ann = site.join("ann")

    bob = site.join("bob")
    came = [ann.read(), ann.read()]
    bob.connection.close()
    went = [ann.read(), ann.read()]

    assert came == [
        {"msgtype": "join", "username": "bob", "room": "lobby"},
        {"msgtype": "user_list", "data": ["ann", "bob"], "room": "lobby", "total": 2},
    ]
    assert went == [
        {"msgtype": "leave", "username": "bob", "room": "lobby"},
        {"msgtype": "user_list", "data": ["ann"], "room": "lobby", "total": 1},
    ]


def test_who_is_cut_off_has_left(site: Site) -> None:
    ann, bob = site.join("ann"), site.peer()
    bob.say(session_id="bob", room="lobby")
    ann.hear(msgtype="join", username="bob")

    bob.close()

    assert ann.hear(msgtype="leave")["username"] == "bob"


def test_a_user_with_two_connections_is_listed_once_and_leaves_once(site: Site) -> None:
    ann = site.join("ann")
    first, second = site.join("bob"), site.join("bob")
    ann.hear(msgtype="join")

    site.gone(first)
    before = ann.so_far()
    site.gone(second)

    assert before == []
    assert ann.so_far() == [{"msgtype": "leave", "username": "bob", "room": "lobby"}]


def test_a_message_with_a_room_and_no_task_joins_that_room_too(make_site: MakeSite) -> None:
    site = make_site(WhoAmI)
    ann = site.join("ann", room="first")

    ann.send(room="second")

    assert ann.hear(msgtype="user_list", room="second")["data"] == ["ann"]
    assert sorted(site.rooms.rooms()) == ["first", "second"]
    assert ann.ask("WhoAmI")["data"]["room"] == "first"
    assert ann.ask("WhoAmI", room="second")["data"]["room"] == "second"


def test_a_room_that_one_is_not_in_is_refused(make_site: MakeSite) -> None:
    site = make_site(WhoAmI, Say)
    ann, bob = site.join("ann", room="a"), site.join("bob", room="b")

    assert ann.ask("WhoAmI")["data"]["room"] == "a"
    assert ann.ask("Say", {}, room="b")["error"]["code"] == "access-denied"
    assert bob.silent()


@pytest.mark.parametrize("room", ["", "x" * 2_049])
def test_a_room_without_a_decent_name_is_refused_and_the_connection_lives(site: Site, room: str) -> None:
    ann = site.join("ann", room=None)

    ann.send(room=room)

    assert ann.read()["error"]["code"] == "bad-message"
    assert ann.ask("TaskPing")["data"] == "pong"
    assert site.rooms.rooms() == []


def test_a_room_may_have_the_address_of_a_page_as_its_name(site: Site) -> None:
    room = "http://127.0.0.1:8080/page?x=ü 🙂#top"

    ann = site.join("ann", room=room)

    assert site.rooms.rooms() == [room]
    assert ann.silent()


def test_when_everybody_has_left_nothing_is_kept(site: Site) -> None:
    talkers = [site.join(f"user {number}", room=f"room {number % 3}") for number in range(9)]

    for talker in talkers:
        talker.connection.close()

    for talker in talkers:
        site.wait(ClientClosed, cid=talker.cid)
    assert site.service.stats()["connections"] == 0
    assert site.rooms.rooms() == []
    assert site.rooms.targets({"all": True}) == []
    assert (site.rooms._users, site.service._addresses) == ({}, {})


# -- saying -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "hearers"),
    [
        ({}, ["ann", "ann2", "bob"]),
        ({"room": "lobby"}, ["ann", "ann2", "bob"]),
        ({"room": "other"}, ["carl"]),
        ({"room": "nowhere"}, []),
        ({"users": ["ann", "carl", "nobody"]}, ["ann", "ann2", "carl"]),
        ({"users": []}, []),
        ({"everyone": True}, ["ann", "ann2", "bob", "carl", "dora"]),
        ({"cid": "nobody"}, []),
        ({"except_self": True}, ["ann2", "bob"]),
        ({"users": ["ann"], "except_self": True}, ["ann2"]),
        ({"everyone": True, "except_self": True}, ["ann2", "bob", "carl", "dora"]),
    ],
)
def test_a_task_says_something_to_those_it_names(
    make_site: MakeSite, target: dict[str, Any], hearers: list[str]
) -> None:
    site = make_site(Say)
    people = {
        "ann": site.join("ann"),
        "ann2": site.join("ann"),
        "bob": site.join("bob"),
        "carl": site.join("carl", room="other"),
        "dora": site.join("dora", room=None),
    }
    people["ann"].hear(msgtype="user_list", data=["ann", "bob"])
    room = {"room": "lobby"} if target.keys() <= {"room", "except_self"} else {}

    people["ann"].send(task="Say", data=target, id=1)

    if "ann" in hearers:
        assert people["ann"].read() == {"task": "Heard", "data": "hello", **room}
    assert people["ann"].read() == {"task": "Say", "id": 1, "data": len(hearers)}
    for name, talker in people.items():
        if name in hearers and name != "ann":
            assert talker.hear(task="Heard")["data"] == "hello"
        talker.send(task="TaskPing", id="last")
        while (message := talker.read()).get("id") != "last":
            assert message.get("task") != "Heard"


def test_a_task_says_something_to_one_connection(make_site: MakeSite) -> None:
    site = make_site(Say)
    ann, bob, again = site.join("ann"), site.join("bob"), site.join("bob")

    told = ann.ask("Say", {"cid": bob.cid})["data"]

    assert told == 1
    assert bob.hear(task="Heard") == {"task": "Heard", "data": "hello"}
    assert again.silent()


def test_the_service_says_an_answer_from_any_thread(site: Site) -> None:
    ann, bob = site.join("ann"), site.join("bob")

    told = site.service.say({"task": "news", "data": [1], "room": "lobby"})

    assert told == 2
    assert ann.hear(task="news") == bob.hear(task="news") == {"task": "news", "data": [1], "room": "lobby"}


def test_what_one_thread_says_arrives_in_its_order(site: Site) -> None:
    ann = site.join("ann")

    for number in range(300):
        site.service.say({"task": "news", "data": number, "cid": ann.cid})

    assert [ann.read()["data"] for _ in range(300)] == list(range(300))


@pytest.mark.parametrize(
    "answer",
    [
        {"data": 1, "all": True},
        {"task": None, "all": True},
        {"task": 1, "all": True},
        {"task": "news", "data": 1},
        {"task": "news", "data": object(), "all": True},
    ],
)
def test_an_answer_that_cannot_be_said_is_refused(site: Site, answer: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        site.service.say(answer)
