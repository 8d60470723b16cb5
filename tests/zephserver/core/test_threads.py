"""Processor time by thread, and the command `top` that tells it."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from zephserver.core import threads
from zephserver.testing import running_server, wait_until

WORKERS = """\
import threading


class Puppet:
    def __init__(self):
        self.end = threading.Event()

    def main(self):
        self.end.wait()

    def disable(self):
        self.end.set()
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the time of a thread")


def work(until: threading.Event, begun: threading.Event) -> None:
    """Use the processor."""
    while time.thread_time() < 0.05:
        pass
    begun.set()
    until.wait()


@linux
def test_threads_of_one_kind_count_together_and_services_each() -> None:
    until = threading.Event()
    names = ["task:1 Echo", "task:2", "service:a/B", "service:c/D", "main-like"]
    begun = [threading.Event() for _ in names]
    workers = [
        threading.Thread(target=work, args=(until, event), name=name) for name, event in zip(names, begun, strict=True)
    ]
    for worker in workers:
        worker.start()
    for event in begun:
        assert event.wait(10)

    found = threads.cpu_seconds()

    until.set()
    for worker in workers:
        worker.join()
    assert found["task"] >= 0.1
    assert min(found["service:a/B"], found["service:c/D"], found["main-like"]) >= 0.05
    assert "service" not in found


@linux
def test_a_thread_that_has_just_ended_is_left_out() -> None:
    worker = threading.Thread(target=lambda: None)
    worker.start()
    worker.join()

    wait_until(lambda: not _has_a_clock(worker), "the system has forgotten the thread, too")
    threads.cpu_seconds()


def _has_a_clock(thread: threading.Thread) -> bool:
    assert thread.native_id is not None
    try:
        time.clock_gettime(threads._clock_of(thread.native_id))
    except OSError:
        return False
    return True


def test_elsewhere_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert threads.cpu_seconds() == {}


def test_top_has_everything_in_one_answer(tmp_path: Path) -> None:
    (tmp_path / "workers.py").write_text(WORKERS)
    with running_server(tmp_path, SERVICE_LIST=["workers/Puppet"]) as server:
        answer = server.table.find("top").call([], {})

        assert set(answer) == {"clock", "status", "services", "metrics", "threads"}
        assert answer["status"]["ready"] is True
        assert answer["services"] == server.services.rows()
        assert "zephserver_ready 1" in answer["metrics"]
        assert answer["clock"] <= server.clock.monotonic()


@linux
def test_top_is_cheap_with_many_services(tmp_path: Path) -> None:
    names = [f"Puppet{n}" for n in range(20)]
    (tmp_path / "workers.py").write_text(WORKERS + "".join(f"\n\nclass {name}(Puppet):\n    pass\n" for name in names))
    with running_server(tmp_path, SERVICE_LIST=[f"workers/{name}" for name in names]) as server:
        top = server.table.find("top")
        times = []
        for _ in range(20):
            began = time.thread_time()
            answer = top.call([], {})
            times.append(time.thread_time() - began)

    assert {f"service:workers/{name}" for name in names} <= set(answer["threads"])
    assert min(times) < 0.005
