"""Rows D7, D10 and D15: what asks for more than there is gets a clear no, and the server lives within its limits."""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.chaos.peers import Crowd, Peer, message, opening
from tests.chaos.site import MIB, Caller, Site, virtual_memory
from tests.conformance.cases import BINARY, CONTINUATION, TEXT, Frame, deflate
from tests.scale import FULL, at_most

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder, Process

IS_ROOT = os.geteuid() == 0
# as_nobody.py, and what the server imports late: the interpreter may live where another user cannot read.
AS_NOBODY = (
    "import aiofastnet, graphlib, picows.picows, runpy, sys\n"
    "from zephserver.engines import picows\n"
    f"sys.argv = [{str(Path(__file__).with_name('as_nobody.py'))!r}]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
STRANGER = 20_000 + os.getpid() % 40_000  # the limit counts all processes of a user, and web servers run as nobody
pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(1_800 if FULL else 60)]
T = TypeVar("T")
Figure = Callable[[str], None]


class Teller(Caller):
    """Says one thing when it is welcome, and listens; `took` is how long the close frame needed."""

    is_mute = True

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data
        self.told_at = 0.0
        self.took = 0.0

    def heard(self, payload: bytes) -> None:
        """The welcome."""
        super().heard(payload)
        if self.welcome and not self.told_at:
            self.told_at = time.monotonic()
            self.send(self._data)

    def ready(self, events: int) -> None:
        """Note the close frame."""
        super().ready(events)
        if self.code and not self.took:
            self.took = time.monotonic() - self.told_at
            self.end()


# -- D7 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION])
def test_d7_a_huge_length_is_refused_from_the_header_alone(
    new_folder: Callable[..., Folder], opcode: int, times: Callable[[T, T], T], figure: Figure
) -> None:
    site = Site(new_folder())
    first = Frame(TEXT, b"{", fin=False).encode() if opcode == CONTINUATION else b""
    lengths = (MIB + 1, 100 * MIB, 2**31, 2**32 + 5, 2**33, 2**62, 2**63 - 1, 2**63, 2**63 + 5, 2**64 - 1)

    def play() -> list[tuple[int, Teller]]:
        with Crowd(site.port) as crowd:
            tellers = []
            for length in lengths * times(2, 20):
                teller = Teller(first + Frame(opcode, b"", length=length, width=8).encode() + b"x" * 500)
                crowd.join(teller)
                crowd.run(lambda teller=teller: teller.is_over, f"{length} bytes are refused")  # type: ignore[misc]
                tellers.append((length, teller))
            return tellers

    site.settle(play)
    space, peak = virtual_memory(site.process), site.watch_peak()

    tellers = play()

    wrong = {length: teller.code for length, teller in tellers if teller.code not in (1009, *[1002] * (length > 2**62))}
    took = [teller.took for _, teller in tellers]
    assert not wrong
    assert statistics.median(took) < at_most(0.01), f"{statistics.median(took) * 1e3:.0f} ms"
    assert peak() < 5 * MIB
    assert virtual_memory(site.process) - space < 10 * MIB
    figure(
        f"opcode {opcode}: {len(took)} lengths up to 2^64-1, {statistics.median(took) * 1e3:.1f} ms, "
        f"longest {max(took) * 1e3:.1f} ms, at most {peak() / MIB:.1f} MiB more, {site.assert_healthy()}"
    )


def test_d7_a_message_of_100_mb_is_refused_and_not_kept(new_folder: Callable[..., Folder], figure: Figure) -> None:
    site = Site(new_folder())
    in_one = Frame(TEXT, b"x" * 100_000_000).encode()
    in_parts = b"".join(Frame(TEXT * (n == 0), b"x" * 500_000, fin=False).encode() for n in range(200))

    def play() -> list[int]:
        tellers = [Teller(in_one), Teller(in_parts)]
        with Crowd(site.port) as crowd:
            for teller in tellers:
                crowd.join(teller)
                crowd.run(lambda teller=teller: teller.is_over, "it is refused")  # type: ignore[misc]
        return [teller.code for teller in tellers]

    site.settle(rounds=1)
    space, peak = virtual_memory(site.process), site.watch_peak()
    codes = play()
    most, space = peak(), virtual_memory(site.process) - space
    site.settle(play, rounds=1)
    play()

    assert codes == [1009, 1009]
    assert most < 5 * MIB, f"{most / MIB:.1f} MiB more"
    assert space < 10 * MIB, f"{space / MIB:.1f} MiB of address space more"
    figure(f"100 MB in one frame and in 200: 1009, at most {most / MIB:.1f} MiB more, {site.assert_healthy()}")


# -- D10 --------------------------------------------------------------------------------------------------------------


class Bomber(Teller):
    """One that agreed on compression."""

    request = opening("Sec-WebSocket-Extensions: permessage-deflate")


def test_d10_a_deflate_bomb_is_refused_at_the_limit(new_folder: Callable[..., Folder], figure: Figure) -> None:
    site = Site(new_folder())
    bomb = deflate(b" " * 100_000_000)
    half = len(bomb) // 2
    kinds = [
        Frame(TEXT, bomb, rsv=4).encode(),
        Frame(TEXT, bomb[:half], rsv=4, fin=False).encode() + Frame(CONTINUATION, bomb[half:]).encode(),
    ]

    def play() -> list[Bomber]:
        with Crowd(site.port) as crowd:
            bombers = [crowd.join(Bomber(kinds[number % 2])) for number in range(20)]
            crowd.run(lambda: all(bomber.is_over for bomber in bombers), "all are refused")
            return bombers

    site.settle(rounds=1)
    peak = site.watch_peak()
    codes = Counter(bomber.code for bomber in play())
    most = peak()
    site.settle(play)
    play()

    assert codes == {1009: 20}
    assert most < 20 * 2 * len(bomb) + 3 * MIB, f"{most / MIB:.1f} MiB more"
    figure(f"20 x {len(bomb):,} bytes -> 100 MB: 1009, at most {most / MIB:.1f} MiB more, {site.assert_healthy()}")


# -- D15 --------------------------------------------------------------------------------------------------------------


def limited(kind: int, limit: int) -> Callable[[], None]:
    """What to do in the child before the server begins."""
    return lambda: resource.setrlimit(kind, (limit, limit))


def assert_works(site: Site, cpu: float = 0.05) -> float:
    """`status` works and the server is nearly idle for a second; the share of a processor."""
    used, began, asked = site.process.cpu, time.monotonic(), 0
    while time.monotonic() - began < 1.0:
        answer, seconds = site.folder.ask("status\n", 2.0)
        assert "running" in answer, answer
        assert seconds < at_most(0.2), f"status took {seconds:.3f} s"
        asked += 1
        time.sleep(0.2)  # to see how the server does when it is left alone
    share = (site.process.cpu - used) / (time.monotonic() - began)
    assert share < cpu, f"{share:.1%} of a processor"
    return share


def assert_recovers(site: Site, within: float = 2.0) -> float:
    """A new client is welcome in time, once the others have gone."""
    began = time.monotonic()
    while True:
        try:
            site.echoes(1)
        except AssertionError:
            assert time.monotonic() - began < at_most(within), f"no new client within {within:g} s"
        else:
            return time.monotonic() - began


def test_d15_more_clients_than_descriptors_are_told_so(new_folder: Callable[..., Folder], figure: Figure) -> None:
    site = Site(new_folder(), preexec_fn=limited(resource.RLIMIT_NOFILE, 256))
    site.settle()
    with Crowd(site.port) as crowd:
        callers = [crowd.join(Caller()) for _ in range(400)]
        crowd.run(lambda: all(caller.welcome or caller.is_over for caller in callers), "each has its answer")
        share = assert_works(site)
        inside = sum(caller.welcome for caller in callers)
        statuses = Counter(caller.status for caller in callers if not caller.welcome)

    assert inside == 256 - 64
    assert set(statuses) <= {503, 0}  # told so, or hung up on when even that would take too many descriptors
    assert statuses[503] > 0
    seconds = assert_recovers(site)
    figure(
        f"400 clients: {inside} in, {dict(statuses)}; {share:.1%}; again after {seconds:.2f} s; {site.assert_healthy()}"
    )


class Silent(Peer):
    """Connects and says nothing."""

    request = b""


def test_d15_silent_clients_cannot_take_the_last_descriptor(new_folder: Callable[..., Folder], figure: Figure) -> None:
    site = Site(new_folder(), "HANDSHAKE_TIMEOUT = 3", preexec_fn=limited(resource.RLIMIT_NOFILE, 256))
    site.settle()
    with Crowd(site.port) as crowd:
        for _ in range(400):
            crowd.join(Silent())
        crowd.run(lambda: site.process.descriptors > 150, "they are there")
        share = assert_works(site)
        most = site.process.descriptors

    seconds = assert_recovers(site)
    lines = len(site.folder.log.splitlines())
    assert lines < 100, f"{lines} lines in the log"
    figure(f"400 silent clients: {most} descriptors, {share:.1%}; again after {seconds:.2f} s; {site.assert_healthy()}")


class Worker(Caller):
    """Asks for a few rests, each of which takes a thread, and counts the answers."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: Counter[str] = Counter()

    def heard(self, payload: bytes) -> None:
        """The welcome, or an answer."""
        said = json.loads(payload)
        if said.get("msgtype") == "welcome":
            self.welcome = True
            for id in range(3):
                self.send(message(task="rest", data=0.3, id=id))
        elif "id" in said:
            self.answers[said["error"]["code"] if "error" in said else "done"] += 1


def rest(site: Site, number: int) -> Counter[str]:
    """Let so many clients ask for three rests each; all answers, and the codes of those who were not let in."""
    with Crowd(site.port) as crowd:
        workers = [crowd.join(Worker()) for _ in range(number)]
        crowd.run(lambda: all(one.is_over or one.answers.total() == 3 for one in workers), "all have their answers")
        answers: Counter[str] = sum((one.answers for one in workers), Counter())
        return answers + Counter(f"close {one.code or one.status}" for one in workers if one.is_over)


@pytest.mark.skipif(not IS_ROOT, reason="only root may become another user, and root has no limit of threads")
def test_d15_without_threads_the_server_says_so_and_lives(
    new_folder: Callable[..., Folder], wait_until: Callable[..., float], figure: Figure
) -> None:
    folder = new_folder()
    os.chown(folder.path, STRANGER, STRANGER)
    limit, environment = limited(resource.RLIMIT_NPROC, 24), os.environ | {"ZEPH_UID": str(STRANGER)}

    def start() -> Process:
        process = folder.spawn(sys.executable, "-c", AS_NOBODY, preexec_fn=limit, env=environment)
        wait_until(lambda: process.has_ended() or "is ready" in process.errors, "the server is ready")
        assert not process.has_ended(), process.errors
        return process

    site = Site(folder, "TASK_QUEUE = 50", start)
    site.settle()

    answers = rest(site, 60)

    assert set(answers) <= {"done", "overloaded", "close 1013"}, answers
    assert answers["done"] > 0
    share = assert_works(site)
    seconds = assert_recovers(site)
    figure(f"24 threads: {dict(answers)}; {share:.1%}; again after {seconds:.2f} s; {site.assert_healthy()}")
