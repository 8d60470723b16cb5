"""How connections live and end, over real sockets: heartbeats, a good-bye, a kick, a page that is loaded again."""

from __future__ import annotations

import json
import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.zephserver.tasks import Echo, task, waiting
from zephserver.core.errors import UnknownClient
from zephserver.events import ClientClosed
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite, Site

ENGINES = ["picows", "threaded"]
BEAT = {"msgtype": "heartbeat"}


# -- heartbeats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_who_hears_nothing_else_hears_heartbeats(make_site: MakeSite, engine: str) -> None:
    site = make_site(PING_INTERVAL=0.1, WEBSOCKET_ENGINE=engine)
    ann = site.connect()
    ann.send(session_id="ann")

    assert ann.read()["heartbeat"] == 0.1
    assert [ann.read() for _ in range(3)] == [BEAT] * 3


@pytest.mark.parametrize("engine", ENGINES)
def test_nobody_hears_a_heartbeat_before_the_welcome(make_site: MakeSite, engine: str) -> None:
    site = make_site(PING_INTERVAL=0.05, IDENTIFY_TIMEOUT=0.4, WEBSOCKET_ENGINE=engine)
    wire = site.peer()
    kinds = []
    while (kind := wire.read_frame()[0]) not in (0x8, -1):
        kinds.append(kind)

    assert 0x1 not in kinds


def test_who_hears_something_else_hears_no_heartbeat(make_site: MakeSite) -> None:
    site = make_site(PING_INTERVAL=0.5)
    ann = site.join("ann", room=None)
    ended = threading.Event()

    def speak() -> None:
        while not ended.wait(0.05):
            site.service.say({"task": "news", "data": 1, "all": True})

    speaking = threading.Thread(target=speak)
    speaking.start()
    heard = [ann.read() for _ in range(25)]
    ended.set()
    speaking.join()

    assert BEAT not in heard


@pytest.mark.parametrize("engine", ENGINES)
def test_heartbeats_go_on_while_the_server_does_not_read(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any], engine: str
) -> None:
    site = make_site(
        waiting("Slow", gate, began),
        PING_INTERVAL=0.1,
        PING_TIMEOUT=0.2,
        TASKS_PER_CLIENT=1,
        MESSAGE_RATE=None,
        WEBSOCKET_ENGINE=engine,
    )
    ann = site.join("ann", room=None)
    for number in range(200):
        ann.send(task="Slow", data=number)
    began.get(timeout=5)

    assert [ann.read() for _ in range(5)] == [BEAT] * 5
    gate.set()
    assert [message["data"] for message in (ann.hear(task="Slow") for _ in range(200))] == list(range(200))


# -- a good-bye -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_sent_before_a_close_is_all_served(make_site: MakeSite, engine: str) -> None:
    effects: list[Any] = []
    effect = task("Effect", lambda self: effects.append(self.data))
    site = make_site(effect, MESSAGE_RATE=None, WEBSOCKET_ENGINE=engine)
    wire = site.peer()
    wire.hold()
    wire.say(session_id="ann", room="lobby")
    for number in range(100):
        wire.say(task="Effect", data=number)
    wire.frame(0x8, b"\x03\xe8")
    wire.release()

    assert wire.close_code() == 1000

    wire.close()
    wait_until(lambda: len(effects) == 100, "all are served")
    assert effects == list(range(100))
    site.wait(ClientClosed, code=1000)
    assert site.rooms.clients() == []


def test_what_was_sent_before_the_line_was_cut_is_served_too(make_site: MakeSite) -> None:
    effects: list[Any] = []
    site = make_site(task("Effect", lambda self: effects.append(self.data)), Echo, MESSAGE_RATE=None)
    wire = site.peer()
    wire.say(session_id="ann")
    wire.wait_frame(0x1)
    for number in range(50):
        wire.say(task="Effect", data=number)

    wire.close()

    wait_until(lambda: len(effects) == 50, "all are served")
    assert effects == list(range(50))


def test_who_joins_with_the_last_words_is_no_news(make_site: MakeSite) -> None:
    site = make_site(task("Slow", lambda self: None), TASKS_PER_CLIENT=1, MESSAGE_RATE=None)
    ann, wire = site.join("ann"), site.peer()
    wire.say(session_id="bob")
    wire.wait_frame(0x1)
    wire.hold()
    for _ in range(20):
        wire.say(task="Slow")
    wire.say(msgtype="join", room="lobby")
    wire.frame(0x8, b"\x03\xe8")
    wire.release()

    wire.close()
    site.wait(ClientClosed, code=1000)

    assert ann.silent()


# -- a kick -----------------------------------------------------------------------------------------------------------


def kick(site: Site, *words: str) -> Any:
    """What `zephctl clients kick` asks."""
    return site.server.table.find("clients.kick").call(words, {})


def test_the_program_ends_every_connection_of_a_user(site: Site) -> None:
    ann, again, bob = site.join("ann", room=None), site.join("ann", room=None), site.join("bob", room=None)

    ended = site.service.disconnect_user("ann", "house rules")

    assert ended == 2
    assert ann.closed() == again.closed() == (4004, "house rules")
    assert bob.silent()
    assert site.service.disconnect_user("nobody") == 0


def test_a_user_is_found_by_the_id_that_it_is_and_not_one_like_it(site: Site) -> None:
    number, text = site.join(7, room=None), site.join("7", room=None)

    assert site.service.disconnect_user(7) == 1
    assert number.closed()[0] == 4004
    assert text.silent()


@pytest.mark.parametrize("who", ["Ann", "7"])
def test_an_operator_kicks_a_user_by_name_or_id(site: Site, who: str) -> None:
    ann, bob = site.join({"id": 7, "username": "Ann"}, room=None), site.join("bob", room=None)

    assert kick(site, who) == 1

    assert ann.closed() == (4004, "disconnected")
    assert bob.silent()


def test_an_operator_kicks_one_connection_by_its_cid(site: Site) -> None:
    ann, again = site.join("ann", room=None), site.join("ann", room=None)

    assert kick(site, ann.cid, "this tab only") == 1

    assert ann.closed() == (4004, "this tab only")
    assert again.silent()
    with pytest.raises(UnknownClient):
        kick(site, "nobody")


@pytest.mark.parametrize("reason", ["", "x" * 10_000, "é" * 100, "🙂" * 31])
def test_a_reason_may_be_any_text(site: Site, reason: str) -> None:
    ann = site.join("ann", room=None)

    site.service.disconnect_user("ann", reason)

    code, told = ann.closed()
    assert (code, reason.startswith(told), len(told.encode()) <= 123) == (4004, True, True)


def test_who_was_kicked_is_not_served_what_waited(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    site = make_site(waiting("Slow", gate, began), TASKS_PER_CLIENT=1)
    ann = site.join("ann", room=None)
    ann.send(task="Slow", data="before"), ann.send(task="Slow", data="behind")
    assert began.get(timeout=5) == "before"
    wait_until(lambda: site.service.received == 3, "the server has both")

    site.service.disconnect_user("ann")
    assert ann.closed()[0] == 4004
    gate.set()

    wait_until(lambda: site.service.stats()["connections"] == 0, "the connection is forgotten")
    assert began.empty()


# -- a page that is loaded again --------------------------------------------------------------------------------------


def test_a_page_that_is_loaded_again_is_no_news(make_site: MakeSite) -> None:
    site = make_site(LEAVE_DELAY=30)
    ann, bob = site.join("ann"), site.join("bob")
    ann.hear(msgtype="join")

    site.gone(bob)
    listed = ann.users()
    again = site.join("bob")

    assert listed == ["ann", "bob"]
    assert ann.silent()
    assert again.users() == ["ann", "bob"]


def test_a_user_who_does_not_come_back_has_left_after_a_while(make_site: MakeSite) -> None:
    site = make_site(LEAVE_DELAY=0.3)
    ann, bob = site.join("ann"), site.join("bob")
    ann.hear(msgtype="join")

    site.gone(bob)

    assert ann.silent()
    assert ann.hear(msgtype="leave")["username"] == "bob"
    assert ann.hear(msgtype="user_list")["data"] == ["ann"]


def test_whoever_says_so_or_is_anonymous_has_left_at_once(make_site: MakeSite) -> None:
    site = make_site(LEAVE_DELAY=30)
    ann, bob, nobody = site.join("ann"), site.join("bob"), site.join(None)
    ann.hear(msgtype="join", username="anonymous")

    bob.send(msgtype="leave", room="lobby")
    said = ann.hear(msgtype="leave")["username"]
    site.gone(nobody)

    assert (said, ann.hear(msgtype="leave")["username"]) == ("bob", "anonymous")


def test_a_user_with_three_tabs_is_one(site: Site) -> None:
    ann = site.join("ann")
    tabs = [site.join("bob") for _ in range(3)]

    came = ann.so_far()
    site.gone(*tabs[:2])
    stays = ann.so_far()
    site.gone(tabs[2])

    assert came == [{"msgtype": "join", "username": "bob", "room": "lobby"}]
    assert stays == []
    assert ann.so_far() == [{"msgtype": "leave", "username": "bob", "room": "lobby"}]


def test_a_large_room_is_not_told_who_comes_and_goes(make_site: MakeSite) -> None:
    site = make_site(PRESENCE_LIMIT=3)
    people = [site.join(name) for name in "abc"]
    people[0].hear(msgtype="user_list", total=3)
    many = [site.join(str(number)) for number in range(5)]

    many[-1].send(msgtype="user_list", room="lobby", id=1)
    asked = many[-1].hear(id=1)
    site.gone(*many)
    site.gone(people[2])

    assert (asked["data"], asked["total"]) == (["a", "b", "c"], 8)
    told = [(message["msgtype"], message["username"]) for message in people[0].so_far()]
    assert told[-1] == ("leave", "c")
    assert len(told) == 2  # the other one made the room small enough
    assert people[0].users() == ["a", "b"]


# -- the service ------------------------------------------------------------------------------------------------------


def test_the_time_to_come_back_differs_from_client_to_client(make_site: MakeSite) -> None:
    site = make_site(DRAIN_BATCH=5, DRAIN_INTERVAL=0.1)
    people = [site.join(number, room=None) for number in range(20)]

    site.server.stop()

    times = [json.loads(one.closed()[1])["retry_after"] for one in people]
    assert all(0.5 <= time <= 1.0 for time in times)
    assert len(set(times)) > 1


def test_a_restart_frees_everything(make_site: MakeSite) -> None:
    site = make_site(Echo, LEAVE_DELAY=30)
    people = [site.join(number, room=f"room {number % 3}") for number in range(9)]
    site.gone(*people[:3])

    site.server.services.disable_service("zephserver.websocket_client/WebsocketClient")

    rooms = site.rooms
    assert (rooms.rooms(), rooms.clients(), rooms._users) == ([], [], {})
    assert (site.service._clients, site.service._addresses) == (set(), {})
    assert site.router.running() == 0
