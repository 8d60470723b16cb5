"""Rows F1 and F2: a full disk hurts nobody, and rotation loses no line."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.requirements import missing
from tests.scale import FULL, at_most

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(1_800 if FULL else 60)]

WRITER = """
    import logging, threading
    from zephserver.core.command_table import command

    class Writer:
        def __init__(self):
            self.over = threading.Event()

        def main(self):
            self.over.wait()

        def disable(self):
            self.over.set()

        @command("write")
        def write(self, threads: int, each: int) -> int:
            "Log from many threads at once."
            log = logging.getLogger("writer")

            def body(number):
                for count in range(each):
                    log.info("line %d/%d of the campaign", number, count)

            crowd = [threading.Thread(target=body, args=(number,)) for number in range(threads)]
            for thread in crowd:
                thread.start()
            for thread in crowd:
                thread.join()
            return threads * each
"""
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO     \[writer\] line (\d+/\d+) of the campaign")
LOST = re.compile(r"(\d+) lines of this log are lost")


# -- F1 ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(new_folder: Callable[..., Folder]) -> Iterator[tuple[Folder, Path]]:
    """A folder whose log is on a disk of 1 MB of its own."""
    folder = new_folder("SERVICE_LIST = ['writing/Writer']\nLOG_PATH = 'small/logging.log'", writing=WRITER)
    disk = folder.path / "small"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "zeph", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        missing(f"a small disk cannot be mounted, which needs root: {done.stderr}")
    try:
        yield folder, disk
    finally:
        folder.clean()
        subprocess.run(["umount", str(disk)], check=True)


def test_f1_a_full_disk_hurts_nobody_and_what_is_lost_is_counted(
    small_disk: tuple[Folder, Path],
    wait_until: Callable[..., float],
    figure: Callable[[str], None],
) -> None:
    folder, disk = small_disk
    server = folder.start()
    began = time.monotonic()
    said_before = len(server.errors.splitlines())
    slowest, written, batches = 0.0, 0, 20

    for _ in range(batches):
        folder.call("write", threads=1, each=1_000)
        written += 1_000
        answer = folder.command("status")
        slowest = max(slowest, answer.seconds)
        assert answer.status == 0
        assert answer.seconds < at_most(1.0)
    wait_until(
        lambda: (
            int(folder.call("status")["log_dropped"]) > 0
            or "lines of this log are lost" in (disk / "logging.log").read_text()
        ),
        "the status, or a line that still fitted, tells of dropped lines",
    )
    seconds = time.monotonic() - began
    said = server.errors.splitlines()[said_before:]

    assert said, "a full disk is told on stderr"
    assert len(said) <= seconds + 1, said
    assert all("No space left on device; log lines are dropped" in line for line in said)

    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
    folder.call("write", threads=1, each=100)
    written += 100
    log = disk / "logging.log"
    wait_until(lambda: "line 0/99 of" in log.read_text().rpartition("are lost")[2], "new lines are written again")

    lines = log.read_text().splitlines()
    kept = sum(LINE.fullmatch(line) is not None for line in lines)
    lost = sum(int(match[1]) for line in lines if (match := LOST.search(line)))
    assert kept + lost == written
    assert not [line for line in lines if "campaign" in line and not LINE.fullmatch(line)], "a torn line"
    assert folder.stop().status == 0
    assert server.wait() == 0
    figure(
        f"{written} lines on a disk of 1 MB: {kept} kept, {lost} lost and told; {len(said)} lines on stderr in "
        f"{seconds:.1f} s; status within {slowest:.2f} s"
    )


# -- F2 ---------------------------------------------------------------------------------------------------------------


class Follower:
    """Reads `log.tail` with follow, as tail-log -f does."""

    def __init__(self, folder: Folder) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(folder.interface)
        request = {"id": 1, "command": "log.tail", "args": {"lines": 0, "follow": True}}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        self.seen: list[str] = []
        self.lost = 0
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        with self._socket.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                notice = json.loads(line).get("notice") or {}
                self.lost += notice.get("lost") or 0
                if match := LINE.fullmatch(notice.get("text", "")):
                    self.seen.append(match[1])

    def close(self) -> None:
        """Stop following."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(10.0)
        self._socket.close()


@pytest.mark.parametrize("rotation", ["renamed by others", "its own"])
def test_f2_rotation_under_50_threads_loses_no_line(
    new_folder: Callable[..., Folder],
    rotation: str,
    times: Callable[[int, int], int],
    wait_until: Callable[..., float],
    figure: Callable[[str], None],
) -> None:
    threads, each, rotations = times(20, 50), times(500, 2_000), times(20, 100)
    size = threads * each * 65 // rotations if rotation == "its own" else 50_000_000
    folder = new_folder(
        f"SERVICE_LIST = ['writing/Writer']\nLOG_MAX_BYTES = {size}\nLOG_BACKUPS = 1000", writing=WRITER
    )
    folder.start()
    follower = Follower(folder)
    over = threading.Event()
    renamed = 0

    def rename() -> None:
        nonlocal renamed
        while not over.is_set() and renamed < rotations:
            path = folder.path / "logging.log"
            if path.exists():
                path.rename(folder.path / f"logging.log.{renamed + 1}")
                renamed += 1
            over.wait(0.01)

    logrotate = threading.Thread(target=rename)
    if rotation != "its own":
        logrotate.start()
    try:
        began = time.monotonic()
        assert folder.call("write", threads=threads, each=each) == threads * each
        seconds = time.monotonic() - began
        wait_until(lambda: len(follower.seen) + follower.lost >= threads * each, "the follower has seen all", 60.0)
    finally:
        over.set()
        if logrotate.ident is not None:
            logrotate.join()
        follower.close()
    assert folder.stop().status == 0

    files = sorted(folder.path.glob("logging.log*"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    found = Counter(match[1] for line in lines if (match := LINE.fullmatch(line)))
    lost = sum(int(match[1]) for line in lines if (match := LOST.search(line)))
    figure(
        f"{rotation}: {len(found)} of {threads * each} lines in {len(files)} files, {lost} told as lost, "
        f"{threads * each / seconds:.0f} lines/s; the follower saw {len(follower.seen)}, {follower.lost} told as lost"
    )
    assert not [line for line in lines if "campaign" in line and not LINE.fullmatch(line)], "a torn line"
    assert max(found.values()) == 1, "a line twice"
    assert len(found) + lost == threads * each, "a line is gone and nobody says so"
    assert len(found) == threads * each
    assert len(files) > (rotations / 2 if rotation == "its own" else 2)  # how often others rename is a matter of speed
    assert len(set(follower.seen)) == len(follower.seen)
    assert len(follower.seen) + follower.lost == threads * each
