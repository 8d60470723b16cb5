"""Row D4: connections that say nothing cost little memory and next to no time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.chaos.peers import Crowd, room_for
from tests.chaos.site import Caller, Site, p99
from tests.scale import FULL, at_most

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

KIB = 1_024
pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(1_800 if FULL else 60)]
T = TypeVar("T")
Figure = Callable[[str], None]


def gather(site: Site, number: int, seconds: float = 0.0) -> tuple[float, list[float]]:
    """Let so many connect and be idle for so long, but for one that asks for echoes; the share of a processor that the
    server took, and how long each echo took."""
    with Crowd(site.port) as crowd:
        idle = [Caller() for _ in range(number)]
        crowd.play(idle, 200, lambda peer: peer.welcome, within=120.0)
        caller, cpu, asked = idle[0], site.process.cpu, 0
        due = began = time.monotonic()

        def is_time() -> bool:
            nonlocal asked, due
            if len(caller.waits) == asked and time.monotonic() > due:
                caller.ask()
                asked, due = asked + 1, time.monotonic() + 0.1
            return time.monotonic() - began > seconds and len(caller.waits) == asked

        crowd.run(is_time, "it was idle long enough", seconds + 30.0)
        share = (site.process.cpu - cpu) / (time.monotonic() - began)
        assert not any(peer.is_over for peer in idle)
        assert site.connections() == number
        return share, caller.waits


@pytest.mark.parametrize("interval", [600.0, 20.0 if FULL else 1.0], ids=["without pings", "with pings"])
def test_d4_idle_connections_cost_little_memory_and_next_to_no_time(
    new_folder: Callable[..., Folder], interval: float, times: Callable[[T, T], T], figure: Figure
) -> None:
    number = room_for(times(300, 10_000))
    site = Site(new_folder(), f"MAX_CONNECTIONS = {number + 100}\nPING_INTERVAL = {interval}")
    site.settle(rounds=1)
    peak = site.watch_peak()
    gather(site, number)
    each = peak() / number
    site.settle(lambda: gather(site, number), rounds=2)

    cpu, waits = gather(site, number, times(1.0, 90.0))

    health = site.assert_healthy()
    echo = p99(waits)
    pings = number / interval  # a second; each is answered, and a heartbeat is said as often
    figure(
        f"{number:,} idle, {each / KIB:.1f} KiB each, {cpu:.1%} of a processor with {pings:.0f} pings/s, "
        f"p99 of {len(waits)} echoes {echo * 1e3:.0f} ms; {health}"
    )
    assert each < 32 * KIB
    assert cpu < 0.02 + pings * 1e-4, f"{cpu:.1%} of a processor"
    assert echo < at_most(0.05), f"an echo took {echo * 1e3:.0f} ms"
