"""Forks many starters of one folder at the same instant; a program for test A2, which starts it.

The starters are zephserver-start itself, forked when everything is imported, so that they meet at the lock and not in
the import system. Prints one JSON line: for each starter its pid, exit status, seconds and last words.

usage: fork_starters.py FOLDER COUNT
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time

from zephctl import scripts
from zephserver.core import bootstrap, core_commands, settings  # noqa: F401 - imported before the fork


def main(folder: str, count: int) -> None:
    """Fork, fire, collect."""
    go, gun = os.pipe()
    starters: dict[int, int] = {}
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            os.close(gun)
            starter(folder, number, go)
        starters[pid] = number
    began = time.monotonic()
    os.close(gun)
    rows: list[dict[str, object]] = []
    while len(rows) < count - 1:  # the one that is left is the server
        pid, status = os.wait()
        seconds = time.monotonic() - began
        number = starters.pop(pid)
        words = open(f"{folder}/starter.{number}").read()  # noqa: SIM115
        rows.append({"pid": pid, "status": os.waitstatus_to_exitcode(status), "seconds": seconds, "words": words})
    (winner,) = starters
    print(json.dumps({"winner": winner, "losers": rows}), flush=True)
    _, status = os.waitpid(winner, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


def starter(folder: str, number: int, go: int) -> None:
    """The child: wait for the gun, be zephserver-start. No return."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no starter outlives the test
    words = os.open(f"{folder}/starter.{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(words, 1)
    os.dup2(words, 2)
    os.read(go, 1)
    sys.argv = ["zephserver-start", "--folder", folder]
    status = scripts.start()
    sys.stderr.flush()
    os._exit(status)


main(sys.argv[1], int(sys.argv[2]))
