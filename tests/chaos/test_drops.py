"""Row F3, and drops again and again: a pause of the server closes nobody, and what a room remembers is made good."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.askers import COUNTING, KINDS, SOAK, Asker, Chatter, come_in
from tests.chaos.peers import Crowd, message
from tests.chaos.site import Site
from tests.scale import FULL

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1_800 if FULL else 120)]
Times = Callable[[float, float], float]
Figure = Callable[[str], None]
WaitUntil = Callable[..., float]

# -- F3 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", ["as they are", "shorter than the pause"])
def test_f3_a_server_that_stood_still_closes_nobody(
    folder: Folder, times: Times, chance: random.Random, wait_until: WaitUntil, settings: str, figure: Figure
) -> None:
    pause = times(3.0, 60.0)
    brief = ", ".join(("PING_INTERVAL", "PING_TIMEOUT", "WRITE_TIMEOUT", "SESSION_CHECK_INTERVAL", "IDENTIFY_TIMEOUT"))
    folder.write("counting.py", COUNTING)
    site = Site(folder, f"{SOAK}\n{brief} = 1.0, 1.0, 1.0, 1.0, 2.0" if settings != "as they are" else SOAK)
    each = int(times(1_000, 20_000))
    with Crowd(site.port) as crowd:
        idle = [Asker() for _ in range(int(times(50, 200)))]
        busy = [Chatter(number, each) for number in range(20)]
        late = [Asker() for _ in range(20)]
        for asker in late:  # they have connected, and speak while the server stands still
            asker.opened = lambda: None  # type: ignore[method-assign]
        for chunk in range(0, len(idle), 10):  # so that their pings are due at different times
            come_in(crowd, idle[chunk : chunk + 10])
            chunk_end = time.monotonic() + chance.uniform(0.0, 0.2)
            crowd.run(lambda end=chunk_end: time.monotonic() > end, "a moment passes")  # type: ignore[misc]
        come_in(crowd, busy)
        for asker in late:
            crowd.join(asker)
        crowd.run(lambda: all(asker.status for asker in late), "the late ones are connected")
        for chatter in busy:
            chatter.begin()
        crowd.run(lambda: all(chatter.heard_of > 20 for chatter in busy), "the busy ones talk")

        site.process.signal(signal.SIGSTOP)
        end = time.monotonic() + pause
        for asker in late:
            asker.send(message(**asker.first))
        crowd.run(lambda: time.monotonic() > end, "the pause is over", within=pause + 10)
        site.process.signal(signal.SIGCONT)
        began = time.monotonic()
        for asker in idle:
            asker.ask("echo", 1)
        everybody = [*idle, *busy, *late]
        crowd.run(
            lambda: all(asker.is_over or asker.answers for asker in idle) and all(a.is_over or a.welcome for a in late),
            "the idle ones have an echo, the late ones are welcome",
        )
        seconds = time.monotonic() - began
        crowd.run(
            lambda: all(
                c.is_over or (c.heard_of == each and c.told_by.total() == 5 * each // len(KINDS)) for c in busy
            ),
            "the busy ones go on as if nothing had been",
            within=300,
        )
        gone = [asker for asker in everybody if asker.is_over]

    assert not gone, f"{len(gone)} of {len(everybody)} were closed: {Counter(map(str, gone))}"
    assert not [fault for chatter in busy for fault in chatter.faults]
    assert {row["state"] for row in folder.call("services.list")} == {"ready"}
    site.assert_quiet()
    figure(f"{settings}: {pause:g} s; 0 of {len(everybody)} closed; all served {seconds:.2f} s after it")


# -- delivery under repeated drops ------------------------------------------------------------------------------------

REMEMBER = """
TASKS_PATH = {"echo": "counting/Echo", "work": "counting/Work", "tell": "counting/Tell"}
MESSAGE_RATE = None
ROOM_HISTORY = {"news*": (5_000, 60.0)}
"""


class Reader:
    """Somebody who reads the news of a room through one connection after another, and notes every offset."""

    def __init__(self, number: int, chance: random.Random, absence: float) -> None:
        self._number, self._chance, self._absence = number, chance, absence
        self.epoch, self.offset = "", 0
        self.news: list[Any] = []
        self.faults: list[str] = []
        self.drops = self.made_good = 0
        self.leaves = self.returns = 0.0
        self.connection: Visit | None = None

    def come(self, crowd: Crowd) -> None:
        """Connect, and ask for what was missed."""
        known = {"epoch": self.epoch, "offset": self.offset} if self.epoch else {}
        self.connection = crowd.join(Visit(self, self._number, known, at_once=self._chance.random() < 0.5))
        self.leaves = time.monotonic() + self._chance.uniform(0.0, 2 * self._absence)

    def step(self, crowd: Crowd, *, may_leave: bool) -> None:
        """Drop the connection when it is time, or come back."""
        now = time.monotonic()
        if self.connection is None:
            if now >= self.returns or not may_leave:
                self.come(crowd)
        elif self.connection.is_over:
            self.faults.append(f"the server hung up: {self.connection}")
            self.connection = None
        elif may_leave and now >= self.leaves:
            self.drops += 1
            self.connection.reset()
            self.connection = None
            self.returns = now + self._chance.uniform(0.0, self._absence)

    def joined(self, said: dict[str, Any]) -> None:
        """It is in the room: with what it missed, or with a fault."""
        if not self.epoch:
            self.epoch, self.offset = said["epoch"], said["offset"]
        elif said.get("recovered") is not True:
            self.faults.append(f"not recovered at {self.offset}: {said}")
            self.epoch, self.offset = said["epoch"], said["offset"]
        else:
            self.made_good += said["offset"] - self.offset

    def heard(self, said: dict[str, Any]) -> None:
        """A message of the room."""
        if said["offset"] != self.offset + 1:
            self.faults.append(f"{said['offset']} after {self.offset}")
        self.offset = said["offset"]
        self.news.append((self.offset, said["data"]))


class Visit(Asker):
    """One connection of a reader; it joins with its first message, or with one of its own after that."""

    def __init__(self, reader: Reader, number: int, known: dict[str, Any], *, at_once: bool) -> None:
        super().__init__(f"reader {number}", **({"room": "news"} | known if at_once else {}))
        self._reader = reader
        self._join = None if at_once else message(msgtype="join", room="news", id=1, **known)

    def opened(self) -> None:
        """Come in, and join."""
        super().opened()
        if self._join is not None:
            self.send(self._join)

    def heard(self, payload: bytes) -> None:
        """Hand on what is of the room."""
        said = json.loads(payload)
        if said.get("msgtype") == "joined":
            self._reader.joined(said)
        elif "offset" in said:
            self._reader.heard(said)


def test_drops_again_and_again_lose_and_double_nothing_in_a_room_with_a_history(
    folder: Folder, times: Times, chance: random.Random, figure: Figure
) -> None:
    folder.write("counting.py", COUNTING)
    site = Site(folder, REMEMBER)
    number, seconds, absence = int(times(20, 200)), times(3.0, 120.0), times(0.3, 2.0)
    pause = times(0.02, 0.05)  # between two messages
    with Crowd(site.port) as crowd:
        publishers = [Asker(None, room="news") for _ in range(2)]
        come_in(crowd, publishers)
        readers = [Reader(index, chance, absence) for index in range(number)]
        for reader in readers:
            reader.come(crowd)
        crowd.run(lambda: all(reader.epoch for reader in readers), "everybody is in the room")
        end, said, due = time.monotonic() + seconds, 0, time.monotonic()

        def is_over() -> bool:
            nonlocal said, due
            now = time.monotonic()
            while due <= now < end:
                due += pause
                said += 1
                publishers[said % 2].ask("tell", said, said)
            for reader in readers:
                reader.step(crowd, may_leave=now < end)
            is_said = all(
                len(asker.answers) == said // 2 + (said % 2) * index for index, asker in enumerate(publishers)
            )
            return now >= end and is_said and all(reader.offset == said for reader in readers)

        crowd.run(is_over, "everybody has read everything", within=seconds + 30)
    faults = [fault for reader in readers for fault in reader.faults]
    drops, made_good = sum(reader.drops for reader in readers), sum(reader.made_good for reader in readers)

    assert not faults, f"{len(faults)}: {faults[:5]}"
    assert {len(reader.epoch) for reader in readers} == {8}
    first = readers[0].news
    assert [offset for offset, _ in first] == list(range(1, said + 1))
    assert all(reader.news == first for reader in readers), "all read the same"
    assert sorted(news for _, news in first) == list(range(1, said + 1)), "what was said, once"
    assert drops > number, "the row needs drops"
    site.assert_quiet()
    figure(
        f"{number} readers, {said:,} messages, {drops:,} drops, {made_good:,} messages made good; "
        "0 lost, 0 doubled, 0 not recovered"
    )
