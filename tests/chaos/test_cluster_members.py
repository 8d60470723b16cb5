"""Rows G1, G2 and G4: servers that are killed, cut off, slowed down or stopped, and brokers that are; each engine."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import brokers
from tests.chaos.cluster import KINDS, Cluster, Net, net, running, wait_until
from tests.chaos.conftest import Folder
from tests.scale import FULL, at_most

__all__ = ["net"]

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900 if FULL else 90)]
Figure = Callable[[str], None]
Times = Callable[[float, float], float]
QUEUE = 16_777_216
BACK = 5.0  # seconds


def judge(cluster: Cluster, figure: Figure, what: str, *, whole: str = "ac") -> None:
    """The criteria that all rows share, and the figures."""
    cluster.wait_whole()
    sums = cluster.check(whole=whole)
    slow, slowest = cluster.slow()
    queued = cluster.most_queued()
    figure(
        f"{what}; {sums['heard']} heard, {sums['missing']} missing and told, 0 doubled or out of order; 99 % of say() "
        f"within {slow * 1000:.2f} ms, slowest {slowest * 1000:.1f} ms; at most {queued / 1024:.0f} KiB queued"
    )
    assert slow < at_most(0.01)
    assert queued <= QUEUE


@pytest.mark.parametrize("kind", KINDS)
def test_g1_one_is_killed_and_started_again(kind: str, tmp_path: Path, times: Times, figure: Figure) -> None:
    back = []
    with running(kind, tmp_path) as cluster:
        b = cluster.members["b"]
        for _ in range(int(times(3, 20))):
            b.kill()
            b.start()
            wait_until(lambda: b.book.get("life"), "b has begun")
            back.append(cluster.wait_whole())
        judge(cluster, figure, f"{len(back)} rounds, whole again {max(back):.2f} s after the new one began")

    assert max(back) < BACK


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["link", "input", "output", "stop"])
def test_g2_one_is_cut_off(kind: str, what: str, net: Net, tmp_path: Path, times: Times, figure: Figure) -> None:
    with running(kind, tmp_path, net=net) as cluster:
        a, b = cluster.members["a"], cluster.members["b"]
        if what == "link":
            net.down("b")
        elif what == "stop":
            b.signal(signal.SIGSTOP)
        else:
            net.lose("b", what)
        began = time.monotonic()
        if what != "input" or kind == "mesh":  # else b hears nothing, and is heard for a while
            wait_until(lambda: not a.book["rows"]["b"]["up"], "a misses b", 20.0)
        while time.monotonic() - began < times(5, 30):
            time.sleep(0.1)

        if what == "link":
            net.up("b")
        elif what == "stop":
            b.signal(signal.SIGCONT)
        else:
            net.heal("b")
        back = cluster.wait_whole()
        judge(cluster, figure, f"cut off for {times(5, 30):g} s ({what}), whole again after {back:.2f} s")

    assert back < 2 * BACK


@pytest.mark.parametrize("kind", KINDS)
def test_g2_one_misses_more_than_fits(kind: str, net: Net, tmp_path: Path, times: Times, figure: Figure) -> None:
    with running(kind, tmp_path, net=net, more={"CLUSTER_QUEUE_BYTES": 50_000}) as cluster:
        a, b = cluster.members["a"], cluster.members["b"]
        net.down("b")
        for member in (a, cluster.members["c"]):
            wait_until(lambda member=member: not member.book["rows"]["b"]["up"], f"{member.name} misses b", 20.0)
        for member in (a, cluster.members["c"]):
            much = member.book["said"] + times(600, 6_000)
            wait_until(
                lambda member=member, much=much: member.book["said"] > much, f"{member.name} said more than fits", 90.0
            )

        net.up("b")
        back = cluster.wait_whole()
        wait_until(lambda: b.book["gaps"].get("a") and b.book["gaps"].get("c"), "b is told what it missed")
        judge(cluster, figure, f"queue of 50 kB, whole again after {back:.2f} s")
        assert cluster.most_queued() <= 50_000
        assert b.heard_of(a)["missing"] == b.book["gaps"]["a"] > 100


@pytest.mark.parametrize("kind", KINDS)
def test_g2_one_is_slow(kind: str, net: Net, tmp_path: Path, times: Times, figure: Figure) -> None:
    with running(kind, tmp_path, net=net) as cluster:  # 3 x 200 events of 150 bytes a second: ten times too much
        net.slow_down("b", "64kbit")
        began = time.monotonic()
        while time.monotonic() - began < times(6, 60):
            time.sleep(0.1)
            assert cluster.members["a"].is_told_by(cluster.members["c"])
        cluster.check(whole="ac")
        net.speed_up("b")
        back = cluster.wait_whole()
        judge(cluster, figure, f"64 kbit/s for {times(6, 60):g} s, whole again after {back:.2f} s")

    assert back < 4 * BACK


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("what", ["kill", "pause"])
def test_g4_the_broker_is_away(kind: str, what: str, tmp_path: Path, times: Times, figure: Figure) -> None:
    back = []
    seconds, rounds = (1.0, int(times(2, 20))) if what == "kill" else (times(6, 60), 1)
    with running(kind, tmp_path) as cluster:
        assert cluster.broker is not None
        for _ in range(rounds):
            (cluster.broker.kill if what == "kill" else cluster.broker.pause)()
            wait_until(lambda: all(m.book["state"] for m in cluster.members.values()), "all of them notice", 15.0)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                time.sleep(0.1)
            (cluster.broker.start if what == "kill" else cluster.broker.go_on)()
            back.append(cluster.wait_whole())
        judge(cluster, figure, f"{rounds} times away for {seconds:g} s ({what}), whole again after {max(back):.2f} s",
              whole="abc" if seconds < 30 else "")  # fmt: skip

    assert max(back) < BACK


@pytest.mark.parametrize("kind", KINDS[1:])
def test_g4_a_wrong_password(kind: str, tmp_path: Path, folder: Folder, figure: Figure) -> None:
    with brokers.running(kind, tmp_path / "broker", password=True) as broker:
        folder.configure(
            f"""
            SERVICE_LIST = []
            CLUSTER_ENGINE = "{broker.url_with("wrong-horse-battery")}"
            CLUSTER_NODE = "left"
            CLUSTER_GRACE = 1
            """
        )
        server = folder.start()
        wait_until(lambda: "refuses" in folder.call("cluster.status")["state"], "it is refused")
        took = wait_until(lambda: not folder.call("status")["ready"], "it is not ready")

        status = folder.command("cluster", "status", "-o", "json", program="zephctl")
        why = f"{kind}://127.0.0.1:{broker.port} refuses user and password; see CLUSTER_ENGINE"
        assert json.loads(status.out)["state"] == f"connecting: {why}"
        assert folder.command("cluster", "say", "news", "1", program="zephctl").status == 0  # it works alone
        assert folder.log.count(why) == 1
        shown = folder.command("settings", "show", "-o", "json", program="zephctl").out
        assert "horse" not in folder.log + server.errors + shown + status.out
        assert folder.stop().status == 0
        figure(f"told in one line, not ready after {took:.1f} s, no password in log, status and settings")
