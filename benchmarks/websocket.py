"""How quick and how frugal the WebSocket server is, beside other servers that do the same JSON work.

Echo, echo by way of a thread, fan-out with and without compression, idle connections; messages, latency, CPU, memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import Any

from harness import ENVIRONMENT, Rows, Target, collect, progress, quantile, report, spread_cell, table
from websocket_peers.contenders import (
    CHANNELS,
    CONTENDERS,
    MSGSPEC,
    PICOWS,
    SERVER_CORE,
    STARLETTE,
    TORNADO,
    WS,
    ZEPHSERVER,
    Contender,
    Running,
    chosen,
    pin_load,
    running,
)

MEMBERS = 1_000
IDLERS = 5_000
FULL = 0.9  # of a core: what a server uses when nothing holds it up, and a load that holds it up
SHORT_PEERS = "zephserver,picows,tornado,starlette,channels"

SHORT_LOADS = ("echo", "threaded", "fanout", "deflate", "idle")


@dataclass(frozen=True)
class Load:
    """One kind of work: what the table is called, and the options of websocket_load.py."""

    key: str
    title: str
    options: tuple[str, ...]
    threads: bool = False  # only for those that have the task `threaded`
    deflate: bool = False  # only for those that compress


def _fanout(size: int, *more: str) -> tuple[str, ...]:
    # A hundred users with ten connections each: joining is not what is measured here.
    users = ("--connections", str(MEMBERS), "--users", "100")
    return ("fanout", "--task", "say", *users, "--depth", "2", "--size", str(size), *more)


LOADS = [
    Load("echo1", "Echo, 1 connection, one message at a time", ("echo",)),
    Load("echo", "Echo, 100 connections with 4 messages each", ("echo", "--connections", "100", "--depth", "4")),
    Load("threaded1", "Echo by way of a thread, 1 connection", ("echo", "--task", "threaded"), threads=True),
    Load(
        "threaded",
        "Echo by way of a thread, 100 connections with 4 messages each",
        ("echo", "--task", "threaded", "--connections", "100", "--depth", "4"),
        threads=True,
    ),
    Load("fanout", f"Fan-out of 64 characters to {MEMBERS:,} members, deliveries", _fanout(64)),
    Load("plain", f"Fan-out of 2,048 characters to {MEMBERS:,} members, not compressed", _fanout(2_048)),
    Load("deflate", "The same, compressed", _fanout(2_048, "--deflate"), deflate=True),
]
IDLE = "idle"
IDLE_OPTIONS = (IDLE, "--connections", str(IDLERS), "--per-room", "50")


def run_load(server: Running, options: Sequence[str]) -> dict[str, float]:
    """One row of figures, from a process of its own. Raises RuntimeError when the server did not do its work."""
    argv = [sys.executable, str(Path(__file__).with_name("websocket_load.py")), *options]
    argv += ["--port", str(server.port), "--pid", str(server.pid), "--dialect", server.contender.dialect]
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, timeout=180, preexec_fn=pin_load)
    answer: dict[str, Any] = json.loads(done.stdout or "{}")
    if done.returncode or "error" in answer:
        raise RuntimeError(f"{server.contender.name}: {answer.get('error') or done.stderr[-500:]}")
    return answer


def measure_messages(servers: Sequence[Running], load: Load, options: argparse.Namespace) -> Rows:
    """Rates, latencies and CPU of one kind of work."""
    able = [s for s in servers if not (load.threads and not s.contender.threads)]
    able = [s for s in able if not (load.deflate and not s.contender.deflate)]
    words = (*load.options, "--seconds", str(options.seconds), "--warm-up", str(min(0.5, options.seconds / 3)))
    work = {s.contender.name: (lambda s=s: run_load(s, words)) for s in able}
    return collect(work, options.rounds, warm_up=0)


def measure_idle(contenders: Sequence[Contender], rounds: int) -> Rows:
    """Memory and cost of connections that say nothing, each time with a server that has just started."""

    def once(contender: Contender) -> dict[str, float]:
        with running(contender) as server:
            return run_load(server, IDLE_OPTIONS)

    return collect({c.name: (lambda c=c: once(c)) for c in contenders}, rounds, warm_up=0)


def is_held_up(rows: Rows, name: str) -> bool:
    """Whether the load, or other work on this machine, kept the server from using its core: its rate says little."""
    row = rows[name]
    return statistics.median(row["client_share"]) > FULL or statistics.median(row["server_share"]) < FULL


def mark(rows: Rows, name: str) -> str:
    """What stands behind the name of a server whose rate is not its own."""
    if statistics.median(rows[name]["client_share"]) > FULL:
        return " *"
    return " +" if is_held_up(rows, name) else ""


def show_messages(title: str, rows: Rows) -> None:
    """The table of one kind of work."""
    lines = []
    for name, row in rows.items():
        base = quicker(rows, name, ZEPHSERVER)
        lines.append(
            [
                name + mark(rows, name),
                spread_cell(row["per_second"], scale=1e-3),
                spread_cell(row["p50"], digits=2),
                f"{statistics.median(row['p99']) * 1000:.2f}",
                spread_cell(row["cpu_per_message"], scale=1e6),
                "-" if isnan(base) else f"{base:.2f}",
            ]
        )
    head = ["server", "1,000 messages/s", "p50 ms", "p99 ms", "CPU us/message", "zephserver is x as quick"]
    table(title, head, lines)
    if any("*" in line[0] for line in lines):
        print(f"\n\\* the load used more than {FULL:.0%} of its own core: compared by CPU time")
    if any("+" in line[0] for line in lines):
        print(f"\n\\+ the server used less than {FULL:.0%} of its core: compared by CPU time")


def show_idle(rows: Rows) -> None:
    """The table of memory and of joining."""
    lines = [
        [
            name,
            spread_cell(row["bytes_per_connection"], scale=1 / 1024),
            f"{IDLERS / statistics.median(row['connect_seconds']):,.0f}",
            f"{statistics.median(row['connect_cpu']) / IDLERS * 1e6:.0f}",
        ]
        for name, row in rows.items()
    ]
    head = ["server", "KiB a connection", "connects/s", "CPU us/connect"]
    table(f"{IDLERS:,} connections in rooms of 50, joined and silent", head, lines)


def quicker(rows: Rows, slow: str, quick: str) -> float:
    """How many times as many messages a second *quick* does as *slow*, median of the rounds.

    Compared by CPU time when something held up one of them.
    """
    if slow not in rows or quick not in rows:
        return nan
    by_cpu = is_held_up(rows, slow) or is_held_up(rows, quick)
    thing = "cpu_per_message" if by_cpu else "per_second"
    pairs = list(zip(rows[slow][thing], rows[quick][thing], strict=False))
    return statistics.median([s / q if by_cpu else q / s for s, q in pairs])


def targets(loads: dict[str, Rows], idle: Rows) -> list[Target]:
    """What section 13 of the specification promises."""
    found = []

    def promise(load: str, base: str, least: float, what: str = "", of: str = "") -> None:
        rows = loads.get(load, {})
        if ZEPHSERVER in rows and base in loads.get(of or load, {}):
            both = {ZEPHSERVER: rows[ZEPHSERVER], base: loads[of or load][base]}
            found.append(Target(f"{load}: {base}{what} / zephserver", 1 / quicker(both, base, ZEPHSERVER), 1 / least))

    promise("echo", PICOWS, 0.8)
    promise("echo", CHANNELS, 3.0)
    promise("echo", STARLETTE, 1.5)
    promise("threaded", TORNADO, 2.0)
    promise("threaded", CHANNELS, 1.5, ", with threads")
    promise("threaded", CHANNELS, 1.5, ", without threads", of="echo")
    promise("fanout", PICOWS, 1.0)
    rows = loads.get("fanout", {})
    if ZEPHSERVER in rows:
        for name in sorted(set(rows) - {ZEPHSERVER, WS, MSGSPEC}):
            pairs = zip(rows[ZEPHSERVER]["p99"], rows[name]["p99"], strict=False)
            found.append(Target(f"fanout: p99 / {name}", statistics.median([a / b for a, b in pairs]), 1.0))
    if ZEPHSERVER in idle:
        kib = quantile(idle[ZEPHSERVER]["bytes_per_connection"], 0.5) / 1024
        found.append(Target("idle connection", kib, 20.0, "KiB"))
    return found


def read_options() -> argparse.Namespace:
    """The command line."""
    keys = [load.key for load in LOADS] + [IDLE]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help="default: 4, 2 with --short")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement; default: 1")
    parser.add_argument("--only", metavar="LOADS", help=f"some of {','.join(keys)}")
    parser.add_argument("--peers", metavar="NAMES", help=f"some of {','.join(c.key for c in CONTENDERS)}")
    parser.add_argument("--short", action="store_true", help="two minutes: a few peers and rounds")
    parser.add_argument("--json", metavar="FILE", help="write every single measurement there")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.short else 4)
    options.only = options.only.split(",") if options.only else list(SHORT_LOADS) if options.short else keys
    if unknown := set(options.only) - set(keys):
        parser.error(f"no such load: {', '.join(sorted(unknown))}; there are: {', '.join(keys)}")
    peers = options.peers or (SHORT_PEERS if options.short else ",".join(c.key for c in CONTENDERS))
    options.peers = peers.split(",")
    return options


def main() -> int:
    """Measure, and print tables and the targets."""
    options = read_options()
    contenders = chosen(options.peers)
    where = f"on core {SERVER_CORE}, the load on another" if SERVER_CORE is not None else "and the load on one core"
    print(f"{options.rounds} interleaved rounds of {options.seconds:g} s; the servers run {where}")
    idle: Rows = {}
    if IDLE in options.only:
        idle = measure_idle(contenders, min(options.rounds, 1 if options.short else 3))
        show_idle(idle)
    loads: dict[str, Rows] = {}
    wanted = [load for load in LOADS if load.key in options.only]
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(running(contender)) for contender in contenders] if wanted else []
        for load in wanted:
            loads[load.key] = measure_messages(servers, load, options)
            progress("")
            show_messages(load.title, loads[load.key])
    return report(options, targets(loads, idle), loads=loads, idle=idle)


if __name__ == "__main__":
    sys.exit(main())
