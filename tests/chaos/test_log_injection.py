"""Row D14: nothing that a client sends makes a second line in the log, or speaks to the terminal that shows it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.askers import Asker, come_in
from tests.chaos.conftest import COMMANDS
from tests.chaos.peers import Crowd, Peer, message, opening
from tests.chaos.site import Site
from tests.conformance.cases import close
from tests.scale import FULL

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300 if FULL else 120)]

SHOP = """
    import logging
    from zephserver import Task
    from zephserver.session_manager import SimpleSessionManager, User

    class Naive(SimpleSessionManager):
        def get_user_session(self, instance, message):
            if message["session_id"]["id"] == "refuse":
                raise ValueError(f"cannot read {message['session_id']['username']}")
            return User(message["session_id"]["id"], message["session_id"]["username"])

    class Note(Task):
        async def main(self):
            log = logging.getLogger("shop")
            user, room = self.request["user"], self.request["room"]
            log.warning("%s in %s said " + str(self.data).replace("%", "%%"), user, room)
            self.reply("noted")

    class Boom(Task):
        async def main(self):
            raise ValueError(f"cannot sell {self.data}")
"""
SETTINGS = """
MY_SESSION_HANDLER = "shop/Naive"
SERVICE_LIST = [MY_SESSION_HANDLER, *SERVICE_LIST[1:]]
TASKS_PATH = {"echo": "errands/Echo", "note": "shop/Note", "boom": "shop/Boom"}
LOG_LEVEL = "DEBUG"
ALLOWED_ORIGINS = ["http://here"]
"""
INJECTIONS = [
    "\n", "\r", "\r\n", "\n2026-01-01 00:00:00.000 CRITICAL [Server] all is lost\n", "\n    ", "\0", "\x07", "\b\b\b\b",
    "\t", "\x0b", "\x0c", "\x1c\x1d\x1e\x1f", "\x7f", "\x1b", "\x1b[31m", "\x1b[2J\x1b[H", "\x1b[1A\x1b[2K", "\x1b[6n",
    "\x1b]0;title\x07", "\x1b]8;;http://there\x1b\\click\x1b]8;;\x1b\\", "\x1bP+q544e\x1b\\", "\x1b(0", "\x0e", "\x85",
    "\x90", "\x9b31m", "\x9d0;title\x9c", "\u2028", "\u2029", "\u202e", "\u202d\u2066\u2069", "[bold red]loud[/]",
    "[/]", "[link=http://there]", ":boom:", "%s%d%n", "%", "{0.__class__}", "{", " | ",
    " | Traceback (most recent call last):", "\\n", "\\x1b[31m",
]  # fmt: skip
STYLES = re.compile(r"\x1b\[(?:0|2|31|33|1;31)m")  # what zephctl itself says to a terminal
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (?:DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
MARK = re.compile(r"<<(\w+-\d+)")


def evil(field: str, number: int) -> str:
    """A value of this field, which says in the log where it came from and where it ends."""
    return f"<<{field}-{number}{INJECTIONS[number]}>>"


class Knocker(Peer):
    """Sends a request with something evil in it."""

    def __init__(self, *lines: str, path: str = "/ws") -> None:
        super().__init__()
        head = opening(path="/PATH").replace(b"/PATH", path.encode())
        self.request = head[:-2] + b"".join(line.encode() + b"\r\n" for line in lines) + b"\r\n"


def inject(site: Site) -> Counter[str]:
    """Everything in every field that a client sets; how many lines of the log each is worth, where that is certain."""
    worth: Counter[str] = Counter()
    numbers = range(len(INJECTIONS))
    with Crowd(site.port) as crowd:
        for number in numbers:
            name, room = evil("username", number), evil("room", number)
            guest = Asker({"id": number, "username": name}, room=room, task=evil("first", number))
            come_in(crowd, [guest])
            guest.ask("note", 1, evil("data", number))
            guest.ask("boom", 2, evil("error", number))
            guest.ask(evil("task", number), 3)
            guest.ask("echo", evil("id", number), room=evil("other", number))
            guest.send(message(msgtype=evil("msgtype", number), id=evil("id", number)))
            guest.send(
                message(msgtype="join", room=evil("joined", number), epoch=evil("epoch", number), offset=1, id=5)
            )
            crowd.run(lambda guest=guest: {1, 2, 3, 5} <= guest.answers.keys(), "everything is answered")  # type: ignore[misc]
            guest.send(close(4_321, evil("reason", number).encode()).encode())
            crowd.run(lambda guest=guest: guest.is_over, "the server says good-bye, too")  # type: ignore[misc]
            worth += Counter({f"username-{number}": 1, f"error-{number}": 1, f"reason-{number}": 1})
            worth += Counter({f"data-{number}": 1, f"room-{number}": 1})
        refused = [Asker({"id": "refuse", "username": evil("refused", number)}) for number in numbers]
        knockers = [
            *(Knocker(f"Origin: http://{evil('origin', number)}") for number in numbers),
            *(Knocker(f"User-Agent: {evil('agent', number)}") for number in numbers),
            *(Knocker(f"{evil('header', number)}: x") for number in numbers),
            *(Knocker(f"Cookie: a={evil('cookie', number)}") for number in numbers),
            *(Knocker(f"Sec-WebSocket-Protocol: {evil('protocol', number)}") for number in numbers),
            *(Knocker(f"X-Forwarded-For: {evil('forwarded', number)}") for number in numbers),
            *(Knocker(path=f"/ws?{evil('path', number)}") for number in numbers),
        ]
        crowd.play(iter(refused), 20, lambda peer: False)
        crowd.play(iter(knockers), 20, lambda peer: peer.status > 0)
    for number in numbers:
        if all(letter == "\t" or 32 <= letter != 127 for letter in INJECTIONS[number].encode()):
            worth[f"origin-{number}"] += 1  # the others are no requests
    return worth


def show(folder: Folder, *words: str, terminal: bool) -> str:
    """What tail-log writes into a pipe or on a terminal."""
    argv = [str(COMMANDS / "zephctl"), "tail-log", "-n", "5000", *words]
    options: dict[str, Any] = {"cwd": folder.path, "stdin": subprocess.DEVNULL}
    if not terminal:
        return subprocess.run(argv, capture_output=True, check=True, timeout=30, **options).stdout.decode()
    ours, theirs = pty.openpty()
    try:
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
        environment.pop("NO_COLOR", None)
        with subprocess.Popen(argv, stdout=theirs, stderr=theirs, env=environment, **options) as process:
            os.close(theirs)
            said = b""
            try:
                while data := os.read(ours, 65_536):
                    said += data
            except OSError:  # Linux: the last writer has closed its side
                pass
            assert process.wait(30) == 0
    finally:
        os.close(ours)
    return said.decode()


def assert_harmless(shown: str) -> None:
    """No control character but the newline, of C0, C1 or Unicode's own, is there as it was sent."""
    raw = {letter for letter in shown if letter != "\n" and (ord(letter) < 32 or 127 <= ord(letter) < 160)}
    raw |= set(shown) & {"\u2028", "\u2029", "\u202d", "\u202e", "\u2066", "\u2069"}
    assert not raw, f"{raw!r} in {[line for line in shown.split(chr(10)) if raw & set(line)][:3]!r}"


def test_d14_one_event_is_one_line_and_nothing_speaks_to_the_terminal(
    folder: Folder, wait_until: Callable[..., float], figure: Callable[[str], None]
) -> None:
    folder.write("shop.py", SHOP)
    site = Site(folder, SETTINGS)

    worth = inject(site)
    wait_until(lambda: site.connections() == 0, "everybody has left")
    folder.call("log.level", level="CRITICAL")  # nothing is written while we look
    records = [json.loads(line) for line in show(folder, "-o", "jsonl", terminal=False).splitlines()]
    last = int(records[-1]["cursor"].partition(":")[2])
    wait_until(lambda: folder.log.count("\n") >= last, "every event is in the file")

    assert len(records) == last, "one event is one record"
    lines = folder.log.removesuffix("\n").split("\n")
    assert len(lines) == len(folder.log.splitlines()) == last, "one event is one line"
    assert not [line for line in lines if not LINE.match(line)]
    assert_harmless(folder.log)
    found = Counter(mark for line in lines for mark in set(MARK.findall(line)))
    missing = {mark: (found[mark], number) for mark, number in worth.items() if found[mark] < number}
    assert not missing

    piped = show(folder, terminal=False)
    assert piped.removesuffix("\n").split("\n") == lines
    seen = show(folder, terminal=True).replace("\r\n", "\n")
    plain = STYLES.sub("", seen)
    assert_harmless(plain)
    heads = [line for line in plain.removesuffix("\n").split("\n") if not line.startswith("    ")]
    assert len(heads) == last, "on a terminal only tracebacks have lines of their own, and those are set in"
    assert not [head for head in heads if not LINE.match(head)]
    cut = [head for head in heads if head.count("<<") > head.count(">>")]
    assert not cut, f"{len(cut)} lines are cut where the client wishes, as {cut[:2]}"
    figure(f"{len(INJECTIONS)} injections in 17 fields: {last:,} events, {last:,} lines")
