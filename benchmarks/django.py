"""Django's users on zephserver, and on Django Channels with its Redis layer: connects, echo, queries, fan-out.

Every connection shows the cookie of a session in the database, and every server looks the user up. This file imports no
Django itself: by its name it would stand in its way.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from math import nan
from pathlib import Path

from harness import ENVIRONMENT, Rows, Target, collect, free_port, progress, report, spread_cell, table, wait_until
from websocket import mark, quicker, run_load
from websocket_peers.contenders import ZEPHSERVER, Contender, answers, running

SITE = Path(__file__).with_name("django_site")
DAPHNE, UVICORN = "Channels on daphne", "Channels on uvicorn"
PEOPLE = 1_000
MEMBERS = 300
COMING = 400  # connections of one round
# The load answers no pings, and a busy machine takes its time: neither shall end a connection here.
PATIENT_DAPHNE = ("--ping-interval", "3600", "--websocket_connect_timeout", "60")
PATIENT_UVICORN = ("--ws-ping-interval", "3600")

CONTENDERS = [
    Contender(
        ZEPHSERVER, "zephserver", (sys.executable, "-m", "zephserver"), ("zephserver",), "zephserver", site=SITE
    ),
    Contender(
        DAPHNE,
        "daphne",
        (sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", "-v", "0",
         *PATIENT_DAPHNE, "bench_asgi:application"),
        ("channels", "channels_redis", "daphne"),
        site=SITE,
    ),
    Contender(
        UVICORN,
        "uvicorn",
        (sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "error",
         "--lifespan", "off", *PATIENT_UVICORN, "bench_asgi:application"),
        ("channels", "channels_redis", "uvicorn"),
        site=SITE,
    ),
]  # fmt: skip

LOADS = {
    "echo": ("Echo, 100 connections with 4 messages each", ("echo", "--connections", "100", "--depth", "4")),
    "query": (
        "A query for each message, 100 connections with 1 message each",
        ("echo", "--task", "query", "--connections", "100"),
    ),
    "fanout": (
        f"Fan-out of 64 characters to {MEMBERS} members of a group, deliveries",
        ("fanout", "--task", "say", "--connections", str(MEMBERS), "--depth", "2"),
    ),
}
CONNECTS = "connects"


@contextlib.contextmanager
def redis() -> Iterator[int]:
    """A Redis for the channel layer, without a file; its port."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is not installed; on Debian: apt-get install redis-server")
    port = free_port()
    words = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port))
        yield port
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def project() -> Iterator[tuple[dict[str, str], Path]]:
    """The database with its users, and Redis: what the environment of the servers says, and the file of the cookies."""
    with tempfile.TemporaryDirectory(prefix="zephbench-") as folder, redis() as port:
        environment = {"BENCH_DATABASE": f"{folder}/db.sqlite3", "BENCH_REDIS": str(port)}
        words = [sys.executable, str(SITE / "bench_people.py"), str(PEOPLE)]
        made = subprocess.run(
            words, env=ENVIRONMENT | environment, cwd=folder, capture_output=True, text=True, check=True, timeout=120
        )
        cookies = Path(folder, "cookies.json")
        cookies.write_text(made.stdout)
        yield environment, cookies


def measure_connects(contenders: Sequence[Contender], environment: dict[str, str], cookies: Path, rounds: int) -> Rows:
    """Connections that come, show their cookie, and are in a room; each time to a server that has just started."""
    words = ("idle", "--connections", str(COMING), "--per-room", "50", "--cookies", str(cookies))

    def once(contender: Contender) -> dict[str, float]:
        with running(contender, environment) as server:
            return run_load(server, words)

    return collect({c.name: (lambda c=c: once(c)) for c in contenders}, rounds, warm_up=1)


def measure_messages(
    contenders: Sequence[Contender], environment: dict[str, str], cookies: Path, options: argparse.Namespace
) -> dict[str, Rows]:
    """Every kind of work with the same servers."""
    found: dict[str, Rows] = {}
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(running(contender, environment)) for contender in contenders]
        for key in options.only:
            if key == CONNECTS:
                continue
            more = ("--cookies", str(cookies), "--seconds", str(options.seconds), "--warm-up", "0.5")
            words = (*LOADS[key][1], *more)
            work: dict[str, Callable[[], dict[str, float]]] = {
                s.contender.name: (lambda s=s, words=words: run_load(s, words)) for s in servers
            }
            found[key] = collect(work, options.rounds, warm_up=0)
            progress("")
    return found


def show_connects(rows: Rows) -> None:
    """Connections a second, and what each costs."""
    base = rows.get(ZEPHSERVER)
    lines = []
    for name, row in rows.items():
        times = (
            [a / b for a, b in zip(row["connect_seconds"], base["connect_seconds"], strict=False)] if base else [nan]
        )
        costs = [a / b for a, b in zip(row["connect_cpu"], base["connect_cpu"], strict=False)] if base else [nan]
        rates = [COMING / seconds for seconds in row["connect_seconds"]]
        lines.append(
            [
                name,
                spread_cell(rates, scale=1, digits=0),
                spread_cell([cpu / COMING for cpu in row["connect_cpu"]], scale=1e6, digits=0),
                f"{statistics.median(times):.2f}",
                f"{statistics.median(costs):.2f}",
            ]
        )
    head = ["server", "connects/s", "CPU us/connect", "zephserver is x as quick", "by CPU time"]
    table(f"{COMING} connections with a session in the database, in rooms of 50", head, lines)


def show_messages(title: str, rows: Rows) -> None:
    """Messages a second, latency, and what each costs."""
    lines = []
    for name, row in rows.items():
        base = rows.get(ZEPHSERVER)
        costs = (
            [a / b for a, b in zip(row["cpu_per_message"], base["cpu_per_message"], strict=False)] if base else [nan]
        )
        rates = [b / a for a, b in zip(row["per_second"], base["per_second"], strict=False)] if base else [nan]
        lines.append(
            [
                name + mark(rows, name),
                spread_cell(row["per_second"], scale=1e-3),
                spread_cell(row["p50"], digits=2),
                f"{statistics.median(row['p99']) * 1000:.1f}",
                spread_cell(row["cpu_per_message"], scale=1e6),
                f"{statistics.median(rates):.2f}",
                f"{statistics.median(costs):.2f}",
            ]
        )
    head = ["server", "1,000/s", "p50 ms", "p99 ms", "CPU us/message", "zephserver is x as quick", "by CPU time"]
    table(title, head, lines)
    print("\n\\* the load, + other work, held the server up: its rate says little, the CPU time counts")


def targets(loads: dict[str, Rows]) -> list[Target]:
    """What section 13 of the specification promises beside Channels."""
    found = []
    for key, least in (("echo", 3.0), ("fanout", 1.0)):
        rows = loads.get(key, {})
        found += [
            Target(f"{key}: {name} / zephserver", 1 / quicker(rows, name, ZEPHSERVER), 1 / least)
            for name in (DAPHNE, UVICORN)
            if name in rows and ZEPHSERVER in rows
        ]
    return found


def main() -> int:
    """Measure, and print tables, ratios and targets."""
    keys = [CONNECTS, *LOADS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement; default: 1")
    parser.add_argument("--only", metavar="LOADS", default=",".join(keys), help=f"some of {','.join(keys)}")
    parser.add_argument("--json", metavar="FILE", help="write every single measurement there")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(keys):
        parser.error(f"no such load: {', '.join(sorted(unknown))}; there are: {', '.join(keys)}")
    contenders = [contender for contender in CONTENDERS if not contender.missing]
    for contender in CONTENDERS:
        if contender.missing:
            print(f"{contender.name} is left out: {contender.missing} is not installed", file=sys.stderr)
    print(f"{options.rounds} interleaved rounds of {options.seconds:g} s; sessions and users in SQLite")
    connects: Rows = {}
    with project() as (environment, cookies):
        if CONNECTS in options.only:
            connects = measure_connects(contenders, environment, cookies, options.rounds)
            progress("")
            show_connects(connects)
        loads = measure_messages(contenders, environment, cookies, options)
        for key, rows in loads.items():
            show_messages(LOADS[key][0], rows)
    return report(options, targets(loads), loads=loads, connects=connects)


if __name__ == "__main__":
    sys.exit(main())
