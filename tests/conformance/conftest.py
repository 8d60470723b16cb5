"""The servers under test, in one thread of this process, and the table played against each of them.

A further engine is one more line of TARGETS.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed

from tests.conformance.cases import CASES, Case
from tests.conformance.peer import Server
from zephserver.core.settings import make_settings
from zephserver.engines import echo

MIB = 1_048_576
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "raised": {
        "MAX_MESSAGE_BYTES": 32 * MIB,
        "MAX_FRAGMENTS": 1_000_000,
        "SEND_QUEUE_BYTES": 128 * MIB,
        "WRITE_TIMEOUT": 60.0,
    },
    "plain": {"COMPRESSION": False},
    "hasty": {"HANDSHAKE_TIMEOUT": 0.3},
}
Ready = asyncio.Future[tuple[str, int]]
Serve = Callable[[str, Ready, asyncio.Event], Awaitable[None]]


async def _zephserver(engine: str, variant: str, ready: Ready, stop: asyncio.Event) -> None:
    """The product's echo server."""
    settings = {"SERVICE_LIST": [], "WEBSOCKET_ENGINE": engine, "PORT_ZEPH": 0, **VARIANTS[variant]}
    await echo.serve(make_settings(settings), ready, stop)


async def _websockets(variant: str, ready: Ready, stop: asyncio.Event) -> None:
    """Another implementation, to check the table itself."""
    silent = logging.Logger("websockets", logging.CRITICAL + 1)

    async def answer(connection: ServerConnection) -> None:
        try:
            async for message in connection:
                await connection.send(message)
        except ConnectionClosed:
            pass

    async with serve_websockets(
        answer,
        "127.0.0.1",
        0,
        max_size=32 * MIB if variant == "raised" else MIB,
        compression=None if variant == "plain" else "deflate",
        logger=silent,
        ping_interval=None,
        close_timeout=0.3,
    ) as server:
        ready.set_result(next(iter(server.sockets)).getsockname())
        await stop.wait()


@dataclass(frozen=True)
class Target:
    """A server that plays the table."""

    serve: Serve
    variants: frozenset[str]
    abilities: frozenset[str]

    def plays(self, case: Case) -> bool:
        """Whether the case is for it."""
        return case.variant in self.variants and case.needs <= self.abilities


_ALL = frozenset({"binary", "deflate"})
TARGETS = {
    "picows": Target(functools.partial(_zephserver, "picows"), frozenset(VARIANTS), _ALL),
    "websockets": Target(_websockets, frozenset({"default", "raised", "plain"}), _ALL),
    # Text only, and no compression, so that the variant without it would play no row.
    "threaded": Target(functools.partial(_zephserver, "threaded"), frozenset({"default", "raised"}), frozenset()),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes *target* and *case* is run for each row that the target plays."""
    if {"target", "case"} <= set(metafunc.fixturenames):
        rows = [(name, case) for name, target in TARGETS.items() for case in CASES if target.plays(case)]
        ids = [f"{name}-{case.name} {case.sentence}".encode("ascii", "replace").decode() for name, case in rows]
        metafunc.parametrize(("target", "case"), rows, ids=ids)


@pytest.fixture
def not_strict(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Note an answer for the summary at the end."""
    return lambda text: request.node.user_properties.append(("not strict", text))


class _Servers:
    """A loop in a thread, with servers in it."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop
        self.found: dict[tuple[str, str], tuple[str, int]] = {}
        self._stop: asyncio.Event
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="conformance servers")

    def start(self) -> None:
        """Returns when all of them listen."""
        self._thread.start()
        assert self._ready.wait(20.0)
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """Returns when they are gone."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20.0)
        assert not self._thread.is_alive()
        if self._failed is not None:
            raise self._failed

    def settle(self) -> None:
        """Let the loop go round until it has read what was sent before."""
        read = threading.Event()
        self.loop.call_soon_threadsafe(lambda: self.loop.call_soon(lambda: self.loop.call_soon(read.set)))
        assert read.wait(10.0)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # the fixture raises it
            self._failed = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for name, target in TARGETS.items():
                for variant in sorted(target.variants):
                    ready: Ready = self.loop.create_future()
                    group.create_task(_as_coroutine(target.serve(variant, ready, self._stop)))
                    host, port = (await ready)[:2]
                    self.found[name, variant] = (host, port)
            self._ready.set()


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str, str], Server]]:
    """`servers(target, variant)`: a running echo server."""
    running = _Servers()
    running.start()

    def find(target: str, variant: str) -> Server:
        return Server(running.found[target, variant], running.settle)

    yield find
    running.stop()
