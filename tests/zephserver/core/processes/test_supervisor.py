"""A server above two workers, to its operator one server: its life, its stop, and what it recovers from."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.zephserver.core.conftest import Call
from tests.zephserver.core.processes.conftest import PATIENCE, House, lines, pids, write_house
from zephserver.core.errors import AlreadyRunning, ControlUnreachable, SettingsError, StartFailed
from zephserver.core.events import Recovered, ServerStopped, WorkerDied, WorkerEnded, WorkerSaid, WorkerStarted
from zephserver.core.lock import Lock
from zephserver.core.processes import commands, supervisor
from zephserver.core.processes.supervisor import Supervisor
from zephserver.core.server import Server
from zephserver.core.settings import load_settings, make_settings
from zephserver.testing import wait_for, wait_until


def is_alive(pid: int) -> bool:
    """Whether there is such a process; one that has ended counts until its parent has looked."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_all_workers_are_ready_when_the_start_returns(house: House) -> None:
    with house(WORKERS=3) as server:
        status = server.status()

        assert status["workers"] == {"total": 3, "ready": 3}
        assert status["ready"] is True
        assert len(set(pids(server).values()) | {os.getpid()}) == 4
        assert status["services"]["total"] == 3


def test_a_stop_ends_all_workers_and_leaves_nothing(house: House, tmp_path: Path) -> None:
    with house() as server:
        processes = pids(server)

        assert server.stop() == 0

    assert not any(map(is_alive, processes.values()))
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix in (".d", ".sock")) == []
    ended = [event for event in server.bus.journal.after(0)[0] if isinstance(event, WorkerEnded)]
    assert [event.how for event in ended] == ["exit 0"] * 2


def test_the_log_of_all_workers_is_one_file_and_says_whose_line_it_is(house: House, tmp_path: Path) -> None:
    with house() as server:
        pass

    log = (tmp_path / "logging.log").read_text()
    for number in (1, 2):
        assert f" worker {number}: zephserver " in log
        assert f" worker {number}: service house_services/Puppet went from available to starting\n" in log
        assert f" worker {number}: stopped in " in log
    assert log.splitlines()[-1].endswith("s")
    assert "\n".join(lines(server)) + "\n" == log


def test_a_worker_that_is_killed_is_replaced(house: House) -> None:
    with house(RESTART_DELAY=0.01) as server:
        before = pids(server)

        os.kill(before[2], signal.SIGKILL)
        wait_for(server.bus, WorkerDied, worker=2, pid=before[2], how="SIGKILL", timeout=PATIENCE)
        wait_until(lambda: server.status()["ready"], "ready again", timeout=PATIENCE)

        after = pids(server)
        assert after[1] == before[1]
        assert after[2] not in before.values()
        started = [event.pid for event in server.bus.journal.after(0)[0] if isinstance(event, WorkerStarted)]
        assert (set(started[:2]), started[2:]) == (set(before.values()), [after[2]])


def test_a_worker_that_is_told_to_end_is_replaced_too(house: House) -> None:
    with house(RESTART_DELAY=0.01) as server:
        before = pids(server)

        os.kill(before[1], signal.SIGTERM)
        wait_for(server.bus, WorkerDied, worker=1, how="exit 0", timeout=PATIENCE)
        wait_until(lambda: server.status()["ready"], "ready again", timeout=PATIENCE)

        assert pids(server)[1] != before[1]


def test_half_a_line_of_a_worker_that_dies_does_no_harm(house: House) -> None:
    with house(RESTART_DELAY=0.01) as server:
        with pytest.raises(ControlUnreachable, match="worker 1 went away before it answered"):
            server.table.find("puppet.cut").call((), {})
        wait_for(server.bus, WorkerDied, worker=1, how="SIGKILL", timeout=PATIENCE)
        wait_until(lambda: server.status()["ready"], "ready again", timeout=PATIENCE)

        assert sum('WARNING  worker 1: {"seq":1,"level":"INFO","text":"cut o' in line for line in lines(server)) == 1


def test_while_a_worker_is_away_the_server_is_not_ready_and_says_where(house: House) -> None:
    with house(RESTART_DELAY=60, RESTART_MAX_DELAY=60) as server:
        os.kill(pids(server)[2], signal.SIGKILL)
        wait_until(lambda: "back-off" in server.services.counts(), "it waits", timeout=PATIENCE)

        status = server.status()
        rows = server.table.find("services.list").call((), {})

        assert (status["ready"], status["workers"]) == (False, {"total": 2, "ready": 1})
        assert [(row["worker"], row["name"], row["state"]) for row in rows] == [
            (1, "house_services/Puppet", "ready"), (2, "zephserver.core.processes/Worker2", "back-off")
        ]  # fmt: skip
        assert rows[1]["error"].endswith("died: SIGKILL")


def test_a_worker_that_hangs_is_shown_as_not_answering(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (commands, supervisor):
        monkeypatch.setattr(module, "LOOK", 0.5)
    with house() as server:
        pid = pids(server)[1]
        os.kill(pid, signal.SIGSTOP)
        try:
            status = server.status()
            rows = server.table.find("services.list").call((), {})
        finally:
            os.kill(pid, signal.SIGCONT)

        assert (status["ready"], status["workers"]) == (False, {"total": 2, "ready": 1})
        assert status["services"] == {"total": 2, "enabled": 1, "available": 0, "ready": 1}
        assert status["not_ready"] == "worker 1: it does not answer"
        assert [(row["worker"], row["name"], row["state"], row["error"]) for row in rows] == [
            (1, "zephserver.core.processes/Worker1", "not answering", "it does not answer"),
            (2, "house_services/Puppet", "ready", None),
        ]


def test_a_worker_that_dies_too_often_ends_the_server(house: House) -> None:
    with house(RESTART_INTENSITY=0) as server:
        os.kill(pids(server)[1], signal.SIGKILL)

        assert server.stopped.wait(PATIENCE)

    assert server.exit_status == 1
    assert "essential service zephserver.core.processes/Worker1 is lost: it ended 1 times in 30 s" in server.stop_reason


def test_a_worker_that_cannot_start_is_not_tried_again_at_the_first_start(tmp_path: Path) -> None:
    path = write_house(tmp_path, 2, {})
    settings = load_settings(path)
    path.write_text("SERVICE_LIST = 3\n")  # changed between the two looks
    server = Supervisor(settings)

    with pytest.raises(StartFailed, match="SERVICE_LIST: expected a list"):
        server.start()

    assert server.stop() == 1
    assert sum(isinstance(event, WorkerStarted) for event in server.bus.journal.after(0)[0]) == 2


def test_a_service_that_does_not_become_ready_is_told_and_the_others_run_on(tmp_path: Path) -> None:
    services = ["house_services/Puppet", "house_services/Shy"]
    server = Supervisor(load_settings(write_house(tmp_path, 2, {"SERVICE_LIST": services, "START_TIMEOUT": 0.2})))

    with pytest.raises(StartFailed, match="worker 1: service house_services/Shy: it has not called ready"):
        server.start()

    assert not server.is_stopping
    assert set(pids(server)) == {1, 2}
    assert server.status()["ready"] is False
    assert server.stop() == 0


def test_the_second_start_is_refused(house: House, tmp_path: Path) -> None:
    with house():
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}, {tmp_path}/server.lock"):
            Supervisor(load_settings(tmp_path / "zephsettings.py")).open()
        single = load_settings(tmp_path / "zephsettings.py").with_workers(1)
        with pytest.raises(AlreadyRunning):
            Server(single).open()


def test_the_workers_of_a_server_that_was_killed_are_waited_for(tmp_path: Path) -> None:
    server = Supervisor(load_settings(write_house(tmp_path, 2, {})))
    server.folder.claim()
    orphan = Lock(tmp_path / "server.lock.d" / "1.lock")
    orphan.acquire()
    start = Call(server.start)
    wait_until(lambda: "_prepare" in start.stack(), "it waits", timeout=PATIENCE)
    assert server.table.find("ping").call((), {}) == "pong"  # but it can be asked

    orphan.release()
    start.result(PATIENCE)

    recovered = wait_for(server.bus, Recovered)
    assert recovered.what == f"workers of a server that was killed have ended, pid {os.getpid()}"
    server.stop()


def test_workers_that_do_not_end_keep_the_next_server_from_starting(tmp_path: Path) -> None:
    server = Supervisor(load_settings(write_house(tmp_path, 2, {"SHUTDOWN_TIMEOUT": 0.1})))
    server.folder.claim()
    orphan = Lock(tmp_path / "server.lock.d" / "1.lock")
    orphan.acquire()

    with pytest.raises(StartFailed, match=rf"a server is already running \(pid {os.getpid()}, "):
        server.start()

    assert server.stop() == 1
    orphan.release()


def test_a_stop_while_it_waits_for_them_is_heard(tmp_path: Path) -> None:
    server = Supervisor(load_settings(write_house(tmp_path, 2, {})))
    server.folder.claim()
    orphan = Lock(tmp_path / "server.lock.d" / "1.lock")
    orphan.acquire()
    start = Call(server.start)
    wait_until(lambda: "_prepare" in start.stack(), "it waits", timeout=PATIENCE)

    assert server.stop() == 0

    with pytest.raises(StartFailed, match="stopped while starting"):
        start.result(PATIENCE)
    orphan.release()


def test_a_folder_that_is_not_ours_stops_the_start(tmp_path: Path) -> None:
    server = Supervisor(load_settings(write_house(tmp_path, 2, {})))
    (tmp_path / "server.lock.d").touch()

    with pytest.raises(StartFailed, match="is not a folder"):
        server.start()

    assert server.stop() == 1


def test_all_workers_share_the_port_that_was_chosen(house: House) -> None:
    with house() as server:
        assert server.plan_of(1).port == server.plan_of(2).port == server.port.number > 0


def test_a_port_that_somebody_else_listens_on_is_not_shared(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        server = Supervisor(load_settings(write_house(tmp_path, 2, {"PORT_ZEPH": port})))
        server.start()  # nothing here listens
        assert not server.is_stopping

        server.heard(WorkerSaid(worker=1, event={"kind": "Listening", "text": "listening", "port": port}))

        assert server.stop() == 1
        assert server.stop_reason == f"127.0.0.1:{port} is taken; set another PORT_ZEPH, or 0 for a free one"


def test_settings_that_cannot_be_had_are_refused_before_anything_runs(tmp_path: Path) -> None:
    path = write_house(tmp_path, 1, {"HOST_ZEPH": "unix:x.sock"})

    with pytest.raises(SettingsError, match="HOST_ZEPH: several workers share a port, not a UNIX socket"):
        Supervisor(load_settings(path).with_workers(2))


def test_settings_without_a_file_are_refused(tmp_path: Path) -> None:
    settings = make_settings({"SERVICE_LIST": [], "WORKERS": 2}, folder=tmp_path)

    with pytest.raises(SettingsError, match="each worker reads a settings file"):
        Supervisor(settings)


def test_what_one_worker_says_the_others_hear(house: House) -> None:
    with house(WORKERS=3) as server:
        wait_until(
            lambda: all(status["peers"] == 2 for status in _links(server)), "they know each other", timeout=PATIENCE
        )

        server.table.find("puppet.say").call((), {"text": "hello"})  # the first worker says it

        wait_until(lambda: server.crew.ask_all("puppet.heard") == {1: [], 2: ["hello"], 3: ["hello"]},
                   "the others heard it", timeout=PATIENCE)  # fmt: skip


def _links(server: Supervisor) -> list[dict[str, Any]]:
    return [
        {"peers": sum(line.endswith(" 1") for line in text.splitlines() if line.startswith("zephserver_cluster_up"))}
        for text in server.crew.ask_all("metrics").values()
    ]


def test_a_reload_reaches_one_worker_after_the_other(house: House) -> None:
    with house() as server:
        server.reload()

        wait_until(lambda: server.status()["reloads"] == 2, "both have reloaded", timeout=PATIENCE)
        assert any("the log was opened anew" in line for line in lines(server))


def test_a_reload_that_a_worker_cannot_do_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with house() as server:
        for slot in server.crew.slots.values():
            monkeypatch.setattr(slot, "is_up", False)

        server.reload()

        wait_until(lambda: any("not every worker has reloaded: no worker is there" in line for line in lines(server)))


def test_the_stacks_of_every_process_go_to_the_log(house: House) -> None:
    with house() as server:
        server.log_stacks("a test")

        assert any("stacks of all threads: a test" in line for line in lines(server))
        for text in ("worker 1: stacks of all threads: SIGUSR1", "worker 2: stacks of all threads: SIGUSR1"):
            wait_until(lambda text=text: any(text in line for line in lines(server)), text, timeout=PATIENCE)  # type: ignore[misc]


def test_a_forced_end_takes_the_workers_along(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with house(RESTART_INTENSITY=0) as server:
        exits: list[int] = []
        monkeypatch.setattr(os, "_exit", exits.append)
        processes = pids(server)

        server.force_exit(130)

        assert exits == [130]
        wait_until(lambda: not any(map(is_alive, processes.values())), "they are gone", timeout=PATIENCE)
        assert server.stopped.wait(PATIENCE)


def test_a_worker_that_does_not_end_is_killed_in_time(house: House) -> None:
    with house(SHUTDOWN_TIMEOUT=2.0) as server:
        os.kill(pids(server)[1], signal.SIGSTOP)

        assert server.stop() == 1

    ended = {event.worker: event.how for event in server.bus.journal.after(0)[0] if isinstance(event, WorkerEnded)}
    assert ended.keys() == {1, 2}
    assert ended[1] == "SIGKILL"
    assert isinstance(server.bus.journal.after(0)[0][-1], ServerStopped)
