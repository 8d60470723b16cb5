"""Rows D2 and D5: whatever comes over the network, the server stays healthy and says what its documents say."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.chaos.peers import Crowd, Peer, opening
from tests.chaos.site import Caller, Site
from tests.conformance.cases import BINARY, PING, PONG, TEXT, Frame, close, deflate, fragments, text
from tests.scale import FULL

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(1_800 if FULL else 60)]
Times = Callable[[int, int], int]
Figure = Callable[[str], None]

# What docs/protocol.md lists; 0 when the connection ended without a close frame.
CLOSE_CODES = {0, 1002, 1003, 1007, 1009, 1012, 1013, 4001, 4003, 4009}
STATUSES = {0, 101, 200, 304, 400, 403, 404, 405, 408, 426, 431, 503}
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
ECHO = b'{"task": "echo", "data": [1, 2.5, null, "\xc3\xa9"], "id": 1}'


# -- D2 ---------------------------------------------------------------------------------------------------------------

GOOD_FRAMES = [
    text(ECHO),
    text(b'{"session_id": null, "room": "lobby"}'),
    text(b'{"msgtype": "join", "room": "x", "id": 2}'),
    text(ECHO + b" " * 400),
    text(b""),
    Frame(PING, b"there?"),
    Frame(PONG, b"unasked"),
    *fragments(TEXT, ECHO[:9], ECHO[9:20], ECHO[20:]),
    Frame(TEXT, deflate(ECHO * 3), rsv=4),
    Frame(BINARY, b"\0\1\2"),
    close(1000, b"bye"),
    close(4321),
]
GOOD_BYTES = [frame.encode() for frame in GOOD_FRAMES]
GOOD_REQUESTS = [
    opening(),
    opening(DEFLATE, "Origin: http://127.0.0.1", "Cookie: a=1; b=2", "Sec-WebSocket-Protocol: chat, super"),
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"GET http://example.org/ws HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
]


def mutated(chance: random.Random, good: list[bytes]) -> bytes:
    """Good bytes with something wrong in them."""
    data = bytearray(chance.choice(good))
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = chance.randbytes(1)
            case 1:
                del data[at : at + chance.randint(1, 6)]
            case 2:
                data[at:at] = chance.randbytes(chance.randint(1, 6))
            case 3 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case _:
                other = chance.choice(good)
                data[at:] = other[chance.randrange(len(other)) :]
    return bytes(data) or b"\r"


def random_frame(chance: random.Random) -> bytes:
    """Any bits in the head, any payload, sometimes a length that is not true or a frame without its end."""
    payload = chance.randbytes(chance.choice((0, 1, 5, 125, 126, 200)))
    lies = chance.random() < 0.1
    frame = Frame(
        chance.randrange(16),
        payload,
        fin=chance.random() < 0.7,
        rsv=chance.randrange(8) if chance.random() < 0.3 else 0,
        mask=chance.randbytes(4) if chance.random() < 0.9 else None,
        width=8 if lies else None,
        length=chance.choice((0, 126, 65_536, 2**20 + 1, 2**32, 2**63 - 1, 2**64 - 1)) if lies else None,
    )
    return frame.encode()[: 3 if chance.random() < 0.05 else None]


class Fuzzer(Peer):
    """Sends all it has, ends its side and listens to the end."""

    is_brief = is_mute = True

    def __init__(self, request: bytes, ends: Counter[tuple[int, int]]) -> None:
        super().__init__()
        self.request, self._ends = request, ends

    def over(self) -> None:
        """How it went; its own close frame comes back with its own code."""
        is_echo = 1000 <= self.code <= 4999 and b"\x88" in self.request
        assert self.code in CLOSE_CODES or is_echo, f"{self}: {self.request.hex()}"
        assert self.status in STATUSES, f"{self}: {self.request.hex()}"
        self._ends[self.status, 0 if is_echo and self.code not in CLOSE_CODES else self.code] += 1


def frames_of(chance: random.Random, number: int) -> bytes:
    """A good handshake and frames that are good, nearly good, or noise."""
    data = [opening(*[DEFLATE] * chance.randrange(2)), *[GOOD_BYTES[1]] * (chance.random() < 0.8)]
    for _ in range(number):
        match chance.choices("gmr", (50, 35, 15))[0]:
            case "g":
                data.append(chance.choice(GOOD_BYTES[:8]))
            case "m":
                data.append(mutated(chance, GOOD_BYTES))
            case _:
                data.append(random_frame(chance))
    return b"".join(data)


def play_all(site: Site, make: Callable[[], bytes], number: int) -> Counter[tuple[int, int]]:
    """Let so many fuzzers come, after some that do not count."""
    ends: Counter[tuple[int, int]] = Counter()
    with Crowd(site.port) as crowd:

        def play(number: int) -> None:
            crowd.play((Fuzzer(make(), ends) for _ in range(number)), 100, lambda peer: False, within=1_500)

        site.settle(lambda: play(number // 10 if FULL else number))
        ends.clear()
        play(number)
    return ends


def test_d2_random_and_mutated_frames_end_with_documented_codes(
    new_folder: Callable[..., Folder], chance: random.Random, times: Times, figure: Figure
) -> None:
    site = Site(new_folder())
    frames, each = times(5_000, 1_000_000), 10

    ends = play_all(site, lambda: frames_of(chance, each), frames // each)

    assert {status for status, _ in ends} == {101}
    codes = {code: number for (_, code), number in sorted(ends.items())}
    figure(f"{frames:,} frames, closed with {codes}, {site.assert_healthy()}")


def test_d2_random_and_mutated_handshakes_get_documented_answers(
    new_folder: Callable[..., Folder], chance: random.Random, times: Times, figure: Figure
) -> None:
    site = Site(new_folder())
    number = times(1_000, 100_000)

    def request() -> bytes:
        return mutated(chance, GOOD_REQUESTS) if chance.random() < 0.8 else chance.randbytes(chance.randint(1, 400))

    ends = play_all(site, request, number)

    assert sum(ends.values()) == number
    statuses: Counter[int] = Counter()
    for (status, _), count in ends.items():
        statuses[status] += count
    figure(f"{number:,} handshakes, answered with {dict(sorted(statuses.items()))}, {site.assert_healthy()}")


# -- D5 ---------------------------------------------------------------------------------------------------------------


class Passer(Caller):
    """Comes into a room and goes in one of seven ways."""

    WAYS = ("close", "rush", "eof", "reset", "half", "early", "door")

    def __init__(self, number: int) -> None:
        super().__init__()
        self.way = self.WAYS[number % 7]
        self.room = f"room {number % 50}"
        if self.way == "door":
            self.request = opening()[:40]

    def opened(self) -> None:
        """Say who it is, unless it has to go at once."""
        super().opened()
        if self.way == "early":
            self.reset()

    def heard(self, payload: bytes) -> None:
        """Go when welcome."""
        super().heard(payload)
        if self.welcome and not self.is_over:
            self.leave()

    def ready(self, events: int) -> None:
        """Those at the door go when they were let speak."""
        super().ready(events)
        if self.way == "door" and not self.is_over and not self.unsent:
            self.end()

    def leave(self) -> None:
        """In its way."""
        match self.way:
            case "close":
                self.send_close()
            case "rush":
                self.send_close()
                self.end()
            case "eof":
                self.end()
            case "reset":
                self.reset()
            case "half":
                self.half_close()
        self.way = "gone"


def test_d5_whoever_comes_and_goes_leaves_nothing_behind(
    new_folder: Callable[..., Folder], times: Times, figure: Figure
) -> None:
    site = Site(new_folder())
    cycles, at_once = times(1_000, 50_000), times(200, 1_000)
    with Crowd(site.port) as crowd:

        def play(number: int) -> None:
            crowd.play((Passer(at) for at in range(number)), at_once, lambda peer: False, within=1_500)

        site.settle(lambda: play(min(cycles, 5_000)))
        play(cycles)

    health = site.assert_healthy()
    facts = site.facts()
    assert facts["rooms"] == []
    figure(f"{cycles:,} cycles, {at_once:,} at once, {facts['asked']:,} look-ups, {health}")
