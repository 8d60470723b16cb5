"""The whole server in this process, visited by real clients: connections, users, rooms, HTTP, limits, the end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus, WebSocketException

from zephserver.core.errors import BadMessage, StartFailed
from zephserver.core.settings import make_settings
from zephserver.engines.interface import Handshake
from zephserver.events import ClientClosed, ClientConnected, ClientRefused, Listening
from zephserver.session_manager import SimpleSessionManager, User
from zephserver.task import Task
from zephserver.testing import wait_until
from zephserver.websocket_client import WebsocketClient

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite, Site


class Echo(Task):
    """Answers with what it got."""

    async def main(self) -> None:
        self.reply(self.data)


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

    assert ann.read()["msgtype"] == "welcome"
    assert ann.read()["msgtype"] == "user_list"
    assert [ann.read() for _ in range(10)] == [{"task": "Echo", "data": number} for number in range(10)]


class Doorkeeper(SimpleSessionManager):
    """A session manager that remembers whom it was asked about, and does as it is told."""

    asked: list[tuple[Handshake, Mapping[str, Any]]]
    answered: list[Any]
    gate: threading.Event

    def get_user_session(self, instance: Handshake, message: Mapping[str, Any]) -> User | None:
        self.asked.append((instance, message))
        assert self.gate.wait(10)
        match message["session_id"]:
            case "raise":
                raise RuntimeError("the database is gone")
            case "leave":
                raise SystemExit
        self.answered.append(message["session_id"])
        return super().get_user_session(instance, message)


@pytest.fixture
def doorkeeper() -> type[Doorkeeper]:
    """A session manager of this test; its gate is open."""
    gate = threading.Event()
    gate.set()
    return type("Doorkeeper", (Doorkeeper,), {"asked": [], "answered": [], "gate": gate})


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
    assert site.rooms.connections_of("ann") == 0


def test_a_client_that_is_given_up_while_it_is_looked_up_does_not_join(
    make_site: MakeSite, doorkeeper: type[Doorkeeper]
) -> None:
    site = make_site(session_manager=doorkeeper, IDENTIFY_TIMEOUT=0.4)
    bob = site.join("bob")
    doorkeeper.gate.clear()
    ann = site.peer()  # does not answer the close frame
    ann.say(session_id="ann", room="lobby")
    assert ann.close_code() == 4001

    doorkeeper.gate.set()
    wait_until(lambda: "ann" in doorkeeper.answered, "the look-up has ended")
    heard = [bob.ask("TaskPing") and bob.silent() for _ in range(3)]
    ann.close()
    site.wait(ClientClosed, code=4001)

    assert heard == [True, True, True]
    assert bob.silent()


# -- rooms ------------------------------------------------------------------------------------------------------------


def test_the_room_hears_who_comes_and_goes(site: Site) -> None:
    ann = site.join("ann")

    bob = site.join("bob")
    came = [ann.read(), ann.read()]
    bob.connection.close()
    went = [ann.read(), ann.read()]

    assert came == [
        {"msgtype": "join", "username": "bob", "room": "lobby"},
        {"msgtype": "user_list", "data": ["ann", "bob"], "room": "lobby"},
    ]
    assert went == [
        {"msgtype": "leave", "username": "bob", "room": "lobby"},
        {"msgtype": "user_list", "data": ["ann"], "room": "lobby"},
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
    ann.hear(msgtype="user_list", data=["ann", "bob"])

    first.connection.close()
    site.wait(ClientClosed, cid=first.cid)
    silent = ann.silent()
    second.connection.close()

    assert silent
    assert ann.read() == {"msgtype": "leave", "username": "bob", "room": "lobby"}


def test_a_message_with_a_room_and_no_task_joins_that_room_too(make_site: MakeSite) -> None:
    site = make_site(WhoAmI)
    ann = site.join("ann", room="first")

    ann.send(room="second")

    assert ann.hear(msgtype="user_list", room="second")["data"] == ["ann"]
    assert sorted(site.rooms.rooms()) == ["first", "second"]
    assert ann.ask("WhoAmI")["data"]["room"] == "first"
    assert ann.ask("WhoAmI", room="second")["data"]["room"] == "second"


def test_a_room_that_one_is_not_in_does_not_count(make_site: MakeSite) -> None:
    site = make_site(WhoAmI, Say)
    ann, bob = site.join("ann", room="a"), site.join("bob", room="b")

    assert ann.ask("WhoAmI", room="b")["data"]["room"] == "a"
    assert ann.ask("Say", {}, room="b")["data"] == 1
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

    people["ann"].send(task="Say", data=target, id=1)

    if "ann" in hearers:
        assert people["ann"].read() == {"task": "Heard", "data": "hello"}
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
    assert ann.hear(task="news") == bob.hear(task="news") == {"task": "news", "data": [1]}


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


# -- what a client may not ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        '{"task": ',
        '{"task": "Echo", "data": NaN}',
        '{"task": "Echo", "data": 1e999}',
        '{"task": "Echo", "data": "\\ud800"}',
        '{"task": "Echo", "data": ' + "9" * 5_000 + "}",
        '{"task": "Echo", "data": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"task": 7}',
        '{"task": "Echo", "room": 7}',
        '{"task": "Echo", "id": 1.5}',
    ],
    ids=lambda text: text[:32],
)
def test_bad_input_gets_an_error_and_the_connection_lives(make_site: MakeSite, text: str) -> None:
    site = make_site(Echo)
    ann = site.join("ann")

    ann.connection.send(text)

    error = ann.read()
    assert (error["task"], error["error"]["code"]) == ("", "bad-message")
    assert ann.ask("Echo", "still here")["data"] == "still here"


@pytest.mark.parametrize("task", ["nope", "", "os/system", "../x", "__class__", "\x00", "Echo ", "x" * 10_000, "🙂"])
def test_an_unknown_task_is_told_with_its_name_and_id(make_site: MakeSite, task: str) -> None:
    site = make_site(Echo)
    ann = site.join("ann")

    ann.send(task=task, data=1, id="a")

    answer = ann.read()
    assert (answer["task"], answer["id"], answer["error"]["code"]) == (task, "a", "unknown-task")
    assert len(answer["error"]["message"]) < 600
    assert "data" not in answer
    assert ann.ask("Echo", 1)["data"] == 1


def test_an_unknown_task_without_an_id_is_told_too(site: Site) -> None:
    ann = site.join("ann")

    ann.send(task="nope")

    assert ann.read() == {"task": "nope", "error": {"code": "unknown-task", "message": "no task named 'nope'"}}


def test_what_a_client_says_of_itself_never_wins(make_site: MakeSite) -> None:
    site = make_site(WhoAmI)
    ann, bob = site.join("ann"), site.join("bob")

    known = ann.ask(
        "WhoAmI",
        {"user": "bob"},
        user={"id": "bob", "username": "bob"},
        cid=bob.cid,
        session_id="bob",
        authorized=True,
        is_authenticated=True,
    )["data"]

    assert known == {"cid": ann.cid, "task": "WhoAmI", "room": "lobby", "user": ["ann", "ann"]}


# -- HTTP -------------------------------------------------------------------------------------------------------------


def test_the_health_is_told_over_http(site: Site) -> None:
    for path, body in (("/healthz", b"ok\n"), ("/readyz", b"ready\n"), ("/healthz?x=1", b"ok\n")):
        response = site.request("GET", path)

        assert (response.status, response.body) == (200, body)
        assert response.headers["Content-Length"] == str(len(body))


def test_a_server_with_a_dead_service_is_not_ready_but_lives(site: Site) -> None:
    site.server.services.disable_service("zephserver.session_manager/SimpleSessionManager")

    assert (site.request("GET", "/readyz").status, site.request("GET", "/healthz").status) == (503, 200)


def test_static_files_are_served_with_an_etag(make_site: MakeSite, tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "index.html").write_text("<p>home</p>")
    site = make_site(STATIC_FOLDER="static")

    page = site.request("GET", "/")
    again = site.request("GET", "/index.html", If_None_Match=page.headers["ETag"])

    assert (page.status, page.body) == (200, b"<p>home</p>")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("target", ["/nothing", "/../server.lock", "/%2e%2e/server.lock", "/..%2fserver.lock"])
def test_what_is_not_there_is_404(make_site: MakeSite, tmp_path: Path, target: str) -> None:
    (tmp_path / "static").mkdir()
    site = make_site(STATIC_FOLDER="static")

    assert site.request("GET", target).status == 404


def test_without_a_folder_every_page_is_404(site: Site) -> None:
    assert site.request("GET", "/").status == 404
    assert site.request("GET", "/server.lock").status == 404


def test_a_large_file_arrives_whole(make_site: MakeSite, tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "large.bin").write_bytes(b"0123456789abcdef" * 200_000)
    site = make_site(STATIC_FOLDER="static")

    assert site.request("GET", "/large.bin").body == b"0123456789abcdef" * 200_000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_any_other_method_is_refused(site: Site, method: str) -> None:
    assert 400 <= site.request(method, "/healthz", b"x=1" if method == "POST" else None).status < 500


# -- Origin -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["http://evil.com", "null", "http://127.0.0.1.evil.com", "https://127.0.0.1"])
def test_a_page_of_another_host_is_refused_before_anybody_is_looked_up(
    make_site: MakeSite, doorkeeper: type[Doorkeeper], origin: str
) -> None:
    site = make_site(session_manager=doorkeeper)

    with pytest.raises(InvalidStatus) as refused:
        site.connect(origin=origin)

    assert refused.value.response.status_code == 403
    assert doorkeeper.asked == []
    assert origin in site.wait(ClientRefused).why
    assert site.service.counters["origin"] == 1


def test_a_page_of_the_same_host_may_connect(site: Site) -> None:
    ann = site.join("ann", origin=f"http://{site.host}:{site.port}")

    assert ann.ask("TaskPing")["data"] == "pong"


def test_a_page_of_the_list_may_connect_and_no_other(make_site: MakeSite) -> None:
    site = make_site(ALLOWED_ORIGINS=["https://*.example.com"])

    assert site.join("ann", origin="https://chat.example.com").silent()
    for origin in ("https://example.com.evil.com", f"http://{site.host}:{site.port}"):
        with pytest.raises(InvalidStatus):
            site.connect(origin=origin)


def test_the_rule_is_not_for_plain_pages(site: Site) -> None:
    assert site.request("GET", "/healthz", Origin="http://evil.com").status == 200


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_full_server_answers_503_until_somebody_leaves(make_site: MakeSite) -> None:
    site = make_site(MAX_CONNECTIONS=2)
    ann, silent = site.join("ann"), site.connect()

    with pytest.raises(InvalidStatus) as full:
        site.connect()
    health = site.request("GET", "/healthz").status
    silent.connection.close()
    site.wait(ClientClosed, cid="")

    assert (full.value.response.status_code, full.value.response.headers["Retry-After"]) == (503, "5")
    assert health == 200
    assert site.service.counters["full"] == 1
    assert site.join("bob").silent()
    assert ann.hear(msgtype="join")["username"] == "bob"


@pytest.mark.parametrize("room", ["lobby", None])
def test_a_user_with_too_many_connections_is_closed_with_4009(make_site: MakeSite, room: str | None) -> None:
    site = make_site(MAX_CONNECTIONS_PER_USER=2)
    first, _ = site.join("ann", room=room), site.join("ann", room=room)
    third = site.connect()

    third.send(session_id="ann", room=room)

    assert third.closed() == (4009, "too many connections")
    assert site.join("bob", room=room).silent()
    first.connection.close()
    site.wait(ClientClosed, cid=first.cid)
    assert site.join("ann", room=room).silent()


def test_anonymous_users_are_not_one_user(make_site: MakeSite) -> None:
    site = make_site(MAX_CONNECTIONS_PER_USER=1)

    assert len({site.join(None).cid for _ in range(3)}) == 3


def test_an_address_with_too_many_connections_is_answered_503(make_site: MakeSite) -> None:
    site = make_site(MAX_CONNECTIONS_PER_ADDRESS=1)
    ann = site.join("ann")

    with pytest.raises(InvalidStatus) as too_many:
        site.connect()
    ann.connection.close()
    site.wait(ClientClosed, cid=ann.cid)

    assert too_many.value.response.status_code == 503
    assert site.wait(ClientRefused).address == "127.0.0.1"
    assert site.join("bob").silent()


def test_behind_a_trusted_proxy_the_address_is_the_client_s(make_site: MakeSite) -> None:
    site = make_site(MAX_CONNECTIONS_PER_ADDRESS=1, TRUSTED_PROXIES=["127.0.0.1"])
    first = site.join("ann", additional_headers={"X-Forwarded-For": "192.0.2.1"})

    with pytest.raises(InvalidStatus):
        site.connect(additional_headers={"X-Forwarded-For": "192.0.2.1"})
    second = site.join("bob", additional_headers={"X-Forwarded-For": "192.0.2.1, 192.0.2.2"})

    addresses = [site.wait(ClientConnected, cid=talker.cid).address for talker in (first, second)]
    assert addresses == ["192.0.2.1", "192.0.2.2"]


def test_without_a_trusted_proxy_nobody_is_believed_about_addresses(site: Site) -> None:
    ann = site.join("ann", additional_headers={"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1"})

    assert site.wait(ClientConnected, cid=ann.cid).address == "127.0.0.1"


def test_a_client_that_talks_too_fast_is_slowed_down_and_loses_nothing(make_site: MakeSite) -> None:
    site = make_site(Echo, MESSAGE_RATE=(200, 5), TASKS_PER_CLIENT=1_000)
    ann, began = site.join("ann"), time.monotonic()

    for number in range(60):
        ann.send(task="Echo", data=number)

    assert [ann.read()["data"] for _ in range(60)] == list(range(60))
    assert site.service.counters["rate"] > 0
    # What one read of the socket brought is served at once; the debt delays what comes behind it.
    assert ann.ask("Echo", "next")["data"] == "next"
    assert ann.ask("Echo", "last")["data"] == "last"
    assert time.monotonic() - began > 0.25


def test_a_client_that_is_slowed_down_is_not_taken_for_dead(make_site: MakeSite) -> None:
    site = make_site(MESSAGE_RATE=(1, 1), PING_INTERVAL=0.2, PING_TIMEOUT=0.4)
    ann = site.join("ann")

    assert ann.ask("TaskPing")["data"] == "pong"
    assert ann.ask("TaskPing")["data"] == "pong"  # this one is read a second later


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
        assert (code, json.loads(reason)) == (1012, {"retry_after": 1})
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
