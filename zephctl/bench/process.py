"""The process that makes the load of `zephctl bench`: started, listened to, and ended with whoever started it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from zephserver.core.errors import ZephError

PATIENCE = 10.0  # seconds in which it tells its result after it was stopped


def run_load(plan: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run a load and return its result; *tell* hears its progress.

    Ctrl-C ends it early; a second one at once. Raises ZephError when there is nothing to measure.
    """
    # A session of its own: Ctrl-C reaches only us, and the end of its stdin tells it.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "zephserver.load"],  # -P: the user's folder may have modules of the same names
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        return _listen(process, plan, tell)
    finally:
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except BrokenPipeError:
                pass
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listen(
    process: subprocess.Popen[str], plan: dict[str, Any], tell: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(plan) + "\n")
        process.stdin.flush()
    except BrokenPipeError:  # it is gone already, and has said why on stderr
        pass
    is_stopped = False
    while True:
        try:
            line = process.stdout.readline()
            if not line:
                raise ZephError(f"the process that makes the load ended without a result ({process.wait(PATIENCE)})")
            said = json.loads(line)
            if "result" in said:
                result: dict[str, Any] = said["result"]
                return result
            if "failed" in said:
                raise ZephError(said["failed"])
            tell(said)
        except KeyboardInterrupt:
            if is_stopped:
                process.kill()
                raise
            is_stopped = True
            process.stdin.close()
