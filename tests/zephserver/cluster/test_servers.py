"""Rooms, users and histories of three servers, with real connections."""

from __future__ import annotations

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.brokers import Broker
from tests.zephserver.cluster.conftest import StartNode, on_every_engine, wait_view, with_a_broker
from tests.zephserver.conftest import PATIENCE, Site, Talker
from zephserver import websocket_client
from zephserver.cluster import bridge
from zephserver.cluster.owners import owner_of
from zephserver.core.core_commands import cluster_status
from zephserver.core.errors import BadMessage, BadRequest, UnknownClient
from zephserver.testing import wait_until


def say(site: Site, data: Any, **where: Any) -> int:
    """A task of this server says something."""
    return site.service.say({"task": "news", "data": data} | where)  # type: ignore[no-any-return]


def news(talker: Talker, count: int) -> list[Any]:
    """The next things that were said."""
    return [talker.hear(task="news")["data"] for _ in range(count)]


def quiet(talker: Talker) -> bool:
    """Whether nothing was said to it, but who came and went."""
    return not [message for message in talker.so_far() if message.get("task") == "news"]


@on_every_engine
@pytest.mark.parametrize("room", ["lobby", "kept lobby"])
def test_a_message_to_a_room_reaches_its_members_on_all_servers_once(nodes: list[Site], room: str) -> None:
    people = [site.join(f"user {number}", room) for number, site in enumerate(nodes)]
    elsewhere = nodes[1].join("somebody", "another room")

    for number, site in enumerate(nodes):
        say(site, number, room=room)
        for one in people:
            assert news(one, 1) == [number]

    assert all(map(quiet, people))
    assert quiet(elsewhere)


@on_every_engine
@pytest.mark.parametrize("room", ["lobby", "kept lobby"])
def test_everybody_hears_one_order_whoever_says_something_at_once(nodes: list[Site], room: str) -> None:
    people = [site.join(f"user {number}", room) for number, site in enumerate(nodes)]
    start = threading.Barrier(len(nodes))

    def speak(number: int) -> None:
        start.wait(PATIENCE)
        for count in range(100):
            say(nodes[number], [number, count], room=room)

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(len(nodes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    heard = [news(one, 300) for one in people]
    assert heard[0] == heard[1] == heard[2]
    for number in range(3):
        assert [count for who, count in heard[0] if who == number] == list(range(100))


def test_say_counts_the_connections_of_all_servers(nodes: list[Site]) -> None:
    ann, bob = nodes[0].join("ann"), nodes[1].join("bob")
    for site in nodes:
        wait_until(lambda site=site: site.rooms.user_count("lobby") == 2, timeout=PATIENCE)

    assert say(nodes[2], 1, room="lobby") == 2
    assert say(nodes[0], 2, room="lobby", **{"except": ann.cid}) == 1
    assert news(ann, 1) == [1]
    assert sorted(news(bob, 2)) == [1, 2]
    assert quiet(ann)


@on_every_engine
def test_a_server_without_members_of_a_room_gets_none_of_its_messages(
    nodes: list[Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = nodes[0].join("ann", "kept r"), nodes[1].join("bob", "kept r")
    heard: list[str] = []
    third = nodes[2].rooms._bridge
    monkeypatch.setattr(third, "_heard", lambda peer, life, note: heard.append(type(note).__name__))
    owned_by_c = third.order.view.owner("kept r") == "c"

    for number in range(50):
        say(nodes[0], number, room="kept r")

    if not owned_by_c:  # an owner has to hear what it orders
        assert news(ann, 50) == news(bob, 50)
        assert not {"Said", "Forward"} & set(heard)


@on_every_engine
def test_users_everybody_and_one_connection_are_reached_wherever_they_are(nodes: list[Site]) -> None:
    ann, ann_too, bob = nodes[0].join("ann", None), nodes[1].join("ann", None), nodes[2].join("bob", None)
    wait_until(lambda: nodes[2].rooms.connection_count("ann") == 2, timeout=PATIENCE)

    assert say(nodes[2], "to ann", users=["ann", "nobody"]) == 2
    assert news(ann, 1) == news(ann_too, 1) == ["to ann"]
    assert say(nodes[2], "to all", all=True) == 3
    assert news(ann, 1) == news(ann_too, 1) == news(bob, 1) == ["to all"]
    say(nodes[2], "to one", cid=ann.cid)
    assert news(ann, 1) == ["to one"]
    assert all(map(quiet, (ann, ann_too, bob)))


@on_every_engine
def test_who_is_in_a_room_is_told_everywhere_and_once(nodes: list[Site]) -> None:
    ann = nodes[0].join("ann")
    bob = nodes[1].join("bob")
    assert ann.hear(msgtype="join")["username"] == "bob"

    tab = nodes[2].join("bob")
    wait_until(lambda: nodes[0].rooms.show_room("lobby")["servers"] == {"a": 1, "b": 1, "c": 1}, timeout=PATIENCE)
    nodes[1].gone(bob)
    wait_until(lambda: nodes[0].rooms.show_room("lobby")["servers"] == {"a": 1, "c": 1}, timeout=PATIENCE)
    assert sorted(ann.users()) == sorted(tab.users()) == ["ann", "bob"]
    assert not [message for message in ann.so_far() if message.get("msgtype") in ("join", "leave")]

    nodes[2].gone(tab)
    assert ann.hear(msgtype="leave")["username"] == "bob"
    assert ann.users() == ["ann"]


@on_every_engine
def test_a_server_that_has_just_begun_knows_who_is_there_before_it_lets_anybody_in(start_node: StartNode) -> None:
    sites = {name: start_node(name) for name in "abc"}
    wait_view(*sites.values())
    sites["b"].join("bob"), sites["c"].join("carl")

    sites.pop("a").server.stop("restart")
    ann = start_node("a").connect()
    ann.send(session_id="ann", room="lobby")

    assert sorted(ann.hear(msgtype="user_list")["data"]) == ["ann", "bob", "carl"]
    assert not [message for message in ann.so_far() if message.get("msgtype") in ("join", "leave")]


@with_a_broker
def test_rooms_are_not_handed_to_a_server_that_still_waits_for_others(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    b, c = start_node("b"), start_node("c")
    wait_view(b, c)
    room = next(room for room in map("kept {}".format, range(99)) if owner_of(room, "abc") == "a")
    bob = b.join("bob", room)
    monkeypatch.setattr(bridge, "GRACE", 3_600.0)

    start_node("a")

    for site in (b, c):
        wait_until(lambda site=site: "a" in site.rooms._bridge._lives, "a is heard", timeout=PATIENCE)
    say(c, 1, room=room)
    assert news(bob, 1) == [1]
    assert [site.on_loop(lambda site=site: site.rooms._bridge.order.view.nodes) for site in (b, c)] == [{"b", "c"}] * 2


def test_a_server_begins_with_those_that_it_can_reach_although_they_have_not_answered(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear = bridge.Bridge._heard
    monkeypatch.setattr(bridge.Bridge, "_heard", lambda self, *note: None if self._me == "a" else hear(self, *note))
    start_node("b"), start_node("c")

    a = start_node("a")

    wait_until(lambda: a.rooms._bridge.order.view.nodes == {"a", "b", "c"}, timeout=PATIENCE)
    assert a.rooms._bridge._lives == {"b": "", "c": ""}


def test_questions_about_users_and_rooms_have_one_answer_on_all_servers(nodes: list[Site]) -> None:
    nodes[0].join("ann", "lobby"), nodes[1].join("ann", "bar"), nodes[1].join("bob", "lobby")

    def answers(site: Site) -> Any:
        return (
            sorted((row["name"], row["users"], row["connections"]) for row in site.rooms.list_rooms()),
            sorted((row["name"], row["connections"], tuple(sorted(row["rooms"]))) for row in site.rooms.list_users()),
            site.rooms.is_online("ann"),
            site.rooms.is_online("eve"),
        )

    expected = (
        [("bar", 1, 1), ("lobby", 2, 2)],
        [("ann", 2, ("bar", "lobby")), ("bob", 1, ("lobby",))],
        True,
        False,
    )
    for site in nodes:
        wait_until(lambda site=site: answers(site) == expected, str(answers(site)), timeout=PATIENCE)


def test_connections_of_a_user_are_closed_from_any_server(nodes: list[Site]) -> None:
    ann, ann_too, bob = nodes[0].join("ann"), nodes[1].join("ann"), nodes[1].join("bob")

    assert nodes[2].service.kick("ann", "go away") == 2
    assert ann.closed() == ann_too.closed() == (4004, "go away")
    with pytest.raises(UnknownClient):
        nodes[2].service.kick("nobody")
    assert nodes[0].service.disconnect_user("bob") == 1
    assert bob.closed()[0] == 4004


def test_the_connections_of_a_user_are_counted_over_all_servers(start_node: StartNode) -> None:
    sites = [start_node(name, MAX_CONNECTIONS_PER_USER=2) for name in "ab"]
    wait_view(*sites)
    sites[0].join("ann"), sites[1].join("ann")
    wait_until(lambda: all(site.rooms.connection_count("ann") == 2 for site in sites), timeout=PATIENCE)

    one_more = sites[0].connect()
    one_more.send(session_id="ann")

    assert one_more.closed()[0] == 4009


@pytest.mark.parametrize(("engine", "back"), [("mesh", 0), ("mesh", 1), ("mesh", 2), ("nats", 2), ("redis", 2)])
def test_who_comes_back_to_any_server_gets_what_was_missed(nodes: list[Site], back: int) -> None:
    ann = nodes[0].join("ann", None)
    place = ann.enter("kept r")
    say(nodes[1], 1, room="kept r")
    offset = ann.hear(task="news")["offset"]
    nodes[0].gone(ann)
    for number in (2, 3, 4):
        say(nodes[number % 3], number, room="kept r")
    wait_until(lambda: nodes[0].on_loop(lambda: _offsets(nodes, "kept r")) >= 4, timeout=PATIENCE)

    again = nodes[back].join("ann", None)
    again.send(msgtype="join", room="kept r", epoch=place["epoch"], offset=offset)

    assert again.hear(msgtype="joined")["recovered"] is True
    assert sorted(news(again, 3)) == [2, 3, 4]
    assert quiet(again)


def _offsets(nodes: list[Site], room: str) -> int:
    found = [site.rooms._histories.find(room) for site in nodes]
    return max(history.offset for history in found if history is not None)


@with_a_broker
def test_what_is_said_while_the_broker_is_down_is_heard_when_it_is_back(nodes: list[Site], broker: Broker) -> None:
    room = next(room for room in map("kept {}".format, range(100)) if nodes[0].rooms._bridge.order.view.is_mine(room))
    ann = nodes[1].join("ann", room)
    say(nodes[0], "before", room=room)
    assert news(ann, 1) == ["before"]

    broker.kill()
    for number in range(3):  # by the owner of the room, which says it once to all who follow it
        say(nodes[0], number, room=room)
    broker.start()

    assert news(ann, 3) == [0, 1, 2]
    assert quiet(ann)


@on_every_engine
def test_a_rolling_restart_loses_nothing_and_makes_no_noise(start_node: StartNode) -> None:
    sites = {name: start_node(name, LEAVE_DELAY=20) for name in "abc"}
    wait_view(*sites.values())
    witness = sites["c"].join("witness", None)
    place = witness.enter("kept r")
    seen: list[Any] = []
    sent = 0
    ann = sites["a"].join("ann", None)
    mine = ann.enter("kept r")
    epoch, offset = mine["epoch"], mine["offset"]
    home = "a"
    for leaving, other in (("a", "b"), ("b", "a")):
        for _ in range(5):
            sent += 1
            say(sites[leaving if sent % 2 else "c"], sent, room="kept r")
        sites[leaving].server.stop("restart")
        del sites[leaving]
        if leaving == home:
            for message in _rest_of(ann):
                epoch, offset = message.get("epoch", epoch), message.get("offset", offset)
                seen += [message["data"]] if message.get("task") == "news" else []
            for _ in range(5):
                sent += 1
                say(sites["c"], sent, room="kept r")
            home = other if other in sites else "c"
            ann = sites[home].join("ann", None)
            ann.send(msgtype="join", room="kept r", epoch=epoch, offset=offset)
            joined = ann.hear(msgtype="joined", room="kept r")
            assert joined["recovered"] is True
            epoch = joined["epoch"]
            missed = news(ann, joined["offset"] - offset)
            seen += missed
            offset = joined["offset"]
        sites[leaving] = start_node(leaving, LEAVE_DELAY=20)
        wait_view(*sites.values())
    seen += news(ann, sent - len(seen))

    assert sorted(seen) == list(range(1, sent + 1))
    assert quiet(ann)
    told = witness.so_far()
    assert [message["data"] for message in told if message.get("task") == "news"] == seen
    assert [message["username"] for message in told if message.get("msgtype") in ("join", "leave")] == ["ann"]
    assert all(message.get("recovered", True) for message in told), place


@on_every_engine
def test_what_is_said_while_the_owners_of_rooms_begin_anew_is_heard_in_order(start_node: StartNode) -> None:
    sites = {name: start_node(name) for name in "abc"}
    wait_view(*sites.values())
    rooms = [next(room for room in map("kept {}".format, range(99)) if owner_of(room, "abc") == name) for name in "ab"]
    witnesses = [sites["c"].join(f"witness of {room}", room) for room in rooms]
    said, stop = itertools.count(), threading.Event()

    def speak() -> None:
        while not stop.wait(0.002):
            number = next(said)
            for room in rooms:
                say(sites["c"], number, room=room)

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        for name in "ab":
            sites.pop(name).server.stop("restart")
            sites[name] = start_node(name)
            wait_view(*sites.values())
    finally:
        stop.set()
        speaker.join()

    count = next(said)
    for witness in witnesses:
        assert news(witness, count) == list(range(count))
        assert quiet(witness)


def _rest_of(talker: Talker) -> list[dict[str, Any]]:
    """What was sent to somebody until the server closed the connection."""
    messages = []
    while True:
        try:
            messages.append(talker.read())
        except ConnectionClosed as over:
            end = over.rcvd
            break
    assert end is not None
    assert end.code == 1012
    return messages


def test_the_metrics_tell_which_rooms_a_server_follows_and_owns(nodes: list[Site]) -> None:
    nodes[0].join("ann", "lobby")

    def value(site: Site, name: str) -> float:
        lines = site.request("GET", "/metrics").body.decode().splitlines()
        return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(name)))

    assert value(nodes[0], 'zephserver_cluster_rooms{how="followed"}') == 1
    assert sum(value(site, 'zephserver_cluster_rooms{how="owned"}') for site in nodes) == 1
    assert value(nodes[0], 'zephserver_cluster_waiting{for="another"}') == 0
    assert value(nodes[0], "zephserver_cluster_room_drops_total") == 0


def test_a_drained_server_takes_nobody_and_is_not_ready(nodes: list[Site]) -> None:
    ann, bob = nodes[0].join("ann"), nodes[1].join("bob")
    wait_until(lambda: nodes[1].rooms.connection_count("ann") == 1, timeout=PATIENCE)

    assert nodes[0].service.drain() == {"clients": 1, "servers": ["b", "c"]}

    code, reason = ann.closed()
    assert (code, list(json.loads(reason))) == (1012, ["retry_after"])
    assert nodes[0].request("GET", "/readyz").status == 503
    assert nodes[1].request("GET", "/readyz").status == 200
    with pytest.raises(InvalidStatus, match="503"):
        nodes[0].connect()
    status = nodes[0].server.status()
    why = "the cluster takes its clients, since it was drained"
    assert (status["drained"], status["ready"], status["not_ready"]) == (True, False, why)
    assert cluster_status(nodes[0].server)["state"] == "drained: its clients go to the other servers"
    assert cluster_status(nodes[1].server)["state"] == "connected"
    wait_until(lambda: nodes[1].rooms._bridge.order.view.nodes == {"b", "c"}, timeout=PATIENCE)
    say(nodes[0], "still works", room="lobby")
    assert news(bob, 1) == ["still works"]


def test_a_lone_server_has_nobody_to_drain_to(site: Site) -> None:
    with pytest.raises(BadRequest, match="no other server of the cluster is there"):
        site.service.drain()


def test_the_last_server_that_takes_clients_is_not_drained(nodes: list[Site], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_client, "SOON", 0.1)
    for site, others in zip(nodes[:2], ({"b", "c"}, {"c"}), strict=True):
        assert site.service.drain()["servers"] == sorted(others)
        wait_until(lambda others=others: nodes[2].rooms._bridge.order.view.nodes == others, timeout=PATIENCE)
        wait_until(lambda others=others: nodes[1].rooms._bridge.order.view.nodes == others, timeout=PATIENCE)
    ann = nodes[2].join("ann")

    with pytest.raises(BadRequest, match="is there to take the clients: a, b send clients away too"):
        nodes[2].service.drain()

    assert nodes[2].request("GET", "/readyz").status == 200
    assert ann.ask("TaskPing")["data"] == "pong"


def test_a_drain_waits_a_moment_for_a_server_that_has_just_started(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = start_node("a")
    monkeypatch.setattr(websocket_client, "SOON", 0.1)
    with pytest.raises(BadRequest, match="no other server of the cluster is there"):
        a.service.drain()

    monkeypatch.setattr(websocket_client, "SOON", PATIENCE)
    with ThreadPoolExecutor(1) as thread:
        drained = thread.submit(a.service.drain)
        start_node("b")

    assert drained.result() == {"clients": 0, "servers": ["b"]}


def test_a_message_that_no_engine_carries_is_refused(nodes: list[Site]) -> None:
    ann = nodes[0].join("ann")

    for where in ({"room": "lobby"}, {"users": ["ann"]}):
        with pytest.raises(BadMessage, match="at most 8388608 go to other servers"):
            say(nodes[0], "x" * 9_000_000, **where)

    assert quiet(ann)
