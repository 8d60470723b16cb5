"""Rows B1 to B5: a service that misbehaves hurts nobody else, and is named for what it is."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tests.scale import FULL, at_most
from zephserver.core.bus import EventBus
from zephserver.core.errors import ServiceError
from zephserver.core.lifecycle import Restart, RestartPolicy, State
from zephserver.core.managed_service import ServiceOptions
from zephserver.core.service_manager import ServiceManager

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(1_800 if FULL else 60)]

CAST = """
    import ctypes, os, sys, threading, time
    from zephserver import get_service
    from zephserver.core.command_table import command

    class Good:
        def __init__(self):
            self.over = threading.Event()

        def main(self):
            self.over.wait()
            self.over.clear()

        def disable(self):
            self.over.set()

        @command("ask.for")
        def ask_for(self, name: str) -> str:
            "get_service() from within."
            return type(get_service(name)).__name__

    class Better(Good):
        ask_for = None

    class Dies:
        wait, how = 0.0, staticmethod(lambda: 1 / 0)

        def main(self):
            with open("runs." + type(self).__name__, "a") as file:
                file.write(".")
            time.sleep(self.wait)
            self.how()

        def disable(self):
            pass

    class DiesLater(Dies):
        wait = 0.5

    class Returns(Dies):
        how = staticmethod(lambda: None)

    class Exits(Dies):
        how = staticmethod(lambda: sys.exit(3))

    class Interrupts(Dies):
        @staticmethod
        def how():
            raise KeyboardInterrupt

    class HardExits(Dies):
        wait, how = 0.2, staticmethod(lambda: os._exit(3))

    class Segfaults(Dies):
        wait, how = 0.2, staticmethod(lambda: ctypes.string_at(0))

    class RaisesInInit(Better):
        def __init__(self):
            raise ValueError("no such table")

    class ExitsInInit(Better):
        def __init__(self):
            sys.exit("enough")

    class HangsInInit(Better):
        def __init__(self):
            threading.Event().wait()

    class AsksInInit(Better):
        def __init__(self):
            get_service("cast/Good")

    class Egg(Better):
        requires = ("cast/Hen",)

    class Hen(Better):
        requires = ("cast/Egg",)

    class Ignores(Better):
        def disable(self):
            pass

    class RaisesInDisable(Better):
        def disable(self):
            raise ValueError("not now")

    class BlocksInDisable(Better):
        def disable(self):
            threading.Event().wait()

    class RaisesButEnds(Better):
        def disable(self):
            self.over.set()
            raise ValueError("not now")
"""


def state_of(folder: Folder, name: str) -> str:
    """The state of a service, over the control socket."""
    return str(folder.call("services.show", name=f"cast/{name}")["state"])


# -- B1 ---------------------------------------------------------------------------------------------------------------


def test_b1_a_service_that_keeps_dying_is_given_up_quietly(
    new_folder: Callable[..., Folder], wait_until: Callable[..., float], figure: Callable[[str], None]
) -> None:
    folder = new_folder(
        f"SERVICE_LIST = ['cast/Good', 'cast/Dies', 'cast/Returns', *{['cast/DiesLater'] * FULL}]\n"
        "SERVICE_OPTIONS = {'cast/Returns': {'restart': 'always'}}",
        cast=CAST,
    )
    server = folder.start(ready=False)
    wait_until(folder.responds, "the start has begun")
    cpu, began = server.cpu, time.monotonic()
    dying = ("Dies", "DiesLater", "Returns") if FULL else ("Dies", "Returns")

    for name in dying:  # the log is watched, for asking the server would cost it more than the services do
        given_up = f"service cast/{name} went from dead to failed"
        wait_until(lambda given_up=given_up: given_up in folder.log, f"{name} is given up", 15.0)
    share = (server.cpu - cpu) / (time.monotonic() - began)

    runs = [len((folder.path / f"runs.{name}").read_text()) for name in dying]
    lines = folder.log.splitlines()
    assert max(runs) <= 6, runs
    assert share < 0.05, f"{share:.1%} of a processor"
    for name in dying:
        assert sum(f"cast/{name} " in line or f"[cast/{name}]" in line for line in lines) < 50
        began = time.monotonic()
        answer, _ = folder.ask(f"ask for cast/{name}\n")
        assert answer.startswith("error: service-failed: "), answer
        assert time.monotonic() - began < at_most(1.0)
    assert state_of(folder, "Good") == "ready"
    assert folder.stop().status == 0
    figure(f"runs {runs}, {share:.1%} of a processor, {len(lines)} lines for {len(dying)} services")


# -- B2 ---------------------------------------------------------------------------------------------------------------


def test_b2_a_service_that_cannot_start_keeps_nobody_from_starting(
    new_folder: Callable[..., Folder],
    times: Callable[[float, float], float],
    wait_until: Callable[..., float],
    figure: Callable[[str], None],
) -> None:
    bad = ["RaisesInInit", "ExitsInInit", "HangsInInit", "AsksInInit", "Egg", "Hen", "Nobody"]
    names = ["cast/Good", *(f"cast/{name}" for name in bad), "loop_a/A", "cast/Better"]
    limit = times(1.0, 30.0)
    folder = new_folder(
        f"SERVICE_LIST = {names}\nSTART_TIMEOUT = {limit}",
        cast=CAST,
        loop_a="from loop_b import B\nclass A(B): pass\n",
        loop_b="from loop_a import A\nclass B(A): pass\n",
    )
    began = time.monotonic()
    server = folder.start(ready=False)
    wait_until(folder.responds, "the start has begun")

    wait_until(lambda: state_of(folder, "Good") == state_of(folder, "Better") == "ready", "the good ones are ready")
    seconds = time.monotonic() - began
    wait_until(lambda: state_of(folder, "HangsInInit") == "stuck", "the hanging one is named", limit + 3.0)
    named = time.monotonic() - began

    errors = {row["name"]: row["error"] or "" for row in folder.call("services.list")}
    assert seconds < at_most(5.0)
    assert "no such table" in errors["cast/RaisesInInit"]
    assert "SystemExit" in errors["cast/ExitsInInit"]
    assert "has not come back" in errors["cast/HangsInInit"]
    assert "main() instead" in errors["cast/AsksInInit"]
    assert "require each other: cast/" in errors["cast/Egg"] + errors["cast/Hen"]
    assert "no class 'Nobody'" in errors["cast/Nobody"]
    assert "circular import" in errors["loop_a/A"]
    wait_until(lambda: "not ready" in server.errors, "the terminal is told", limit + 3.0)
    assert folder.stop().seconds < 30.0
    assert server.wait() in (0, 1)
    figure(f"good services ready after {seconds:.1f} s beside 8 bad ones; the hanging one named after {named:.1f} s")


# -- B3 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Ignores", "RaisesInDisable", "BlocksInDisable"])
def test_b3_a_service_that_does_not_stop_is_shown_and_left_behind(
    new_folder: Callable[..., Folder], name: str, times: Callable[[float, float], float], figure: Callable[[str], None]
) -> None:
    limit = times(0.3, 10.0)
    folder = new_folder(f"SERVICE_LIST = ['cast/Good', 'cast/{name}']\nSTOP_TIMEOUT = {limit}", cast=CAST)
    server = folder.start()
    began = time.monotonic()

    stopped = folder.stop()

    assert server.wait(5.0) == 1
    seconds = time.monotonic() - began
    assert stopped.status == 1
    assert seconds < at_most(limit + 3.0)
    assert f"cast/{name} went from stopping to stuck" in folder.log
    assert "self.over.wait()" in folder.log, "the stack says where it hangs"
    assert folder.start().pid
    figure(f"{name}: the stop took {seconds:.1f} s with a time-out of {limit:g} s")


def test_b3_a_disable_that_raises_is_logged_and_no_harm(
    new_folder: Callable[..., Folder], wait_until: Callable[..., float]
) -> None:
    folder = new_folder("SERVICE_LIST = ['cast/RaisesButEnds']", cast=CAST)
    server = folder.start()

    assert folder.command("services", "disable", "RaisesButEnds").status == 0

    assert state_of(folder, "RaisesButEnds") == "available"
    wait_until(lambda: "disable() raised ValueError: not now" in folder.log, "it is in the log")
    assert folder.stop().status == 0
    assert server.wait() == 0


def test_b3_many_that_do_not_stop_share_the_shutdown_time(
    new_folder: Callable[..., Folder], times: Callable[[float, float], float], figure: Callable[[str], None]
) -> None:
    limit = times(1.0, 30.0)
    names = [f"cast/Ignores{number}" for number in range(10)]
    classes = "".join(f"\nclass Ignores{number}(Ignores):\n    pass\n" for number in range(10))
    folder = new_folder(f"SERVICE_LIST = {names}\nSHUTDOWN_TIMEOUT = {limit}")
    folder.write("cast.py", CAST)
    folder.write("cast.py", (folder.path / "cast.py").read_text() + classes)
    server = folder.start()
    began = time.monotonic()

    server.signal(signal.SIGTERM)

    assert server.wait(limit + 3.0) == 1
    seconds = time.monotonic() - began
    assert seconds < at_most(limit + 1.0)
    figure(f"10 services that ignore disable(): down after {seconds:.1f} s of {limit:g} s")


# -- B4 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Exits", "Interrupts"])
def test_b4_an_exit_in_main_is_a_crash_of_that_service_only(
    new_folder: Callable[..., Folder], name: str, wait_until: Callable[..., float]
) -> None:
    folder = new_folder(f"SERVICE_LIST = ['cast/Good', 'cast/{name}']\nRESTART_INTENSITY = 1", cast=CAST)
    server = folder.start(ready=False)
    wait_until(folder.responds, "the start has begun")

    wait_until(lambda: state_of(folder, name) == "failed", "it is given up")

    assert not server.has_ended()
    assert state_of(folder, "Good") == "ready"
    assert folder.stop().status == 0
    assert server.wait() == 0


@pytest.mark.parametrize(("name", "status"), [("HardExits", 3), ("Segfaults", -signal.SIGSEGV)])
def test_b4_the_death_of_the_process_leaves_a_trace_and_no_obstacle(
    new_folder: Callable[..., Folder], name: str, status: int, times: Callable[[int, int], int]
) -> None:
    folder = new_folder(f"SERVICE_LIST = ['cast/Good', 'cast/{name}']", cast=CAST)

    for _ in range(times(1, 20)):
        server = folder.start(ready=False)

        assert server.wait() == status
        if name == "Segfaults":
            assert "Segmentation fault" in server.errors
            assert "in how" in server.errors or "cast.py" in server.errors, "the trace names the place"
    folder.configure("SERVICE_LIST = ['cast/Good']")
    last = folder.start()
    assert f"recovered: pid {server.pid} ended without stopping" in folder.log
    assert folder.stop().status == 0
    assert last.wait() == 0


def test_b4_a_daemon_writes_its_last_words_to_the_log(
    new_folder: Callable[..., Folder], wait_until: Callable[..., float]
) -> None:
    folder = new_folder("SERVICE_LIST = ['cast/Good', 'cast/Segfaults']", cast=CAST)

    started = folder.command("-d", program="zephserver-start")

    assert started.status in (0, 1)
    wait_until(lambda: "Segmentation fault" in folder.log, "the log has the trace")
    wait_until(lambda: not folder.responds(), "it is gone")


# -- B5 ---------------------------------------------------------------------------------------------------------------

MODULE = "zephserver_chaos_services"


class Storm:
    """Services that count how many threads are in their main() at once."""

    def __init__(self, count: int) -> None:
        self.most: Counter[str] = Counter()
        self.lives: Counter[str] = Counter()
        self.module = ModuleType(MODULE)
        self.names = [self._service(f"S{number}") for number in range(count)]
        sys.modules[MODULE] = self.module

    def _service(self, name: str) -> str:
        storm, lock = self, threading.Lock()

        class Member:
            """Runs until it is told to end, or to die."""

            def __init__(self) -> None:
                self.order = threading.Event()
                self.deadly = False
                self.inside = 0

            def main(self) -> None:
                with lock:
                    self.inside += 1
                    storm.lives[name] += 1
                    storm.most[name] = max(storm.most[name], self.inside)
                try:
                    self.order.wait()
                    deadly, self.deadly = self.deadly, False
                    self.order.clear()
                    if deadly:
                        raise RuntimeError("told to")
                finally:
                    with lock:
                        self.inside -= 1

            def disable(self) -> None:
                self.order.set()

            def die(self) -> None:
                self.deadly = True
                self.order.set()

        setattr(self.module, name, Member)
        return f"{MODULE}/{name}"

    def manager(self, policy: RestartPolicy) -> ServiceManager:
        """A manager on the real clock."""
        options = ServiceOptions(policy=policy, stop_timeout=10.0)
        return ServiceManager(EventBus(), self.names, dict.fromkeys(self.names, options))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_b5_a_thousand_threads_resurrect_a_dead_service_once(
    times: Callable[[int, int], int], wait_until: Callable[..., float], figure: Callable[[str], None]
) -> None:
    storm = Storm(1)
    (name,) = storm.names
    manager = storm.manager(RestartPolicy(restart=Restart.NEVER, intensity=10_000))
    manager.create_service(name)
    manager.enable_service(name)
    rounds, slowest = times(1, 50), 0.0

    for number in range(rounds):
        instance = manager.get_service(name)
        wait_until(lambda: instance.inside == 1, "it runs")  # noqa: B023 - used at once
        instance.die()
        wait_until(lambda: manager.state(name) is State.DEAD, "it is dead")
        gate = threading.Barrier(1_001)
        got: list[object] = []

        def ask(gate: threading.Barrier = gate, got: list[object] = got) -> None:
            gate.wait()
            got.append(manager.get_service(name))

        threads = [threading.Thread(target=ask) for _ in range(1_000)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        gate.wait()
        for thread in threads:
            thread.join(30.0)
        slowest = max(slowest, time.monotonic() - began)

        assert len(got) == 1_000
        assert all(one is instance for one in got)
        wait_until(lambda number=number: storm.lives["S0"] == number + 2, "it lives again")
    manager.disable_all_services()

    assert storm.lives["S0"] == rounds + 1
    assert storm.most["S0"] == 1
    figure(f"{rounds} rounds of 1,000 threads: one resurrection each; all served within {slowest:.2f} s")


def test_b5_eight_threads_of_random_operations_never_deadlock_nor_double_a_service(
    chance: random.Random, times: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    storm = Storm(4)
    manager = storm.manager(RestartPolicy(delay=0.001, max_delay=0.01, intensity=100_000))
    manager.create_all_services()
    each = times(150, 5_000 // 8)
    done: Counter[str] = Counter()
    unexpected: list[BaseException] = []
    over = threading.Event()

    def operator(seed: int) -> None:
        own = random.Random(seed)
        for _ in range(each):
            name = own.choice(storm.names)
            act = own.choice(["enable", "disable", "get", "rows", "die", "restart", "reset", "get_all", "delete"])
            try:
                match act:
                    case "enable":
                        manager.enable_service(name)
                    case "disable":
                        manager.disable_service(name)
                    case "get":
                        manager.get_service(name)
                    case "rows":
                        assert len(manager.rows()) == 4
                    case "die":
                        instance = manager.get_all_services().get(name)
                        if instance is not None:
                            instance.die()
                    case "restart":
                        manager.restart_service(name)
                    case "reset":
                        manager.reset_service(name)
                    case "get_all":
                        manager.get_all_services()
                    case "delete" if own.random() < 0.1:
                        manager.delete_service(name)
                done[act] += 1
            except ServiceError as error:
                done[error.code] += 1
            except BaseException as error:
                unexpected.append(error)
                return

    def keeper() -> None:
        while not over.is_set():
            manager.tick(time.monotonic())
            over.wait(0.002)

    keeping = threading.Thread(target=keeper)
    keeping.start()
    threads = [threading.Thread(target=operator, args=(chance.randrange(2**32),), daemon=True) for _ in range(8)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.1, began + 60.0 - time.monotonic()))
    seconds = time.monotonic() - began
    hung = [thread for thread in threads if thread.is_alive()]
    outcome = manager.disable_all_services() if not hung else {}
    over.set()
    keeping.join()

    assert not hung, "a deadlock"
    assert not unexpected, unexpected
    assert max(storm.most.values()) == 1, f"two threads in one main(): {storm.most}"
    assert all(error is None for error in outcome.values()), outcome
    figure(f"8 threads, {8 * each} operations in {seconds:.1f} s: {dict(done)}")
