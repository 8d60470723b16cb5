"""What the port answers to a GET: health, and numbers for those who may see them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.zephserver.tasks import Echo, ThreadEcho, task
from zephserver.engines.interface import Handshake
from zephserver.pages import Pages
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite, Site

TOKEN = "a token of this test"


def numbers(site: Site, **headers: str) -> dict[tuple[str, ...], float]:
    """The samples of /metrics by name and values of labels."""
    response = site.request("GET", "/metrics", **headers)
    assert response.status == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.body.decode())
        for sample in family.samples
    }


def asked(site: Site, address: str, **headers: str) -> int:
    """The status for somebody at this address."""
    return Pages(site.server).get(Handshake("/metrics", headers, address)).status


# -- who may ----------------------------------------------------------------------------------------------------------


def test_this_machine_may_see_the_numbers(site: Site) -> None:
    response = site.request("GET", "/metrics")

    assert response.status == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_head_is_answered_without_the_numbers(site: Site) -> None:
    response = site.request("HEAD", "/metrics")

    assert (response.status, response.body) == (200, b"")
    assert int(response.headers["Content-Length"]) > 1_000


@pytest.mark.parametrize("name", ["X_Forwarded_For", "Forwarded", "x_forwarded_for"])
def test_through_a_proxy_nobody_may_without_the_token(make_site: MakeSite, name: str) -> None:
    site = make_site(METRICS_TOKEN=TOKEN)

    refused = site.request("GET", "/metrics", **{name: "127.0.0.1"})
    shown = site.request("GET", "/metrics", **{name: "127.0.0.1", "Authorization": f"Bearer {TOKEN}"})

    assert (refused.status, shown.status) == (403, 200)
    assert b"zephserver_" not in refused.body


def test_behind_a_trusted_proxy_nobody_may_without_the_token(make_site: MakeSite) -> None:
    site = make_site(METRICS_TOKEN=TOKEN, TRUSTED_PROXIES=["127.0.0.1"])

    assert site.request("GET", "/metrics", X_Forwarded_For="192.0.2.1").status == 403
    assert site.request("GET", "/metrics", X_Forwarded_For="127.0.0.1").status == 403


@pytest.mark.parametrize(
    ("address", "status"),
    [("127.0.0.1", 200), ("127.8.8.8", 200), ("::1", 200), ("192.0.2.1", 403), ("::", 403), ("", 403), ("x", 403)],
)
def test_only_loopback_may_without_a_token(site: Site, address: str, status: int) -> None:
    assert asked(site, address) == status


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN} ", TOKEN[:-1], "é"])
def test_a_wrong_token_is_none(make_site: MakeSite, shown: str) -> None:
    site = make_site(METRICS_TOKEN=TOKEN)

    assert asked(site, "192.0.2.1", authorization=shown) == 403
    assert asked(site, "127.0.0.1", authorization=shown) == 200
    assert asked(site, "192.0.2.1", authorization=f"Bearer {TOKEN}") == 200


def test_without_a_token_no_token_is_right(site: Site) -> None:
    for shown in ("", "Bearer ", "Bearer None"):
        assert asked(site, "192.0.2.1", authorization=shown) == 403


# -- the numbers ------------------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_what_happened(make_site: MakeSite) -> None:
    site = make_site(
        Echo, ThreadEcho, task("Broken", lambda self: 1 // 0), ROOM_HISTORY={"lobby": (5, 60)}, METRICS_TOKEN=TOKEN
    )
    ann, bob, nobody = site.join("ann"), site.join("bob", room="other"), site.join(None)
    for name in ("Echo", "Echo", "ThreadEcho", "Broken", "nope"):
        ann.ask(name)
    ann.connection.send("nonsense")
    site.service.say({"task": "news", "data": 1, "room": "lobby"})
    ann.hear(task="news"), nobody.hear(task="news")
    site.gone(bob)
    wait_until(lambda: site.router.stats()["tasks"]["finished"] == 4, "all are counted")

    seen = numbers(site)

    assert seen["zephserver_connections",] == 2
    assert seen["zephserver_users",] == 2
    assert seen["zephserver_rooms",] == 1
    assert seen["zephserver_histories",] == 1
    assert seen["zephserver_history_bytes",] == len('{"task":"news","data":1,"room":"lobby","offset":1}')
    assert seen["zephserver_messages_received_total",] == 9
    assert seen["zephserver_messages_sent_total",] >= 9
    assert seen["zephserver_tasks_total", "done", "Echo"] == 2
    assert seen["zephserver_tasks_total", "done", "ThreadEcho"] == 1
    assert seen["zephserver_tasks_total", "task-failed", "Broken"] == 1
    assert ("zephserver_tasks_total", "unknown-task", "nope") not in seen
    assert seen["zephserver_task_seconds_count", "done", "Echo"] == 2
    assert seen["zephserver_task_seconds_count", "failed", "Broken"] == 1
    assert seen["zephserver_tasks_running",] == 0
    assert seen["zephserver_refusals_total", "unknown-task"] == 1
    assert seen["zephserver_refusals_total", "bad-message"] == 1
    assert seen["zephserver_closes_total", "1000"] == 1
    assert seen["zephserver_ready",] == 1
    assert seen["process_open_fds",] > 0


def test_the_numbers_can_be_had_while_everything_moves(make_site: MakeSite) -> None:
    site = make_site(Echo, ThreadEcho, MESSAGE_RATE=None)
    ended = threading.Event()

    def live() -> None:
        while not ended.is_set():
            talker = site.join("ann", room="lobby")
            talker.ask("ThreadEcho"), talker.ask("Echo"), talker.ask("nope")
            talker.connection.close()

    living = threading.Thread(target=live)
    living.start()
    try:
        for _ in range(30):
            assert numbers(site)["zephserver_ready",] == 1
    finally:
        ended.set()
        living.join()


def test_after_a_restart_of_the_service_the_numbers_are_there_again(site: Site) -> None:
    site.join("ann").ask("TaskPing")
    site.server.services.disable_service("zephserver.websocket_client/WebsocketClient")
    site.server.services.enable_service("zephserver.websocket_client/WebsocketClient")
    site.server.services.wait_ready(timeout=5)
    site.locate()

    seen: dict[Any, float] = numbers(site)

    assert seen["zephserver_connections",] == 0
    assert seen["zephserver_closes_total", "1012"] == 1
