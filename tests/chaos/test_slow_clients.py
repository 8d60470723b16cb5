"""Rows D3, D6 and D8: who is slow, silent or deaf costs little, delays nobody, and is hung up by a rule."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.chaos.peers import Crowd, Peer, message, opening, room_for
from tests.chaos.site import MIB, Caller, Site, p99
from tests.conformance.cases import CONTINUATION, TEXT, Frame
from tests.scale import FULL, at_most

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

KIB = 1_024
pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(1_800 if FULL else 60)]
T = TypeVar("T")
Figure = Callable[[str], None]


class Visitors:
    """New clients that come one after another; how long each waits for its welcome."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._caller: Caller | None = None
        self._due = 0.0
        self.waits: list[float] = []

    def next(self) -> None:
        """Let the next one come when the last one is welcome, 20 a second."""
        if time.monotonic() < self._due:
            return
        if self._caller is not None:
            assert not self._caller.is_over, self._caller
            if not self._caller.welcome:
                return
            self.waits.append(time.monotonic() - self._caller.began)
            self._caller.send_close()
        self._due = time.monotonic() + 0.05
        self._caller = self._crowd.join(Caller())


# -- D3 ---------------------------------------------------------------------------------------------------------------


class Loiterer(Peer):
    """Begins a request and stops half-way, or goes on byte by byte."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.dribbles = number % 2 == 0
        self._left = iter(opening()[30:])
        self.request = opening()[:30]

    def dribble(self) -> None:
        """One byte more."""
        if self.dribbles:
            self.send(bytes([next(self._left)]))


def loiter(site: Site, number: int, every: float) -> tuple[list[Loiterer], list[float]]:
    """Let so many loiter, each second one with a byte now and then; they, and how long others waited meanwhile."""
    with Crowd(site.port) as crowd:
        loiterers = [crowd.join(Loiterer(at)) for at in range(number)]
        visitors, due = Visitors(crowd), time.monotonic() + every

        def are_gone() -> bool:
            nonlocal due
            visitors.next()
            if time.monotonic() > due:
                due += every
                for loiterer in loiterers:
                    loiterer.dribble()
            return all(loiterer.is_over for loiterer in loiterers)

        crowd.run(are_gone, "all of them are gone")
        return loiterers, visitors.waits


def test_d3_handshakes_that_do_not_end_are_cut_off_and_delay_nobody(
    new_folder: Callable[..., Folder], times: Callable[[T, T], T], figure: Figure
) -> None:
    limit, every = times(1.0, 10.0), times(0.2, 5.0)  # whose first words come too late gets no answer at all
    site = Site(new_folder(), f"HANDSHAKE_TIMEOUT = {limit}")
    site.settle(rounds=1)
    number, peak = room_for(times(300, 2_000)), site.watch_peak()
    loiter(site, number, every)
    each = peak() / number
    site.settle(lambda: loiter(site, number, every), rounds=2)

    loiterers, waits = loiter(site, number, every)

    longest = max(loiterer.ended - loiterer.began for loiterer in loiterers)
    assert {loiterer.status for loiterer in loiterers} == {408}
    assert longest < at_most(limit + 2.0), f"one was there for {longest:.1f} s"
    assert p99(waits) < at_most(0.5), f"others waited {p99(waits):.3f} s"
    assert each < 32 * KIB
    figure(
        f"{number:,} loiterers, 408, the last gone after {longest:.1f} s of {limit:g} s, {each / KIB:.1f} KiB each; "
        f"p99 of {len(waits)} others {p99(waits) * 1e3:.0f} ms; {site.assert_healthy()}"
    )


class Flooder(Peer):
    """A header line without an end."""

    request = opening()[:-2] + b"X-Long: "
    flood = b"x" * MIB

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    def go_on(self) -> None:
        """More of it."""
        if not (self.unsent or self.is_over or self.is_done):
            self.send(self.flood)
            self.sent += len(self.flood)

    @property
    def is_done(self) -> bool:
        """Whether that was enough."""
        return self.sent >= 100 * MIB


def test_d3_a_header_without_an_end_is_refused_and_not_kept(
    new_folder: Callable[..., Folder], times: Callable[[T, T], T], figure: Figure
) -> None:
    site = Site(new_folder())
    site.settle()
    peak, flooders, number = site.watch_peak(), list[Flooder](), times(20, 200)
    with Crowd(site.port) as crowd:
        visitors = Visitors(crowd)

        def are_done() -> bool:
            visitors.next()
            for flooder in flooders[-5:]:
                flooder.go_on()
            if len(flooders) < number and all(flooder.is_over for flooder in flooders[-4:]):
                flooders.append(crowd.join(Flooder()))
            is_last = len(flooders) == number and len(visitors.waits) > 0
            return is_last and all(flooder.is_over or flooder.is_done for flooder in flooders)

        crowd.run(are_done, "they are refused")
        crowd.run(lambda: all(flooder.is_over for flooder in flooders), "they are hung up")

    most = peak()
    assert {flooder.status for flooder in flooders} == {431}
    assert most < 5 * MIB, f"{most / MIB:.1f} MiB more"
    assert p99(visitors.waits) < at_most(0.5)
    figure(f"{number} x 100 MiB: 431; at most {most / MIB:.1f} MiB more, {site.assert_healthy()}")


# -- D6 ---------------------------------------------------------------------------------------------------------------


class Good(Caller):
    """Reads all and notes what it heard and how old it was."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []
        self.ages: list[float] = []

    def heard(self, payload: bytes) -> None:
        """A shout, or the welcome."""
        said = json.loads(payload)
        assert "error" not in said, said
        if said.get("task") == "shout":
            self.numbers.append(said["data"]["number"])
            self.ages.append(time.monotonic() - said["data"]["at"])
        elif said.get("msgtype") == "welcome":
            self.welcome = True


class Slow(Caller):
    """Reads nothing after the welcome; every other one reads a little when it is told to."""

    buffer = 4_096
    is_mute = True

    def heard(self, payload: bytes) -> None:
        """No more."""
        super().heard(payload)
        self.is_deaf = True

    def sip(self) -> None:
        """Read 1 KiB."""
        if not self.is_over:
            try:
                self.socket.recv(1_024)
            except OSError:
                pass


def shout(site: Site, good: Sequence[Good], slow: Sequence[Slow], size: int, seconds: float) -> int:
    """Say something to everybody, 20 times a second, so long and until all slow ones are cut off; how often."""
    before = site.counted("close 4008")
    with Crowd(site.port) as crowd:
        crowd.play([*good, *slow], 100, lambda peer: isinstance(peer, Caller) and peer.welcome)
        shouts, due = 0, time.monotonic()
        end = due + seconds

        def is_over() -> bool:
            nonlocal shouts, due
            now = time.monotonic()
            if now < due:
                return False
            due += 0.05
            good[0].send(message(task="shout", data={"number": shouts, "at": now, "filler": "x" * size}))
            shouts += 1
            for sipper in slow[::2] if shouts % 20 == 0 else ():
                sipper.sip()
            return now > end and shouts % 10 == 0 and site.counted("close 4008") - before == len(slow)

        crowd.run(is_over, "the slow ones are cut off", seconds + 60.0)
        crowd.run(lambda: all(len(one.numbers) == shouts for one in good), "all was heard")
    return shouts


def test_d6_slow_readers_are_closed_and_the_others_lose_nothing(
    new_folder: Callable[..., Folder], times: Callable[[T, T], T], figure: Figure
) -> None:
    seconds, size = times(1.0, 60.0), times(120_000, 4_000)  # the system buffers up to 4 MiB before the server notices
    site = Site(new_folder(), f"WRITE_TIMEOUT = {times(0.5, 10.0)}")
    number_good, number_slow = times(10, 100), times(30, 1_000)
    site.settle(lambda: shout(site, [Good()], [Slow() for _ in range(30)], 120_000, 1.0), rounds=1)
    rss, peak = site.process.rss, site.watch_peak()
    good, slow = [Good() for _ in range(number_good)], [Slow() for _ in range(number_slow)]

    shouts = shout(site, good, slow, size, seconds)

    most = peak()
    ages = [age for one in good for age in one.ages]
    assert all(one.numbers == list(range(shouts)) for one in good), "something was lost or came twice"
    assert most < 1.2e9
    figure(
        f"{number_slow:,} slow and {number_good} good ones, {shouts} x {size:,} bytes: p99 {p99(ages) * 1e3:.0f} ms, "
        f"0 lost; all slow closed with 4008, at most {rss / MIB:.0f} + {most / MIB:.0f} MiB"
    )
    assert p99(ages) < at_most(0.2), f"p99 {p99(ages):.3f} s"
    figure(site.assert_healthy())


# -- D8 ---------------------------------------------------------------------------------------------------------------


class Dribbler(Caller):
    """Sends a message of 1 MiB, a byte at a time: in one frame, or each byte a fragment."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._frame = Frame(TEXT, b"", length=MIB).encode() if number % 2 else b""
        self._first = True

    def dribble(self) -> None:
        """One byte more."""
        if self._first:
            self.send(self._frame or Frame(TEXT, b'"', fin=False).encode())
        else:
            self.send(b"x" if self._frame else Frame(CONTINUATION, b"x", fin=False).encode())
        self._first = False


def dribble(site: Site, number: int, within: float) -> tuple[list[Dribbler], float]:
    """Let so many dribble, a byte each 0.1 s, until they are hung up; they, and the seconds it took."""
    with Crowd(site.port) as crowd:
        dribblers = [Dribbler(at) for at in range(number)]
        crowd.play(dribblers, 100, lambda peer: isinstance(peer, Dribbler) and peer.welcome)
        due = time.monotonic()

        def are_gone() -> bool:
            nonlocal due
            if time.monotonic() >= due:
                due += 0.1
                for dribbler in dribblers:
                    dribbler.dribble()
            return all(dribbler.is_over for dribbler in dribblers)

        return dribblers, crowd.run(are_gone, "all are hung up", within)


def test_d8_dribbled_bytes_are_hung_up_by_a_rule(
    new_folder: Callable[..., Folder], times: Callable[[T, T], T], figure: Figure
) -> None:
    number, patience = room_for(times(100, 1_000)), times(0.3, 20.0)
    limits = f"PING_INTERVAL = {patience}\nPING_TIMEOUT = {patience}\nMAX_FRAGMENTS = {times(6, 400)}"
    site = Site(new_folder(), limits)
    site.settle(rounds=1)
    peak = site.watch_peak()
    dribble(site, number, patience * 2 + 30.0)
    each = peak() / number
    site.settle(lambda: dribble(site, number, patience * 2 + 30.0), rounds=2)
    lost = site.counted("close 1006")

    dribblers, took = dribble(site, number, patience * 2 + 30.0)

    assert {dribbler.code for dribbler in dribblers[::2]} == {1009}, "too many fragments"
    assert {dribbler.code for dribbler in dribblers[1::2]} == {0}, "no answer to a ping"
    assert site.counted("close 1006") - lost == number // 2
    assert each < 2 * MIB
    figure(f"{number:,} dribblers, {each / KIB:.1f} KiB each, gone after {took:.1f} s, {site.assert_healthy()}")


class Fragmenter(Caller):
    """One message of fragments of one byte, without an end, as fast as it goes."""

    flood = Frame(CONTINUATION, b"x", fin=False).encode() * 50_000

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    def opened(self) -> None:
        """Begin."""
        super().opened()
        self.send(Frame(TEXT, b"{", fin=False).encode())

    def go_on(self) -> None:
        """More fragments."""
        if self.welcome and not self.unsent:
            self.send(self.flood)
            self.sent += 50_000


def test_d8_endless_fragments_are_closed_with_1009(new_folder: Callable[..., Folder], figure: Figure) -> None:
    site = Site(new_folder())

    def play() -> list[Fragmenter]:
        with Crowd(site.port) as crowd:
            peers = [crowd.join(Fragmenter()) for _ in range(20)]

            def are_closed() -> bool:
                for peer in peers:
                    if not peer.is_over and peer.sent < 1_000_000:
                        peer.go_on()
                return all(peer.is_over for peer in peers)

            crowd.run(are_closed, "they are closed")
            return peers

    site.settle(rounds=1)
    peak = site.watch_peak()
    play()
    each = peak() / 20
    site.settle(play, rounds=1)

    assert {peer.code for peer in play()} == {1009}
    assert each < 2 * MIB
    figure(f"20 peers, 1009, at most {each / MIB:.2f} MiB each, {site.assert_healthy()}")
