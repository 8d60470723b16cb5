"""The whole server in this process, visited by real clients: what they may not, HTTP, Origin, limits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import InvalidStatus

from zephserver.events import ClientClosed, ClientConnected, ClientRefused
from zephserver.task import Task

if TYPE_CHECKING:
    from tests.zephserver.conftest import Doorkeeper, MakeSite, Site


class Echo(Task):
    """Answers with what it got."""

    async def main(self) -> None:
        self.reply(self.data)


class WhoAmI(Task):
    """Answers what the server knows of the client."""

    def main(self) -> None:
        user = self.request["user"]
        known = {name: value for name, value in self.request.items() if name not in ("user", "data")}
        self.reply(known | {"user": [user.id, user.username]})


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
    assert (answer["task"], answer["id"], answer["error"]["code"]) == (task[:255], "a", "unknown-task")
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


def test_more_connections_than_descriptors_are_not_promised(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda what: (66, 66))

    site = make_site(MAX_CONNECTIONS=1_000)

    assert site.service._most == 2
    assert "MAX_CONNECTIONS is 1000; the file limit of 66 allows 2" in caplog.text
