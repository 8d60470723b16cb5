"""How quick the cluster is: one hop, one link, rooms over three servers, beside others that do the same.

What another worker of one machine is worth is measured by benchmarks/workers.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster_peers import brokers, site
from cluster_peers.brokers import Broker
from harness import ENVIRONMENT, Rows, Target, can_read, collect, progress, report, spread_cell, table
from websocket_peers.processes import cpu_of

PEERS = Path(__file__).with_name("cluster_peers")
LOAD = Path(__file__).with_name("websocket_load.py")
PARTS = ("link", "rooms", "fanout")
MEMBERS = 300  # a hundred on each of three servers
SAID = 1_000  # messages to a room whose bytes are counted
PATIENCE = 90.0  # seconds for one measurement
MESH, ENCRYPTED = "zephserver, mesh", "zephserver, mesh, encrypted"


@dataclass(frozen=True)
class Link:
    """One way from one process to another: the kind of wire, and what is between them."""

    name: str
    wire: str
    by: str
    is_secret: bool = False


LINKS = [
    Link(MESH, "ours", "mesh"),
    Link(ENCRYPTED, "ours", "mesh", is_secret=True),
    Link("zephserver, nats", "ours", "nats"),
    Link("bare nats-py", "nats", "nats"),
    Link("zephserver, redis", "ours", "redis"),
    Link("bare redis-py, pub/sub", "redis", "redis"),
    Link("bare redis-py, streams", "streams", "redis"),
]


class Ends:
    """Two processes with a link between them."""

    def __init__(self, link: Link, broker: Broker | None, stack: contextlib.ExitStack) -> None:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="zephbench-"))
        if link.wire == "ours":
            near, far = map(json.dumps, site.settings_of(broker, "ab", is_secret=link.is_secret))
        else:
            assert broker is not None
            near = far = json.dumps(broker.url)
        self.name = link.name
        self._far = stack.enter_context(_process(link.wire, "b", "a", far, folder))
        self._near = stack.enter_context(_process(link.wire, "a", "b", near, folder))
        self._pids = [self._far.pid, self._near.pid, *([broker.pid] if broker is not None else [])]
        for process in (self._far, self._near):
            self._answer(process)

    def ask(self, what: str, seconds: float) -> dict[str, float]:
        """Have the near end measure, and add the processor time that all of them used."""
        assert self._near.stdin is not None
        before = cpu_of(self._pids)
        self._near.stdin.write(f"{what} {seconds}\n".encode())
        self._near.stdin.flush()
        answer = self._answer(self._near)
        cpu = cpu_of(self._pids) - before
        return answer | ({"cpu": cpu / answer["count"]} if "count" in answer else {})

    def _answer(self, process: subprocess.Popen[bytes]) -> dict[str, float]:
        assert process.stdout is not None
        line = process.stdout.readline() if can_read(process.stdout.fileno(), PATIENCE) else b""
        if not line:
            raise RuntimeError(f"{self.name}: one end of the link does not answer")
        found: dict[str, float] = json.loads(line)
        return found


@contextlib.contextmanager
def _process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """One end; it ends with its standard input, or is ended."""
    *words_of_it, folder = words
    argv = [sys.executable, str(PEERS / "end.py"), *words_of_it]
    process = subprocess.Popen(
        argv, cwd=folder, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def times(rows: Rows, name: str, base: str, thing: str) -> str:
    """The median of the ratios of the rounds."""
    if base not in rows:
        return "-"
    pairs = list(zip(rows[name][thing], rows[base][thing], strict=False))
    return f"{statistics.median(one / other for one, other in pairs):.2f}"


def measure_links(running: Mapping[str, Broker], options: argparse.Namespace) -> Rows:
    """Hops and rates of two processes on loopback."""
    with contextlib.ExitStack() as stack:
        able = [link for link in LINKS if link.by == "mesh" or link.by in running]
        ends = [Ends(link, running.get(link.by), stack) for link in able]
        for end in ends:  # connections grow warm
            end.ask("rate", 0.2)

        def both(end: Ends) -> dict[str, float]:
            return end.ask("latency", options.seconds) | end.ask("rate", options.seconds)

        rows = collect({end.name: (lambda end=end: both(end)) for end in ends}, options.rounds, warm_up=0)
    lines = [
        [
            name,
            spread_cell(row["p50"], digits=2),
            f"{statistics.median(row['p99']) * 1000:.2f}",
            spread_cell(row["per_second"], 1e-3),
            spread_cell(row["cpu"], 1e6),
            times(rows, name, MESH, "cpu"),
        ]
        for name, row in rows.items()
    ]
    head = ["link", "hop p50 ms", "p99 ms", "1,000 events/s", "CPU us/event", "x the mesh's CPU"]
    table("One link, events of 200 bytes", head, lines)
    return rows


def measure_rooms(running: Mapping[str, Broker]) -> dict[str, dict[str, dict[str, float]]]:
    """Bytes that each of three servers gets for one message to a room with members on a and b, said at a."""
    found, lines = {}, []
    for name, by in ((MESH, "mesh"), ("zephserver, nats", "nats"), ("zephserver, redis", "redis")):
        if by != "mesh" and by not in running:
            continue
        argv = [sys.executable, str(PEERS / "rooms.py"), json.dumps(site.settings_of(running.get(by))), str(SAID)]
        done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
        found[name] = json.loads(done.stdout)
        lines += [[name, owner, *(f"{found[name][owner][node]:,.0f}" for node in site.NODES)] for owner in found[name]]
    head = ["cluster", "owner of the room", "a (says it)", "b (a member)", "c (no member)"]
    table(f"Bytes a message of 200 that come to each server, {SAID:,} messages", head, lines)
    return found


def measure_fanout(running: Mapping[str, Broker], options: argparse.Namespace) -> Rows:
    """Deliveries of three servers with a hundred members each, the broker's processor time included."""
    able = [kind for kind in site.KINDS if (kind.by == "mesh" or kind.by in running) and not kind.contender.missing]
    able = [kind for kind in able if kind.is_for_quick or not options.quick]
    words = ["--task", "say", "--connections", str(MEMBERS), "--depth", "2", "--size", "200"]

    def once(kind: site.Joined) -> dict[str, float]:
        with site.some(kind, running) as (servers, pids):
            argv = [sys.executable, str(LOAD), "fanout", *words, "--dialect", kind.contender.dialect]
            argv += ["--port", *(str(server.port) for server in servers), "--pid", *map(str, pids)]
            argv += ["--seconds", str(options.seconds), "--warm-up", "0.5"]
            done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
            answer: dict[str, Any] = json.loads(done.stdout or "{}")
        if done.returncode or "error" in answer:
            raise RuntimeError(f"{kind.name}: {answer.get('error') or done.stderr[-500:]}")
        return answer

    rows = collect({kind.name: (lambda kind=kind: once(kind)) for kind in able}, options.rounds, warm_up=0)
    lines = [
        [
            name,
            spread_cell(row["per_second"], 1e-3),
            spread_cell(row["p50"], digits=2),
            f"{statistics.median(row['p99']) * 1000:.2f}",
            spread_cell(row["cpu_per_message"], 1e6),
            times(rows, name, MESH, "cpu_per_message"),
        ]
        for name, row in rows.items()
    ]
    head = ["three servers", "1,000 deliveries/s", "p50 ms", "p99 ms", "CPU us/delivery", "x the mesh's CPU"]
    table(f"Fan-out of 200 characters to {MEMBERS} members on three servers", head, lines)
    return rows


def targets(links: Rows, rooms: Mapping[str, Any], fanout: Rows) -> list[Target]:
    """What section 13 of the specification promises."""
    found = []
    for name in (MESH, ENCRYPTED):
        if name in links:
            found.append(Target(f"{name}: hop, p50", statistics.median(links[name]["p50"]) * 1000, 1.0, "ms"))
            rate = statistics.median(links[name]["per_second"])
            found.append(Target(f"{name}: 50,000 events/s / a link", 50_000 / rate, 1.0))
    for name, owners in rooms.items():
        found.append(Target(f"{name}: to a server without members", max(owners[o]["c"] for o in "ab"), 0.0, "bytes"))
    for name in sorted(set(fanout) - {kind.name for kind in site.KINDS if kind.name.startswith("zephserver")}):
        if MESH in fanout:
            pairs = zip(fanout[MESH]["cpu_per_message"], fanout[name]["cpu_per_message"], strict=False)
            found.append(Target(f"fan-out: CPU / {name}", statistics.median(a / b for a, b in pairs), 1.0))
    return found


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help="default: 5, 1 with --quick")
    parser.add_argument("--seconds", type=float, help="of each measurement; default: 1, 0.4 with --quick")
    parser.add_argument("--only", metavar="PARTS", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="one minute")
    parser.add_argument("--json", metavar="FILE", help="write every single measurement there")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.4 if options.quick else 1.0)
    options.only = options.only.split(",") if options.only else list(PARTS)
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    return options


def main() -> int:
    """Measure, and print tables and the targets."""
    options = read_options()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f}; {options.rounds} interleaved rounds of {options.seconds:g} s")
    links, rooms, fanout = {}, {}, {}
    with contextlib.ExitStack() as stack:
        running = {}
        for kind in brokers.PROGRAMS:
            if brokers.program(kind) is None:
                print(f"left out: {brokers.PROGRAMS[kind]} is not installed", file=sys.stderr)
            else:
                running[kind] = stack.enter_context(brokers.running(kind))
        if "link" in options.only:
            links = measure_links(running, options)
        if "rooms" in options.only:
            rooms = measure_rooms(running)
        if "fanout" in options.only:
            fanout = measure_fanout(running, options)
    progress("")
    return report(options, targets(links, rooms, fanout), links=links, rooms=rooms, fanout=fanout)


if __name__ == "__main__":
    sys.exit(main())
