"""Rows C1 and C2: whatever a task does others are served, and however many there are none is lost silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.chaos.askers import Asker, Bystander, come_in, outcome, p99, step_all
from tests.chaos.peers import Crowd, room_for
from tests.chaos.site import MIB, Site
from tests.scale import FULL, at_most

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(900 if FULL else 60)]
Times = Callable[[float, float], float]
Figure = Callable[[str], None]

TASK_THREADS, LOOK_UP_THREADS = 256, 16

# -- C1 ---------------------------------------------------------------------------------------------------------------

MISCHIEF = """
    import sys, threading, time
    from zephserver import Task

    for_ever = threading.Event()

    class Raise(Task):
        def main(self):
            raise ValueError("as the row wants it")

    class Exit(Task):
        def main(self):
            sys.exit(3)

    class Block(Task):
        concurrent, timeout = True, 0.5

        def main(self):
            for_ever.wait()

    class Spawn(Task):
        def main(self):
            for _ in range(100):
                threading.Thread(target=time.sleep, args=(0.2,), daemon=True).start()

    class Burn(Task):
        def main(self):
            end = time.monotonic() + 0.1
            while time.monotonic() < end:
                pass

    class BurnTogether(Burn):
        concurrent = True  # as many as TASKS_PER_CLIENT at once
"""
MISCHIEF_TASKS = """
TASKS_PATH = {
    "echo": "errands/Echo", "raise": "mischief/Raise", "exit": "mischief/Exit", "block": "mischief/Block",
    "spawn": "mischief/Spawn", "burn": "mischief/Burn", "burn together": "mischief/BurnTogether",
}
"""
EXPECTED = {
    "raise": "task-failed", "exit": "task-failed", "block": "timed-out", "spawn": "", "burn": "", "burn together": "",
}  # fmt: skip


def test_c1_a_task_that_raises_blocks_exits_spawns_or_burns_hurts_its_caller_only(
    folder: Folder, times: Times, figure: Figure
) -> None:
    folder.write("mischief.py", MISCHIEF)
    site = Site(folder, MISCHIEF_TASKS)
    each, told = int(times(10, 100)), []
    with Crowd(site.port) as crowd:
        bystanders = [Bystander() for _ in range(10)]
        come_in(crowd, bystanders)

        for kind, code in EXPECTED.items():
            villain = Asker()
            come_in(crowd, [villain])
            for bystander in bystanders:
                bystander.waits.clear()
            for number in range(each):
                villain.ask(kind, number)

            def are_answered(villain: Asker = villain) -> bool:
                step_all(bystanders)
                return len(villain.answers) == each and all(len(b.waits) >= 10 for b in bystanders)

            crowd.run(are_answered, f"{each} times {kind} are answered", within=60)
            assert {outcome(answers) for answers in villain.answers.values()} == {code}
            slowest = p99([wait for bystander in bystanders for wait in bystander.waits])
            told.append(f"{kind} {slowest * 1_000:.0f} ms")
            # Sixteen threads that compute all the time are more than one interpreter can keep apart.
            assert slowest < at_most(0.25) or kind == "burn together", f"beside {kind} an echo takes {slowest:.3f} s"

        tasks = folder.call("status")["tasks"]
        assert tasks["failed"] == 3 * each
        assert tasks["running"] <= len(bystanders)
    stopped = folder.stop()

    assert stopped.status == 0
    assert stopped.seconds <= 30
    assert "tasks still run and are left behind" in folder.log
    figure(f"{each} of each; p99 of an echo beside {', '.join(told)}; stop {stopped.seconds:.1f} s")


# -- C2 ---------------------------------------------------------------------------------------------------------------

NAPS = """
    import time
    from zephserver import Task

    class Nap(Task):
        concurrent = True

        def main(self):
            time.sleep(self.data)
            self.reply("rested")
"""
NAP_TASKS = """
TASKS_PATH = {"echo": "errands/Echo", "nap": "naps/Nap"}
MESSAGE_RATE = None
"""


class Flood:
    """Requests of many clients, and what the server used most meanwhile."""

    def __init__(self, folder: Folder, clients: int, each: int, seconds: float) -> None:
        folder.write("naps.py", NAPS)
        site = Site(folder, NAP_TASKS)
        site.echoes()
        threads, before = site.process.threads, folder.call("status")["tasks"]
        self.most_threads = 0
        with Crowd(site.port) as crowd:
            askers = [Asker() for _ in range(clients)]
            come_in(crowd, askers)
            grown = site.watch_peak()
            for number in range(each):
                for asker in askers:
                    asker.ask("nap", number, seconds)

            def are_answered() -> bool:
                self.most_threads = max(self.most_threads, site.process.threads - threads)
                return all(len(asker.answers) == each for asker in askers)

            self.seconds = crowd.run(are_answered, "every request is answered", within=120)
            self.outcomes = Counter(outcome(said) for asker in askers for said in asker.answers.values())
            finished = folder.call("status")["tasks"]
        self.grown = grown()
        site.assert_quiet()
        assert finished["running"] == 0
        assert finished["finished"] - before["finished"] == self.outcomes.total()
        assert finished["failed"] == self.outcomes["overloaded"]

    def __str__(self) -> str:
        answers = f"{self.outcomes['']:,} done, {self.outcomes['overloaded']:,} overloaded, in {self.seconds:.1f} s"
        return f"{answers}; {self.most_threads} threads more, {self.grown / MIB:+.1f} MiB at most"


def test_c2_one_client_that_sends_10_000_tasks_at_once_gets_every_answer(
    folder: Folder, times: Times, figure: Figure
) -> None:
    number = int(times(1_000, 10_000))

    flood = Flood(folder, 1, number, 0.005)

    assert flood.outcomes == {"": number}
    assert flood.most_threads <= 16 + LOOK_UP_THREADS, "TASKS_PER_CLIENT holds it"
    assert flood.grown < 100 * MIB
    figure(str(flood))


def test_c2_a_thousand_clients_get_an_answer_or_hear_that_the_server_is_overloaded(
    folder: Folder, times: Times, figure: Figure
) -> None:
    clients = room_for(int(times(200, 1_000)))

    flood = Flood(folder, clients, 10, 0.3)

    assert set(flood.outcomes) == {"", "overloaded"}
    assert flood.outcomes.total() == clients * 10
    assert flood.outcomes[""] >= TASK_THREADS + 1_024, "all threads and the queue were used"
    assert flood.most_threads <= TASK_THREADS + LOOK_UP_THREADS
    assert flood.grown < 100 * MIB
    figure(str(flood))
