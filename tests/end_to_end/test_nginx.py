"""Behind a real nginx with TLS, in the configuration that docs/how-to/nginx.md shows."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.end_to_end import nginx
from tests.end_to_end.nginx import CLIENT, NAME, TEXT, MakeFront, ask, hear, page_blocks
from tests.zephserver import conftest
from tests.zephserver.conftest import MakeSite, Site, Wire
from zephserver.core.settings import make_settings
from zephserver.events import ClientConnected
from zephserver.session_manager import SimpleSessionManager, User
from zephserver.task import Task

CLOSE, PING, PONG = 0x8, 0x9, 0xA
MIB = 1_048_576

# fixtures
make_site = conftest.make_site
make_front = nginx.make_front
certificate = nginx.certificate


class Echo(Task):
    """Answers with what it got."""

    async def main(self) -> None:
        self.reply(self.data)


class AddressManager(SimpleSessionManager):
    """Calls everybody by the address that the server believes."""

    def get_user_session(self, instance: Any, message: Mapping[str, Any]) -> User | None:
        return User(1, f"at {instance.address}")


def good_bye(wire: Wire) -> tuple[int, str]:
    """Code and reason of the server's close frame, answered as a browser does."""
    payload = wire.wait_frame(CLOSE)
    wire.frame(CLOSE, payload[:2])
    return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


Settings = dict[str, Any]
OVER = [
    pytest.param({}, id="TCP"),
    pytest.param({"HOST_ZEPH": "::1"}, id="IPv6", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")),
    pytest.param({"HOST_ZEPH": "unix:zeph.sock"}, id="UNIX socket"),
]


@pytest.mark.parametrize("over", OVER)
def test_a_browser_gets_its_page_from_nginx_and_its_websocket_through_it(
    make_site: MakeSite, make_front: MakeFront, over: Settings
) -> None:
    front = make_front(make_site(Echo, **over))

    _, head = front.knock(path="/", version=None)
    wire, welcome = front.join(f"Origin: {front.url}", "Sec-WebSocket-Protocol: chat, other")

    assert head.startswith("HTTP/1.1 200 ")
    assert "Server: nginx" in head
    assert welcome["user"]["username"] == "ann"
    assert ask(wire, {"text": "é🙂"}) == {"text": "é🙂"}


@pytest.mark.parametrize("over", OVER)
def test_a_message_of_a_mebibyte_passes_both_ways(make_site: MakeSite, make_front: MakeFront, over: Settings) -> None:
    site = make_site(Echo, MAX_MESSAGE_BYTES=2 * MIB, SEND_QUEUE_BYTES=4 * MIB, **over)
    wire, _ = make_front(site).join()

    assert ask(wire, "x" * MIB) == "x" * MIB


def test_a_large_message_passes_compressed(make_site: MakeSite, make_front: MakeFront) -> None:
    front = make_front(make_site(Echo))

    wire, head = front.knock("Sec-WebSocket-Extensions: permessage-deflate")
    wire.say(session_id="ann")
    hear(wire, msgtype="welcome")
    wire.say(task="Echo", data="x" * 100_000)

    assert "sec-websocket-extensions: permessage-deflate" in head.lower()
    assert len(wire.wait_frame(TEXT)) < 2_000


# -- who the client is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("over", "trusted", "address"),
    [
        pytest.param({}, ["127.0.0.1"], CLIENT, id="TCP, trusted"),
        pytest.param({}, ["10.0.0.0/8", "unix"], "127.0.0.1", id="TCP, not trusted"),
        pytest.param({"HOST_ZEPH": "unix:zeph.sock"}, ["unix"], CLIENT, id="UNIX socket, trusted"),
        pytest.param({"HOST_ZEPH": "unix:zeph.sock"}, ["127.0.0.1"], "", id="UNIX socket, not trusted"),
    ],
)
def test_the_address_of_the_client_is_believed_from_a_trusted_proxy_only(
    make_site: MakeSite, make_front: MakeFront, over: Settings, trusted: list[str], address: str
) -> None:
    site = make_site(session_manager=AddressManager, TRUSTED_PROXIES=trusted, **over)
    front = make_front(site)

    _, welcome = front.join()

    assert welcome["user"]["username"] == f"at {address}"
    assert site.wait(ClientConnected).address == address


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-For: 203.0.113.9, 127.0.0.1",
        "Forwarded: for=203.0.113.9",
        'Forwarded: "',
    ],
)
def test_what_a_client_says_of_its_address_has_no_effect(
    make_site: MakeSite, make_front: MakeFront, header: str
) -> None:
    front = make_front(make_site(session_manager=AddressManager, TRUSTED_PROXIES=["127.0.0.1"]))

    _, welcome = front.join(header)

    assert welcome["user"]["username"] == f"at {CLIENT}"


def test_a_proxy_may_say_forwarded_instead(make_site: MakeSite, make_front: MakeFront) -> None:
    site = make_site(session_manager=AddressManager, TRUSTED_PROXIES=["127.0.0.1"], PROXY_HEADER="Forwarded")
    line = "X-Forwarded-For $proxy_add_x_forwarded_for"
    front = make_front(site, changes={line: 'Forwarded "for=$remote_addr;proto=https"'})

    _, welcome = front.join("X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9")

    assert welcome["user"]["username"] == f"at {CLIENT}"


# -- what is refused --------------------------------------------------------------------------------------------------


def test_the_origin_is_compared_with_the_public_name(make_site: MakeSite, make_front: MakeFront) -> None:
    front = make_front(make_site())

    answers = [
        front.knock(f"Origin: {front.url}")[1],
        front.knock(f"Origin: https://{NAME}", host=NAME)[1],
        front.knock("Origin: https://evil.example")[1],
        front.knock(f"Origin: https://{NAME}.evil.example")[1],
    ]

    assert [head.split()[1] for head in answers] == ["101", "101", "403", "403"]


def test_without_the_host_line_every_page_is_refused(make_site: MakeSite, make_front: MakeFront) -> None:
    front = make_front(make_site(), changes={"proxy_set_header Host $http_host;": ""})

    assert front.knock(f"Origin: {front.url}")[1].startswith("HTTP/1.1 403 ")


def test_without_the_lines_for_the_upgrade_there_is_no_websocket(make_site: MakeSite, make_front: MakeFront) -> None:
    front = make_front(make_site(), changes={"proxy_set_header Upgrade $http_upgrade;": ""})

    assert front.knock()[1].startswith("HTTP/1.1 404 ")


def test_a_refusal_passes_with_its_status_and_headers(make_site: MakeSite, make_front: MakeFront) -> None:
    front = make_front(make_site(MAX_CONNECTIONS=1))
    front.join()

    full = front.knock()[1]
    old = front.knock(version="8")[1]

    assert full.startswith("HTTP/1.1 503 ")
    assert "\r\nretry-after: 5" in full.lower()
    assert old.startswith("HTTP/1.1 426 ")
    assert "\r\nsec-websocket-version: 13" in old.lower()


def test_a_close_code_passes(make_site: MakeSite, make_front: MakeFront) -> None:
    front = make_front(make_site())
    wire, _ = front.knock()

    wire.say(session_id={"id": []})

    assert good_bye(wire)[0] == 4003
    assert wire.is_gone()


# -- long lives -------------------------------------------------------------------------------------------------------

SHORT = {"proxy_read_timeout 60s;": "proxy_read_timeout 1500ms;"}


def test_pings_keep_an_idle_connection_longer_than_the_time_out_of_the_proxy(
    make_site: MakeSite, make_front: MakeFront
) -> None:
    wire, _ = make_front(make_site(Echo, PING_INTERVAL=0.1), changes=SHORT).join()
    end, pings = time.monotonic() + 3.2, 0

    while time.monotonic() < end:
        wire.frame(PONG, wire.wait_frame(PING))
        pings += 1

    assert pings > 3
    assert ask(wire, "still here") == "still here"


def test_without_pings_the_proxy_cuts_an_idle_connection(make_site: MakeSite, make_front: MakeFront) -> None:
    wire, _ = make_front(make_site(PING_INTERVAL=60.0), changes=SHORT).join()

    assert wire.close_code() == 1006


def test_a_reload_of_nginx_keeps_the_connections(make_site: MakeSite, make_front: MakeFront) -> None:
    front = make_front(make_site(Echo))
    old, _ = front.join()

    front.nginx.reload()
    new, _ = front.join()

    assert ask(old, "old") == "old"
    assert ask(new, "new") == "new"


def test_a_client_behind_the_proxy_hears_that_the_server_stops(make_site: MakeSite, make_front: MakeFront) -> None:
    site = make_site()
    front = make_front(site)
    wire, _ = front.join()

    stopping = threading.Thread(target=site.server.stop, name="stopping")
    stopping.start()
    code, reason = good_bye(wire)
    stopping.join()

    assert code == 1012
    assert json.loads(reason)["retry_after"] > 0
    assert wire.is_gone()
    assert front.knock()[1].startswith("HTTP/1.1 502 ")


# -- several servers --------------------------------------------------------------------------------------------------


def two_sites(make_site: MakeSite) -> tuple[Site, Site]:
    """Two servers that know nothing of each other."""
    files = {
        "LOCK_FILE": "second.lock",
        "CONFIGURATION_NETWORK_INTERFACE_SERVER": "second.sock",
        "LOG_PATH": "second.log",
    }
    return make_site(), make_site(**files)


def test_connections_are_spread_over_the_servers_by_their_number(make_site: MakeSite, make_front: MakeFront) -> None:
    sites = two_sites(make_site)
    front = make_front(*sites)

    wires = [front.join()[0] for _ in range(6)]

    assert [site.service.stats()["connections"] for site in sites] == [3, 3]
    assert len(wires) == 6


def test_the_other_server_takes_those_of_one_that_is_down(make_site: MakeSite, make_front: MakeFront) -> None:
    first, second = two_sites(make_site)
    front = make_front(first, second)
    first.server.stop()

    wires = [front.join()[0] for _ in range(4)]

    assert second.service.stats()["connections"] == len(wires)


def test_the_settings_on_the_page_are_good() -> None:
    for block in page_blocks("python"):
        values: dict[str, Any] = {}
        exec(block, values)  # noqa: S102 # a settings file is a Python file
        del values["__builtins__"]
        assert make_settings({"SERVICE_LIST": []} | values).trusted_proxies
