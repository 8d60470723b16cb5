"""What every test gets: a check that it left nothing behind. What a run gets: summaries at its end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.summaries import Summaries


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Summaries(), "summaries")
    logging.getLogger("asyncio").addFilter(
        lambda record: not record.msg.startswith("Executing %s took")
    )  # `-X dev` says so
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what it runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_no_slowness(record: logging.LogRecord) -> bool:
    """Not what `-X dev` adds to any log when a step of a loop took 0.1 s, as it may beside other tests."""
    return not str(record.msg).startswith("Executing %s took")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, those in a browser come first: nobody has to wait for one at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith("tests/browser/"))


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail a test that leaves a thread, a file descriptor, a module or a search path behind."""
    base = str(tmp_path_factory.getbasetemp())
    threads, descriptors, path, modules = set(threading.enumerate()), _descriptors(), list(sys.path), set(sys.modules)
    yield
    deadline = time.monotonic() + 5.0
    while (left := _left(threads, descriptors)) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    sys.path[:] = path
    for name in set(sys.modules) - modules:  # modules of a temporary settings folder
        origin = getattr(sys.modules[name], "__file__", None) or ""
        if origin.startswith(base):
            del sys.modules[name]
    assert not left


def _left(threads: set[threading.Thread], descriptors: dict[int, str]) -> list[str]:
    left = [f"thread {thread.name}" for thread in threading.enumerate() if thread not in threads]
    return left + [f"descriptor {n} -> {what}" for n, what in _descriptors().items() if n not in descriptors]


def _descriptors() -> dict[int, str]:
    """The open descriptors; {} where the system does not list them."""
    found = {}
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the descriptor of the listing itself
            pass
    return found
