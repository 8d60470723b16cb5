"""A worker's line to the process above it."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from zephserver.core import files
from zephserver.core.bus import EventBus
from zephserver.core.events import CommandServed, Recovered
from zephserver.core.processes import channel as module
from zephserver.core.processes.channel import Channel
from zephserver.core.processes.plan import Plan
from zephserver.testing import wait_until

PLAN = Plan(number=2, count=3, folder="/f", sockets="/s", port=1)


class Above:
    """The other end."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._file = connection.makefile("rb")

    def say(self, word: dict[str, Any]) -> None:
        self.connection.sendall(json.dumps(word).encode() + b"\n")

    def word(self) -> dict[str, Any]:
        self.connection.settimeout(10)
        return json.loads(self._file.readline())  # type: ignore[no-any-return]

    def close(self) -> None:
        self._file.close()
        self.connection.close()


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The signals that would have been sent."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


@pytest.fixture
def ends(kills: list[tuple[int, int]]) -> Iterator[tuple[Above, Channel]]:
    """Both ends; the process above goes away at the end, which the worker has noticed then."""
    ours, theirs = socket.socketpair()
    above, channel = Above(ours), Channel(theirs)
    yield above, channel
    channel.close()
    above.close()
    wait_until(lambda: not any(thread.name == "channel in" for thread in threading.enumerate()), "it has noticed")
    theirs.close()


def test_the_first_word_is_the_plan(ends: tuple[Above, Channel]) -> None:
    above, channel = ends
    above.say(PLAN.as_dict())

    assert channel.plan() == PLAN


def test_a_process_above_that_is_gone_before_the_plan_is_told() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs, pytest.raises(EOFError):
        Channel(theirs).plan()


def test_everything_that_has_happened_comes_first_and_in_order(ends: tuple[Above, Channel]) -> None:
    above, channel = ends
    bus = EventBus()
    bus.publish(Recovered(what="before"))
    channel.open()

    channel.follow(bus)
    channel.tell(ready=True)
    bus.publish(Recovered(what="after"))

    assert above.word()["event"]["text"] == "recovered: before"
    assert above.word() == {"ready": True}
    assert above.word()["event"] == {
        "kind": "Recovered", "level": "WARNING", "text": "recovered: after", "what": "after", "seq": 2,
        "at": bus.journal.after(1)[0][0].at,
    }  # fmt: skip


def test_events_below_the_log_are_told_only_while_somebody_looks(ends: tuple[Above, Channel]) -> None:
    above, channel = ends
    bus = EventBus()
    channel.open()
    channel.follow(bus)
    assert not bus.wants(CommandServed)
    assert CommandServed.level < logging.INFO

    above.say({"watch": True})
    wait_until(lambda: bus.wants(CommandServed), "it is wanted")
    bus.publish(CommandServed(command="x", uid=0, seconds=0.1))
    assert above.word()["event"]["command"] == "x"

    above.say({"watch": False})
    wait_until(lambda: not bus.wants(CommandServed), "it is not wanted any more")


def test_what_was_asked_before_the_server_was_there_counts(ends: tuple[Above, Channel]) -> None:
    above, channel = ends
    bus = EventBus()
    channel.open()

    above.say({"watch": True})
    wait_until(lambda: channel._floor == logging.NOTSET, "it was heard")
    channel.follow(bus)

    assert bus.wants(CommandServed)


def test_a_worker_whose_process_above_is_gone_ends_itself(ends: tuple[Above, Channel], kills: list[Any]) -> None:
    above, channel = ends
    channel.open()
    assert kills == []

    above.connection.shutdown(socket.SHUT_RDWR)

    wait_until(lambda: kills == [(os.getpid(), signal.SIGTERM)], "it asked itself to end")


def test_what_nobody_reads_is_counted_and_told(ends: tuple[Above, Channel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_UNSENT", 4)
    above, channel = ends
    bus = EventBus()
    channel.follow(bus)  # nothing is sent yet
    for number in range(7):
        bus.publish(Recovered(what=str(number)))

    channel.open()

    words = [above.word() for _ in range(4)]
    assert [word["event"]["what"] for word in words] == ["0", "1", "2", "3"]
    assert [word["lost"] for word in words if "lost" in word] == [3]


def test_the_last_words_are_sent_before_the_end(ends: tuple[Above, Channel]) -> None:
    above, channel = ends
    channel.open()

    channel.tell(ended="why")
    channel.close()

    assert above.word() == {"ended": "why"}


def test_no_child_of_a_worker_holds_its_line() -> None:
    ours, theirs = socket.socketpair()
    descriptor = theirs.detach()
    os.set_inheritable(descriptor, True)

    channel = Channel.inherited(descriptor)

    assert not os.get_inheritable(descriptor)
    assert descriptor in files._own
    files.forget(descriptor)
    channel._socket.close()
    ours.close()
