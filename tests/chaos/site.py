"""A WebSocket server in a folder, and how healthy it is."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.peers import Crowd, Peer, message
from tests.scale import FULL, at_most

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder, Process

MIB = 1_048_576
IDLE_THREADS = 16  # those that look users up stay for 30 s; only the full form has the patience to see them go
SLACK = 8 * MIB  # four read buffers of a longest message, which the allocator may keep back by chance

SETTINGS = """
SERVICE_LIST = [
    "doorman/Doorman",
    "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]
MY_SESSION_HANDLER = "doorman/Doorman"
TASKS_PATH = {"echo": "errands/Echo", "shout": "errands/Shout", "rest": "errands/Rest"}
"""

DOORMAN = """
    import errands, gc, sys, threading
    from zephserver import get_service
    from zephserver.core.command_table import command
    from zephserver.session_manager import SimpleSessionManager

    class Doorman(SimpleSessionManager):
        def __init__(self):
            super().__init__()
            self.lock, self.asked = threading.Lock(), 0

        def get_user_session(self, instance, message):
            with self.lock:
                self.asked += 1
            return super().get_user_session(instance, message)

        @command("facts")
        def facts(self) -> dict:
            "What the tests want to know."
            return {
                "asked": self.asked,
                "rooms": get_service("zephserver.room_handler/RoomHandler").rooms(),
                "counters": dict(get_service("zephserver.websocket_client/WebsocketClient").counters),
                "echoes": errands.Echo.runs,
            }

        @command("objects")
        def objects(self) -> int:
            "Blocks of memory that Python objects hold, when the garbage is gone."
            gc.collect()
            return sys.getallocatedblocks()
"""

ERRANDS = """
    import time
    from zephserver import Task

    class Echo(Task):
        runs = 0

        async def main(self):
            Echo.runs += 1
            self.reply(self.data)

    class Shout(Task):
        async def main(self):
            self.say(self.data, everyone=True)

    class Rest(Task):
        concurrent = True

        def main(self):
            time.sleep(self.data)
            self.reply("rested")
"""


class Caller(Peer):
    """Says who it is, nobody in particular, and then asks for echoes when it is told to."""

    room: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self.welcome = False
        self.asked_at = 0.0
        self.waits: list[float] = []  # seconds of each echo

    def opened(self) -> None:
        """Come in."""
        self.send(message(session_id=None, room=self.room))

    def heard(self, payload: bytes) -> None:
        """The welcome, an echo, or something else."""
        said = json.loads(payload)
        if said.get("msgtype") == "welcome":
            self.welcome = True
        elif said.get("id") == "echo":
            self.waits.append(time.monotonic() - self.asked_at)

    def ask(self) -> None:
        """Ask for an echo."""
        self.asked_at = time.monotonic()
        self.send(message(task="echo", data="hello", id="echo"))


class Site:
    """A running server, with a doorman who counts, and three tasks: echo, shout (to everybody) and rest (in a thread).

    `settle()` notes what it uses now; `assert_healthy()` compares with that.
    """

    def __init__(
        self, folder: Folder, settings: str = "", start: Callable[[], Process] | None = None, **options: Any
    ) -> None:
        self.folder = folder
        folder.configure(SETTINGS + settings)
        folder.write("doorman.py", DOORMAN)
        folder.write("errands.py", ERRANDS)
        self.process: Process = folder.start(**options) if start is None else start()
        self.port: int = folder.call("status")["port"]
        self._base, self._objects = (0, 0, 0), 0

    def facts(self) -> dict[str, Any]:
        """Look-ups, rooms, counters and how many echoes were made."""
        found: dict[str, Any] = self.folder.call("facts")
        return found

    def counted(self, what: str) -> int:
        """One of the counters."""
        return int(self.facts()["counters"].get(what, 0))

    def watch_peak(self) -> Callable[[], int]:
        """Begin to watch; a function that says how many bytes more than now it had at most."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")  # proc(5): VmHWM begins anew
        before = self.process.rss
        return lambda: virtual_memory(self.process, "VmHWM") - before

    def connections(self) -> int:
        """How many there are, as the status says."""
        return int(self.folder.call("status")["connections"])

    def settle(self, load: Callable[[], object] = lambda: None, rounds: int = 3) -> None:
        """Serve a load a few times and note what the server uses; of memory, the most until now.

        The allocator keeps what a load took, and the garbage of connections goes when the collector comes. So another
        load of the same kind may not need more memory than the loads before it, and no object may stay.
        """
        for _ in range(rounds):
            load()
            self.echoes()
            _eventually(lambda: self.connections() == 0, "nobody is connected")
        self._objects = self.folder.call("objects")
        _, threads, descriptors = self._uses()
        self._base = (virtual_memory(self.process, "VmHWM"), threads, descriptors)

    def echoes(self, number: int = 5) -> list[float]:
        """Seconds of echoes to one new client."""
        with Crowd(self.port) as crowd:
            caller = crowd.join(Caller())
            crowd.run(lambda: caller.welcome or caller.is_over, f"a new client has its answer: {caller}")
            assert caller.welcome, f"a new client was turned away: {caller}"
            for count in range(1, number + 1):
                caller.ask()
                crowd.run(lambda count=count: len(caller.waits) == count, "an echo")  # type: ignore[misc]
            caller.send_close()
            crowd.run(lambda: caller.is_over, "the client is gone")
            return caller.waits

    def assert_healthy(self, within: float = 45.0 if FULL else 10.0) -> str:
        """What settle() noted is not exceeded by more than 5 %, nobody is connected, `status` and a new client are
        answered, and the log has no traceback; a figure."""
        self.assert_quiet()
        rss, threads, descriptors = self._base
        wanted = f"back to {rss / MIB:.1f} MiB, {threads} threads and {descriptors} descriptors, nobody connected"
        _eventually(self._is_back, lambda: f"{wanted}: {self._uses()}, {self.connections()}", within)
        _, seconds = self.folder.ask("status\n")
        assert seconds < at_most(0.2), f"status took {seconds:.3f} s"
        echo = statistics.median(self.echoes())
        assert echo < at_most(0.05), f"an echo took {echo:.3f} s"
        _eventually(
            lambda: self.folder.call("objects") <= self._objects * 1.05,
            lambda: f"{self._objects} blocks of objects, not {self.folder.call('objects')}",
        )
        return f"{(self.process.rss - rss) / MIB:+.1f} MiB of {rss / MIB:.0f}"

    def assert_quiet(self) -> None:
        """Nothing that a client did is an error in the log."""
        faults = [line for line in self.folder.log.splitlines() if re.search(r" (ERROR|CRITICAL) |Traceback", line)]
        assert not faults, "\n".join(faults[:5])
        assert "Traceback" not in self.process.errors, self.process.errors

    def _uses(self) -> tuple[int, int, int]:
        return self.process.rss, self.process.threads, self.process.descriptors

    def _is_back(self) -> bool:
        rss, threads, descriptors = self._uses()
        base_rss, base_threads, base_descriptors = self._base
        return (
            rss <= base_rss + max(SLACK, base_rss // 20)
            and threads <= base_threads + IDLE_THREADS * (not FULL)
            and descriptors <= base_descriptors
            and self.connections() == 0
        )


def p99(seconds: Sequence[float]) -> float:
    """The time that one in a hundred is slower than."""
    return sorted(seconds)[int(len(seconds) * 0.99)]


def virtual_memory(process: Process, line: str = "VmSize") -> int:
    """A line of /proc/PID/status, in bytes: VmSize is address space, VmHWM the most memory ever."""
    found = re.search(rf"^{line}:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1_024


def _eventually(fact: Callable[[], object], what: str | Callable[[], str], within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not fact():
        assert time.monotonic() < end, f"not within {within:g} s: {what if isinstance(what, str) else what()}"
        time.sleep(0.02)
