"""An engine in a loop of its own, with a gateway that notes what it hears."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.conformance.peer import Peer, Server
from zephserver.core.settings import make_settings
from zephserver.engines.interface import Connection, Handshake, HttpResponse
from zephserver.engines.threaded.engine import ThreadedEngine

MIB = 1_048_576
PATIENCE = 10.0  # seconds until a test gives up; never waited for when all is well


class Notebook:
    """A gateway that lets everybody in and notes what it hears; it echoes what it is told to."""

    takes_binary = True  # the engine refuses it all the same

    def __init__(self, *, echoes: bool = False) -> None:
        self.echoes = echoes
        self.heard: list[str] = []
        self.closed: list[tuple[int, str]] = []
        self.open: list[Connection] = []
        self.idled = 0

    def decide(self, request: Handshake, *, upgrade: bool) -> HttpResponse | None:
        return None if upgrade else HttpResponse(200, b"x" * 16 * MIB)

    def opened(self, connection: Connection) -> Page:
        self.open.append(connection)
        return Page(self, connection)


class Page:
    """The receiver of one connection."""

    def __init__(self, notebook: Notebook, connection: Connection) -> None:
        self.notebook, self.connection = notebook, connection

    def received(self, text: str) -> None:
        self.notebook.heard.append(text)
        if text == "raise":
            raise ValueError("a fault of ours")
        if self.notebook.echoes:
            self.connection.send(text.encode())

    def received_binary(self, data: bytes) -> None:
        raise AssertionError("no binary message comes through")

    def idle(self) -> None:
        self.notebook.idled += 1

    def closed(self, code: int, reason: str) -> None:
        self.notebook.closed.append((code, reason))
        self.notebook.open.remove(self.connection)


class Stage:
    """An engine in a loop of its own, in a thread."""

    def __init__(self, gateway: Any, **values: Any) -> None:
        self.gateway = gateway
        self.engine: ThreadedEngine
        self.loop: asyncio.AbstractEventLoop
        self.address: tuple[str, int]
        self._settings = make_settings({"SERVICE_LIST": [], "WEBSOCKET_ENGINE": "threaded", "PORT_ZEPH": 0} | values)
        self._stop: asyncio.Event
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="stage")

    async def _main(self) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.engine = ThreadedEngine(self._settings, self.gateway)
        try:
            address = await self.engine.listen()
            self.address = (address.host, address.port or 0)
            self._ready.set()
            await self._stop.wait()
        finally:
            await self.engine.close()
            self._ready.set()

    def __enter__(self) -> Stage:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Returns when the engine is closed."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def run(self, function: Callable[[], Any]) -> Any:
        """Run it on the loop; what it returned."""
        done, result = threading.Event(), []

        def act() -> None:
            result.append(function())
            done.set()

        self.loop.call_soon_threadsafe(act)
        assert done.wait(PATIENCE)
        return result[0]

    @property
    def server(self) -> Server:
        """For a Peer. Nobody can tell when a thread has read what was sent, so that settling is only the loop's."""
        return Server(self.address, lambda: None)

    @contextmanager
    def peers(self, count: int) -> Iterator[list[Peer]]:
        """Some who have done the handshake."""
        with ExitStack() as stack:
            peers = [stack.enter_context(Peer(self.server)) for _ in range(count)]
            for peer in peers:
                self.let_in(peer)
            yield peers

    def let_in(self, peer: Peer) -> None:
        """Do the handshake; the gateway has heard of it, too."""
        assert peer.open().status == 101
        self.run(lambda: None)


def connection_threads() -> list[threading.Thread]:
    """The threads of the connections of this process."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("connection:")]
