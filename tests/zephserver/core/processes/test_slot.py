"""The service that keeps one worker alive, with processes that are no workers at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.zephserver.core.processes.conftest import PATIENCE, lines, write_house
from zephserver.core import processes
from zephserver.core.errors import StartFailed
from zephserver.core.events import WorkerDied, WorkerEnded, WorkerSaid
from zephserver.core.processes import slot as module
from zephserver.core.processes.slot import Slot, how_it_ended
from zephserver.core.processes.supervisor import Supervisor
from zephserver.core.service import load_service
from zephserver.core.settings import load_settings
from zephserver.testing import wait_for, wait_until

Act = Callable[..., Supervisor]


@pytest.fixture
def act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Act]:
    """Open a server whose workers run this script instead, with the line to it as `line`."""
    made: list[Supervisor] = []

    def make(script: str, **settings: object) -> Supervisor:
        package = tmp_path / "actor.py"
        package.write_text(
            f"import socket, sys, os, time, signal\nline = socket.socket(fileno=int(sys.argv[3]))\n{script}"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(module, "MODULE", "actor")
        made.append(Supervisor(load_settings(write_house(tmp_path, 1, dict(settings))).with_workers(2)))
        return made[-1]

    yield make
    for server in made:
        server.stop()


READY = "line.recv(65536)\nline.sendall(b'{\"ready\": true}\\n')\n"
STAY = "line.recv(65536)\n"


def test_a_class_is_made_for_each_name() -> None:
    first, third = (load_service(f"zephserver.core.processes/Worker{number}") for number in (1, 3))

    assert issubclass(third, Slot)
    assert (first.number, third.number) == (1, 3)
    assert load_service("zephserver.core.processes/Worker3") is third
    for name in ("Worker0", "Worker", "worker1", "Worker1x"):
        with pytest.raises(AttributeError, match="has no attribute"):
            getattr(processes, name)


@pytest.mark.parametrize(
    ("status", "how"),
    [(0, "exit 0"), (3, "exit 3"), (-9, "SIGKILL"), (-signal.SIGSEGV, "SIGSEGV"), (-200, "signal 200")],
)
def test_an_end_is_told_by_name(status: int, how: str) -> None:
    assert how_it_ended(status) == how


def test_a_process_that_ends_at_once_is_told_with_how(act: Act) -> None:
    server = act("print('my last words', file=sys.stderr)\nsys.exit(7)")

    with pytest.raises(StartFailed, match=r"stopped while starting: worker . \(pid \d+\) died: exit 7"):
        server.start()

    assert any(line.endswith(": my last words") for line in lines(server))
    assert server.stop() == 1


def test_why_a_worker_could_not_start_is_told(act: Act) -> None:
    server = act('line.recv(65536)\nline.sendall(b\'{"ended": "no luck"}\\n\')\nsys.exit(1)')

    with pytest.raises(StartFailed, match=r"worker . \(pid \d+\) died: no luck"):
        server.start()


def test_a_process_that_dies_with_our_words_unread_is_a_death_like_any_other(act: Act) -> None:
    server = act("time.sleep(0.1)\nos.kill(os.getpid(), signal.SIGKILL)")

    with pytest.raises(StartFailed, match="died: SIGKILL"):
        server.start()


def test_a_process_that_closes_its_line_and_lives_on_is_ended(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.05)
    server = act("line.close()\ntime.sleep(600)")

    with pytest.raises(StartFailed, match="died: SIGKILL"):
        server.start()


def test_a_process_that_ignores_its_end_is_killed(act: Act) -> None:
    server = act(f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{READY}time.sleep(600)", SHUTDOWN_TIMEOUT=1.0)
    server.start()

    assert server.stop() == 1

    wait_for(server.bus, WorkerEnded, how="SIGKILL")


def test_words_that_are_none_harm_nobody(act: Act) -> None:
    server = act(f"line.sendall(b'what\\n[1]\\n\\n')\n{READY}line.sendall(b'{{\"lost\": 3}}\\n')\n{STAY}")

    server.start()

    said = wait_for(server.bus, WorkerSaid)
    assert said.as_dict()["kind"] == "Lost"
    assert said.event["text"] == "3 events are lost: they came faster than they could be told"


def test_what_is_no_line_of_a_log_is_logged_as_it_is(act: Act) -> None:
    strange = ['{"seq":1', '{"seq":[]}', '{"seq":1,"level":"LOUD"}', "", "\\xff", '{"seq":1,"level":"INFO"}']
    words = "".join(f"{line}\\n" for line in strange)
    server = act(f"os.write(2, b'{words}')\n{READY}{STAY}")

    server.start()

    wait_until(lambda: sum(" worker 1: " in line for line in lines(server)) == 5, "all of them", timeout=PATIENCE)
    texts = [
        line.partition(" worker 1: ")[2] for line in lines(server) if " worker 1: " in line and "INFO" not in line[:33]
    ]
    assert texts == ['{"seq":1', '{"seq":[]}', '{"seq":1,"level":"LOUD"}', "\ufffd"]


def test_a_child_that_holds_the_log_open_does_not_hold_up_the_death(act: Act) -> None:
    server = act(
        "import subprocess\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"print('child', child.pid, file=sys.stderr, flush=True)\n{READY}{STAY}os.kill(os.getpid(), 9)",
        RESTART_DELAY=60,
        RESTART_MAX_DELAY=60,
    )
    server.start()

    for worker in server.crew.slots.values():
        worker.watch(False)  # the word that it waits for

    for number in (1, 2):
        wait_for(server.bus, WorkerDied, worker=number, how="SIGKILL", timeout=PATIENCE)
    for line in lines(server):
        if ": child " in line:
            subprocess.run(["kill", line.rpartition(" ")[2]], check=True)


def test_a_process_that_cannot_be_started_is_a_death_of_the_service(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    server = act(READY + STAY, RESTART_INTENSITY=0)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    with pytest.raises(StartFailed, match="it ended 1 times in 30 s; the last time: FileNotFoundError"):
        server.start()


def test_a_signal_for_a_worker_that_is_away_goes_nowhere() -> None:
    slot = Slot()

    slot.send_signal(signal.SIGUSR1)
    slot.watch(True)
    slot.end()

    assert slot._killer is None
