"""What another worker is worth: echoes a second with 1 to N processes, each as a multiple of one process.

The load is one process and takes a core of its own. So plain echoes show as much of the load as of the server once
there are as many workers as cores; behind a millisecond of computing it is the servers that are measured. `cores used`
of the server and of the load say which of them was the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness import BIN, ENVIRONMENT, Samples, free_port, interleave, ratio_cell, spread_cell, table, wait_until
from websocket_peers.contenders import SITE, answers

LOADS = {"echo": "Echo, 100 connections with 4 messages each", "work": "The same behind 1 ms of computing"}
LOAD = Path(__file__).with_name("websocket_load.py")


@contextmanager
def server(workers: int) -> Iterator[tuple[int, int]]:
    """A server with so many workers: its pid and its port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="zephbench-") as folder, ExitStack() as stack:
        shutil.copytree(SITE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        os.chmod(folder, 0o700)
        output = stack.enter_context(open(Path(folder, "output"), "wb"))
        process = subprocess.Popen(
            [str(BIN / "zephserver-start"), "--workers", str(workers)],
            cwd=folder,
            env=ENVIRONMENT | {"PORT": str(port)},
            stdout=output,
            stderr=output,
        )
        try:
            wait_until(lambda: process.poll() is not None or b"is ready" in Path(folder, "output").read_bytes())
            if process.poll() is not None or not answers(port):
                raise RuntimeError(f"{workers} workers did not start:\n{Path(folder, 'output').read_text()[-2000:]}")
            yield process.pid, port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def measure(task: str, pid: int, port: int, seconds: float, shares: list[tuple[float, float]]) -> float:
    """Echoes a second; how much of a core the server and the load used is added to *shares*."""
    argv = [sys.executable, str(LOAD), "echo", "--task", task, "--connections", "100", "--depth", "4"]
    argv += ["--dialect", "zephserver", "--port", str(port), "--pid", str(pid), "--seconds", str(seconds)]
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, timeout=180)
    answer = json.loads(done.stdout or "{}")
    if done.returncode or "error" in answer:
        raise RuntimeError(answer.get("error") or done.stderr[-500:])
    shares.append((answer["server_share"], answer["client_share"]))
    return float(answer["per_second"])


def show(title: str, samples: Samples, shares: dict[str, list[tuple[float, float]]]) -> None:
    """A table: a row for each number of workers."""
    base = next(iter(samples))
    rows = []
    for name, values in samples.items():
        used = [statistics.median(share[side] for share in shares[name]) for side in (0, 1)]
        rows.append([name, spread_cell(values, 1.0, 0), ratio_cell(samples, name, base), *(f"{u:.2f}" for u in used)])
    table(title, ["workers", "echoes a second", "times one worker", "cores used", "cores of the load"], rows)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument(
        "--most", type=int, default=max(2, cores), metavar="N", help="workers; default: as many as cores"
    )
    parser.add_argument("--rounds", type=int, default=6, help="default: 6")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement; default: 1")
    options = parser.parse_args()
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f} before we began")
    with ExitStack() as stack:
        servers = {str(n): stack.enter_context(server(n)) for n in range(1, options.most + 1)}
        for task, title in LOADS.items():
            shares: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}

            def once(
                name: str, task: str = task, shares: dict[str, list[tuple[float, float]]] = shares
            ) -> Callable[[], float]:
                pid, port = servers[name]
                return lambda: measure(task, pid, port, options.seconds, shares[name])

            show(title, interleave({name: once(name) for name in servers}, options.rounds), shares)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
