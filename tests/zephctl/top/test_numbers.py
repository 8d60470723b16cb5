"""From answers of a server to the numbers of a moment."""

from __future__ import annotations

from typing import Any

import pytest

from zephctl.top.numbers import WINDOW, History, Link, Meter, Numbers, Service, Task

ROUTER, WEB = "zephserver.router/Router", "zephserver.websocket_client/WebsocketClient"


def answer(clock: float, *, cpu: float = 0.0, messages: int = 0, tasks: int = 0, failed: int = 0, pid: int = 7) -> Any:
    """What the command `top` answers."""
    metrics = f"""\
process_cpu_seconds_total {cpu}
process_resident_memory_bytes 54000000
zephserver_connections 12
zephserver_rooms 3
zephserver_users 11
zephserver_messages_received_total {messages}
zephserver_messages_sent_total {messages * 2}
zephserver_refusals_total{{reason="rate"}} {messages // 10}
zephserver_refusals_total{{reason="origin"}} 4
zephserver_tasks_running 2
zephserver_task_waiting 5
zephserver_task_threads 8
zephserver_tasks_total{{task="echo",outcome="done"}} {tasks}
zephserver_tasks_total{{task="echo",outcome="timed-out"}} {failed}
zephserver_task_seconds_bucket{{outcome="done",le="0.001"}} {tasks // 2}
zephserver_task_seconds_bucket{{outcome="done",le="0.002"}} {tasks}
zephserver_task_seconds_bucket{{outcome="done",le="+Inf"}} {tasks}
"""
    service = {"state": "ready", "since": 1.0, "restarts": 0, "error": None}
    return {
        "clock": clock,
        "status": {
            "pid": pid, "ready": True, "stopping": False, "version": "1.2", "uptime": 9.0, "threads": 6,
            "log_dropped": 1,
        },
        "services": [service | {"name": ROUTER}, service | {"name": WEB}],
        "metrics": metrics,
        "threads": {f"service:{WEB}": cpu / 2, "main": 9.0},
    }  # fmt: skip


def bare(clock: float) -> Any:
    """The answer of a server without a WebSocket."""
    found = answer(clock)
    return found | {"metrics": "process_cpu_seconds_total 1\n", "services": [], "threads": {}}


def test_the_first_moment_has_no_rates() -> None:
    numbers = Meter().take(answer(100.0, cpu=5, messages=1_000, tasks=10), ["echo", "idle"], [])

    assert (numbers.cpu, numbers.received, numbers.sent, numbers.refused) == (None, None, None, {})
    assert (numbers.connections, numbers.rooms, numbers.users, numbers.memory) == (12, 3, 11, 54_000_000)
    assert (numbers.pid, numbers.version, numbers.uptime, numbers.ready, numbers.log_dropped) == (
        7,
        "1.2",
        9.0,
        True,
        1,
    )
    assert (numbers.waiting, numbers.task_threads, numbers.threads) == (5, 8, 6)
    assert numbers.services[1] == Service(WEB, "ready", 1.0, 0, None, None)
    assert numbers.all_tasks == Task("", None, None, None, 2, 0)
    assert numbers.tasks == (Task("echo", None, None, None, 0, 0), Task("idle", None, None, None, 0, 0))


def test_the_next_one_has_them_per_second() -> None:
    meter = Meter()
    meter.take(answer(100.0, cpu=5, messages=1_000, tasks=10))

    numbers = meter.take(
        answer(102.0, cpu=6, messages=1_200, tasks=110, failed=10), ["idle"], [{"task": "echo"}, {"task": "echo"}]
    )

    assert (numbers.cpu, numbers.received, numbers.sent) == (0.5, 100.0, 200.0)
    assert numbers.refused == {"rate": 10.0}
    assert [service.cpu for service in numbers.services] == [None, 0.25]
    assert numbers.all_tasks == Task("", 55.0, 0.001, pytest.approx(0.00198), 2, 10)
    assert numbers.tasks == (Task("echo", 55.0, None, None, 2, 10), Task("idle", 0.0, None, None, 0, 0))


def test_each_task_has_its_latencies_where_the_server_tells_them() -> None:
    meter = Meter()
    one, two = answer(100.0), answer(101.0)
    two["metrics"] += 'zephserver_task_seconds_bucket{task="echo",outcome="done",le="0.1"} 4\n'

    meter.take(one)
    numbers = meter.take(two)

    assert (numbers.tasks[0].p50, numbers.tasks[0].p99) == (0.1, 0.1)


def test_tasks_under_way_are_not_told_apart_when_there_are_too_many() -> None:
    numbers = Meter().take(answer(100.0, tasks=1), [], None)

    assert numbers.tasks[0].running is None
    assert numbers.all_tasks is not None
    assert numbers.all_tasks.running == 2


def test_latencies_are_those_of_the_last_seconds() -> None:
    meter = Meter()
    for second in range(30):
        numbers = meter.take(answer(100.0 + second, tasks=1_000 if second else 0))
        assert numbers.all_tasks is not None
        assert (numbers.all_tasks.p50 is not None) == (1 <= second <= WINDOW)


def test_another_process_begins_anew() -> None:
    meter = Meter()
    meter.take(answer(100.0, messages=1_000))

    assert meter.take(answer(101.0, messages=5, pid=8)).received is None
    assert meter.take(answer(102.0, messages=10, pid=8)).received == 5.0


def test_so_does_what_was_away() -> None:
    meter = Meter()
    meter.take(answer(100.0, messages=1_000))
    meter.forget()

    assert meter.take(answer(101.0, messages=1_000)).received is None


def test_a_thread_that_was_replaced_counts_from_its_beginning() -> None:
    meter = Meter()
    meter.take(answer(100.0, cpu=50.0))

    assert meter.take(answer(101.0, cpu=1.0)).services[1].cpu == 0.5


def test_two_answers_of_the_same_moment_have_no_rates() -> None:
    meter = Meter()
    meter.take(answer(100.0))

    numbers = meter.take(answer(100.0, messages=5))

    assert (numbers.received, numbers.services[1].cpu, numbers.refused) == (None, None, {})


def test_a_server_without_web_sockets_has_no_tasks() -> None:
    meter = Meter()
    meter.take(bare(100.0))
    numbers = meter.take(bare(101.0), ["echo"])

    assert (numbers.all_tasks, numbers.tasks, numbers.connections, numbers.received) == (None, (), None, None)
    assert numbers.cpu == 0.0


def test_links_to_other_servers_are_told() -> None:
    found = answer(100.0)
    found["metrics"] += """\
zephserver_cluster_up{peer="c"} 0
zephserver_cluster_up{peer="b"} 1
zephserver_cluster_queued_bytes{peer="c"} 12000
zephserver_cluster_lag_seconds{peer="c"} 2.5
zephserver_cluster_dropped_total{peer="c"} 3
zephserver_cluster_lost_total{peer="b"} 1
"""

    links = Meter().take(found).links

    assert links == (Link("b", True, 0.0, 0.0, 0, 1), Link("c", False, 12_000.0, 2.5, 3, 0))


# -- history ------------------------------------------------------------------------------------------------------


def moment(cpu: float, task: str = "echo") -> Numbers:
    return Numbers(running=True, cpu=cpu, tasks=(Task(task, 1.0, None, None, 0, 0),))


def test_a_history_keeps_what_was() -> None:
    history = History()

    for cpu in (0.1, 0.2):
        history.add(moment(cpu))

    assert (list(history.line("cpu")), list(history.line("task echo")), history.count) == ([0.1, 0.2], [1.0, 1.0], 2)
    assert list(history.line("task nobody")) == []


def test_a_server_that_is_away_is_a_gap() -> None:
    history = History()

    for numbers in (moment(0.1), Numbers(running=False), moment(0.3)):
        history.add(numbers)

    assert list(history.line("cpu")) == [0.1, None, 0.3]


def test_what_is_long_gone_is_forgotten() -> None:
    history = History()
    history.add(moment(0.1, "old"))

    for _ in range(600):
        history.add(moment(0.1, "new"))

    assert list(history.line("task old")) == []
    assert len(history.line("task new")) == 600
