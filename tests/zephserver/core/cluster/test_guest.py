"""What a program that is no server may have the cluster do, with real sockets and real brokers."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.zephserver.core.cluster.conftest import PATIENCE, Bus, Node, joined
from zephserver.core.cluster.broker.guest import BrokerGuest
from zephserver.core.cluster.engine import Guest
from zephserver.core.cluster.mesh import wire
from zephserver.core.errors import ClusterError, CommandFailed, NoAnswer, ZephError
from zephserver.testing import wait_until


def have_noted(guest: Guest, text: str, timeout: float = PATIENCE) -> None:
    guest.ask("note", json.dumps({"text": text}).encode(), timeout)


def noted(*nodes: Node) -> list[str]:
    return sorted(text for node in nodes for text in node.noted)


def test_one_server_does_it_once(bus: Bus) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)
    guest = bus.guest()

    for number in range(50):
        have_noted(guest, f"{number:02}")

    assert noted(a, b) == [f"{number:02}" for number in range(50)]


def test_threads_ask_at_once(bus: Bus) -> None:
    a, b = bus.start("a"), bus.start("b")
    guest = bus.guest()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: have_noted(guest, f"{number:03}"), range(200)))

    assert noted(a, b) == [f"{number:03}" for number in range(200)]


def test_why_it_is_not_done_is_told(bus: Bus) -> None:
    bus.start("a")
    guest = bus.guest()

    with pytest.raises(CommandFailed, match="there is nothing to note"):
        have_noted(guest, "")
    with pytest.raises(CommandFailed, match="usage: note TEXT"):
        guest.ask("note", b'{"word": 1}', PATIENCE)
    with pytest.raises(CommandFailed, match="Expecting property name"):
        guest.ask("note", b"{not json", PATIENCE)
    have_noted(guest, "and this is")


@pytest.mark.parametrize("command", ["secret", "nonsense"])
def test_a_guest_may_do_what_is_for_guests(bus: Bus, command: str) -> None:
    joined(bus.start("a"), bus.start("b"))

    with pytest.raises(ZephError):
        bus.guest().ask(command, b"{}", 1.0)


def test_a_server_that_is_not_ready_is_passed_over(bus: Bus) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)
    guest = bus.guest()

    for number in range(4):
        a.is_ready, b.is_ready = number % 2 == 0, number % 2 == 1
        have_noted(guest, str(number))

    assert (a.noted, b.noted) == (["0", "2"], ["1", "3"])


def test_when_the_server_goes_another_does_it(bus: Bus) -> None:
    a, b = bus.start("a"), bus.start("b")
    joined(a, b)
    guest = bus.guest()
    have_noted(guest, "1")
    first, second = (a, b) if a.noted else (b, a)

    first.cluster.stop()
    have_noted(guest, "2")

    assert (first.noted, second.noted) == (["1"], ["2"])


def test_nobody_is_there(bus: Bus) -> None:
    guest, began = bus.guest(), time.monotonic()

    with pytest.raises(NoAnswer, match=r"no server of the cluster (can be reached|gave an answer)"):
        have_noted(guest, "?", 0.3)
    assert time.monotonic() - began < PATIENCE
    a = bus.start("a")
    have_noted(guest, "here")

    assert a.noted == ["here"]


def test_it_can_be_closed_and_asked_again(bus: Bus) -> None:
    a, before = bus.start("a"), threading.active_count()
    guest = bus.guest()
    guest.close()
    have_noted(guest, "1")
    guest.close()

    assert threading.active_count() == before
    have_noted(guest, "2")
    assert a.noted == ["1", "2"]


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_broker_that_goes_fails_softly_and_is_found_again(brokered: Bus, how: str) -> None:
    a = brokered.start("a")
    guest = brokered.guest()
    have_noted(guest, "1")

    (brokered.broker.kill if how == "kill" else brokered.broker.pause)()
    with pytest.raises((ClusterError, NoAnswer)):
        have_noted(guest, "lost", 1.0)
    (brokered.broker.start if how == "kill" else brokered.broker.go_on)()
    a.wait_connected()
    have_noted(guest, "2")

    wait_until(lambda: "2" in a.noted, "it is done", timeout=PATIENCE)
    assert a.noted in (["1", "2"], ["1", "lost", "2"])  # at most once, and maybe after it was given up


def test_a_broker_that_is_started_anew_meanwhile_costs_no_command(brokered: Bus) -> None:
    a = brokered.start("a")
    guest = brokered.guest()
    assert isinstance(guest, BrokerGuest)
    have_noted(guest, "1")

    brokered.broker.kill()
    wait_until(lambda: not guest._is_open, "the guest notices", timeout=PATIENCE)
    wait_until(a.engine.state, "the server notices", timeout=PATIENCE)
    brokered.broker.start()
    a.wait_connected()
    have_noted(guest, "2")

    assert a.noted == ["1", "2"]


@pytest.mark.parametrize("bus", ["mesh"], indirect=True)
def test_another_version_is_refused_with_a_sentence(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    a, guest = bus.start("a"), bus.guest()
    refusal = wire.refusal
    monkeypatch.setattr(wire, "refusal", lambda node, version: refusal(node, 1))

    with pytest.raises(CommandFailed, match="a speaks version 2, not 1"):
        have_noted(guest, "?")
    assert not a.noted


@pytest.mark.parametrize("bus", ["mesh"], indirect=True)
def test_who_does_not_know_the_secret_is_not_heard(bus: Bus) -> None:
    a = bus.start("a", secret="s" * 32)

    with pytest.raises(NoAnswer, match="CLUSTER_SECRET"):
        have_noted(bus.guest(secret="t" * 32), "?", 0.5)
    with pytest.raises(NoAnswer, match="CLUSTER_SECRET"):
        have_noted(bus.guest(), "?", 0.5)
    have_noted(bus.guest(secret="s" * 32), "!")

    assert a.noted == ["!"]


@pytest.mark.parametrize("bus", ["mesh"], indirect=True)
@pytest.mark.parametrize("attempt", range(8))  # ZeroMQ gives up after some of these failures, and not after others
def test_a_server_that_was_given_the_right_secret_is_asked(bus: Bus, attempt: int) -> None:
    wrong, guest = bus.start("a"), bus.guest(secret="s" * 32)
    with pytest.raises(NoAnswer, match="CLUSTER_SECRET"):
        have_noted(guest, "?", 0.3)
    wrong.cluster.stop()

    a = bus.start("a", secret="s" * 32)

    wait_until(lambda: was_noted(guest, "!"), "it is asked", timeout=PATIENCE)
    assert "!" in a.noted


def was_noted(guest: Guest, text: str) -> bool:
    try:
        have_noted(guest, text, 0.5)
    except NoAnswer:
        return False
    return True
