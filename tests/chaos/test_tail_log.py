"""Following the log loses no line and shows none twice: over rotations, restarts, kills and readers that rest."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.scale import FULL

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1_800 if FULL else 120)]

ZEPHCTL = Path(sys.executable).parent / "zephctl"
RATE = 2_000  # lines a second
KEPT = 5_000  # lines that the server remembers
LINE_BYTES = 56  # less than any line has, so that there are more rotations than the name of the test says
WRITER = """
    import logging, threading, time
    from zephserver.core.command_table import command

    class Writer:
        def __init__(self):
            self.over = threading.Event()

        def main(self):
            self.over.wait()

        def disable(self):
            self.over.set()

        @command("write")
        def write(self, first: int, last: int, rate: int = 0) -> int:
            "Log numbers, at a rate, or as fast as it goes."
            log = logging.getLogger("writer")
            began = time.monotonic()
            for number in range(first, last):
                if rate and (early := began + (number - first) / rate - time.monotonic()) > 0.002:
                    time.sleep(early)
                log.info("campaign %06d", number)
            return last - first
"""
Follow = Callable[..., "Reader"]


class Reader:
    """A zephctl tail-log -f that writes to a file."""

    def __init__(self, folder: Folder, number: int, words: tuple[str, ...]) -> None:
        self._out = folder.path / f"reader.{number}"
        self.words = folder.path / f"reader.{number}.words"
        with open(self._out, "wb") as out, open(self.words, "wb") as words_file:
            self.process = subprocess.Popen(
                [str(ZEPHCTL), "tail-log", "-f", *words], cwd=folder.path, stdout=out, stderr=words_file,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    @property
    def numbers(self) -> list[int]:
        """The numbers that were shown so far."""
        return [int(number) for number in re.findall(r"campaign (\d{6})$", self._out.read_text(), re.MULTILINE)]

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Start readers; they are ended with the test."""
    with ExitStack() as stack:
        count = 0

        def start(folder: Folder, *words: str) -> Reader:
            nonlocal count
            count += 1
            reader = Reader(folder, count, words)
            stack.callback(reader.close)
            return reader

        yield start


def settings(max_bytes: int, format: str) -> str:
    return f"SERVICE_LIST = ['writing/Writer']\nLOG_MAX_BYTES = {max_bytes}\nLOG_FORMAT = {format!r}\n"


def write(folder: Folder, first: int, last: int, rate: int = 0) -> None:
    done = folder.command("write", str(first), str(last), str(rate), timeout=1_000.0)
    assert done.status == 0, done


@pytest.mark.parametrize("format", ["text", "json"])
def test_no_line_is_lost_or_doubled_over_twenty_rotations_and_a_restart(
    format: str,
    new_folder: Callable[..., Folder],
    follow: Follow,
    wait_until: Callable[..., float],
    times: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    restarts, each = times(1, 10), times(5_200, 20_000)
    max_bytes = LINE_BYTES * each * (restarts + 1) // 21 if not FULL else LINE_BYTES * each // 20
    folder = new_folder(settings(max_bytes, format), writing=WRITER)
    server = folder.start()
    write(folder, 0, 1)
    reader = follow(folder, "-n", "1")
    wait_until(lambda: reader.numbers == [0], "the reader follows")
    first = 1

    inodes = set()
    for run in range(restarts + 1):
        if run:
            assert folder.stop().status == 0
            server.wait()
            server = folder.start()
        for _ in range(4):  # in parts, to see the files come and go
            write(folder, first, first + each // 4, RATE)
            first += each // 4
            inodes |= {entry.inode() for entry in os.scandir(folder.path) if entry.name.startswith("logging.log")}

    wait_until(lambda: reader.numbers[-1:] == [first - 1], "the last line was shown", 60.0)
    assert reader.numbers == list(range(first))
    rotations = first * LINE_BYTES // max_bytes
    assert rotations >= 20
    assert len(inodes) >= 10  # the number of a file that is gone may be used again
    figure(f"{first} lines at {RATE}/s, {rotations} rotations, {restarts} restarts: 0 lost")


def test_a_reader_that_stood_still_gets_from_the_files_what_the_server_forgot(
    new_folder: Callable[..., Folder], follow: Follow, wait_until: Callable[..., float]
) -> None:
    folder = new_folder(settings(300_000, "text"), writing=WRITER)
    folder.start()
    write(folder, 0, 1)
    reader = follow(folder, "--grep", "campaign")
    wait_until(lambda: reader.numbers == [0], "the reader follows")

    reader.process.send_signal(signal.SIGSTOP)
    for first in range(1, 4 * KEPT, KEPT):
        write(folder, first, first + KEPT)
    time.sleep(5.5 if FULL else 0.0)  # long enough for the server to hang up
    reader.process.send_signal(signal.SIGCONT)

    wait_until(lambda: reader.numbers[-1:] == [4 * KEPT], "the last line was shown", 60.0)
    assert reader.numbers == list(range(4 * KEPT + 1))
    assert reader.words.read_text() == ""


def test_the_lines_before_a_kill_are_shown_when_the_next_server_is_there(
    new_folder: Callable[..., Folder], follow: Follow, wait_until: Callable[..., float]
) -> None:
    folder = new_folder(settings(100_000, "text"), writing=WRITER)
    server = folder.start()
    write(folder, 0, 1)
    reader = follow(folder, "-n", "1")
    wait_until(lambda: reader.numbers == [0], "the reader follows")

    reader.process.send_signal(signal.SIGSTOP)
    write(folder, 1, 3 * KEPT)
    wait_until(lambda: f"campaign {3 * KEPT - 1:06d}" in folder.log, "the log is written")
    server.kill()
    folder.start()
    reader.process.send_signal(signal.SIGCONT)
    write(folder, 3 * KEPT, 3 * KEPT + 100)

    wait_until(lambda: reader.numbers[-1:] == [3 * KEPT + 99], "the last line was shown", 60.0)
    assert reader.numbers == list(range(3 * KEPT + 100))
    assert "started anew" in reader.words.read_text()


def test_history_has_no_seam_between_files_and_memory(
    new_folder: Callable[..., Folder], wait_until: Callable[..., float]
) -> None:
    folder = new_folder(settings(150_000, "text"), writing=WRITER)
    folder.start()
    write(folder, 0, 4 * KEPT)

    for words in (["--since", "1h"], ["-n", str(3 * KEPT)], ["-n", "100000", "--grep", "campaign"]):
        done = folder.command("tail-log", *words, program="zephctl")
        numbers = [int(number) for number in re.findall(r"campaign (\d{6})$", done.out, re.MULTILINE)]
        assert done.status == 0, done.err
        assert numbers == list(range(numbers[0], 4 * KEPT))
        assert len(numbers) > 2 * KEPT
