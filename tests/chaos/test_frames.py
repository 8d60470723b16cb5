"""Row D9: frames that nobody should send are answered with the right code, and floods of them fill no memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.chaos.peers import Crowd, Peer
from tests.chaos.site import MIB, Caller, Site
from tests.conformance.cases import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, close, text
from tests.scale import FULL, at_most

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(1_800 if FULL else 60)]
Times = Callable[[int, int], int]
Figure = Callable[[str], None]

ECHO = b'{"task": "echo", "data": [1, 2.5, null, "\xc3\xa9"], "id": 1}'


class Pinger(Caller):
    """Sends so many pings at once, and notes the pongs."""

    def __init__(self, pings: int) -> None:
        super().__init__()
        self._pings = pings
        self.pongs: list[bytes] = []

    def opened(self) -> None:
        """All of them."""
        super().opened()
        self.send(b"".join(Frame(PING, b"%d" % number).encode() for number in range(self._pings)))

    def ponged(self, payload: bytes) -> None:
        """One more."""
        self.pongs.append(payload)


def test_d9_a_flood_of_pings_is_answered_in_order_and_holds_up_nobody(
    new_folder: Callable[..., Folder], times: Times, figure: Figure
) -> None:
    site = Site(new_folder())
    site.settle()
    pings = times(10_000, 100_000)
    with Crowd(site.port) as crowd:
        caller = crowd.join(Caller())
        crowd.run(lambda: caller.welcome, "the caller is welcome")
        pinger = crowd.join(Pinger(pings))

        asked = 0
        while len(pinger.pongs) < pings:
            if len(caller.waits) == asked:
                caller.ask()
                asked += 1
            crowd.turn()
            assert not pinger.is_over, pinger
        crowd.run(lambda: len(caller.waits) == asked, "the last echo")

    assert pinger.pongs == [b"%d" % number for number in range(pings)]
    assert max(caller.waits) < at_most(1.0), f"an echo took {max(caller.waits):.3f} s"
    figure(
        f"{pings:,} pings, longest echo of {asked} beside it {max(caller.waits) * 1e3:.0f} ms, {site.assert_healthy()}"
    )


class DeafPinger(Peer):
    """Pings as long as the server takes it, and reads no pong."""

    is_deaf = True
    buffer = 4_096
    flood = Frame(PING, b"x" * 125).encode() * 10_000

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    def go_on(self) -> None:
        """Send more, when the system has taken what was sent."""
        if self.status and not self.unsent:
            self.sent += len(self.flood)
            self.send(self.flood)


def test_d9_pongs_that_nobody_reads_do_not_fill_the_memory(new_folder: Callable[..., Folder], figure: Figure) -> None:
    site = Site(new_folder(), "WRITE_TIMEOUT = 2")
    site.settle()
    peak = site.watch_peak()
    with Crowd(site.port) as crowd:
        pinger = crowd.join(DeafPinger())

        def is_cut_off() -> bool:
            pinger.go_on()
            return pinger.is_over or pinger.sent > 500 * MIB

        crowd.run(is_cut_off, "it is cut off")

    most = peak()
    assert most < 5 * MIB, f"{most / MIB:.1f} MiB more after {pinger.sent / MIB:.0f} MiB of pings"
    assert pinger.is_over
    figure(f"cut off after {pinger.sent / MIB:.0f} MiB of pings, {most / MIB:.1f} MiB more, {site.assert_healthy()}")


HIDDEN = text(b'{"task": "echo", "data": "hidden", "id": "hidden"}').encode()
WRONG: dict[str, tuple[int, list[Frame | bytes]]] = {
    "a ping of 126 bytes": (1002, [Frame(PING, b"x" * 126)]),
    "a pong of 70,000 bytes": (1002, [Frame(PONG, b"x" * 70_000)]),
    "a close frame of 126 bytes": (1002, [close(1000, b"x" * 124)]),
    "a close frame of one byte": (1002, [Frame(0x8, b"\x03")]),
    "a close frame with code 1005": (1002, [close(1005)]),
    "a close frame with a reason that is no text": (1007, [close(1000, b"\xff")]),
    "a ping in fragments": (1002, [Frame(PING, b"x", fin=False), Frame(CONTINUATION, b"y")]),
    "a close frame in fragments": (1002, [Frame(0x8, b"\x03\xe8", fin=False)]),
    "reserved bits": (1002, [Frame(TEXT, ECHO, rsv=4)]),
    "reserved bits of a ping": (1002, [Frame(PING, b"", rsv=2)]),
    "an unmasked text": (1002, [Frame(TEXT, ECHO, mask=None)]),
    "an unmasked ping": (1002, [Frame(PING, b"", mask=None)]),
    "opcode 3": (1002, [Frame(0x3, ECHO)]),
    "opcode 11": (1002, [Frame(0xB, b"")]),
    "text that is not UTF-8": (1007, [text(b'{"task": "echo", "data": "\xff"}')]),
    "half a character at the end": (1007, [text("é".encode()[:1])]),
    "half a surrogate pair": (1007, [text(b"\xed\xa0\x80")]),
    "a continuation of nothing": (1002, [Frame(CONTINUATION, ECHO)]),
    "a text within a text": (1002, [Frame(TEXT, b"{", fin=False), text(ECHO)]),
    "a text hidden in a binary message": (1003, [Frame(BINARY, HIDDEN)]),
    "a text hidden in a continuation": (1002, [Frame(CONTINUATION, HIDDEN)]),
    "a text hidden in a long ping": (1002, [Frame(PING, HIDDEN * 3, mask=b"\0\0\0\0")]),
    "a text hidden in an unmasked binary": (1002, [Frame(BINARY, HIDDEN, mask=None)]),
    "a text behind a close frame": (1000, [close(1000), HIDDEN]),
    "a text behind a fault": (1002, [Frame(0x3, HIDDEN), HIDDEN]),
}


class Offender(Caller):
    """Does one wrong thing when it is welcome, and listens."""

    is_mute = True

    def __init__(self, code: int, frames: list[Frame | bytes]) -> None:
        super().__init__()
        self.expected, self.texts = code, list[bytes]()
        self._bytes = b"".join(frame.encode() if isinstance(frame, Frame) else frame for frame in frames)

    def heard(self, payload: bytes) -> None:
        """The welcome; more would be too much."""
        if self.welcome:
            self.texts.append(payload)
            return
        super().heard(payload)
        if self.welcome:
            self.send(self._bytes)
            self.half_close()


def test_d9_wrong_frames_get_the_right_code_and_hidden_texts_are_never_delivered(
    new_folder: Callable[..., Folder], times: Times, figure: Figure
) -> None:
    site = Site(new_folder())
    rounds = times(5, 200)

    def play() -> dict[tuple[str, int], Offender]:
        offenders = {(name, turn): Offender(*wrong) for turn in range(rounds) for name, wrong in WRONG.items()}
        with Crowd(site.port) as crowd:
            crowd.play(offenders.values(), 50, lambda peer: False, within=300.0)
        return offenders

    site.settle(play)
    echoes = site.facts()["echoes"]

    offenders = play()

    told = {name: (peer.code, peer.texts) for (name, _), peer in offenders.items() if peer.texts}
    wrong = {name: (peer.code, peer.expected) for (name, _), peer in offenders.items() if peer.code != peer.expected}
    assert not told
    assert not wrong
    assert site.facts()["echoes"] == echoes, "a task has run"
    figure(f"{len(WRONG)} ways, {rounds} times each, {site.assert_healthy()}")
