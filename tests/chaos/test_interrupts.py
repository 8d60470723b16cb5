"""Row C3: interrupt() comes before, in and after main(), and the task ends."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.chaos.askers import Asker, come_in, outcome
from tests.chaos.peers import Crowd, message
from tests.chaos.site import Site
from tests.scale import FULL

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900 if FULL else 120)]
Times = Callable[[float, float], float]
Figure = Callable[[str], None]
WaitUntil = Callable[..., float]

RACES = """
    import threading, time
    from collections import Counter
    from zephserver import Service, Task
    from zephserver.core.command_table import command

    lock, seen = threading.Lock(), Counter(before=0, during=0, after=0, never=0, begun=0)

    def count(what):
        with lock:
            seen[what] += 1

    class Racer(Task):
        interrupt_on_disconnect, timeout = True, 20.0  # without interrupt() nothing ends it in time

        def __init__(self, request):
            super().__init__(request)
            time.sleep(self.data["before"])
            self.over, self.phase, self.heard = threading.Event(), "before", "never"

        def main(self):
            count("begun")
            self.phase = "during"
            self.over.wait(self.data["in"])
            self.phase = "after"
            time.sleep(self.data["after"])
            count(self.heard)

        def interrupt(self):
            if self.heard == "never":
                self.heard = self.phase
            self.over.set()

    class Brief(Racer):
        interrupt_on_disconnect, timeout = False, 0.01

    class Book(Service):
        def __init__(self):
            self.over = threading.Event()

        def main(self):
            self.over.wait()

        def disable(self):
            self.over.set()

        @command("seen")
        def seen(self) -> dict:
            "When the racers whose main() has ended were interrupted, and how many began."
            return dict(seen)
"""
RACE_TASKS = """
SERVICE_LIST += ["races/Book"]
TASKS_PATH = {"echo": "errands/Echo", "racer": "races/Racer", "brief": "races/Brief"}
"""
# Half of it is for tasks that end by themselves.
DRAIN = "SERVICE_OPTIONS = {'zephserver.websocket_client/WebsocketClient': {'stop_timeout': 5.0}}"


class Racer(Asker):
    """Asks twice for a task that only its interruption ends soon, and is gone a moment after it was let in."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._requests = [message(task="racer", data=phases(chance)) for _ in range(2)]
        self._stay = chance.uniform(0.0, 0.02)
        self._leaves = 0.0

    def heard(self, payload: bytes) -> None:
        """It is welcome: its first task begins about now, and the second one waits for it."""
        super().heard(payload)
        if not self._leaves:
            self._leaves = time.monotonic() + self._stay
            self.send(b"".join(self._requests))

    def has_left(self) -> bool:
        """Leave when it is time."""
        if self._leaves and time.monotonic() >= self._leaves:
            self.reset()
        return self.is_over


def phases(chance: random.Random) -> dict[str, float]:
    """Seconds in the constructor, in main() until something happens, and in main() after that."""
    waits = 3_600.0 if chance.random() < 0.5 else chance.uniform(0.0, 0.01)
    return {"before": chance.choice((0.0, 0.005, 0.015)), "in": waits, "after": chance.choice((0.0, 0.005))}


def assert_ends(folder: Folder, wait_until: WaitUntil) -> str:
    """Within 10 s every task has ended, its thread too, and nobody was surprised; a figure."""

    def has_ended() -> bool:
        seen = folder.call("seen")
        begun = seen.pop("begun")
        return folder.call("status")["tasks"]["running"] == 0 and begun == sum(seen.values())

    took = wait_until(has_ended, "all tasks and their threads have ended", 10)
    assert "interrupt() raised" not in folder.log
    assert "Error" not in folder.log
    seen = folder.call("seen")
    begun = seen.pop("begun")
    when = ", ".join(f"{number} {phase}" for phase, number in seen.items())
    return f"main() began {begun} times, interrupted {when}; all ended after {took:.2f} s"


def test_c3_a_client_that_leaves_ends_its_tasks_whenever_that_is(
    folder: Folder, chance: random.Random, times: Times, wait_until: WaitUntil, figure: Figure
) -> None:
    folder.write("races.py", RACES)
    site = Site(folder, RACE_TASKS)
    clients = int(times(50, 500))

    with Crowd(site.port) as crowd:
        crowd.play((Racer(chance) for _ in range(clients)), 50, lambda peer: peer.has_left())  # type: ignore[attr-defined]
        told = assert_ends(folder, wait_until)

    site.assert_quiet()
    figure(f"{clients * 2} races: {told}")


def test_c3_a_task_that_runs_out_of_time_is_answered_once_and_ends(
    folder: Folder, chance: random.Random, times: Times, wait_until: WaitUntil, figure: Figure
) -> None:
    folder.write("races.py", RACES)
    site = Site(folder, RACE_TASKS)
    each = int(times(5, 50))

    with Crowd(site.port) as crowd:
        askers = [Asker() for _ in range(20)]
        come_in(crowd, askers)
        for number in range(each):
            for asker in askers:
                asker.ask("brief", number, phases(chance))
        crowd.run(lambda: all(len(asker.answers) == each for asker in askers), "every request is answered", within=60)
        told = assert_ends(folder, wait_until)
        outcomes = Counter(outcome(said) for asker in askers for said in asker.answers.values())

    assert set(outcomes) <= {"", "timed-out"}
    figure(f"{each * 20} races: {outcomes['']} done, {outcomes['timed-out']} timed out; {told}")


def test_c3_a_stop_interrupts_the_tasks_in_every_phase(
    folder: Folder, chance: random.Random, times: Times, wait_until: WaitUntil, figure: Figure
) -> None:
    folder.write("races.py", RACES)
    site = Site(folder, RACE_TASKS + DRAIN)
    clients = int(times(20, 100))

    with Crowd(site.port) as crowd:
        askers = [Asker() for _ in range(clients)]
        come_in(crowd, askers)
        for asker in askers:
            asker.ask("racer", 1, phases(chance) | {"in": 3_600.0})
        crowd.run(lambda: folder.call("status")["tasks"]["running"] == clients, "they all run")
        stopped = folder.stop()

    assert stopped.status == 0, folder.log
    assert stopped.seconds < 10
    assert "left behind" not in folder.log
    assert "interrupt() raised" not in folder.log
    figure(f"{clients} tasks: stop {stopped.seconds:.1f} s")
