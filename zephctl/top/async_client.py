"""Asking a running server from an event loop: what a live view needs, which must not stand still while it asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from zephserver.core.control_client import parse_answer, request_line
from zephserver.core.control_socket import control_error
from zephserver.core.errors import ControlError, ControlUnreachable

LONGEST_LINE = 64 * 1024 * 1024


class AsyncControlClient:
    """One connection to the control socket at *path*; one request at a time. Its event loop only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, command: str, within: float, **args: Any) -> Any:
        """The result of a command. Raises CommandFailed, or another ControlError when there is none *within* s."""
        try:
            async with asyncio.timeout(within):
                async for kind, value in self._ask(command, args):
                    if kind == "result":
                        return value
        except TimeoutError as error:
            self.close()
            raise control_error(self.path, error) from None
        except asyncio.CancelledError:
            self.close()  # its answer would be taken for that to the next question
            raise
        self.close()
        raise ControlUnreachable(f"the server on {self.path} went away before it answered")

    async def stream(self, command: str, **args: Any) -> AsyncIterator[Any]:
        """The notices of a command that streams, until the server goes away."""
        async for kind, value in self._ask(command, args):
            if kind == "notice":
                yield value

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask(self, command: str, args: dict[str, Any]) -> AsyncIterator[tuple[str, Any]]:
        try:
            if self._streams is None:
                self._streams = await asyncio.open_unix_connection(self.path, limit=LONGEST_LINE)
            reader, writer = self._streams
            writer.write(request_line(1, command, args))
            while line := await reader.readline():
                kind, value = parse_answer(line, self.path)
                yield kind, value
                if kind == "result":
                    return
        except OSError as error:
            self.close()
            raise control_error(self.path, error, "zephctl start") from None
        except ControlError:
            self.close()
            raise
