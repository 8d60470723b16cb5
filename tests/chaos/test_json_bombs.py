"""Row D13: JSON that is made to hurt costs a few milliseconds, is answered, and leaves the connection alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.chaos.askers import Asker, come_in
from tests.chaos.peers import Crowd
from tests.chaos.site import MIB, Site
from tests.conformance.cases import text
from tests.scale import FULL

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(1_800 if FULL else 60)]

SIZES = """
    from zephserver import Task

    class Size(Task):
        async def main(self):
            self.reply(len(self.data) if hasattr(self.data, "__len__") else str(self.data)[:20])
"""
SETTINGS = """
TASKS_PATH = {"echo": "errands/Echo", "size": "sizes/Size"}
MESSAGE_RATE = None
"""
BATCH = 400_000  # bytes that are sent before the answers are awaited
LONG = 100_000  # bytes; of longer messages a tenth as many are sent
LIMIT = 0.005  # seconds of processor time for a message that is refused
GOOD = 0.010  # for each 100,000 bytes of one that is read: twice what it takes where nobody else uses the machine
MEMORY = 100 * MIB


def data(value: str, task: str = "size") -> str:
    """A message with this JSON as its data."""
    return f'{{"task": "{task}", "id": 1, "data": {value}}}'


KEYS = "{" + ",".join(f'"{number:x}":0' for number in range(100_000)) + "}"
# What is no message: the answer is `bad-message`.
REFUSED = {
    "100,000 [": "[" * 100_000,
    "100,000 [ in data": data("[" * 100_000),
    "100,000 [ and as many ]": data("[" * 100_000 + "]" * 100_000),
    '100,000 {"a":': '{"a":' * 100_000,
    '100,000 {"a": in data': data('{"a":' * 100_000 + "0" + "}" * 100_000),
    "100,000 [{": data('[{"a":' * 100_000),
    "a field we do not know, nested 100,000 deep": '{"what": ' + "[" * 100_000 + "]" * 100_000 + ', "task": "size"}',
    "1e999": data("1e999"),
    "-1e999": data("-1e999"),
    "a long exponent": data("1e" + "9" * 100_000),
    "NaN": data("NaN"),
    "Infinity": data("Infinity"),
    "-Infinity": data("-Infinity"),
    "a lone surrogate": data(r'"\ud800"'),
    "surrogates in the wrong order": data(r'"\udc00\ud800"'),
    "a lone surrogate as task": r'{"task": "\ud800", "id": 1}',
    "a lone surrogate as key": data(r'{"\udfff": 1}'),
    "an array": "[]",
    "a text": '"task"',
    "a number": "7",
    "null": "null",
    "true": "true",
    "nothing": "",
    "spaces": " " * 100_000,
    "two objects": "{} {}",
    "an object and more": '{"task": "size"}x',
    "a byte order mark": "\ufeff{}",
    "a comment": '{"task": "size" /* what */}',
    "a trailing comma": '{"task": "size",}',
    "single quotes": "{'task': 'size'}",
    "a raw newline in a text": data('"a\nb"'),
    "a raw NUL in a text": data('"a\0b"'),
    "an odd escape": data(r'"\x41"'),
    "a leading zero": data("007"),
    "hexadecimal": data("0x7"),
    "half an object": '{"task": "size", "data": {"a": ',
    "half a text": data('"' + "x" * 100_000)[:-1],
    "a list as task": '{"task": ["size"], "id": 1}',
    "an object as id": '{"task": "size", "id": {}}',
    "a fraction as id": '{"task": "size", "id": 1.5}',
    "true as id": '{"task": "size", "id": true}',
    "a number as room": '{"msgtype": "join", "room": 7, "id": 1}',
    "a list as msgtype": '{"msgtype": [], "id": 1}',
    "a text as offset": '{"msgtype": "join", "room": "x", "epoch": "e", "offset": "7", "id": 1}',
}
# What is odd, and a message all the same, or refused: there is one answer.
ANSWERED = {
    "100,000 keys": data(KEYS),
    "100,000 fields we do not know": KEYS[:-1] + ', "task": "size", "id": 1, "data": 0}',
    "the same key 100,000 times": data("{" + ",".join(['"a":0'] * 100_000) + "}"),
    "task twice": '{"task": "nosuch", "task": "size", "id": 1, "data": 0}',
    "data twice": '{"task": "size", "id": 1, "data": 0, "data": 1}',
    "5,000 digits": data("7" * 5_000),
    "-5,000 digits": data("-" + "7" * 5_000),
    "100,000 digits": data("7" * 100_000),
    "100,000 digits behind the point": data("0." + "7" * 100_000),
    "5,000 digits as id": '{"task": "size", "id": ' + "7" * 5_000 + "}",
    "2^70": data(str(2**70), "echo"),
    "1e-999": data("1e-999"),
    "300 deep": data("[" * 300 + "]" * 300, "echo"),
    "900 deep": data("[" * 900 + "]" * 900, "echo"),
    "100,000 escapes": data('"' + r"\u0000" * 100_000 + '"', "echo"),
    "100,000 surrogate pairs": data('"' + r"\ud83d\ude00" * 80_000 + '"'),
    "1 MB of one text": data('"' + "x" * 1_000_000 + '"'),
    "500,000 numbers": data("[" + ",".join("0" * 500_000) + "]"),
}


def test_d13_json_bombs_are_answered_within_milliseconds_and_the_connection_lives(
    folder: Folder, times: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    folder.write("sizes.py", SIZES)
    site = Site(folder, SETTINGS)
    costs: dict[str, float] = {}
    with Crowd(site.port) as crowd:
        asker = Asker()
        come_in(crowd, [asker])
        site.echoes()
        grown = site.watch_peak()
        for name, bomb in (REFUSED | ANSWERED).items():
            costs[name] = send(site, crowd, asker, name, bomb, times)
            for _ in range(2):  # what else the processor does makes it slower, never faster
                if costs[name] >= limit(name):
                    costs[name] = min(costs[name], send(site, crowd, asker, name, bomb, times))
        asker.ask("echo", "last", "I am well")
        crowd.run(lambda: "last" in asker.answers, "the connection lives")
    site.assert_quiet()
    bombs = REFUSED | ANSWERED
    dear = {name: f"{cost * 1_000:.1f} ms" for name, cost in costs.items() if cost >= limit(name)}
    worst = ", ".join(f"{name} {costs[name] * 1_000:.1f} ms" for name in sorted(costs, key=costs.__getitem__)[-3:])
    refused = max(costs[name] for name in REFUSED) * 1_000
    figure(
        f"{len(bombs)} kinds, {times(20, 10_000):,} each, of the long ones {times(20, 1_000):,}; all answered; "
        f"a refusal took {refused:.1f} ms at most, the dearest {worst}; {grown() / MIB:+.1f} MiB at most"
    )
    assert not dear
    assert grown() < MEMORY


def send(site: Site, crowd: Crowd, asker: Asker, name: str, bomb: str, times: Callable[[int, int], int]) -> float:
    """Send it again and again; each is answered as it should be. The seconds of processor time for one."""
    frame = text(bomb.encode()).encode()
    each = times(20, 10_000 if len(frame) <= LONG else 1_000)
    batch = max(1, min(each, BATCH // len(frame)))
    codes = set()
    before = site.process.cpu
    for start in range(0, each, batch):
        number = min(batch, each - start)
        asker.send(frame * number)
        crowd.run(
            lambda number=number: heard(asker) >= number or asker.is_over,  # type: ignore[misc]
            f"{name}: {heard(asker)} of {number} answers",
        )
        assert not asker.is_over, f"{name}: {asker}"
        assert heard(asker) == number, f"{name}: {heard(asker)} answers to {number} messages"
        said = [*asker.told, *(one for answers in asker.answers.values() for one in answers)]
        codes |= {one.get("error", {}).get("code", "") for one in said}
        asker.told.clear()
        asker.answers.clear()
    cost = (site.process.cpu - before) / each
    assert codes == {"bad-message"} or (name in ANSWERED and codes == {""}), f"{name}: {codes}"
    return cost


def limit(name: str) -> float:
    """Seconds that this one may take."""
    return LIMIT if name in REFUSED else GOOD * max(1, len(ANSWERED[name]) / LONG)


def heard(asker: Asker) -> int:
    """How many answers came since the last look."""
    return len(asker.told) + sum(map(len, asker.answers.values()))


def test_the_bombs_are_messages_that_the_server_would_read() -> None:
    assert max(len(bomb.encode()) for bomb in (REFUSED | ANSWERED).values()) <= MIB
    assert json.loads(KEYS)
