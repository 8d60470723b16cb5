"""Everybody sees every offset exactly once and in order, whoever speaks and whoever comes and goes meanwhile."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.zephserver.conftest import PATIENCE
from zephserver.task import Task
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite, Site, Wire

SPEAKERS, LISTENERS, ROUNDS = 8, 4, 25  # a hundred times somebody comes back


class Chat(Task):
    """Says to the room what it got, on the loop."""

    async def main(self) -> None:
        self.say(self.data)


class Listener:
    """Hears a room over one connection after the other, and notes what it hears."""

    def __init__(self, site: Site, name: str) -> None:
        self.site, self.name = site, name
        self.heard: list[tuple[int, Any]] = []
        self.faults: list[str] = []
        self.epoch: str | None = None
        self.rounds = 0

    @property
    def offset(self) -> int:
        """The highest that was heard."""
        return self.heard[-1][0] if self.heard else 0

    def live(self, ended: threading.Event) -> None:
        """Come, hear a little, be cut off, come back; at the end hear the rest."""
        try:
            for number in range(ROUNDS):
                wire = self.come(by_first_message=number % 2 == 0)
                for _ in range(number % 7):
                    self.note(hear(wire, task="Chat"))
                if number % 3 == 0:
                    wire.frame(0x8, b"\x03\xe8")
                wire.close()  # what is on its way is lost
                self.rounds += 1
            wire = self.come(by_first_message=False)
            assert ended.wait(PATIENCE)
            last = self.site.rooms._histories.find("room").offset
            while self.offset < last:
                self.note(hear(wire, task="Chat"))
        except Exception as error:
            self.faults.append(repr(error))

    def come(self, *, by_first_message: bool) -> Wire:
        """Connect and join where it was."""
        wire = self.site.peer()
        place = {} if self.epoch is None else {"epoch": self.epoch, "offset": self.offset}
        if by_first_message:
            wire.say(session_id=self.name, room="room", **place)
        else:
            wire.say(session_id=self.name)
            wire.say(msgtype="join", room="room", **place)
        joined = hear(wire, msgtype="joined")
        if self.epoch is None:
            self.epoch = joined["epoch"]
            self.heard = [(joined["offset"], None)]
        elif joined.get("recovered") is not True or joined["epoch"] != self.epoch:
            self.faults.append(f"not recovered: {joined}")
        return wire

    def note(self, message: dict[str, Any]) -> None:
        """What came must be the next."""
        if message["offset"] != self.offset + 1:
            self.faults.append(f"{message['offset']} came after {self.offset}")
        self.heard.append((message["offset"], message["data"]))


def hear(wire: Wire, **wanted: Any) -> dict[str, Any]:
    """The next message with these fields."""
    while True:
        message: dict[str, Any] = json.loads(wire.wait_frame(0x1))
        if all(message.get(name) == value for name, value in wanted.items()):
            return message


@pytest.mark.parametrize("engine", ["picows", "threaded"])
def test_everybody_sees_every_offset_exactly_once_and_in_order(make_site: MakeSite, engine: str) -> None:
    site = make_site(
        Chat,
        ROOM_HISTORY={"*": (1_000_000, 600)},
        MESSAGE_RATE=None,
        SEND_QUEUE_BYTES=100_000_000,
        LEAVE_DELAY=0.01,
        WEBSOCKET_ENGINE=engine,
    )
    stopping, ended = threading.Event(), threading.Event()
    said: list[list[Any]] = [[] for _ in range(SPEAKERS + 1)]

    def speak(number: int) -> None:
        while not stopping.is_set():
            word = [number, len(said[number])]
            said[number].append(word)
            site.service.say({"task": "Chat", "data": word, "room": "room"})
            stopping.wait(0.02)

    def speak_on_the_loop() -> None:
        talker = site.join("speaker", room="room")
        while not stopping.is_set():
            word = [SPEAKERS, len(said[SPEAKERS])]
            said[SPEAKERS].append(word)
            talker.send(task="Chat", data=word)
            talker.hear(data=word)
            stopping.wait(0.005)

    speakers = [threading.Thread(target=speak, args=(number,)) for number in range(SPEAKERS)]
    speakers.append(threading.Thread(target=speak_on_the_loop))
    listeners = [Listener(site, f"listener {number}") for number in range(LISTENERS)]
    living = [threading.Thread(target=listener.live, args=(ended,)) for listener in listeners]
    for thread in [*speakers, *living]:
        thread.start()
    while any(listener.rounds < ROUNDS and not listener.faults for listener in listeners):
        stopping.wait(0.02)
    stopping.set()
    for thread in speakers:
        thread.join(PATIENCE)
    history = site.rooms._histories.find("room")
    wait_until(lambda: history.offset == sum(map(len, said)), "the loop has said everything", timeout=PATIENCE)
    ended.set()
    for thread in living:
        thread.join(3 * PATIENCE)

    assert [listener.faults for listener in listeners] == [[]] * LISTENERS
    assert history.offset == sum(map(len, said))
    for listener in listeners:
        assert [offset for offset, _ in listener.heard] == list(range(listener.heard[0][0], history.offset + 1))
        for number in range(SPEAKERS + 1):
            theirs = [word for _, word in listener.heard[1:] if word[0] == number]
            assert theirs == said[number][len(said[number]) - len(theirs) :]
