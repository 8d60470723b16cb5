"""What a server needs for connections, rooms and histories: the figures of docs/how-to/capacity.md."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster_peers import site
from harness import ENVIRONMENT, arguments, progress, report, table
from websocket_peers.contenders import Running
from websocket_peers.processes import cpu_of, memory_of

LOAD = Path(__file__).with_name("websocket_load.py")
CONNECTIONS = 3_000
MESSAGES, SIZE = 20_000, 200  # in a history
PATIENCE = 120.0
ALONE = site.Joined("alone", site.KINDS[0].contender, "alone")
MESH = site.KINDS[0]


def load(servers: Sequence[Running], pids: Sequence[int], *words: str) -> dict[str, float]:
    """Run the load against these servers. Raises RuntimeError when one did not do its work."""
    argv = [sys.executable, str(LOAD), *words, "--dialect", "zephserver"]
    argv += ["--port", *(str(server.port) for server in servers), "--pid", *map(str, pids)]
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    answer: dict[str, Any] = json.loads(done.stdout or "{}")
    if done.returncode or "error" in answer:
        raise RuntimeError(answer.get("error") or done.stderr[-500:])
    return answer


def connection(nodes: str, per_room: int) -> float:
    """Bytes on all servers together for one connection in a room with so many."""
    with site.some(ALONE if len(nodes) == 1 else MESH, {}, nodes) as (servers, pids):
        words = ("idle", "--connections", str(CONNECTIONS), "--per-room", str(per_room))
        return load(servers, pids, *words)["bytes_per_connection"]


def server(nodes: str) -> float:
    """Bytes of one server that has just started."""
    with site.some(ALONE if len(nodes) == 1 else MESH, {}, nodes) as (_, pids):
        return memory_of(pids) / len(nodes)


def history() -> float:
    """Bytes of a message of a history beside its own."""
    from zephserver.histories import Histories

    tracemalloc.start()
    kept = Histories({"*": (MESSAGES, 600.0)}, 1 << 40, lambda: "epoch")
    before = tracemalloc.get_traced_memory()[0]
    for number in range(MESSAGES):
        kept.add("room", lambda offset: (b"%d" % offset).ljust(SIZE, b"."), float(number) / MESSAGES, is_empty=False)
    found = (tracemalloc.get_traced_memory()[0] - before) / MESSAGES - SIZE
    tracemalloc.stop()
    return found


def owner(seconds: float) -> float:
    """Seconds of a core for a message of a room that a server owns, with members on two other servers only."""
    from zephserver.cluster.owners import owner_of

    with site.some(MESH, {}, site.NODES) as (servers, pids):
        mine = site.NODES.index(owner_of("room-0", site.NODES) or "")
        others = [server for number, server in enumerate(servers) if number != mine]
        time.sleep(1.0)  # what comes with the start is not counted
        before = cpu_of([pids[mine]])
        words = ("fanout", "--task", "say", "--connections", "2", "--depth", "256", "--size", "200", "--warm-up", "0")
        answer = load(others, pids, *words, "--seconds", str(seconds))
        return (cpu_of([pids[mine]]) - before) / (answer["received"] / 2)


def main() -> int:
    """Measure and print."""
    options = arguments((__doc__ or "").partition("\n")[0], 3)
    work = {
        "a server that has just started": (lambda: server("a"), "MiB", 2**20),
        "the same, one of three": (lambda: server("abc"), "MiB", 2**20),
        "a connection, in rooms of 50": (lambda: connection("a", 50), "KiB", 1024),
        "the same, each in a room of its own": (lambda: connection("a", 1), "KiB", 1024),
        "a connection of a cluster of three, on all of them together, in rooms of 50": (
            lambda: connection("abc", 50),
            "KiB",
            1024,
        ),
        "the same, each in a room of its own ": (lambda: connection("abc", 1), "KiB", 1024),
        f"a message of {SIZE} bytes in a history, beside its {SIZE} bytes": (history, "bytes", 1),
        "a message to a room for its owner, with members on two other servers": (
            lambda: owner(2.0),
            "us of a core",
            1e-6,
        ),
    }
    samples: dict[str, list[float]] = {name: [] for name in work}
    for number in range(options.rounds):
        for name, (measure, _, _) in work.items():
            try:
                samples[name].append(measure())
            except RuntimeError as error:
                print(f"left out: {error}", file=sys.stderr)
        progress(f"round {number + 1}/{options.rounds}")
    progress("")
    rows = [
        [n.strip(), f"{statistics.median(samples[n]) / scale:,.1f} {unit}"]
        for n, (_, unit, scale) in work.items()
        if samples[n]
    ]
    table("What it takes", ["for", "memory or time"], rows)
    return report(options, [], samples=samples)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
