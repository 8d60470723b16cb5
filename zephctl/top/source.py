"""Asks a server for one moment after the other, for `zephctl top`."""

from __future__ import annotations

from typing import Any

from zephctl.prometheus import Metrics
from zephctl.top.async_client import AsyncControlClient
from zephctl.top.numbers import Meter, Numbers
from zephserver.core.errors import CommandFailed

MOST_RUNNING = 1_000  # tasks under way above which they are only counted, not listed
GONE = ("unknown-command", "service-not-loaded")  # the router was deleted between two questions


class Source:
    """The numbers of the server at the control socket *path*, which has *within* seconds for each answer."""

    def __init__(self, path: str, within: float) -> None:
        self._client = AsyncControlClient(path)
        self._within = within
        self._meter = Meter()

    async def numbers(self) -> Numbers:
        """The numbers of this moment. Raises ControlError; then the next moment begins anew."""
        try:
            answer = await self._client.call("top", self._within)
            under_way = Metrics(answer["metrics"]).value("zephserver_tasks_running")
            names: list[str] = []
            running: list[dict[str, Any]] | None = None
            if under_way is not None:
                names = [row["name"] for row in await self._rows("tasks.list")]
                running = await self._rows("tasks.running") if under_way <= MOST_RUNNING else None
        except Exception:
            self._meter.forget()
            raise
        return self._meter.take(answer, names, running)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    async def _rows(self, command: str) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = await self._client.call(command, self._within)
        except CommandFailed as error:
            if error.code not in GONE:
                raise
            return []
        return rows
