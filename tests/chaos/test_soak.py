"""Row I1: a long run loses nothing, doubles nothing, keeps the order, and leaks nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.chaos.askers import COUNTING, KINDS, SOAK, Chatter, come_in
from tests.chaos.peers import Crowd
from tests.chaos.site import MIB, Site
from tests.scale import FULL

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(1_800 if FULL else 60)]
Times = Callable[[float, float], float]
Figure = Callable[[str], None]
WaitUntil = Callable[..., float]


def slope(points: list[tuple[float, float]]) -> tuple[float, float]:
    """The slope of the straight line through the points, and its standard error."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    steep = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - steep * (x - mean_x)) ** 2 for x, y in points)
    return steep, (rest / (count - 2) / spread) ** 0.5


class Meter:
    """Notes the memory of the server as the messages go by."""

    def __init__(self, site: Site, every: int) -> None:
        self._site, self._every, self._next = site, every, 0
        self.points: list[tuple[float, float]] = []  # messages, bytes

    def read(self, messages: int) -> None:
        """Note it, now and then."""
        if messages >= self._next:
            self._next = messages + self._every
            self.points.append((messages, self._site.process.rss))


def test_i1_a_long_run_loses_nothing_and_leaks_nothing(
    folder: Folder, times: Times, wait_until: WaitUntil, figure: Figure
) -> None:
    folder.write("counting.py", COUNTING)
    site = Site(folder, SOAK)
    site.echoes()
    wait_until(lambda: site.connections() == 0, "nobody is connected")
    threads, descriptors = site.process.threads, site.process.descriptors
    clients, each = 100, int(times(200, 20_000))
    meter = Meter(site, clients * each // 200)
    with Crowd(site.port) as crowd:
        chatters = [Chatter(number, each) for number in range(clients)]
        come_in(crowd, chatters)
        began = time.monotonic()
        for chatter in chatters:
            chatter.begin()

        def is_over() -> bool:
            done = sum(chatter.heard_of for chatter in chatters)
            meter.read(done)
            return done == clients * each

        tells = each // len(KINDS)  # each chatter hears those of the five in its room
        crowd.run(is_over, "every message is answered", within=1_500)
        seconds = time.monotonic() - began
        crowd.run(lambda: all(c.told_by.total() == 5 * tells for c in chatters), "everything told is heard")

        assert not [chatter for chatter in chatters if chatter.is_over]
    faults = [fault for chatter in chatters for fault in chatter.faults]
    assert not faults, faults[:5]
    for chatter in chatters:
        assert chatter.done == {kind: KINDS.count(kind) * tells for kind in set(KINDS)}
        assert set(chatter.told_by.values()) == {tells}
    # The allocator takes its last MiB within the first million messages; a leak would go on after it.
    warm = meter.points[len(meter.points) // 2 :]
    steep, doubt = slope(warm)
    per_thousand = steep * 1_000
    grown = warm[-1][1] - warm[0][1]
    if FULL:
        assert (steep - 2 * doubt) * 1_000 < 1_024, f"{per_thousand:.0f} bytes per 1,000 messages"
    else:  # too short for a slope
        assert grown < 6 * MIB
    pool = 0 if FULL else 32  # idle threads end after half a minute
    wait_until(lambda: site.process.threads <= threads + pool, "the threads are back", 60)
    wait_until(lambda: site.process.descriptors <= descriptors and site.connections() == 0, "the descriptors are back")
    site.assert_quiet()
    heard = sum(chatter.told_by.total() for chatter in chatters)
    figure(
        f"{clients * each:,} messages, {clients * each:,} answers and {heard:,} told, 0 lost, doubled or out of order; "
        f"{per_thousand:+.0f} bytes per 1,000 messages, {grown / MIB:+.1f} MiB in all; "
        f"{clients * each / seconds:,.0f} a second"
    )
