"""The table of conformance cases: what a client sends, and what RFC 6455 and RFC 7692 let a server answer. Pure.

A case is a script of frames and one or more allowed answers. `at_least` says how many of the echoes must come before a
connection fails; the answer that is not exactly the one we want is allowed, and noted as not strict.
"""

from __future__ import annotations

import functools
import itertools
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.scale import FULL

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NO_CODE, ABNORMAL = 1005, 1006  # a close frame without a code; no close frame at all
MASK = b"\x37\xfa\x21\x3d"
WHOLE, PER_FRAME = 0, -1  # how bytes are cut into segments; any other number: so many bytes each

Event = tuple[str, bytes]  # what the server says: "text", "binary" or "pong", with its payload


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as the client sends it, right or wrong."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0  # 4 is RSV1, 2 RSV2, 1 RSV3
    mask: bytes | None = MASK
    width: int | None = None  # bytes of the extended length: 0, 2 or 8; None for the shortest
    length: int | None = None  # a length that is told instead of the true one

    def encode(self) -> bytes:
        """Its bytes (RFC 6455, 5.2)."""
        length = len(self.payload) if self.length is None else self.length
        width = (0 if length < 126 else 2 if length < 65_536 else 8) if self.width is None else self.width
        masked = 0x80 if self.mask is not None else 0
        short = length if width == 0 else 126 if width == 2 else 127
        head = bytes([self.fin << 7 | self.rsv << 4 | self.opcode, masked | short])
        head += length.to_bytes(width, "big") if width else b""
        return head + (self.payload if self.mask is None else self.mask + _xor(self.payload, self.mask))


@dataclass(frozen=True, slots=True)
class Message:
    """A message of one or more frames, compressed when that was agreed on."""

    opcode: int
    payload: bytes
    parts: int = 1
    between: Frame | None = None  # sent between two parts
    level: int = 6

    def frames(self, window_bits: int | None) -> list[Frame]:
        """Its frames; without *window_bits* nothing is compressed."""
        data = self.payload if window_bits is None else deflate(self.payload, window_bits, self.level)
        size = max(1, -(-len(data) // self.parts))
        pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
        rsv = 0 if window_bits is None else 4
        frames = fragments(self.opcode, *pieces, rsv=rsv)
        if self.between is None:
            return frames
        return [frame for part in frames for frame in (part, self.between)][:-1]


@dataclass(frozen=True, slots=True)
class Await:
    """The client goes on when it has heard so many events."""

    events: int


Item = Frame | Message | Await | bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server may say: events, then a close frame with one of the codes."""

    events: tuple[Event, ...]
    codes: tuple[int, ...]  # the one we want first
    at_least: int  # so many of the events; the rest may be lost with the connection
    why: str = ""  # it is allowed, but not what we want

    def allows(self, events: list[Event], code: int) -> bool:
        """Whether the server may say this. Pongs may overtake messages (RFC 6455, 5.5.2)."""
        if code not in self.codes or len(events) < self.at_least:
            return False
        return all(_of(events, pongs) == _of(self.events, pongs)[: len(_of(events, pongs))] for pongs in (True, False))

    def is_strict(self, events: list[Event], code: int) -> bool:
        """Whether it is just what we want."""
        return not self.why and code == self.codes[0] and events == list(self.events)


def _of(events: Sequence[Event], pongs: bool) -> list[Event]:
    return [event for event in events if (event[0] == "pong") == pongs]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    sentence: str
    script: tuple[Item, ...]
    answers: tuple[Answer, ...]
    offer: str = ""  # of the Sec-WebSocket-Extensions header
    agreed: bool | None = False  # whether compression must be agreed on; None when either will do
    may_refuse: bool = False  # a handshake refused with 400 will do, too
    cut: int = WHOLE
    variant: str = "default"  # of the server's settings
    reply: bytes | None = None  # how the client answers a close frame; None echoes the code
    deaf: bool = False  # the client sends everything before it reads anything
    reset_allowed: bool = False  # the client talks on after the end, so a reset is what TCP does
    limit: float = 10.0
    differs: dict[str, str] = field(default_factory=dict)  # the targets known to answer otherwise, and why

    @property
    def needs(self) -> frozenset[str]:
        """What a server must be able to do to play this case."""
        binary = any(isinstance(item, Frame | Message) and item.opcode == BINARY for item in self.script)
        return frozenset({"binary"} if binary else set()) | frozenset({"deflate"} if self.offer else set())


@functools.lru_cache(maxsize=64)
def words(size: int) -> bytes:
    """So many bytes of text that compresses."""
    line = b'{"task": "say", "room": "lobby", "number": %d}\n'
    whole = b"".join(line % number for number in range(size // 40 + 1))
    return whole[:size]


@functools.lru_cache(maxsize=64)
def noise(size: int) -> bytes:
    """So many bytes that do not compress."""
    return random.Random(size).randbytes(size)


def deflate(payload: bytes, window_bits: int = 15, level: int = 6) -> bytes:
    """Compressed as RFC 7692, 7.2.1 has it. zlib has no window of 8 bits; stored blocks need none."""
    deflater = zlib.compressobj(0 if window_bits < 9 else level, zlib.DEFLATED, -max(9, window_bits))
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def fragments(opcode: int, *pieces: bytes, rsv: int = 0) -> list[Frame]:
    """A message in these pieces."""
    last = len(pieces) - 1
    return [
        Frame(CONTINUATION if at else opcode, piece, fin=at == last, rsv=0 if at else rsv)
        for at, piece in enumerate(pieces)
    ]


def close(code: int | None = 1000, reason: bytes = b"") -> Frame:
    """A close frame."""
    return Frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def text(payload: bytes = b"hello") -> Frame:
    """A text message."""
    return Frame(TEXT, payload)


def ping(payload: bytes = b"") -> Frame:
    """A ping."""
    return Frame(PING, payload)


def cases() -> list[Case]:
    """Every row, in the order of the sections."""
    table = _Table()
    sections = (_s1, _s2, _s3, _s4, _s5, _s6, _s7, _s8, _s9, _s10, _s12, _s13)
    for section in sections:
        section(table)
    return table.rows


class _Table:
    """Rows under way: `good` ends with a closing handshake, `bad` is failed by the server."""

    def __init__(self) -> None:
        self.rows: list[Case] = []
        self._group, self._count = "", 0

    def group(self, name: str) -> None:
        """The rows that follow are name.1, name.2, ..."""
        self._group, self._count = name, 0

    def good(self, sentence: str, *script: Item, hear: list[Event], **more: Any) -> None:
        """The events are heard, then the client closes and the server answers."""
        answer = Answer(tuple(hear), (1000,), len(hear))
        self.add(sentence, [*script, Await(len(hear)), close()], [answer], **more)

    def bad(
        self,
        sentence: str,
        *script: Item,
        hear: list[Event] | None = None,
        codes: tuple[int, ...] = (1002,),
        **more: Any,
    ) -> None:
        """The server fails the connection; what came before it must be heard where the script awaits it."""
        known = max((item.events for item in script if isinstance(item, Await)), default=0)
        more.setdefault("limit", 5.0)
        self.add(sentence, [*script], [Answer(tuple(hear or ()), codes, known)], **more)

    def add(self, sentence: str, script: list[Item], answers: list[Answer], **more: Any) -> None:
        """Any row."""
        self._count += 1
        row = Case(f"{self._group}.{self._count}", sentence, tuple(script), tuple(answers), **more)
        self.rows.append(row)


SIZES = (0, 125, 126, 127, 128, 65_535, 65_536)
PIECES = (WHOLE, 1, 997, 1024)


def _cut_name(cut: int) -> str:
    return {WHOLE: "in one segment", PER_FRAME: "a frame a segment"}.get(cut, f"in segments of {cut} bytes")


def _s1(table: _Table) -> None:
    """Text and binary messages of the sizes where the length is written differently."""
    for number, (opcode, kind) in enumerate(((TEXT, "text"), (BINARY, "binary")), 1):
        for part, cut in enumerate(PIECES, 1):
            table.group(f"1.{number}.{part}")
            for size in SIZES:
                if (cut == 1 and size > 128 and not FULL) or (cut > 1 and size < cut):
                    continue
                payload = words(size) if opcode == TEXT else noise(size)
                how = _cut_name(cut)
                frame = Frame(opcode, payload)
                table.good(f"{kind} of {size} bytes {how}", frame, hear=[(kind, payload)], cut=cut, limit=20.0)


def _s2(table: _Table) -> None:
    """Pings and pongs."""
    blob = bytes([0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF])
    table.group("2")
    for payload in (b"", b"hello", blob, noise(125)):
        for cut in (WHOLE, 1):
            name = f"ping with {len(payload)} bytes {_cut_name(cut)}"
            table.good(name, ping(payload), hear=[("pong", payload)], cut=cut)
    every = [noise(size) for size in range(126)]
    table.good("pings of every length", *map(ping, every), hear=[("pong", payload) for payload in every])
    for size in (126, 127, 65_536):
        for opcode, kind in ((PING, "ping"), (PONG, "pong")):
            table.bad(f"{kind} with {size} bytes", Frame(opcode, noise(size)))
    table.bad("ping with 126 bytes, byte by byte", ping(noise(126)), cut=1, reset_allowed=True)
    for payload in (b"", b"unasked"):
        table.good(f"unsolicited pong with {len(payload)} bytes", Frame(PONG, payload), hear=[])
    table.good("unsolicited pong, then a ping", Frame(PONG, b"no"), ping(b"yes"), hear=[("pong", b"yes")])
    ten = [b"ping %d" % number for number in range(10)]
    for cut in (WHOLE, PER_FRAME, 1):
        table.good(f"ten pings {_cut_name(cut)}", *map(ping, ten), hear=[("pong", payload) for payload in ten], cut=cut)


def _around(table: _Table, what: str, wrong: Frame) -> None:
    """A wrong frame between a message and a ping."""
    hello: list[Event] = [("text", b"hello")]
    table.bad(f"{what} after a message", text(), wrong, ping(b"late"), hear=hello)
    table.bad(f"{what} after an answered message", text(), Await(1), wrong, ping(b"late"), hear=hello)
    table.bad(
        f"{what} after a message, byte by byte", text(), wrong, ping(b"late"), hear=hello, cut=1, reset_allowed=True
    )


def _s3(table: _Table) -> None:
    """Reserved bits without an extension."""
    for rsv in range(1, 8):
        table.group(f"3.{rsv}")
        for opcode, kind in ((TEXT, "text"), (BINARY, "binary"), (PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
            payload = b"\x03\xe8" if opcode == CLOSE else b"hello"
            table.bad(f"{kind} with the reserved bits {rsv:03b}", Frame(opcode, payload, rsv=rsv))
        table.bad(f"an empty text with the bits {rsv:03b}", Frame(TEXT, rsv=rsv))
        _around(table, f"text with the bits {rsv:03b}", Frame(TEXT, b"hello", rsv=rsv))
        start = Frame(TEXT, b"one", fin=False)
        table.bad(
            f"a continuation with the bits {rsv:03b}", start, Frame(CONTINUATION, b"two", rsv=rsv), text(), hear=[]
        )


def _s4(table: _Table) -> None:
    """Opcodes that mean nothing."""
    for group, opcodes in enumerate((range(3, 8), range(11, 16)), 1):
        for opcode in opcodes:
            table.group(f"4.{group}.{opcode}")
            table.bad(f"opcode {opcode}, empty", Frame(opcode))
            table.bad(f"opcode {opcode} with a payload", Frame(opcode, b"reserved"))
            table.bad(f"opcode {opcode} without the last bit", Frame(opcode, b"reserved", fin=False))
            _around(table, f"opcode {opcode}", Frame(opcode, b"reserved"))


def _s5(table: _Table) -> None:
    """Fragments, and control frames between them."""
    table.group("5.1")
    for opcode, kind in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        halves = (Frame(opcode, b"\x03\xe8", fin=False), Frame(CONTINUATION, b"half"))
        table.bad(f"{kind} in two fragments", *halves)
        table.bad(f"{kind} in two fragments inside a message", fragments(TEXT, b"one", b"two")[0], *halves)
    one, two = fragments(TEXT, b"frag", b"ment")
    whole: Event = ("text", b"fragment")
    table.group("5.2")
    for cut in (WHOLE, PER_FRAME, 1):
        how = _cut_name(cut)
        table.good(f"text in two fragments {how}", one, two, hear=[whole], cut=cut)
        table.good(f"a ping between two fragments {how}", one, ping(b"!"), two, hear=[("pong", b"!"), whole], cut=cut)
        table.good(f"a pong between two fragments {how}", one, Frame(PONG, b"!"), two, hear=[whole], cut=cut)
        five = fragments(TEXT, b"a", b"b", b"c", b"d", b"e")
        script = [frame for at, part in enumerate(five) for frame in (part, ping(b"%d" % at))]
        pongs: list[Event] = [("pong", b"%d" % at) for at in range(5)]
        heard = [*pongs[:4], ("text", b"abcde"), pongs[4]]
        table.good(f"five fragments with pings between {how}", *script, hear=heard, cut=cut)
    empty = fragments(TEXT, b"", b"", b"")
    table.good("three empty fragments", *empty, hear=[("text", b"")])
    table.good("an empty fragment at either end", *fragments(TEXT, b"", b"hello", b""), hear=[("text", b"hello")])
    table.good("binary in fragments", *fragments(BINARY, b"\x00\xff", b"", b"\xfe"), hear=[("binary", b"\x00\xff\xfe")])
    table.good(
        "a ping answered before the last fragment comes",
        one,
        ping(b"now"),
        Await(1),
        two,
        hear=[("pong", b"now"), whole],
    )
    three = [*fragments(TEXT, b"1", b"2"), *fragments(BINARY, b"3", b"4"), *fragments(TEXT, b"5", b"6")]
    table.good("three messages in fragments", *three, hear=[("text", b"12"), ("binary", b"34"), ("text", b"56")])
    table.good("3,000 fragments of one byte", *fragments(TEXT, *[b"x"] * 3_000), hear=[("text", b"x" * 3_000)])
    table.group("5.3")
    for fin in (True, False):
        lonely = Frame(CONTINUATION, b"lonely", fin=fin)
        name = f"a continuation without a start, {'last' if fin else 'not last'}"
        table.bad(name, lonely)
        table.bad(f"{name}, then a message", lonely, text())
        table.bad(f"{name}, then a message, a frame a segment", lonely, text(), cut=PER_FRAME, reset_allowed=True)
        _around(table, name, lonely)
        table.bad(f"{name}, after a message in fragments", one, two, Await(1), lonely, hear=[whole])
        table.bad(f"{name}, empty", Frame(CONTINUATION, fin=fin))
    table.group("5.4")
    for opcode, fin, first in itertools.product((TEXT, BINARY), (True, False), (TEXT, BINARY)):
        inner = Frame(opcode, b"inner", fin=fin)
        kind = f"{'whole' if fin else 'begun'} {'text' if opcode == TEXT else 'binary'}"
        outer = Frame(first, b"outer", fin=False)
        table.bad(f"a {kind} inside a {'text' if first == TEXT else 'binary'}", outer, inner, two)
        table.bad(f"a {kind} inside a message, after a ping", outer, ping(), Await(1), inner, two, hear=[("pong", b"")])
    table.group("5.5")
    broken_off = {"websockets": "it calls a close frame inside a message a fault, 1002"}
    closed = [Answer((), (1000,), 0)]
    table.add("a close frame inside a message", [one, close()], closed, differs=broken_off)
    table.add("a close frame between two fragments", [one, close(), two], closed, differs=broken_off)
    for cut in (WHOLE, 1):
        rude = [*fragments(TEXT, b"1", b"2"), ping(b"3"), Frame(CONTINUATION, b"4", fin=False), text(), ping(b"5")]
        wanted: list[Event] = [("text", b"12"), ("pong", b"3")]
        table.bad(
            f"a message, a ping, a lonely part {_cut_name(cut)}", *rude, hear=wanted, cut=cut, reset_allowed=cut == 1
        )


VALID = {
    "nothing": b"",
    "ASCII": b"Hello, world",
    "Greek": "κόσμε".encode(),
    "one to four bytes": "aé€🙂".encode(),
    "a byte order mark": b"\xef\xbb\xbf",
    "a byte order mark before text": b"\xef\xbb\xbftext",
    "a NUL inside": b"a\x00b",
    **{f"U+{point:04X}": chr(point).encode() for point in (0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFD)},
    **{f"U+{point:04X}": chr(point).encode() for point in (0xFFFE, 0xFFFF, 0x10000, 0x10FFFF, 0xFDD0, 0xFEFF)},
    **{
        f"the noncharacters of plane {p}": f"{chr(p << 16 | 0xFFFE)}{chr(p << 16 | 0xFFFF)}".encode() for p in range(17)
    },
}
INVALID = {
    "five bytes": "f888808080",
    "six bytes": "fc8480808080",
    "the last of four bytes": "f7bfbfbf",
    "the last of five bytes": "fbbfbfbfbf",
    "the last of six bytes": "fdbfbfbfbfbf",
    "U+110000": "f4908080",
    "U+140000": "f5808080",
    "a lonely 80": "80",
    "a lonely BF": "bf",
    "two continuations": "80bf",
    "seven continuations": "80bf80bf80bf80",
    "every continuation": bytes(range(0x80, 0xC0)).hex(),
    "every start of two bytes": " ".join(f"{start:02x}20" for start in range(0xC0, 0xE0)),
    "every start of three bytes": " ".join(f"{start:02x}20" for start in range(0xE0, 0xF0)),
    "every start of four bytes": " ".join(f"{start:02x}20" for start in range(0xF0, 0xF8)),
    "FE": "fe",
    "FF": "ff",
    "FE FE FF FF": "fefeffff",
    "two bytes cut short": "c3",
    "three bytes cut after one": "e2",
    "three bytes cut after two": "e282",
    "four bytes cut after one": "f0",
    "four bytes cut after two": "f09f",
    "four bytes cut after three": "f09f99",
    "cut short and going on": "e28241",
    "all of them cut short": "c3e282f09f99",
    "an overlong slash of two bytes": "c0af",
    "an overlong slash of three bytes": "e080af",
    "an overlong slash of four bytes": "f08080af",
    "an overlong slash of five bytes": "f8808080af",
    "an overlong slash of six bytes": "fc80808080af",
    "an overlong U+007F": "c1bf",
    "an overlong U+07FF": "e09fbf",
    "an overlong U+FFFF": "f08fbfbf",
    "an overlong NUL of two bytes": "c080",
    "an overlong NUL of three bytes": "e08080",
    "an overlong NUL of four bytes": "f0808080",
    "the surrogate D800": "eda080",
    "the surrogate DB7F": "edadbf",
    "the surrogate DB80": "edae80",
    "the surrogate DBFF": "edafbf",
    "the surrogate DC00": "edb080",
    "the surrogate DF80": "edbe80",
    "the surrogate DFFF": "edbfbf",
    "a pair of surrogates": "eda080edb080",
    "the last pair of surrogates": "edafbfedbfbf",
    "Latin-1": "e9e8e0",
    "a surrogate in Greek": "cebae1bdb9cf83cebcceb5eda080656469746564",
}


def _bytes(payload: bytes) -> list[bytes]:
    return [payload[at : at + 1] for at in range(len(payload))] or [b"", b""]


def _s6(table: _Table) -> None:
    """Text is UTF-8 (RFC 3629), whichever way it is cut."""
    table.group("6.1")
    for name, payload in VALID.items():
        table.good(f"valid: {name}", text(payload), hear=[("text", payload)])
        table.good(f"valid, a fragment a byte: {name}", *fragments(TEXT, *_bytes(payload)), hear=[("text", payload)])
    table.group("6.2")
    for sample in ("κόσμε".encode(), "aé€🙂".encode()):
        for at in range(len(sample) + 1):
            parts = fragments(TEXT, sample[:at], sample[at:])
            table.good(f"{sample.decode()} cut at {at}", *parts, hear=[("text", sample)], cut=PER_FRAME)
        table.good(f"{sample.decode()} byte by byte", text(sample), hear=[("text", sample)], cut=1)
    table.group("6.3")
    for name, digits in INVALID.items():
        payload = bytes.fromhex(digits)
        table.bad(f"invalid: {name}", text(payload), codes=(1007,))
        table.bad(f"invalid, a fragment a byte: {name}", *fragments(TEXT, *_bytes(payload), b""), codes=(1007,))
    table.group("6.4")
    sample = bytes.fromhex(INVALID["a surrogate in Greek"])
    for at in range(len(sample) + 1):
        table.bad(f"a surrogate in Greek, cut at {at}", *fragments(TEXT, sample[:at], sample[at:]), codes=(1007,))
    table.bad("a surrogate in Greek, byte by byte", text(sample), codes=(1007,), cut=1)
    table.bad("invalid after a valid message", text(), Await(1), text(sample), hear=[("text", b"hello")], codes=(1007,))
    table.bad("a long text that is wrong at its end", text(words(65_535) + b"\xff"), codes=(1007,))
    table.group("6.5")
    for name in ("a surrogate in Greek", "U+110000", "FF", "an overlong slash of two bytes", "every continuation"):
        payload = bytes.fromhex(INVALID[name])
        first = Frame(TEXT, payload, fin=False)
        fast = Answer((), (1007,), 0)
        slow = Answer((("pong", b"yet?"),), (1007,), 1, "UTF-8 is checked when the message is whole")
        script: list[Item] = [first, ping(b"yet?"), Frame(CONTINUATION, b"end")]
        table.add(f"fails fast inside a message: {name}", script, [fast, slow], cut=PER_FRAME, reset_allowed=True)
    table.group("6.6")
    for name, digits in INVALID.items():
        payload = bytes.fromhex(digits)
        table.good(f"binary may hold anything: {name}", Frame(BINARY, payload), hear=[("binary", payload)])


VALID_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
INVALID_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65_535)


def _s7(table: _Table) -> None:
    """The closing handshake."""

    def ends(sentence: str, *script: Item, codes: tuple[int, ...] = (1000,), **more: Any) -> None:
        table.add(sentence, [*script], [Answer((), codes, 0)], **more)

    table.group("7.1")
    lost = "it answers a close frame before the message that came with it"
    hello: tuple[Event, ...] = (("text", b"hello"),)
    both = [Answer(hello, (1000,), 1), Answer((), (1000,), 0, lost)]
    table.add("a message and a close frame", [text(), close()], both)
    ends("a close frame alone", close())
    ends("a close frame, byte by byte", close(1000, b"bye"), cut=1)
    ends("a close frame without a payload", close(None), codes=(NO_CODE, 1000))
    # picows reads ahead, and finds fault with the second before it has answered the first: not strict, but clean.
    ends("two close frames", close(), close(), codes=(1000, 1002))
    ends("two different close frames", close(), close(1001), codes=(1000, 1002))
    ends("a ping after the close frame", close(), ping(b"late"))
    ends("a message after the close frame", close(), text(b"late"))
    blame = "what comes after the close frame is read, and blamed"
    for name, late in (
        ("a broken", Frame(3, b"late", rsv=7)),
        ("an invalid close", close(999)),
        ("an unmasked", Frame(TEXT, mask=None)),
    ):
        either = [Answer((), (1000,), 0), Answer((), (1002,), 0, blame)]
        table.add(f"{name} frame after the close frame", [close(), late], either)
    for name, first in (("", close()), (" without a payload", close(None))):
        codes = (1000,) if first.payload else (NO_CODE, 1000)
        ends(f"a ping and a broken frame after a close frame{name}", first, ping(), Frame(3, b"late"), codes=codes)
    ends("4 KiB after the close frame", close(), text(words(4_096)))
    ends("256 KiB after the close frame", close(), text(words(262_144)))
    long = (("text", words(262_144)),)
    script: list[Item] = [text(words(262_144)), close(), ping(b"late")]
    table.add("256 KiB, a close frame and a ping", script, [Answer(long, (1000,), 1), Answer((), (1000,), 0, lost)])
    ends("a message after the close frame, a frame a segment", close(), text(), cut=PER_FRAME, reset_allowed=True)
    table.group("7.2")
    for size in (0, 1, 100, 122, 123):
        ends(f"a reason of {size} bytes", close(1000, words(size)))
    ends("a reason of 123 bytes with characters of several", close(1000, b"x" + "é".encode() * 61))
    table.bad("a payload of one byte", Frame(CLOSE, b"\x03"))
    for size in (124, 125, 65_536):
        table.bad(f"a reason of {size} bytes", close(1000, words(size)))
    for name in ("a surrogate in Greek", "FF", "four bytes cut after three", "an overlong NUL of two bytes"):
        table.bad(f"a reason that is not UTF-8: {name}", close(1000, bytes.fromhex(INVALID[name])), codes=(1007,))
    table.group("7.3")
    for code in VALID_CODES:
        ends(f"the code {code}", close(code), codes=(code, 1000))
        ends(f"the code {code} with a reason", close(code, b"because"), codes=(code, 1000))
    table.group("7.4")
    for code in INVALID_CODES:
        table.bad(f"the code {code}", close(code))
        table.bad(f"the code {code} with a reason", close(code, b"because"))
    table.bad("the code 999, then a message", close(999), text(b"late"))
    table.group("7.5")
    wrong = text(b"\xff")
    for name, reply in (("invalid code", b"\x03\xe7"), ("payload of one byte", b"\x03"), ("reason", b"\x03\xe8\xff")):
        table.bad(f"our close frame is answered with a wrong one: {name}", wrong, codes=(1007,), reply=reply)
    table.bad("our close frame is answered with an empty one", wrong, codes=(1007,), reply=b"")
    after: list[tuple[str, Item]] = [
        ("a reserved opcode", Frame(3)),
        ("an unmasked frame", Frame(TEXT, b"bare", mask=None)),
        ("a wrong text", wrong),
        ("an invalid close frame", close(999)),
        ("a close frame with a reserved bit", Frame(CLOSE, b"\x03\xe8", rsv=2)),
    ]
    for name, item in after:
        table.bad(
            f"{name} after the connection failed", wrong, item, codes=(1007, 1002), cut=PER_FRAME, reset_allowed=True
        )


def _s8(table: _Table) -> None:
    """How a frame is written: masked, its length in the shortest form (RFC 6455, 5.1 and 5.2)."""
    table.group("8.1")
    for opcode, kind in ((TEXT, "text"), (BINARY, "binary"), (PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        table.bad(f"an unmasked {kind}", Frame(opcode, b"\x03\xe8", mask=None))
    _around(table, "an unmasked text", Frame(TEXT, b"bare", mask=None))
    table.bad("an unmasked continuation", fragments(TEXT, b"a", b"b")[0], Frame(CONTINUATION, b"b", mask=None))
    table.good("a mask of zeros", Frame(TEXT, b"plain", mask=bytes(4)), hear=[("text", b"plain")])
    table.good("a mask of ones", Frame(TEXT, b"plain", mask=b"\xff" * 4), hear=[("text", b"plain")])
    masks = [Frame(TEXT, words(size), mask=noise(4)) for size in range(40)]
    table.good("masks over every alignment", *masks, hear=[("text", words(size)) for size in range(40)])
    table.group("8.2")
    loose = {"websockets": "it does not ask for the shortest form of a length"}
    for size, width in ((0, 2), (5, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65_535, 8)):
        frame = Frame(TEXT, words(size), width=width)
        table.bad(f"a length of {size} in {width} bytes", frame, differs=loose)
    for opcode, kind in ((PING, "ping"), (CLOSE, "close")):
        payload = b"" if opcode == CLOSE else b"hello"
        table.bad(f"a {kind} with its length in 2 bytes", Frame(opcode, payload, width=2), differs=loose)
    for length in (1 << 63, (1 << 64) - 1):
        table.bad(f"a length of {length:#x}", Frame(TEXT, length=length), codes=(1002, 1009), reset_allowed=True)


def _s9(table: _Table) -> None:
    """Large messages, and the limits of a server."""
    kib, mib = 1_024, 1_048_576
    big = (64 * kib, 256 * kib, mib, 4 * mib) + ((8 * mib, 16 * mib) if FULL else ())
    raised: dict[str, Any] = {"variant": "raised", "limit": 60.0}
    counted = {"websockets": "it takes no more than 4,096 fragments"}
    for number, (opcode, kind) in enumerate(((TEXT, "text"), (BINARY, "binary")), 1):
        fill = words if opcode == TEXT else noise
        table.group(f"9.{number}")
        for size in big:
            table.good(f"{kind} of {size // kib} KiB", Frame(opcode, fill(size)), hear=[(kind, fill(size))], **raised)
        table.group(f"9.{number + 2}")
        steps = ((mib, 64), (mib, 256), (mib, kib), (4 * mib, 4 * kib), (4 * mib, 16 * kib), (4 * mib, 64 * kib))
        for size, step in [(4 * mib, step) for _, step in steps] if FULL else steps:
            whole = fill(size)
            parts = fragments(opcode, *[whole[at : at + step] for at in range(0, size, step)])
            known: dict[str, Any] = {"differs": counted} if len(parts) > 4_096 else {}
            name = f"{kind} of {size // kib} KiB in fragments of {step}"
            table.good(name, *parts, hear=[(kind, whole)], **raised, **known)
        table.group(f"9.{number + 4}")
        for cut in (64, 256, 1024, 2048) if FULL else (1024, 2048):
            size = mib if FULL else 256 * kib
            name = f"{kind} of {size // kib} KiB {_cut_name(cut)}"
            table.good(name, Frame(opcode, fill(size)), hear=[(kind, fill(size))], cut=cut, **raised)
        table.group(f"9.{number + 6}")
        for size in (0, 16, 64, 256, 1_024, 4_096):
            count = 1_000 if FULL else 100
            rounds = [item for at in range(count) for item in (Frame(opcode, fill(size)), Await(at + 1))]
            table.good(f"{count} times {kind} of {size} bytes", *rounds, hear=[(kind, fill(size))] * count, limit=30.0)
    table.group("9.9")
    many = [words(9_000 + at * 137) for at in range(200)]
    table.good(
        "200 messages before any is read", *map(text, many), hear=[("text", m) for m in many], deaf=True, **raised
    )
    table.group("9.10")
    too_big: dict[str, Any] = {"codes": (1009,)}
    table.good("just the longest message", text(words(mib)), hear=[("text", words(mib))])
    table.good(
        "the longest in fragments", *fragments(TEXT, *[words(mib)[:1], words(mib)[1:]]), hear=[("text", words(mib))]
    )
    for length in (mib + 1, 16 * mib, 1 << 32, (1 << 63) - 1):
        head = Frame(TEXT, length=length)
        table.bad(f"the head of a text of {length} bytes", head, reset_allowed=True, **too_big)
    table.bad("the head of a binary of 16 MiB", Frame(BINARY, length=16 * mib), reset_allowed=True, **too_big)
    script: list[Item] = [text(), Await(1), Frame(TEXT, length=mib + 1)]
    hello: list[Event] = [("text", b"hello")]
    table.bad("a head too long, after a message", *script, hear=hello, reset_allowed=True, **too_big)
    later = Frame(CONTINUATION, length=mib + 1)
    table.bad("the head of a continuation too long", Frame(TEXT, b"a", fin=False), later, reset_allowed=True, **too_big)
    table.bad("a text of a byte too much, all of it", text(words(mib + 1)), reset_allowed=True, **too_big)
    table.bad("a text of 16 MiB, all of it", text(words(16 * mib)), reset_allowed=True, **too_big)
    table.bad("a byte too much in two fragments", *fragments(TEXT, words(mib), b"!"), **too_big)
    table.bad("a byte too much in 17 fragments", *fragments(TEXT, *[words(64 * kib)] * 16, b"!"), **too_big)
    for count in (4_096, 4_097):
        parts = fragments(TEXT, *[b"x"] * count)
        if count == 4_096:
            table.good("the most fragments", *parts, hear=[("text", b"x" * count)])
        else:
            table.bad("a fragment too much", *parts, **too_big)
    table.bad("empty fragments without end", *fragments(TEXT, *[b""] * 5_000)[:-1], **too_big)


def _s10(table: _Table) -> None:
    """A message that a library cut on its own."""
    table.group("10.1")
    for opcode, kind, fill in ((TEXT, "text", words), (BINARY, "binary", noise)):
        whole = fill(65_536)
        parts = fragments(opcode, *[whole[at : at + 1_300] for at in range(0, 65_536, 1_300)])
        for cut in (WHOLE, PER_FRAME, 997):
            table.good(
                f"{kind} of 64 KiB in frames of 1,300 bytes {_cut_name(cut)}", *parts, hear=[(kind, whole)], cut=cut
            )


OFFER = "permessage-deflate; client_max_window_bits"  # what browsers say
MESSAGE_SIZES = (0, 1, 16, 64, 256, 511, 512, 513, 1_024, 4_096, 8_192, 8_193, 32_768, 65_535, 65_536, 131_072)


def _s12(table: _Table) -> None:
    """Compressed messages."""
    agreed: dict[str, Any] = {"offer": OFFER, "agreed": True}
    table.group("12.1")
    for size in MESSAGE_SIZES:
        for opcode, kind, payload in (
            (TEXT, "text", words(size)),
            (BINARY, "binary", noise(size)),
            (BINARY, "binary", bytes(size)),
        ):
            what = f"{kind} of {size} bytes"
            table.good(what, Message(opcode, payload), hear=[(kind, payload)], **agreed)
            between = ping(b"between")
            if size >= 64 and payload != bytes(size):
                split = Message(opcode, payload, parts=7, between=between)
                pongs: list[Event] = [("pong", b"between")] * (len(split.frames(15)) // 2)
                table.good(f"{what}, fragments and pings", split, hear=[*pongs, (kind, payload)], **agreed)
    for level in (0, 1, 9):
        whole = words(70_000)
        table.good(f"text at level {level}", Message(TEXT, whole, level=level), hear=[("text", whole)], **agreed)
    table.group("12.2")
    samples: list[Event] = [("text", words(size)) for size in (100, 5_000, 64)]
    items: list[Item] = [Message(TEXT, payload) for _ in range(20) for _, payload in samples]
    table.good("sixty compressed messages", *items, hear=samples * 20, **agreed)
    table.good("text byte by byte", Message(TEXT, words(100)), hear=[("text", words(100))], cut=1, **agreed)
    hexadecimal = noise(65_536).hex().encode()
    table.good("text in segments of 997", Message(TEXT, hexadecimal), hear=[("text", hexadecimal)], cut=997, **agreed)
    mixed: list[Event] = [("text", b"hello"), ("text", b"zip"), ("text", b"hello")]
    table.good("plain, then compressed, then plain", text(), Message(TEXT, b"zip"), text(), hear=mixed, **agreed)
    table.good("a plain message in fragments", *fragments(TEXT, b"a", b"b"), hear=[("text", b"ab")], **agreed)
    table.good("a long plain message", text(words(9_000)), hear=[("text", words(9_000))], **agreed)
    raised: dict[str, Any] = {"variant": "raised", "limit": 60.0, **agreed}
    for payload, kind, opcode in ((words(4_194_304), "text", TEXT), (noise(1_048_577), "binary", BINARY)):
        table.good(
            f"{kind} of {len(payload)} bytes", Message(opcode, payload, parts=3), hear=[(kind, payload)], **raised
        )
    table.group("12.3")  # the examples of RFC 7692, 7.2.3
    hello: list[Event] = [("text", b"Hello")]
    for name, digits in (
        ("one block", "f248cdc9c90700"),
        ("a stored block", "000500faff48656c6c6f00"),
        ("a last block and an empty one", "f348cdc9c9070000"),
        ("two blocks", "f24805000000ffffcac9c90700"),
    ):
        data = bytes.fromhex(digits)
        table.good(name, Frame(TEXT, data, rsv=4), hear=hello, **agreed)
        for at in range(len(data) + 1) if name == "one block" else (3,):
            parts = fragments(TEXT, data[:at], data[at:], rsv=4)
            table.good(f"{name}, cut at {at}", *parts, hear=hello, cut=PER_FRAME, **agreed)
    for name, data in (("an empty message", b"\x00"), ("an empty message with a block", b"\x02\x00")):
        table.good(name, Frame(TEXT, data, rsv=4), hear=[("text", b"")], **agreed)
    # RFC 7692, 7.2.3.6 has one byte in an empty message; nothing at all is no deflate data, though zlib bears it.
    either = [Answer((("text", b""),), (1000,), 1), Answer((), (1007, 1002), 0)]
    table.add("no byte at all", [Frame(TEXT, b"", rsv=4), Await(1), close()], either, **agreed)
    table.group("12.4")
    data = deflate(b"compressed text")
    for rsv in (1, 2, 3, 5, 6, 7):
        table.bad(f"the bits {rsv:03b} although compression was agreed on", Frame(TEXT, data, rsv=rsv), **agreed)
    start = Frame(TEXT, data[:5], fin=False, rsv=4)
    again = Frame(CONTINUATION, data[5:], rsv=4)
    table.bad("RSV1 on the continuation of a compressed message", start, again, **agreed)
    table.bad("RSV1 on the continuation of a plain message", Frame(TEXT, b"a", fin=False), again, **agreed)
    for opcode, kind in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        table.bad(f"RSV1 on a {kind}", Frame(opcode, b"\x03\xe8", rsv=4), **agreed)
    for opcode in (TEXT, BINARY):
        table.bad(f"RSV1 without an agreement, opcode {opcode}", Frame(opcode, data, rsv=4))
        frame = Frame(opcode, data, rsv=4)
        table.bad(f"RSV1, the server does not compress, opcode {opcode}", frame, offer=OFFER, variant="plain")
    table.good("plain, the server does not compress", text(), hear=[("text", b"hello")], offer=OFFER, variant="plain")
    table.group("12.5")
    fixed = "permessage-deflate; client_no_context_takeover"
    again_hello = bytes.fromhex("f200110000")  # RFC 7692, 7.2.3.2: with a window that was agreed not to be there
    torn: dict[str, Any] = {"differs": {"websockets": "it delivers data that ends inside a block"}}
    broken: list[tuple[str, bytes, dict[str, Any]]] = [
        ("a block of no type", b"\xff\xff\xff\xff", {}),
        ("a stored block with a wrong length", b"\x00\x05\x00\x00\x00hello", {}),
        ("a distance beyond the start", again_hello, {}),
        ("plain text", b"this is not compressed at all, it is just text", {}),
        ("a stored block cut short", b"\x00\x64\x00\x9b\xffcut short", torn),
        ("a block cut short", deflate(noise(300))[:150], torn),
        (
            "data after the last block",
            bytes.fromhex("f348cdc9c9070000") + b"garbage",
            {"differs": {"websockets": "it ignores what comes after a last block"}},
        ),
    ]
    for name, data, known in broken:
        table.bad(name, Frame(BINARY, data, rsv=4), offer=fixed, agreed=True, codes=(1007, 1002), **known)
    table.bad("text that is not UTF-8", Message(TEXT, b"\xff" * 600), codes=(1007,), **agreed)
    table.bad(
        "a surrogate in compressed fragments", Message(TEXT, bytes.fromhex("eda080"), parts=3), codes=(1007,), **agreed
    )
    table.group("12.6")
    mib = 1_048_576
    table.good("the longest message, compressed", Message(TEXT, words(mib)), hear=[("text", words(mib))], **agreed)
    table.bad("a byte too much, compressed", Message(TEXT, words(mib + 1)), codes=(1009,), **agreed)
    table.bad("a byte too much, in fragments", Message(TEXT, words(mib + 1), parts=9), codes=(1009,), **agreed)
    longest = (("binary", noise(mib)),)
    grown = "a message within the limit is refused, as it grew when it was compressed"
    whole_or_not = [Answer(longest, (1000,), 1), Answer((), (1009,), 0, grown)]
    items = [Message(BINARY, noise(mib)), Await(1), close()]
    table.add("the longest message of noise, compressed", items, whole_or_not, reset_allowed=True, **agreed)
    table.bad("a bomb", Frame(BINARY, bomb(), rsv=4), codes=(1009,), reset_allowed=True, **agreed)
    pieces = [bomb()[at : at + 9_999] for at in range(0, len(bomb()), 9_999)]
    in_parts = fragments(BINARY, *pieces, rsv=4)
    table.bad("a bomb in fragments", *in_parts, codes=(1009,), reset_allowed=True, **agreed)


@functools.cache
def bomb() -> bytes:
    """100 KB that become 100 MB."""
    return deflate(bytes(100_000_000), 15, 9)


def accepted_offers() -> Iterator[str]:
    """Every offer of the parameters that a server with zlib can accept."""
    server_bits = (None, *range(9, 16))
    client_bits = (None, "", *range(8, 16))
    for takeover, sent, taken in itertools.product(("", "s", "c", "sc"), server_bits, client_bits):
        parameters = ["permessage-deflate"]
        parameters += ["server_no_context_takeover"] if "s" in takeover else []
        parameters += ["client_no_context_takeover"] if "c" in takeover else []
        parameters += [] if sent is None else [f"server_max_window_bits={sent}"]
        parameters += [] if taken is None else ["client_max_window_bits" + (f"={taken}" if taken else "")]
        yield "; ".join(parameters)


DECLINED = (
    "server_max_window_bits",
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=010",
    "server_max_window_bits=+9",
    "server_max_window_bits=abc",
    'server_max_window_bits="7"',
    "server_max_window_bits=1000000000000",
    "client_max_window_bits=7",
    "client_max_window_bits=0",
    "client_max_window_bits=16",
    "client_max_window_bits=09",
    "client_max_window_bits=ten",
    "server_no_context_takeover=1",
    "client_no_context_takeover=true",
    'client_no_context_takeover="x"',
    "unknown",
    "unknown=1",
    "mem_level=9; client_max_window_bits",
    "server_no_context_takeover; server_no_context_takeover",
    "client_no_context_takeover; client_no_context_takeover",
    "client_max_window_bits; client_max_window_bits",
    "client_max_window_bits=10; client_max_window_bits=10",
    "server_max_window_bits=10; server_max_window_bits=11",
)


def _s13(table: _Table) -> None:
    """Offers, and what is agreed on."""
    sizes = (0, 100, 600, 5_000, 70_000)
    messages: list[Item] = [Message(TEXT, words(size)) for size in sizes]
    messages += [Message(BINARY, noise(600))] * 2
    heard: list[Event] = [("text", words(size)) for size in sizes] + [("binary", noise(600))] * 2

    def offer(sentence: str, offer: str, agreed: bool | None, **more: Any) -> None:
        table.good(sentence, *messages, hear=heard, offer=offer, agreed=agreed, **more)

    table.group("13.1")
    some = ["server_max_window_bits=9", "server_max_window_bits=12", "server_max_window_bits=15"]
    for header in accepted_offers():
        words_of = header.split("; ")[1:]
        windows = [word for word in words_of if "bits" in word]
        of_server = [word for word in windows if word.startswith("server")]
        simple = len(words_of) == len(windows) <= 1
        chosen = all(word in some for word in of_server) and all(
            word in ("client_max_window_bits", "client_max_window_bits=10", *some) for word in windows
        )
        if FULL or simple or chosen:
            offer(header, header, True)
    table.group("13.2")
    for wrong in DECLINED:
        header = f"permessage-deflate; {wrong}"
        offer(f"declined: {wrong}", header, False)
        offer(f"the second after: {wrong}", f"{header}, permessage-deflate", True)
    offer("a window of 8 bits may be declined", "permessage-deflate; server_max_window_bits=8", None)
    offer("a window of 8 bits, then any", "permessage-deflate; server_max_window_bits=8, permessage-deflate", True)
    table.group("13.3")
    offer("quoted values", 'permessage-deflate; server_max_window_bits="10"; client_max_window_bits="11"', True)
    offer("the order of parameters", "permessage-deflate; client_max_window_bits; server_no_context_takeover", True)
    offer("no spaces", "permessage-deflate;server_max_window_bits=10;client_max_window_bits", True)
    offer("many spaces", "  permessage-deflate  ;  server_max_window_bits=10 ;\tclient_max_window_bits  ", True)
    offer("twice the same", "permessage-deflate, permessage-deflate", True)
    offer("after an extension nobody knows", "x-nobody; a=1; b, permessage-deflate", True)
    offer("in a second header", "x-nobody\r\nSec-WebSocket-Extensions: permessage-deflate", True)
    offer("an old name", "x-webkit-deflate-frame", False)
    offer("another compression", "permessage-bzip2; client_max_compress_level", False)
    offer("an old way to ask", "permessage-compress; method=deflate", False)
    offer("a name in capitals", "PERMESSAGE-DEFLATE", None)
    offer("empty elements of the list", ", permessage-deflate,", None, may_refuse=True)
    offer("an offer hidden in a quoted string", 'x-nobody; a="1, permessage-deflate, 2"', False, may_refuse=True)
    offer("an offer hidden in an unfinished quote", 'x-nobody; a="1, permessage-deflate', False, may_refuse=True)
    offer("an offer behind a quoted comma", 'x-nobody; a="1, 2", permessage-deflate', True, may_refuse=True)
    for name, header in (
        ("an empty parameter", "permessage-deflate; "),
        ("a parameter without a name", "permessage-deflate; =10"),
        ("an unfinished quote", 'permessage-deflate; server_max_window_bits="10'),
        ("a value that is missing", "permessage-deflate; server_max_window_bits="),
        ("an empty quoted value", 'permessage-deflate; server_max_window_bits=""'),
        ("a comma instead of a semicolon", "permessage-deflate client_max_window_bits"),
    ):
        offer(f"malformed: {name}", header, False, may_refuse=True)


def _xor(data: bytes, mask: bytes) -> bytes:
    if not any(mask) or not data:
        return data
    stream = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "little") ^ int.from_bytes(stream, "little")).to_bytes(len(data), "little")


CASES = cases()
