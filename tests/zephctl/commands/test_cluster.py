"""zephctl cluster: a lone server is a cluster of one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.zephctl.conftest import Answer, Terminal, interrupt
from tests.zephserver.conftest import Site
from zephserver.core.cluster.local import LocalEngine
from zephserver.core.events import ClusterSaid
from zephserver.core.server import Server
from zephserver.testing import wait_for, wait_until

Zephctl = Callable[..., Answer]
Serve = Callable[..., Server]


def test_a_lone_server_is_the_only_one(zephctl: Zephctl, serve: Serve) -> None:
    serve(CLUSTER_NODE="paris")

    answer = zephctl("cluster", "status", "-o", "json")

    assert (answer.status, answer.stderr) == (0, "")
    assert answer.json == {
        "schema": 1, "node": "paris", "engine": "local", "state": "alone", "servers": ["paris"], "peers": []
    }  # fmt: skip


def test_the_status_in_a_pipe(zephctl: Zephctl, serve: Serve) -> None:
    serve(CLUSTER_NODE="paris")

    assert zephctl("cluster", "status").stdout == "node\tparis\nengine\tlocal\nstate\talone\nservers\tparis\n"


LEFT = {
    "name": "left", "address": "nats://192.0.2.1:4222", "up": True, "silent": 0.4, "queued": 0, "queued_bytes": 0,
    "lag": 0.0, "dropped": 0, "lost": 0, "problem": "",
}  # fmt: skip
RIGHT = LEFT | {
    "name": "right", "up": False, "silent": 12.0, "queued": 3, "lag": 1.5, "dropped": 1, "lost": 2, "problem": "odd",
}  # fmt: skip


class Engine(LocalEngine):
    """A cluster of three that is made up."""

    name = "nats"

    def rows(self) -> list[dict[str, Any]]:
        return [LEFT, RIGHT]

    def state(self) -> str:
        return "connecting: nats://192.0.2.1:4222 does not answer"


def test_the_status_of_a_cluster_that_is_lost(zephctl: Zephctl, serve: Serve) -> None:
    serve(CLUSTER_NODE="paris").cluster._engine = Engine()

    answer = zephctl("cluster", "status", "-o", "json")

    assert answer.json == {
        "schema": 1,
        "node": "paris",
        "engine": "nats",
        "state": "connecting: nats://192.0.2.1:4222 does not answer",
        "servers": ["paris", "left", "right"],
        "peers": [LEFT, RIGHT],
    }
    assert zephctl("cluster", "status", "-o", "name").stdout == "paris\n"


def test_the_status_for_a_person_has_a_row_for_each_server(zephctl: Zephctl, serve: Serve) -> None:
    serve(CLUSTER_NODE="paris").cluster._engine = Engine()

    lines = zephctl("cluster", "status", "-o", "table").stdout.splitlines()

    assert lines[2].split(maxsplit=1) == ["state", "connecting: nats://192.0.2.1:4222 does not answer"]
    assert [line.split() for line in lines[-2:]] == [
        ["left", "yes", "0.4", "0", "0", "0", "0", "-"],
        ["right", "no", "12", "3", "1.5", "1", "2", "odd"],
    ]


def test_the_peers(zephctl: Zephctl, serve: Serve) -> None:
    serve(CLUSTER_NODE="paris").cluster._engine = Engine()

    assert zephctl("cluster", "peers").stdout == "left\tyes\t0.4\t0\t0\t0\t0\t-\nright\tno\t12\t3\t1.5\t1\t2\todd\n"
    assert zephctl("cluster", "peers", "-o", "json").json == {"schema": 1, "peers": [LEFT, RIGHT]}
    assert zephctl("cluster", "peers", "-o", "name").stdout == "left\nright\n"


def test_a_lone_server_has_no_peers(zephctl: Zephctl, serve: Serve) -> None:
    serve()

    assert zephctl("cluster", "peers", "-o", "table").stderr == "no peers\n"


def test_a_server_that_lost_its_cluster_says_so(
    zephctl: Zephctl, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    server.cluster._engine = Engine()
    monkeypatch.setattr(Engine, "lost_for", lambda engine: 5.5)

    answer = zephctl("status", "-o", "table")

    assert answer.stderr == (
        "the server is not ready: the cluster cannot be reached: connecting: nats://192.0.2.1:4222 does not answer; "
        "see: zephctl cluster status\n"
    )
    monkeypatch.setattr(Engine, "lost_for", lambda engine: 4.5)
    assert zephctl("status").stderr == ""


def test_say_on_a_lone_server_succeeds(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()

    answer = zephctl("cluster", "say", "prices", '{"eur": 1.08}')

    assert answer == Answer(0, "", "said prices to 0 other servers\n")
    assert wait_for(server.bus, ClusterSaid, event="prices").data == {"eur": 1.08}


def test_say_in_json(zephctl: Zephctl, serve: Serve) -> None:
    serve()

    assert zephctl("cluster", "say", "flush", "-q", "-o", "json").json == {"schema": 1, "event": "flush", "servers": 0}


def test_data_that_is_no_json_is_a_usage_error(zephctl: Zephctl, serve: Serve) -> None:
    serve()

    answer = zephctl("cluster", "say", "prices", "{")

    assert (answer.status, answer.stdout) == (2, "")
    assert answer.stderr.startswith("zephctl: data: expected JSON: ")


def test_a_number_that_json_does_not_have_is_a_failure(zephctl: Zephctl, serve: Serve) -> None:
    serve()

    assert zephctl("cluster", "say", "prices", "NaN").status == 1


def listen(zephctl: Zephctl, server: Server, *words: str, then: Callable[[], object]) -> Answer:
    """Listen, do something once the server knows it, and stop at the first line with `stop` in it."""
    terminal = Terminal()
    terminal.when("stop", interrupt)

    def act() -> None:
        wait_until(lambda: server.bus.wants(ClusterSaid), "somebody listens")
        then()

    thread = threading.Thread(target=act)
    thread.start()
    answer = zephctl("cluster", "listen", *words, terminal=terminal)
    thread.join()
    return answer


def test_listen_shows_what_was_said(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()

    def say() -> None:
        for event, data in (("prices", "1"), ("other", "2"), ("prices", '"ü"'), ("stop", "null")):
            server.table.find("cluster.say").call([], {"event": event, "data": data})

    answer = listen(zephctl, server, "prices", "stop", then=say)

    assert answer.status == 130
    assert answer.stdout.splitlines() == ["prices\t1", 'prices\t"ü"', "stop\tnull"]


def test_listen_hears_what_other_servers_say(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()

    answer = listen(zephctl, server, "stop", "-o", "jsonl", then=lambda: server.cluster.heard("there", "stop", b"[1]"))

    heard = json.loads(answer.stdout)
    assert heard.pop("at") > 0
    assert heard == {"event": "stop", "from": "cluster", "data": [1]}


def test_a_listener_that_leaves_is_forgotten(zephctl: Zephctl, serve: Serve) -> None:
    server = serve()
    listen(zephctl, server, "stop", then=lambda: server.cluster.heard("there", "stop", b"1"))

    wait_until(lambda: not server.cluster._subscribers, "the subscription is gone")

    assert not server.bus.wants(ClusterSaid)


def test_listen_without_a_name_is_a_usage_error(zephctl: Zephctl) -> None:
    assert zephctl("cluster", "listen").status == 2


@pytest.mark.parametrize("events", [[], [""], [1], 7, {"a": 1}])
def test_names_that_are_none_are_refused(serve: Serve, zephctl: Zephctl, events: object) -> None:
    from zephctl.client import ControlClient
    from zephserver.core.errors import CommandFailed

    server = serve()
    client = ControlClient(server.control.path, 5.0)

    with pytest.raises(CommandFailed, match="events: expected names"):
        list(client.stream("cluster.listen", events=events, timeout=5.0))
    client.close()


def test_plain_words_do_too(serve: Serve, zephctl: Zephctl) -> None:
    serve()

    assert zephctl("command", "cluster", "say", "prices", "1").stdout == "0\n"


def test_draining_a_lone_server_is_refused(zephctl: Zephctl, open_site: Callable[..., object]) -> None:
    open_site()

    answer = zephctl("cluster", "drain")

    assert (answer.status, answer.stdout) == (2, "")
    assert answer.stderr == "zephctl: no other server of the cluster is there to take the clients\n"


def test_draining_says_who_goes_where(
    zephctl: Zephctl, open_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = open_site()
    ann = site.join("ann")
    monkeypatch.setattr(type(site.server.cluster), "peers", frozenset({"left", "right"}))

    assert zephctl("cluster", "drain") == Answer(0, "", "1 client goes to left, right\n")
    assert ann.closed()[0] == 1012
    assert zephctl("wait", "--for", "drained") == Answer(0, "", "")
    again = zephctl("cluster", "drain", "-q", "-o", "json")
    assert again.json == {"schema": 1, "clients": 0, "servers": ["left", "right"]}


def test_a_server_with_clients_is_not_drained(zephctl: Zephctl, open_site: Callable[..., Site]) -> None:
    open_site().join("ann")

    assert zephctl("wait", "--for", "drained", "--timeout", "0.2").status == 8
