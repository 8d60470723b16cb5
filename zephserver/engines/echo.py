"""A bare echo server on either engine, so that anyone can run a conformance suite or a benchmark against it.

    python -m zephserver.engines.echo --engine picows --port 9001

Text and binary messages come back whole, as they are; there is no JSON and no session. The threaded engine refuses
binary messages, and never compresses.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence

from zephserver.core.errors import SettingsError, ZephError
from zephserver.core.settings import make_settings
from zephserver.core.settings_page import Settings
from zephserver.engines.factory import make_engine
from zephserver.engines.interface import Connection, Handshake, HttpResponse

NAMES = {"--port": "PORT_ZEPH", "--max-message-bytes": "MAX_MESSAGE_BYTES", "--max-fragments": "MAX_FRAGMENTS"}


class EchoGateway:
    """Lets everybody in and sends back what they send."""

    takes_binary = True

    def decide(self, request: Handshake, *, upgrade: bool) -> HttpResponse | None:
        """Only WebSockets are served."""
        return None if upgrade else HttpResponse(426, b"this is a WebSocket server\n", {"Upgrade": "websocket"})

    def opened(self, connection: Connection) -> Echo:
        """A connection is open."""
        return Echo(connection)


class Echo:
    """One connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def received(self, text: str) -> None:
        """Send it back."""
        self._connection.send(text.encode())

    def received_binary(self, data: bytes) -> None:
        """Send it back."""
        self._connection.send(data, binary=True)

    def idle(self) -> None:
        """There is nothing to say."""

    def closed(self, code: int, reason: str) -> None:
        """Good-bye."""


async def serve(settings: Settings, ready: asyncio.Future[tuple[str, int]], stop: asyncio.Event) -> None:
    """Echo until *stop* is set; *ready* gets host and port."""
    engine = make_engine(settings, EchoGateway())
    try:
        address = await engine.listen()
        ready.set_result((address.host, address.port or 0))
        await stop.wait()
    finally:
        await engine.close()


async def _main(settings: Settings) -> None:
    ready: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    ready.add_done_callback(lambda done: print("echo on ws://{}:{}/".format(*done.result()), flush=True))
    await serve(settings, ready, asyncio.Event())


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exit status 2 for options that cannot be, 1 when the port cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m zephserver.engines.echo", description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", choices=["picows", "threaded"], default="picows")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--no-deflate", action="store_true", help="offer no compression")
    parser.add_argument("--max-message-bytes", type=int, default=1_048_576)
    parser.add_argument("--max-fragments", type=int, default=4_096)
    options = parser.parse_args(argv)
    try:
        asyncio.run(_main(_settings(options)))
    except KeyboardInterrupt:
        pass
    except SettingsError as error:
        for option, name in NAMES.items():
            error.faults = [fault.replace(f"{name}:", f"{option}:") for fault in error.faults]
        parser.exit(2, f"{parser.prog}: {'; '.join(error.faults)}\n")
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        parser.exit(1, f"{parser.prog}: cannot listen on port {options.port}: {why}; choose another --port\n")
    except ZephError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


def _settings(options: argparse.Namespace) -> Settings:
    """Raises SettingsError."""
    return make_settings(
        {
            "SERVICE_LIST": [],
            "WEBSOCKET_ENGINE": options.engine,
            "PORT_ZEPH": options.port,
            "COMPRESSION": not options.no_deflate,
            "MAX_MESSAGE_BYTES": options.max_message_bytes,
            "MAX_FRAGMENTS": options.max_fragments,
        }
    )


if __name__ == "__main__":
    main()
