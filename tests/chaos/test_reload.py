"""Row H2: whatever is saved, the last good code serves, nobody is disconnected, and the reasons are told."""

from __future__ import annotations

import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.peers import Crowd, message, room_for
from tests.chaos.site import Caller, Site
from tests.scale import FULL
from zephserver.settling import QUIET

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900 if FULL else 120)]
Times = Callable[[int, int], int]
Figure = Callable[[str], None]

GOOD = """
from zephserver import Task

class Echo(Task):
    runs = 0

    async def main(self):
        Echo.runs += 1
        self.reply({})

class Shout(Task):
    async def main(self):
        self.say(self.data, everyone=True)

class Rest(Task):
    def main(self):
        pass
"""


class Asker(Caller):
    """Asks again as soon as it is answered, and keeps the answers."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Any] = []
        self.notes: list[dict[str, Any]] = []

    def heard(self, payload: bytes) -> None:
        """An answer, or what the server tells of its own accord."""
        import json

        said = json.loads(payload)
        if said.get("msgtype") == "welcome":
            self.welcome = True
        elif "task" in said:
            self.answers.append(said.get("data", said.get("error")))
        else:
            self.notes.append(said)

    def ask(self) -> None:
        """Ask once."""
        self.send(message(task="echo", id=len(self.answers)))


@pytest.fixture
def site(new_folder: Callable[..., Folder]) -> Site:
    """A server in development mode."""
    folder = new_folder()
    return Site(folder, start=lambda: folder.start("--dev"))


def save(site: Site, answer: object) -> Path:
    """Save code that gives this answer."""
    return site.folder.write("errands.py", GOOD.replace("{}", repr(answer)))


@contextmanager
def asking(site: Site) -> Iterator[Callable[[object], float]]:
    """Somebody who asks all the time; `until(answer)` waits for it and gives the seconds. No request may fail."""
    with Crowd(site.port) as crowd:
        asker = crowd.join(Asker())
        crowd.run(lambda: asker.welcome, "welcome")

        def ask() -> object:
            count = len(asker.answers)
            asker.ask()
            crowd.run(lambda: len(asker.answers) > count, "an answer")
            assert not isinstance(asker.answers[-1], dict), asker.answers[-1]
            return asker.answers[-1]

        def until(answer: object) -> float:
            began = time.monotonic()
            while ask() != answer:
                assert time.monotonic() - began < 20, f"{answer!r} never came, but {asker.answers[-1]!r}"
            return time.monotonic() - began

        yield until
        assert not asker.is_over


def count_log(site: Site, text: str) -> int:
    """How many lines of the log say this."""
    return sum(text in line for line in site.folder.log.splitlines())


def test_a_thousand_connections_outlive_every_reload(site: Site, figure: Figure) -> None:
    many, seconds = room_for(1_000), []
    with Crowd(site.port) as crowd, asking(site) as until:
        peers = [crowd.join(Caller()) for _ in range(many)]
        crowd.run(lambda: all(peer.welcome for peer in peers), "all are welcome", within=60)
        for number in range(20):
            save(site, number)
            seconds.append(until(number))
        for peer in peers:
            peer.ask()
        crowd.run(lambda: all(peer.waits for peer in peers), "all are answered", within=60)

        assert not [peer for peer in peers if peer.is_over]
    figure(f"0 of {many:,} connections dropped over 20 reloads, {statistics.median(seconds) * 1000:.0f} ms each")


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("def", "SyntaxError: invalid syntax"),
        ("import zz_missing", "ModuleNotFoundError: No module named 'zz_missing'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (GOOD.replace("Echo", "Ecco").replace("{}", "1"), "module errands has no class Echo"),
    ],
)
def test_no_request_fails_while_the_code_does_not_work(site: Site, broken: str, why: str) -> None:
    with asking(site) as until:
        save(site, 1)
        until(1)
        site.folder.write("errands.py", broken)
        end = time.monotonic() + (5.0 if FULL else 1.0)
        while time.monotonic() < end:
            until(1)
        assert count_log(site, why) == 1
        save(site, 2)
        until(2)


def test_a_file_that_is_deleted_is_told_once_and_the_old_code_serves(site: Site) -> None:
    with asking(site) as until:
        path = save(site, 1)
        until(1)
        path.unlink()
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            until(1)
        assert count_log(site, "errands.py is gone") == 1
        save(site, 2)
        until(2)


@pytest.mark.alone
def test_fifty_saves_a_second_are_about_one_reload_a_second_and_end_with_the_last(
    site: Site, times: Times, figure: Figure
) -> None:
    saves, rests, seconds = times(250, 500), 0, 0.0

    def save_all() -> None:
        nonlocal rests, seconds
        began = last = time.monotonic()
        for number in range(saves):
            site.folder.write("errands.py.tmp", GOOD.replace("{}", repr(number))).replace(
                site.folder.path / "errands.py"
            )
            time.sleep(0.02)
            now = time.monotonic()
            rests += now - last > QUIET  # on a busy machine; a burst may end there
            last = now
        seconds = now - began

    with asking(site) as until:
        saver = threading.Thread(target=save_all)
        saver.start()
        while saver.is_alive():
            until_any = time.monotonic()
            saver.join(0.05)
            assert time.monotonic() - until_any < 5
        until(saves - 1)
    reloads = count_log(site, "reloaded 1 module")
    assert 2 <= reloads <= 3 + seconds + rests
    assert count_log(site, "not reloaded") == 0
    figure(f"{saves} saves in {seconds:.0f} s were {reloads} reloads")


def test_a_running_task_ends_on_the_old_code(site: Site) -> None:
    with Crowd(site.port) as crowd, asking(site) as until:
        asker = crowd.join(Asker())
        crowd.run(lambda: asker.welcome, "welcome")
        asker.send(message(task="rest", data=1.0, id=1))
        save(site, 1)
        until(1)
        crowd.run(lambda: "rested" in asker.answers, "the old code answers")

    assert "1 running task" in site.folder.log


def test_sighup_reloads_a_server_that_is_not_in_development_mode(new_folder: Callable[..., Folder]) -> None:
    site = Site(new_folder())
    with asking(site) as until:
        save(site, 1)
        site.process.signal(signal.SIGHUP)
        until(1)
        site.folder.write("errands.py", "def")
        site.process.signal(signal.SIGHUP)
        save_at = time.monotonic()
        while count_log(site, "not reloaded") == 0 and time.monotonic() - save_at < 10:
            until(1)
        assert count_log(site, "not reloaded") == 1


def test_memory_does_not_grow_with_reloads(site: Site, times: Times, figure: Figure) -> None:
    rounds = times(50, 1_000)
    with asking(site) as until:
        for number in range(20):
            save(site, number)
            until(number)
        before = site.folder.call("objects")
        for number in range(100, 100 + rounds):
            save(site, number)
            until(number)
        after = site.folder.call("objects")

    assert after < before * 1.03
    figure(f"{(after - before) / rounds:+.0f} blocks a reload")
