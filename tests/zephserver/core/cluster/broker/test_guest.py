"""A guest whose broker's library does not do as it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence

import pytest

from zephserver.core.cluster.broker.guest import BrokerGuest
from zephserver.core.cluster.broker.transport import Message
from zephserver.core.errors import NoAnswer


class Deaf:
    """A transport that opens when it is cancelled, as wait_for() of Python 3.11 may. Nobody answers on it."""

    limit = 1_000
    opened = closed = 0

    async def open(
        self, node: str, heard: Callable[[bytes], None], failed: Callable[[str], None], *, is_guest: bool = False
    ) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        self.opened += 1

    async def follow(self, topics: Collection[str]) -> None:
        pass

    unfollow = follow

    async def send(self, messages: Sequence[Message]) -> None:
        pass

    async def close(self) -> None:
        self.closed += 1


@pytest.mark.timeout(30)  # it waited for ever
def test_the_time_is_up_although_a_cancel_was_swallowed() -> None:
    transport = Deaf()
    guest = BrokerGuest(lambda: transport)
    try:
        with pytest.raises(NoAnswer, match="no server of the cluster gave an answer in time"):
            guest.ask("note", b"{}", 0.05)
    finally:
        guest.close()

    assert transport.opened == 1
    assert transport.closed >= 2  # before it was opened, and when the time was up
