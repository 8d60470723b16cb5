"""The whole server in this process, visited by real clients: who they are, and how a server begins and ends."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import WebSocketException

from zephserver.core.errors import StartFailed
from zephserver.core.settings import make_settings
from zephserver.events import ClientClosed, ClientConnected, ClientRefused, Listening
from zephserver.task import Task
from zephserver.testing import wait_until
from zephserver.websocket_client import WebsocketClient

if TYPE_CHECKING:
    from tests.zephserver.conftest import Doorkeeper, MakeSite, Site


class Echo(Task):
    """Answers with what it got."""

    async def main(self) -> None:
        self.reply(self.data)


# -- the first message ------------------------------------------------------------------------------------------------


def test_the_first_message_is_answered_by_a_welcome(site: Site) -> None:
    ann = site.connect()

    ann.send(session_id={"id": 7, "username": "Ann"})

    welcome = ann.read()
    assert welcome == {
        "msgtype": "welcome",
        "cid": welcome["cid"],
        "user": {"id": 7, "username": "Ann"},
        "heartbeat": 20.0,
    }
    assert welcome["cid"]


@pytest.mark.parametrize(
    ("first", "user"),
    [
        ({"session_id": {"id": 7, "username": "Ann"}}, {"id": 7, "username": "Ann"}),
        ({"session_id": "ann"}, {"id": "ann", "username": "ann"}),
        ({"session_id": 10**30}, {"id": 10**30, "username": str(10**30)}),
        ({"session_id": None}, {"id": None, "username": "anonymous"}),
        ({}, {"id": None, "username": "anonymous"}),
        ({"date": 1424300000000, "strange": []}, {"id": None, "username": "anonymous"}),
    ],
)
def test_the_welcome_tells_who_one_is(site: Site, first: dict[str, Any], user: dict[str, Any]) -> None:
    ann = site.connect()

    ann.send(**first)

    assert ann.read()["user"] == user


def test_everybody_has_a_cid_of_their_own(site: Site) -> None:
    assert len({site.join("ann").cid for _ in range(5)}) == 5


@pytest.mark.parametrize("session_id", [True, 1.5, [], {}, {"id": None}, "a\nb"])
def test_a_refused_user_is_closed_with_4003(site: Site, session_id: Any) -> None:
    ann = site.connect()

    ann.send(session_id=session_id, room="lobby")

    assert ann.closed() == (4003, "log in first")
    assert site.wait(ClientRefused).why == "the session manager refused it"
    assert site.rooms.rooms() == []


def test_a_client_that_says_nothing_in_time_is_closed_with_4001(make_site: MakeSite) -> None:
    site = make_site(IDENTIFY_TIMEOUT=0.1)

    assert site.connect().closed() == (4001, "send the first message sooner")
    assert site.wait(ClientRefused).address == "127.0.0.1"


def test_a_client_that_says_only_nonsense_in_time_is_closed_with_4001(make_site: MakeSite) -> None:
    site = make_site(IDENTIFY_TIMEOUT=0.5)
    ann = site.connect()

    ann.connection.send("hello")

    assert ann.read()["error"]["code"] == "bad-message"
    assert ann.closed()[0] == 4001


def test_a_client_that_was_welcomed_may_be_silent(make_site: MakeSite) -> None:
    site = make_site(IDENTIFY_TIMEOUT=0.4)
    ann, other = site.join("ann"), site.connect()

    assert other.closed()[0] == 4001  # who came later has been closed
    assert ann.ask("TaskPing")["data"] == "pong"


def test_messages_sent_before_the_welcome_are_served_after_it_in_order(make_site: MakeSite) -> None:
    site = make_site(Echo)
    ann = site.connect()

    for number in range(10):
        ann.send(task="Echo", data=number, session_id="ann", room="lobby", date=number)

    assert [ann.read()["msgtype"] for _ in range(3)] == ["welcome", "joined", "user_list"]
    assert [ann.read() for _ in range(10)] == [{"task": "Echo", "data": number} for number in range(10)]


def test_the_session_manager_sees_handshake_and_first_message(
    make_site: MakeSite, doorkeeper: type[Doorkeeper]
) -> None:
    site = make_site(session_manager=doorkeeper)
    headers = {"Cookie": "sessionid=x1; theme=dark", "X-Mine": "1"}

    site.join("ann", room="r", additional_headers=headers).ask("TaskPing")

    [(handshake, message)] = doorkeeper.asked
    assert handshake.cookies == {"sessionid": "x1", "theme": "dark"}
    assert handshake.headers["x-mine"] == "1"
    assert (handshake.path, handshake.address) == ("/ws", "127.0.0.1")
    assert (message["session_id"], message["room"], message["task"]) == ("ann", "r", None)


def test_a_slow_session_manager_holds_up_nobody_else(make_site: MakeSite, doorkeeper: type[Doorkeeper]) -> None:
    site = make_site(session_manager=doorkeeper)
    first = site.join("first")
    doorkeeper.gate.clear()

    waiting = [site.connect() for _ in range(3)]
    for number, talker in enumerate(waiting):
        talker.send(session_id=number)
    served = first.ask("TaskPing")["data"]
    doorkeeper.gate.set()

    assert served == "pong"
    assert [talker.read()["user"]["id"] for talker in waiting] == [0, 1, 2]


def test_a_session_manager_that_raises_refuses_with_1011(make_site: MakeSite, doorkeeper: type[Doorkeeper]) -> None:
    site = make_site(session_manager=doorkeeper)
    ann = site.connect()

    ann.send(session_id="raise")

    code, reason = ann.closed()
    assert (code, "database" in reason) == (1011, False)
    site.wait_log("the database is gone")
    assert site.join("bob").ask("TaskPing")["data"] == "pong"


def test_a_session_manager_that_ends_the_program_refuses_with_1011(
    make_site: MakeSite, doorkeeper: type[Doorkeeper]
) -> None:
    site = make_site(session_manager=doorkeeper)
    ann = site.connect()

    ann.send(session_id="leave")

    assert ann.closed()[0] == 1011


def test_a_client_that_leaves_while_it_is_looked_up_is_forgotten(
    make_site: MakeSite, doorkeeper: type[Doorkeeper]
) -> None:
    site = make_site(session_manager=doorkeeper)
    doorkeeper.gate.clear()
    ann = site.connect()
    ann.send(session_id="ann", room="lobby")
    wait_until(lambda: doorkeeper.asked, "the look-up has begun")

    ann.connection.close()
    site.wait(ClientClosed, cid="")
    doorkeeper.gate.set()

    assert site.join("bob", room=None).ask("TaskPing")
    assert site.rooms.rooms() == []
    assert site.rooms.connections_of("ann") == []


def test_a_client_that_is_given_up_while_it_is_looked_up_does_not_join(
    make_site: MakeSite, doorkeeper: type[Doorkeeper]
) -> None:
    site = make_site(session_manager=doorkeeper, IDENTIFY_TIMEOUT=0.4)
    bob = site.join("bob")
    doorkeeper.gate.clear()
    ann = site.peer()  # does not answer the close frame
    ann.say(session_id="ann", room="lobby")
    assert ann.close_code() == 1013

    doorkeeper.gate.set()
    wait_until(lambda: "ann" in doorkeeper.answered, "the look-up has ended")
    heard = [bob.ask("TaskPing") and bob.silent() for _ in range(3)]
    ann.close()
    site.wait(ClientClosed, code=1013)

    assert heard == [True, True, True]
    assert bob.silent()


# -- life -------------------------------------------------------------------------------------------------------------


def test_the_server_says_where_it_listens(site: Site) -> None:
    event = site.wait(Listening)

    assert (event.host, event.port) == ("127.0.0.1", site.port)
    assert event.url == f"http://127.0.0.1:{site.port}/"
    assert site.server.status()["port"] == site.port


def test_a_client_makes_its_events(site: Site) -> None:
    ann = site.join({"id": 7, "username": "Ann"})

    connected = site.wait(ClientConnected, cid=ann.cid)
    ann.connection.close(3001, "bye")
    closed = site.wait(ClientClosed, cid=ann.cid)

    assert (connected.user, connected.address) == ("Ann", "127.0.0.1")
    assert (closed.code, closed.reason) == (3001, "bye")
    assert site.service.counters["close 3001"] == 1


def test_a_port_that_is_taken_is_told_by_its_setting(make_site: MakeSite, tmp_path: Path, site: Site) -> None:
    (tmp_path / "second").mkdir()
    paths = {"LOCK_FILE": "second/server.lock", "CONFIGURATION_NETWORK_INTERFACE_SERVER": "second/interface.sock"}

    with pytest.raises(StartFailed):
        make_site(PORT_ZEPH=site.port, RESTART_INTENSITY=0, LOG_PATH="second/logging.log", **paths)

    assert f"127.0.0.1:{site.port} is taken; set another PORT_ZEPH" in (tmp_path / "second/logging.log").read_text()


def test_who_starts_a_server_on_a_port_that_is_taken_is_told_so(
    make_site: MakeSite, tmp_path: Path, site: Site
) -> None:
    (tmp_path / "second").mkdir()
    paths = {"LOCK_FILE": "second/server.lock", "CONFIGURATION_NETWORK_INTERFACE_SERVER": "second/interface.sock"}

    with pytest.raises(StartFailed, match="is taken; set another PORT_ZEPH"):
        make_site(PORT_ZEPH=site.port, RESTART_INTENSITY=0, LOG_PATH="second/logging.log", **paths)


def test_check_names_the_services_that_are_missing(tmp_path: Path) -> None:
    settings = make_settings({"SERVICE_LIST": ["zephserver.websocket_client/WebsocketClient"]}, folder=tmp_path)

    faults = WebsocketClient.check(settings)

    assert [fault.split(" needs ")[1] for fault in faults] == [
        "zephserver.session_manager/SimpleSessionManager; add it",
        "zephserver.room_handler/RoomHandler; add it",
        "zephserver.router/Router; add it",
    ]


class Work(Task):
    """Waits for the test, then answers."""

    began: threading.Event
    gate: threading.Event

    def main(self) -> None:
        self.began.set()
        self.gate.wait(10)
        self.reply("done")


@pytest.fixture
def work() -> type[Work]:
    return type("Work", (Work,), {"began": threading.Event(), "gate": threading.Event()})


def test_a_server_that_stops_lets_the_tasks_end_and_says_when_to_come_back(
    make_site: MakeSite, work: type[Work]
) -> None:
    site = make_site(work)
    ann, bob = site.join("ann"), site.join("bob")
    ann.send(task="Work", id=1)
    assert work.began.wait(5)

    site.server.request_stop("the test says so")
    wait_until(lambda: bob.ask("TaskPing").get("error"), "the server takes no more tasks")
    with pytest.raises((OSError, WebSocketException)):  # refused, answered 503, or reset in the backlog of the listener
        site.connect()
    work.gate.set()

    assert ann.hear(id=1) == {"task": "Work", "id": 1, "data": "done"}
    for talker in (ann, bob):
        code, reason = talker.closed()
        assert (code, list(json.loads(reason))) == (1012, ["retry_after"])
        assert 0.5 <= json.loads(reason)["retry_after"] <= 1
    assert site.server.stop() == 0


def test_what_comes_while_the_server_stops_is_refused_as_overloaded(make_site: MakeSite, work: type[Work]) -> None:
    site = make_site(work)
    ann = site.join("ann")
    ann.send(task="Work", id=1)
    assert work.began.wait(5)
    site.server.request_stop("the test says so")
    wait_until(site.service._stopping.is_set, "the service stops")

    answer = ann.ask("Work")
    work.gate.set()

    assert answer["error"] == {"code": "overloaded", "message": "the server is stopping"}
    assert ann.hear(id=1)["data"] == "done"


def test_who_was_in_the_doorway_when_the_stop_began_is_sent_away(make_site: MakeSite, work: type[Work]) -> None:
    site = make_site(work)
    ann, late = site.join("ann"), site.wire()
    ann.send(task="Work", id=1)
    assert work.began.wait(5)
    assert site.request("GET", "/readyz").status == 200  # so late was accepted before
    site.server.request_stop("the test says so")
    wait_until(site.service._stopping.is_set, "the service stops")

    head = late.upgrade()
    work.gate.set()

    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in head
    assert ann.hear(id=1)["data"] == "done"


def test_many_connections_are_closed_in_batches(make_site: MakeSite) -> None:
    site = make_site(DRAIN_BATCH=2, DRAIN_INTERVAL=0.05)
    talkers = [site.join(f"user {number}") for number in range(5)]

    status = site.server.stop()

    assert status == 0
    assert [talker.closed()[0] for talker in talkers] == [1012] * 5


def test_a_peer_that_does_not_close_cannot_hold_up_the_stop(make_site: MakeSite) -> None:
    site = make_site(STOP_TIMEOUT=1.5)
    deaf = site.peer()
    deaf.say(session_id="deaf")
    deaf.wait_frame(0x1)

    status = site.server.stop()

    assert status == 0
    assert deaf.close_code() == 1012
    assert deaf.is_gone()


def test_nobody_is_left_in_the_doorway_when_the_server_stops(site: Site) -> None:
    silent, halfway = site.wire(), site.wire()
    halfway.send(b"GET /ws HTTP/1.1\r\nHost: x\r\n")
    assert site.request("GET", "/healthz").status == 200

    site.server.stop()

    assert silent.is_gone()
    assert halfway.is_gone()


def test_the_service_can_be_restarted_and_clients_come_back(site: Site) -> None:
    name = "zephserver.websocket_client/WebsocketClient"
    ann = site.join("ann")

    site.server.services.disable_service(name)
    assert ann.closed()[0] == 1012
    site.server.services.enable_service(name)
    site.server.services.wait_ready(timeout=5)
    site.locate()

    assert site.join("ann").ask("TaskPing")["data"] == "pong"
    assert site.rooms.user_list("lobby") == ["ann"]
