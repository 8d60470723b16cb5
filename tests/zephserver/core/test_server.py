"""One server: its parts, put together in order and taken apart in reverse."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from zephserver.core import keeper, runtime
from zephserver.core.command_table import command
from zephserver.core.errors import (
    AlreadyRunning,
    FileRefused,
    SettingsError,
    StartFailed,
    UnknownCommand,
    ZephError,
)
from zephserver.core.events import (
    Recovered,
    ServerReady,
    ServerStarted,
    ServerStopped,
    ServerStopping,
    ServiceChanged,
    ServiceDied,
    SettingsWarned,
)
from zephserver.core.lifecycle import State
from zephserver.core.lock import Lock
from zephserver.core.notify import Notify
from zephserver.core.server import Server
from zephserver.core.service import Service
from zephserver.core.settings import make_settings
from zephserver.core.threads import all_stacks
from zephserver.testing import running_server, wait_for, wait_until

if TYPE_CHECKING:
    from tests.zephserver.core.conftest import Bench

Make = Callable[..., Server]


class Words(Notify):
    """A systemd that remembers what it was told."""

    def __init__(self, watchdog: float | None = None) -> None:
        super().__init__(None, watchdog)
        self.heard: list[str] = []

    def send(self, *words: str) -> None:
        self.heard += words


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes servers in the temporary folder, stopped at the end."""
    made: list[Server] = []

    def make(*services: str, more: dict[str, Any] | None = None, folder: Path = tmp_path, **settings: Any) -> Server:
        values = {"SERVICE_LIST": list(services)} | settings
        made.append(Server(make_settings(values, folder=folder), **(more or {})))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def history(server: Server, *kinds: type) -> list[Any]:
    """The events of these kinds so far."""
    return [event for event in server.bus.journal.after(0)[0] if isinstance(event, kinds)]


def log_of(server: Server) -> str:
    """What the log says."""
    return Path(server.settings.log_path).read_text()


def test_a_server_starts_and_stops_in_order(bench: Bench, make: Make, tmp_path: Path) -> None:
    first, second = bench.puppet("First"), bench.puppet("Second")
    words = Words()
    server = make(first, second, more={"notify": words})

    with server:
        assert server.is_ready
        assert words.heard == ["READY=1", "STATUS=ready"]
        assert (tmp_path / "interface.sock").is_socket()
        with pytest.raises(AlreadyRunning):
            Lock(tmp_path / "server.lock").acquire()

    assert [type(event) for event in history(server, ServerStarted, ServerReady, ServerStopping, ServerStopped)] == [
        ServerStarted,
        ServerReady,
        ServerStopping,
        ServerStopped,
    ]
    stopped = [event.name for event in history(server, ServiceChanged) if event.new is State.STOPPING]
    assert stopped == [second, first]
    assert words.heard[2:] == ["STOPPING=1", "STATUS=stopping: the with block ended"]
    assert (server.exit_status, server.is_ready, server.is_stopping) == (0, False, True)
    assert not (tmp_path / "interface.sock").exists()
    assert (tmp_path / "server.lock").read_bytes() == b""
    assert history(server, ServerStopped)[0].clean is True
    assert "stopped in" in log_of(server).splitlines()[-1]


def test_the_lock_is_the_last_thing_to_go(bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    server = make(name := bench.puppet())
    for what, owner, method in (
        ("lock", server.lock, "release"),
        ("socket", server.control, "close"),
        ("cluster", server.cluster, "stop"),
        ("services", server.services, "disable_all_services"),
    ):
        true = getattr(owner, method)

        def noted(*args: Any, what: str = what, true: Any = true, **more: Any) -> Any:
            order.append(what)
            return true(*args, **more)

        monkeypatch.setattr(owner, method, noted)

    with server:
        assert server.services.state(name) is State.READY

    assert order == ["services", "cluster", "socket", "lock"]


def test_the_socket_answers_before_the_services_are_ready(bench: Bench, make: Make) -> None:
    class Slow(bench.Puppet, Service):
        notify_ready = True

    server = make(name := bench.add(Slow))
    call = bench.call(server.start)
    wait_for(server.bus, ServiceChanged, name=name, new=State.STARTING)

    answer = ask(server, b"services list\n")

    assert answer.startswith(f"{name}\tstarting".encode())
    server.get_service(name).ready()
    call.result()
    assert server.is_ready


def ask(server: Server, line: bytes) -> bytes:
    """Send a plain request to the control socket; the whole answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(server.control.path)
        client.sendall(line)
        data = b""
        while more := client.recv(65_536):
            data += more
        return data


def test_a_service_knows_its_server(bench: Bench, make: Make) -> None:
    class Mine(bench.Puppet, Service):
        pass

    with make(name := bench.add(Mine)) as server:
        assert server.get_service(name).server is server


def test_two_servers_live_in_one_process(bench: Bench, make: Make, tmp_path: Path) -> None:
    name = bench.puppet()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()

    with make(name, folder=tmp_path / "one") as one, make(name, folder=tmp_path / "two") as two:
        found: list[object] = []
        one.get_service(name).orders.put(lambda: found.append(runtime.get_service(name)))
        wait_until(lambda: found)
        assert found == [one.get_service(name)]
        assert one.get_service(name) is not two.get_service(name)
        with pytest.raises(ZephError, match="several servers run in this process"):
            runtime.current_server()
        two.stop()
        assert runtime.current_server() is one
    with pytest.raises(ZephError, match="no server runs"):
        runtime.current_server()


def test_a_second_server_in_the_same_folder_says_who_runs_and_harms_nobody(make: Make, bench: Bench) -> None:
    with make(bench.puppet()) as first:
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"), make():
            pytest.fail("it started")

        assert first.is_ready
        assert ask(first, b"ping\n") == b"pong\n"


def test_a_start_that_fails_names_the_services_and_leaves_nothing(bench: Bench, make: Make, tmp_path: Path) -> None:
    def explode(self: object) -> None:
        raise ValueError("no")

    bad, good = bench.puppet("Bad", __init__=explode), bench.puppet("Good")
    server = make(bad, "bench/Missing", good)

    with pytest.raises(StartFailed, match=r"bench/Bad .*ValueError: no.*no class 'Missing'"), server:
        pytest.fail("it started")

    assert server.services.state(good) is State.AVAILABLE
    assert server.closed.is_set()
    assert not (tmp_path / "interface.sock").exists()


def test_without_the_block_the_others_run_on_after_a_start_that_fails(bench: Bench, make: Make) -> None:
    server = make("bench/Missing", good := bench.puppet("Good"))

    with pytest.raises(StartFailed, match="Missing"):
        server.start()

    assert server.services.state(good) is State.READY
    assert not server.is_ready
    assert ask(server, b"ping\n") == b"pong\n"
    assert server.stop() == 0


def test_a_service_that_is_not_ready_in_time_fails_the_start(bench: Bench, make: Make) -> None:
    class Slow(bench.Puppet, Service):
        notify_ready = True

    server = make(bench.add(Slow), START_TIMEOUT=0.05)

    with pytest.raises(StartFailed, match=r"service bench/Slow: it has not called ready\(\)"):
        server.start()


@pytest.mark.parametrize("setting", ["LOCK_FILE", "LOG_PATH", "CONFIGURATION_NETWORK_INTERFACE_SERVER"])
def test_a_path_that_is_not_ours_is_refused_and_nothing_is_left(make: Make, tmp_path: Path, setting: str) -> None:
    (tmp_path / "precious").write_text("theirs")
    (tmp_path / "link").symlink_to("precious")
    server = make(**{setting: "link"})

    with pytest.raises(FileRefused, match=setting):
        server.open()

    assert (tmp_path / "precious").read_text() == "theirs"
    assert server.closed.is_set()
    lock = Lock(tmp_path / "server.lock")
    lock.acquire()
    lock.release()


def test_what_a_killed_server_left_is_put_right_and_told(make: Make, tmp_path: Path) -> None:
    (tmp_path / "server.lock").write_text("4711\n")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "interface.sock"))

    with make() as server:
        told = [event.what for event in history(server, Recovered)]

    assert told[0] == "pid 4711 ended without stopping; its lock was free"
    assert told[1] == f"removed the control socket of a dead server, {tmp_path / 'interface.sock'}"


def test_a_deleted_lock_and_socket_are_put_back(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "GUARD", 0.01)
    with make() as server:
        (tmp_path / "server.lock").unlink()
        (tmp_path / "interface.sock").unlink()

        wait_for(server.bus, Recovered, what=f"the lock {tmp_path / 'server.lock'} had been deleted and is there again")
        path = tmp_path / "interface.sock"
        wait_for(server.bus, Recovered, what=f"the control socket {path} had been deleted and is there again")

        assert ask(server, b"ping\n") == b"pong\n"
        with pytest.raises(AlreadyRunning):
            Lock(tmp_path / "server.lock").acquire()


def test_a_lock_that_somebody_took_is_told_and_left_alone(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "GUARD", 0.01)
    with make() as server:
        (tmp_path / "server.lock").unlink()
        thief = Lock(tmp_path / "server.lock")
        while True:  # the server may be faster
            try:
                thief.acquire()
                break
            except AlreadyRunning:
                (tmp_path / "server.lock").unlink()

        wait_until(lambda: "cannot be put back: a server is already running" in log_of(server))
        thief.release()


def test_warnings_of_the_settings_are_told(make: Make) -> None:
    with make(heart_beat_period=5) as server:
        assert history(server, SettingsWarned)[0].text.startswith("heart_beat_period is a name of 2015")


def test_an_essential_service_that_is_lost_ends_the_server_with_status_1(bench: Bench, make: Make) -> None:
    name = bench.puppet()
    server = make(name, SERVICE_OPTIONS={name: {"essential": True, "restart": "never"}})
    server.start()

    server.get_service(name).orders.put(RuntimeError("crash"))

    assert server.closed.wait(5)
    assert server.exit_status == 1
    assert history(server, ServerStopping)[0].reason.startswith(f"essential service {name} is lost: ")


def test_a_stuck_service_makes_the_exit_status_1_and_shows_its_stack(bench: Bench, make: Make) -> None:
    gate = bench.gate()

    def ignore_everybody(self: object) -> None:
        gate.wait()

    name, good = bench.puppet("Deaf", main=ignore_everybody), bench.puppet("Good")
    server = make(name, good, STOP_TIMEOUT=0.5)
    server.start()

    assert server.stop("enough") == 1

    assert server.services.state(good) is State.AVAILABLE
    assert history(server, ServerStopped)[0].clean is False
    assert f"stuck at the end: {name}" in log_of(server)
    assert "in ignore_everybody" in log_of(server)


def test_the_first_reason_to_stop_counts(make: Make) -> None:
    server = make()
    server.start()

    server.request_stop("first", exit_status=3)
    server.request_stop("second", exit_status=7)

    assert server.stop("third") == 3
    assert history(server, ServerStopping)[0].reason == server.stop_reason == "first"


def test_many_threads_may_stop_a_server_at_once(bench: Bench, make: Make) -> None:
    server = make(bench.puppet())
    server.start()

    calls = [bench.call(server.stop) for _ in range(8)]

    assert {call.result() for call in calls} == {0}
    assert len(history(server, ServerStopping)) == 1


def test_a_stop_that_takes_too_long_writes_all_stacks(bench: Bench, make: Make) -> None:
    gate = bench.gate()
    server = make(
        bench.puppet("Slow", disable=lambda self: (gate.wait(), self.orders.put(None))),
        SHUTDOWN_TIMEOUT=0.05,
        STOP_TIMEOUT=30,
    )
    server.start()

    server.stop()

    assert "stuck at the end" in log_of(server)
    gate.set()


def test_a_server_that_was_never_opened_can_be_stopped(make: Make) -> None:
    assert make().stop() == 0


def test_a_stopped_server_is_not_opened_again_by_a_start_that_comes_late(make: Make, tmp_path: Path) -> None:
    server = make()
    server.open()
    server.stop("a signal came between open() and start()")

    try:
        with pytest.raises(StartFailed, match="a signal came between"):
            server.start()

        assert (tmp_path / "server.lock").read_bytes() == b""
        assert not (tmp_path / "interface.sock").exists()
        assert server not in runtime.running
    finally:
        server._close()  # whatever it opened


def test_stopping_while_starting_leaves_no_service_running(bench: Bench, make: Make) -> None:
    class Slow(bench.Puppet, Service):
        notify_ready = True

    slow = bench.add(Slow)
    names = [slow, bench.puppet("Front", requires=(slow,)), bench.puppet("Last")]
    server = make(*names)
    call = bench.call(server.start)
    wait_for(server.bus, ServiceChanged, name=slow, new=State.STARTING)

    server.stop("changed my mind")

    with pytest.raises(StartFailed, match="stopped while starting: changed my mind"):
        call.result()
    assert server.services.counts()["enabled"] == 0
    for name, instance in server.services.get_all_services().items():
        assert not any(thread.is_alive() for thread in instance.lives), name


def test_a_name_of_2015_is_understood_and_told_once(bench: Bench, make: Make) -> None:
    with make() as server:
        for _ in range(3):
            with pytest.raises(ZephError, match=r"no service named"):
                server.get_service("zephserver.service.routeur_service/RouteurService")

        assert len(history(server, SettingsWarned)) == 1
        assert "write zephserver.router/Router now" in history(server, SettingsWarned)[0].text


def test_commands_of_a_service_exist_as_long_as_it_does(bench: Bench, make: Make) -> None:
    class Mine(bench.Puppet):
        @command("mine.flush")
        def flush(self, count: int = 1) -> str:
            """Flush it."""
            return f"flushed {count}"

    with make(name := bench.add(Mine)) as server:
        assert ask(server, b"mine flush 3\n") == b"flushed 3\n"

        server.services.delete_service(name)

        with pytest.raises(UnknownCommand):
            server.table.find("mine.flush")


def test_the_status_has_what_the_services_say_of_themselves(bench: Bench, make: Make) -> None:
    def explode(self: object) -> None:
        raise ValueError("no")

    names = [bench.puppet("Talks", stats=lambda self: {"sheep": 3}), bench.puppet("Clumsy", stats=explode)]
    with make(*names) as server:
        status = server.status()

    assert status["sheep"] == 3
    assert (status["running"], status["ready"], status["stopping"]) == (True, True, False)
    assert status["pid"] == os.getpid()
    assert status["services"] == {"total": 2, "enabled": 2, "available": 0, "ready": 2}
    assert status["log_dropped"] == 0


def test_a_server_is_ready_only_while_all_of_its_services_are(bench: Bench, make: Make) -> None:
    with make(name := bench.puppet()) as server:
        server.services.disable_service(name)
        assert not server.is_ready

        server.services.enable_service(name)

        assert server.is_ready


def test_a_service_that_dies_is_restarted_by_the_server(bench: Bench, make: Make) -> None:
    with make(name := bench.puppet(), RESTART_DELAY=0.01) as server:
        server.get_service(name).orders.put(RuntimeError("crash"))

        wait_for(server.bus, ServiceChanged, name=name, old=State.BACKOFF, new=State.STARTING)

        wait_until(lambda: len(server.get_service(name).lives) == 2)


def test_the_level_of_the_log_can_be_changed_while_it_runs(make: Make) -> None:
    with make(LOG_LEVEL="ERROR") as server:
        server.log.write("INFO", "before")

        server.set_log_level("INFO")
        server.log.write("INFO", "after")

    assert "before" not in log_of(server)
    assert "after" in log_of(server)


def test_reloading_opens_the_log_anew_and_reloads_the_services_that_can(
    bench: Bench, make: Make, tmp_path: Path
) -> None:
    reloaded: list[str] = []

    def explode(self: object) -> None:
        reloaded.append("Clumsy")
        raise ValueError("no")

    names = [bench.puppet("Clumsy", reload=explode), bench.puppet("Able", reload=lambda self: reloaded.append("Able"))]
    with make(*names) as server:
        (tmp_path / "logging.log").rename(tmp_path / "yesterday.log")

        server.reload()

        wait_until(lambda: (tmp_path / "logging.log").exists() and "the log was opened anew" in log_of(server))
        assert reloaded == ["Clumsy", "Able"]


def test_all_stacks_are_written_on_demand(make: Make) -> None:
    with make() as server:
        server.log_stacks("SIGUSR1")

    assert "stacks of all threads: SIGUSR1" in log_of(server)
    assert "Thread MainThread" in log_of(server)
    assert "in log_stacks" in log_of(server)


def test_systemds_watchdog_is_fed(make: Make) -> None:
    words = Words(watchdog=0.01)
    with make(more={"notify": words}):
        wait_until(lambda: words.heard.count("WATCHDOG=1") >= 2)


def test_a_time_out_that_cannot_be_handled_does_not_end_the_keeper(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = make(more={"notify": Words(watchdog=0.01)})
    ticks: list[float] = []

    def explode(now: float) -> None:
        ticks.append(now)
        raise ValueError("no")

    monkeypatch.setattr(server.services, "tick", explode)
    server.open()

    wait_until(lambda: len(ticks) >= 2)


def test_the_server_of_the_tests_is_ready_and_stopped_at_the_end(bench: Bench, tmp_path: Path) -> None:
    with running_server(tmp_path, SERVICE_LIST=[bench.puppet()]) as server:
        assert server.is_ready

    assert server.closed.is_set()


def test_the_stacks_of_all_threads_have_their_names() -> None:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, name="service:a/B")
    thread.start()

    stacks = all_stacks()

    gate.set()
    thread.join(5)
    assert "Thread service:a/B\n" in stacks


# -- a start that fails -------------------------------------------------------------------------------------------


def test_a_start_without_an_essential_service_ends_the_server(bench: Bench, make: Make) -> None:
    front = bench.puppet("Front", requires=("bench/Nobody",), essential=True)
    server = make(front, good := bench.puppet("Good"))

    with pytest.raises(StartFailed, match=r"service bench/Front has failed: it requires 'bench/Nobody'"):
        server.start()

    assert server.closed.wait(5)
    assert server.exit_status == 1
    assert server.services.state(good) is State.AVAILABLE
    assert history(server, ServerStopping)[0].reason.startswith(
        "an essential service cannot start: service bench/Front"
    )


def test_a_start_that_ends_the_server_names_everything_that_check_finds(bench: Bench, make: Make) -> None:
    def refuse(self: object) -> None:
        raise SettingsError(["A: is wrong", "B: is wrong"])

    both = staticmethod(lambda settings: ["A: is wrong", "B: is wrong"])
    picky = bench.puppet("Picky", main=refuse, notify_ready=True, check=both)
    front = bench.puppet("Front", requires=(picky,), essential=True)
    other = bench.puppet("Other", check=staticmethod(lambda settings: ["C: is wrong"]))
    server = make(picky, front, other)

    with pytest.raises(SettingsError) as raised:
        server.start()

    assert raised.value.faults == ["A: is wrong", "B: is wrong", "C: is wrong"]
    assert server.closed.wait(5)
    deaths = [event for event in history(server, ServiceDied) if event.name == picky]
    assert [event.error for event in deaths] == ["A: is wrong; B: is wrong"]  # once: it would fail again


def test_a_start_that_failed_waits_for_nothing_that_hangs(bench: Bench, make: Make) -> None:
    def check(settings: object) -> list[str]:
        raise AssertionError("asked, though it may hang")

    slow = bench.add(type("Slow", (bench.Puppet, Service), {"notify_ready": True, "check": staticmethod(check)}))
    front = bench.puppet("Front", requires=(slow,), essential=True)
    server = make(slow, front, START_TIMEOUT=0.05)

    with pytest.raises(StartFailed, match=r"service bench/Slow: it has not called ready\(\)"):
        server.start()

    assert server.closed.wait(5)


def test_a_server_whose_start_failed_is_ready_when_what_failed_is_mended(bench: Bench, make: Make) -> None:
    class Slow(bench.Puppet, Service):
        notify_ready = True

    words = Words()
    server = make(name := bench.add(Slow), START_TIMEOUT=0.05, more={"notify": words})
    with pytest.raises(StartFailed):
        server.start()
    assert not server.is_ready

    server.get_service(name).ready()
    server.look_ready()

    wait_for(server.bus, ServerReady)
    assert server.is_ready
    server.look_ready()
    assert len(history(server, ServerReady)) == 1
    assert words.heard == ["READY=1", "STATUS=ready"]


def test_a_service_can_keep_the_server_from_being_ready(bench: Bench, make: Make) -> None:
    class Waits(bench.Puppet, Service):
        not_ready = "it waits for spring"

    server = make(name := bench.add(Waits))
    with pytest.raises(StartFailed, match="it waits for spring"):
        server.start()
    assert server.not_ready == "it waits for spring"

    server.get_service(name).not_ready = ""

    wait_for(server.bus, ServerReady, timeout=10)  # the keeper looks now and then
    assert server.is_ready
