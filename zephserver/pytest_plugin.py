"""Fixtures for tests of services and tasks. pytest finds them by itself where zephserver is installed.

pytest imports this file at every start, so it imports nothing of zephserver before a fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from zephserver.core.server import Server
    from zephserver.testing import Visitor

NAMES = ("zephsettings.py", "zephserversettings.py")


@pytest.fixture
def zephserver_folder(request: pytest.FixtureRequest) -> Path:
    """The nearest folder with a zephsettings.py: that of the test, or one above it. Override it to name another."""
    for folder in request.path.parents:
        if any((folder / name).exists() for name in NAMES):
            return folder
    raise pytest.UsageError(f"there is no {NAMES[0]} above {request.path}; write a fixture zephserver_folder")


@pytest.fixture
def zephserver_settings() -> dict[str, Any]:
    """Settings that count more than those of the file. Override it: `return {"LEAVE_DELAY": 0}`."""
    return {}


@pytest.fixture
def running_server(zephserver_folder: Path, zephserver_settings: dict[str, Any]) -> Iterator[Server]:
    """The server of the folder, in this process, ready; it has a port, a lock and a log of its own."""
    from zephserver.testing import server_of

    with server_of(zephserver_folder, **zephserver_settings) as server:
        yield server


@pytest.fixture
def visit(running_server: Server) -> Iterator[Callable[..., Visitor]]:
    """`visit(session="ann", room="lobby")`: a client of the running server. All of them hang up at the end."""
    from zephserver.testing import connect

    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(connect(running_server, **options))
