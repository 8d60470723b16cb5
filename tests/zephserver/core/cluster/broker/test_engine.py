"""What the engines with a broker promise beyond the contract: what happens when the broker is not as it should be."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests import brokers
from tests.scale import at_most
from tests.zephserver.core.cluster.conftest import PATIENCE, Bus, Node, joined
from zephserver.core.cluster.broker import frames
from zephserver.core.cluster.broker.transport import BusLost, Message, Where
from zephserver.core.cluster.mesh.engine import MeshEngine
from zephserver.core.events import ClusterGap, PeerDown
from zephserver.testing import wait_for, wait_until

BACK = 5.0  # seconds after which everything works again once the broker is back
LOG = "zephserver.cluster"


def slowest_say(node: Node, count: int, size: int = 10) -> float:
    """Have it say so much; of a hundred calls the slowest but one, in seconds."""
    took = []
    for number in range(count):
        began = time.perf_counter()
        node.cluster.say("news", [number, "x" * size])
        took.append(time.perf_counter() - began)
    return sorted(took)[int(len(took) * 0.99)]


def wait_lost(node: Node) -> None:
    wait_until(lambda: node.engine.state(), "the loss is noticed", timeout=PATIENCE)


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_what_is_said_while_the_broker_is_away_is_said_when_it_is_back(brokered: Bus, how: str) -> None:
    a, b = brokered.start("a"), brokered.start("b")
    joined(a, b)
    (brokered.broker.kill if how == "kill" else brokered.broker.pause)()

    slowest = slowest_say(a, 1_000)
    wait_lost(a)
    wait_lost(b)
    a.cluster.say("news", "end")
    (brokered.broker.start if how == "kill" else brokered.broker.go_on)()
    began = time.monotonic()

    heard = b.wait_last("end")
    assert time.monotonic() - began < at_most(BACK)
    assert heard == [*([number, "x" * 10] for number in range(1_000)), "end"]
    assert slowest < at_most(0.01)
    a.wait_connected()
    joined(a, b)


def test_a_loss_is_told_with_its_reason_and_its_length(brokered: Bus, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    a = brokered.start("a")
    a.wait_connected()
    assert a.cluster.lost_for() == 0.0

    brokered.broker.kill()
    wait_lost(a)
    wait_until(lambda: a.cluster.lost_for() > 0.5, "half a second", timeout=PATIENCE)

    assert a.cluster.state().startswith(f"connecting: {brokered.kind}://127.0.0.1:{brokered.broker.port}")
    brokered.broker.start()
    a.wait_connected()
    lines = [record.getMessage() for record in caplog.records if record.name == LOG]
    assert lines[0] == lines[-1] == f"the cluster is joined at {brokered.kind}://127.0.0.1:{brokered.broker.port}"
    assert all("this server works alone and keeps trying: " in line for line in lines[1:-1])
    assert 1 <= len(lines[1:-1]) <= 3  # each reason once, not each attempt


def test_what_does_not_fit_is_dropped_and_counted_on_both_sides(brokered: Bus) -> None:
    a, b = brokered.start("a", queue_bytes=20_000), brokered.start("b")
    joined(a, b)
    a.cluster.say("news", "begin")
    b.wait_heard(1)
    brokered.broker.kill()
    wait_lost(a)

    slowest = slowest_say(a, 1_000, 100)
    wait_until(lambda: a.row("b")["dropped"] > 500, "the drops are counted", timeout=PATIENCE)
    assert a.row("b")["queued_bytes"] <= 20_000
    brokered.broker.start()

    gap = wait_for(b.bus, ClusterGap, timeout=PATIENCE, peer="a")
    numbers = [number for number, _ in b.wait_last([999, "x" * 100])[1:]]
    assert numbers == list(range(1_000 - len(numbers), 1_000))
    assert gap.lost == 1_000 - len(numbers) == b.row("a")["lost"]
    assert a.row("b")["dropped"] - gap.lost in (0, 1)  # nobody may have told yet that the first event was heard
    assert slowest < at_most(0.01)


def test_topics_are_followed_again_when_the_broker_is_back(brokered: Bus) -> None:
    a, b = brokered.start("a"), brokered.start("b")
    joined(a, b)
    taken: list[bytes] = []
    b.cluster.take("zephserver:t", lambda _, payload: taken.append(payload))
    b.cluster.follow("lobby")
    brokered.broker.kill()
    wait_lost(a)
    wait_lost(b)
    a.cluster.send("zephserver:t", b"said to nobody", to=["b"], topic="lobby")
    b.cluster.follow("later")

    brokered.broker.start()
    b.wait_connected()
    a.wait_connected()
    for topic in ("lobby", "later"):
        a.cluster.send("zephserver:t", topic.encode(), to=["b"], topic=topic)

    wait_until(lambda: len(taken) == 2, "both topics", timeout=PATIENCE)
    assert set(taken) == {b"lobby", b"later"}


def test_a_server_that_hears_nothing_for_a_while_is_told_what_it_missed(brokered: Bus) -> None:
    """Its thread stands still, and the broker gives up on it or keeps what it has: either way nothing is missing."""
    a, b = brokered.start("a"), brokered.start("b")
    joined(a, b)
    go_on = threading.Event()
    b.cluster.subscribe("hang", lambda _: go_on.wait(PATIENCE))
    a.cluster.say("hang", None)

    for number in range(5_000):
        a.cluster.say("news", [number, "x" * 1_000])
    wait_for(a.bus, PeerDown, timeout=PATIENCE, peer="b")
    go_on.set()

    assert [number for number, _ in b.wait_heard(5_000)] == list(range(5_000))


def test_a_wrong_password_is_told_in_one_line_without_it(
    brokered: Bus, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    broker = brokered.use(password=True)
    right = brokered.start("b")
    wrong = brokered.start("a", url=broker.url_with("wrong-horse-battery"))
    wait_until(lambda: "refuses" in wrong.engine.state(), wrong.engine.state(), timeout=PATIENCE)

    assert slowest_say(wrong, 100) < at_most(0.01)
    right.wait_connected()
    wait_until(lambda: wrong.cluster.lost_for() > 1.0, "it keeps trying", timeout=PATIENCE)

    where = f"{brokered.kind}://127.0.0.1:{broker.port}"
    assert wrong.engine.state() == f"connecting: {where} refuses user and password; see CLUSTER_ENGINE"
    errors = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in errors] == [
        "the broker of the cluster is lost, this server works alone and keeps trying: "
        f"{where} refuses user and password; see CLUSTER_ENGINE"
    ]
    assert errors[0].levelno == logging.ERROR
    shown = caplog.text + "".join(capfd.readouterr()) + repr(wrong.engine.rows()) + repr(vars(wrong.engine))
    assert "horse" not in shown


def test_who_had_the_wrong_password_joins_when_the_broker_takes_it(brokered: Bus) -> None:
    broker = brokered.use(password=True)
    a = brokered.start("a", url=broker.url_with("another-horse-battery"))
    wait_until(lambda: "refuses" in a.engine.state(), a.engine.state(), timeout=PATIENCE)

    broker.kill()
    port, brokered._broker = broker.port, None
    brokered.use(port=port, options=OPTIONS_OF_ANOTHER_PASSWORD[brokered.kind])

    a.wait_connected()


OPTIONS_OF_ANOTHER_PASSWORD = {
    "nats": ["--user", brokers.USER, "--pass", "another-horse-battery"],
    "redis": ["--requirepass", "another-horse-battery"],
}


def test_a_broker_that_was_never_there_is_waited_for(brokered: Bus) -> None:
    port = brokers.free_port()
    a = brokered.start("a", url=f"{brokered.kind}://127.0.0.1:{port}")
    wait_until(lambda: "refused" in a.engine.state(), a.engine.state(), timeout=PATIENCE)
    a.cluster.say("news", "early")

    brokered.use(port=port)
    a.wait_connected()
    b = brokered.start("b")
    joined(a, b)
    a.cluster.say("news", "now")

    assert b.wait_heard(1) == ["now"]


def test_a_stop_does_not_wait_for_a_broker_that_hangs(brokered: Bus) -> None:
    a = brokered.start("a")
    a.wait_connected()
    brokered.broker.pause()
    a.cluster.say("news", "x" * 8_000_000)

    began = time.monotonic()
    a.cluster.stop()

    assert time.monotonic() - began < at_most(3.0)
    assert not [thread for thread in threading.enumerate() if thread.name == "cluster"]


# -- what others write -------------------------------------------------------------------------------------------


def _head(**more: Any) -> dict[str, Any]:
    return {"f": "x", "l": "life", **more}


NONSENSE = [
    b"",
    b"hello",
    b"\x80\x04\x95\x1b\x00\x00\x00\x00\x00\x00\x00.",  # a pickle
    frames.MARK,
    frames.MARK + b"\x01\xff\xff\xff\xff{}",
    frames.MARK + b"\x01\x00\x00\x00\x02[]",
    frames.MARK + b"\x01" + (100_000).to_bytes(4, "big") + b"[" * 100_000,
    frames.pack({"f": "x"}),
    frames.pack({"f": "x\n", "l": "life", "t": "hello"}),
    frames.pack(_head()),
    frames.pack(_head(t="hello")),
    frames.pack(_head(t="hello", a=-1, d={})),
    frames.pack(_head(t="hello", a=1, d=[])),
    frames.pack(_head(t="all", s=1, e=[["news", 3]]), [b"1"]),
    frames.pack(_head(t="all", s=1, e=[["news", True]]), [b"1"]),
    frames.pack(_head(t="all", s=1.5, e=[["news", 1]]), [b"1"]),
    frames.pack(_head(t="all", s=1, e=[[7, 1]]), [b"1"]),
    frames.pack(_head(t="all", s=1, e=[["news", 1]], d=7), [b"1"]),
    frames.pack(_head(t="to", s=1, e=[["news", 1]]), [b"1"]),
    frames.pack(_head(t="said", e=[["news", 1, 1, "x", 0]], o=[0, 0]), [b"1"]),
    frames.pack(_head(t="said", e=[], o=[1])),
    frames.pack(_head(t="again", p="xy")),
    frames.pack(_head(t="welcome", b=None)),
    frames.pack(_head(t="part", k=1, i=0, c=1, n=3), [b"abc"]),
    frames.pack(_head(t="part", k=1, i=9, c=2, n=3), [b"abc"]),
    frames.pack(_head(t="part", k=1, i=0, c=2, n=1 << 40), [b"abc"]),
    frames.pack(_head(t="part", k=1, i=0, c=2, n=2), [b"abc"]),
    frames.pack(_head(t="part", k=2, i=0, c=1, n=500), [frames.pack({"f": "y", "l": "life", "t": "bye"})]),
    frames.pack(_head(t="dance")),
    frames.pack(_head(t=["hello"])),
]


def test_nonsense_on_the_bus_harms_nobody_and_is_complained_about_once_a_second(
    brokered: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = brokered.start("a"), brokered.start("b")
    joined(a, b)
    began = time.monotonic()

    for _ in range(20):
        brokered.shout(*(Message(Where.ALL, "", data) for data in NONSENSE))
        brokered.shout(*(Message(Where.NODE, "b", data, numbered=True) for data in NONSENSE))
    for number in range(100):
        a.cluster.say("news", number)

    assert b.wait_heard(100) == list(range(100))
    complaints = [record.getMessage() for record in caplog.records if "is none of ours" in record.getMessage()]
    seconds = time.monotonic() - began
    assert 2 <= len(complaints) <= 2 * (seconds + 1)  # of a and of b
    assert any(" more since the last complaint)" in line for line in complaints) == (len(complaints) > 2)
    assert all(row["name"] in "abx" for row in b.engine.rows())


def test_an_entry_of_another_shape_in_a_stream_harms_nobody(make_bus: Callable[[str], Bus]) -> None:
    bus = make_bus("redis")
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)

    _redis(bus, ["XADD", f"{bus.prefix}:all", "*", "a", "1", "b", "2"], ["SET", f"{bus.prefix}:n:c", "a text"])
    a.cluster.say("news", 1)

    assert b.wait_heard(1) == [1]


def test_a_server_of_another_version_is_told_and_shown(
    brokered: Bus, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = brokered.start("a")
    a.wait_connected()
    monkeypatch.setattr(frames, "VERSION", 2)
    hello = frames.pack({"f": "b", "l": "life", "t": "hello", "something": "new"})
    monkeypatch.undo()

    brokered.shout(Message(Where.ALL, "", hello), Message(Where.ALL, "", hello))
    wait_until(lambda: a.engine.rows(), "b is shown", timeout=PATIENCE)

    why = (
        "server b speaks version 2 on the bus of the cluster, this one 1; have both run the same version of zephserver"
    )
    assert (a.row("b")["up"], a.row("b")["problem"]) == (False, why)
    wait_until(lambda: [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [why])


def test_two_servers_of_one_name_are_told(brokered: Bus, hurry: None, caplog: pytest.LogCaptureFixture) -> None:
    c, first = brokered.start("c"), brokered.start("b")
    joined(c, first)

    second = brokered.start("b")
    wait_until(lambda: c.row("b")["problem"], "c sees both", timeout=PATIENCE)

    assert c.row("b")["problem"] == "two servers say that they are b; give each a CLUSTER_NODE of its own"
    mine = "another server says that it is b too; give each a CLUSTER_NODE of its own"
    wait_until(lambda: [r.getMessage() for r in caplog.records].count(mine) == 2, "both are told", timeout=PATIENCE)
    second.cluster.stop()


# -- what one of them only has -----------------------------------------------------------------------------------


def test_events_larger_than_the_broker_takes_are_cut(make_bus: Callable[[str], Bus], tmp_path: Any) -> None:
    bus = make_bus("nats")
    (tmp_path / "nats.conf").write_text("max_payload: 20KB\n")
    bus.use(options=["--config", str(tmp_path / "nats.conf")])
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)

    a.cluster.say("news", "x" * 3_000_000)
    a.cluster.say("news", "end")

    assert b.wait_last("end")[0] == "x" * 3_000_000


def test_of_several_servers_one_that_is_there_is_found(make_bus: Callable[[str], Bus]) -> None:
    bus = make_bus("nats")
    dead = brokers.free_port()
    a = bus.start("a", url=f"nats://127.0.0.1:{dead},{bus.broker.url}")
    b = bus.start("b")

    joined(a, b)


def _redis(bus: Bus, *commands: list[Any]) -> list[Any]:
    """Ask the Redis of this test."""
    import redis

    with redis.Redis(port=bus.broker.port) as client:
        return [client.execute_command(*command) for command in commands]


def test_the_memory_of_redis_is_bounded_in_bytes_and_in_time(make_bus: Callable[[str], Bus]) -> None:
    bus = make_bus("redis")
    a, b = bus.start("a", queue_bytes=1_000_000), bus.start("b", queue_bytes=1_000_000)
    joined(a, b)

    for number in range(200):
        a.cluster.say("news", [number, "x" * 50_000])
        if number % 10 == 9:
            b.wait_last([number, "x" * 50_000])
    a.cluster.send("zephserver:x", b"1", to=["b"])
    a.cluster.say("news", "end")
    b.wait_last("end")

    stream, alone = f"{bus.prefix}:all", f"{bus.prefix}:n:b"
    size, expires, alone_expires = _redis(bus, ["MEMORY", "USAGE", stream], ["TTL", stream], ["TTL", alone])
    assert size < 2_500_000
    assert 0 < expires <= 3_600
    assert 0 < alone_expires <= 3_600


def test_a_redis_that_forgot_everything_is_read_from_its_beginning(make_bus: Callable[[str], Bus]) -> None:
    bus = make_bus("redis")
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)

    for number in range(300):
        a.cluster.say("news", number)
        if number % 100 == 50:
            _redis(bus, ["FLUSHALL"])

    assert b.wait_last(299) == list(range(300))


def test_a_redis_without_sharded_channels_does_too(make_bus: Callable[[str], Bus]) -> None:
    bus = make_bus("redis")
    bus.use(options=["--rename-command", "SPUBLISH", "", "--rename-command", "SSUBSCRIBE", ""])
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)
    taken: list[bytes] = []
    b.cluster.take("zephserver:t", lambda _, payload: taken.append(payload))
    b.cluster.follow("lobby")
    b.cluster.say("news", "b follows")
    a.wait_heard(1)

    a.cluster.send("zephserver:t", b"hello", to=["b"], topic="lobby")

    wait_until(lambda: taken == [b"hello"], "the topic", timeout=PATIENCE)


def test_missing_rights_are_told_by_nats_too(make_bus: Callable[[str], Bus], tmp_path: Any) -> None:
    bus = make_bus("nats")
    rights = 'permissions: {publish: "other.>", subscribe: "other.>"}'
    user = f'{{user: {brokers.USER}, password: "{brokers.PASSWORD}", {rights}}}'
    (tmp_path / "nats.conf").write_text(f"authorization: {{users: [{user}]}}\n")
    bus.use(options=["--config", str(tmp_path / "nats.conf")])

    a = bus.start("a", url=f"nats://{brokers.USER}:{brokers.PASSWORD}@127.0.0.1:{bus.broker.port}")

    wait_until(lambda: "rights" in a.engine.state(), a.engine.state(), timeout=PATIENCE)
    assert "permissions violation for subscription" in a.engine.state().lower()


def test_missing_rights_are_told(make_bus: Callable[[str], Bus]) -> None:
    bus = make_bus("redis")
    _redis(bus, ["ACL", "SETUSER", "ann", "on", ">correct-horse", "~other:*", "&other:*", "+@all"])

    a = bus.start("a", url=f"redis://ann:correct-horse@127.0.0.1:{bus.broker.port}")

    wait_until(lambda: "rights" in a.engine.state(), a.engine.state(), timeout=PATIENCE)
    assert "no permissions to access one of the keys" in a.engine.state()


def test_over_a_unix_socket(make_bus: Callable[[str], Bus], tmp_path: Any) -> None:
    bus = make_bus("redis")
    path = tmp_path / "redis.sock"
    bus.use(options=["--unixsocket", str(path)])
    a, b = bus.start("a", url=f"unix://{path}"), bus.start("b")
    joined(a, b)

    a.cluster.say("news", 1)

    assert b.wait_heard(1) == [1]
    assert a.row("b")["address"] == f"unix://{path}"


def test_the_rows_of_all_engines_have_the_same_fields(bus: Bus) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)

    row = a.row("b")

    assert list(row) == [
        "name", "address", "up", "silent", "queued", "queued_bytes", "lag", "dropped", "lost", "problem"
    ]  # fmt: skip
    json.dumps(row)
    assert isinstance(a.engine, MeshEngine) == (bus.kind == "mesh")


MUCH = [Message(Where.ALL, "", b"x" * 100_000)] * 200  # more than the sockets take


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_send_that_nobody_takes_ends(brokered: Bus, how: str) -> None:
    async def run() -> None:
        transport = brokered.transport()
        await transport.open("a", lambda data: None, lambda why: None)
        (brokered.broker.kill if how == "kill" else brokered.broker.pause)()
        sending = asyncio.ensure_future(transport.send(MUCH))
        await asyncio.wait([sending], timeout=PATIENCE)
        await transport.close()
        assert sending.done()
        assert isinstance(sending.exception(), BusLost)

    asyncio.run(run())


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_connection_that_ends_badly_leaves_no_task_behind(brokered: Bus, how: str) -> None:
    async def run() -> set[asyncio.Task[Any]]:
        transport = brokered.transport()
        await transport.open("a", lambda data: None, lambda why: None)
        await transport.follow(["room"])
        (brokered.broker.kill if how == "kill" else brokered.broker.pause)()
        sending = asyncio.ensure_future(transport.send(MUCH))
        await asyncio.sleep(0)
        await transport.close()
        await asyncio.wait([sending], timeout=PATIENCE)
        assert isinstance(sending.exception(), BusLost)
        await asyncio.sleep(0)
        return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    assert asyncio.run(run()) == set()
