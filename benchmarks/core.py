"""How quick and how frugal the core is, beside supervisord and circusd: start, answer, resurrection, memory, stop."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness import (
    ENVIRONMENT,
    Samples,
    Target,
    arguments,
    can_read,
    interleave,
    progress,
    quantile,
    report,
    spread_cell,
    table,
    wait_until,
)
from peers import (
    MORTALS,
    Circus,
    Daemon,
    Supervisor,
    Zephserver,
    children,
    cpu_seconds,
    installed,
    resident,
)

QUESTIONS = 200  # a round, on each open connection
UNITS = 10
IDLE_SECONDS = 20.0
PEER_DEATHS = 5  # circus takes up to 5 s to see one


def start_and_stop(folder: Path, rounds: int) -> tuple[Samples, Samples]:
    """Seconds from the start command to ready, and from the stop command to the end of the process; four units."""
    kinds: dict[str, Daemon] = {
        "zephserver, the chat example": Zephserver(folder / "chat", 4, template="chat"),
        "zephserver, four idle services": Zephserver(folder / "four", 4),
    } | {f"{kind.name}, four programs": kind(folder / kind.name, 4) for kind in installed(Supervisor, Circus)}
    stops: Samples = {name: [] for name in kinds}

    def once(name: str, daemon: Daemon) -> Callable[[], float]:
        def run() -> float:
            try:
                seconds = daemon.start()
                time.sleep(0.3)  # let it finish what it does after its first answer, before it is asked to stop
                stops[name].append(daemon.stop())
                return seconds
            finally:
                daemon.kill()

        return run

    starts = interleave({name: once(name, daemon) for name, daemon in kinds.items()}, rounds)
    return starts, {name: values[-rounds:] for name, values in stops.items()}


def round_trips(daemons: Mapping[str, Daemon], rounds: int) -> tuple[Samples, Samples]:
    """Median of each round, and every single answer: seconds for the state of all units on an open connection."""
    single: Samples = {name: [] for name in daemons}

    def once(name: str, daemon: Daemon) -> Callable[[], float]:
        def run() -> float:
            ask, close = daemon.connect()
            for _ in range(5):
                ask()
            times = []
            for _ in range(QUESTIONS):
                began = time.perf_counter()
                ask()
                times.append(time.perf_counter() - began)
            close()
            single[name] += times
            return statistics.median(times)

        return run

    medians = interleave({name: once(name, daemon) for name, daemon in daemons.items()}, rounds)
    return medians, {name: values[-rounds * QUESTIONS :] for name, values in single.items()}


def deaths_of_services(server: Zephserver, rounds: int) -> Samples:
    """Seconds from the end of main() to the next main(): with the usual pause, and with none."""
    samples: Samples = {}
    for name in MORTALS:
        orders = os.open(server.folder / f"{name}.orders", os.O_RDWR)
        news = os.open(server.folder / f"{name}.news", os.O_RDWR)
        _moments(news, 1)
        samples[name] = []
        for _ in range(rounds):
            time.sleep(0.05)
            os.write(orders, b"d")
            died, lives = _moments(news, 2)
            samples[name].append(lives - died)
        os.close(orders)
        os.close(news)
    return samples


def deaths_of_programs(daemon: Daemon, rounds: int) -> list[float]:
    """Seconds from kill -9 of a unit to its successor. The daemon is not asked: that would wake it."""
    seconds = []
    for number in range(rounds):
        progress(f"{daemon.name}: death {number + 1}/{rounds}")
        time.sleep(1.5)  # supervisor calls a program RUNNING after one second
        before = set(children(daemon.pid))
        victim = min(before)
        os.kill(victim, 9)
        died = time.monotonic()
        seconds.append(wait_until(lambda before=before: set(children(daemon.pid)) - before) - died)  # type: ignore[misc]
    progress("")
    return seconds


def idle(daemons: Mapping[str, Daemon]) -> tuple[dict[str, float], dict[str, float]]:
    """Share of a core that each uses when nobody asks for anything, and its memory in MB afterwards."""
    time.sleep(2.0)
    before = {name: cpu_seconds(daemon.pid) for name, daemon in daemons.items()}
    began = time.monotonic()
    progress(f"idle for {IDLE_SECONDS:g} s")
    time.sleep(IDLE_SECONDS)
    progress("")
    span = time.monotonic() - began
    shares = {name: (cpu_seconds(daemon.pid) - before[name]) / span for name, daemon in daemons.items()}
    return shares, {name: resident(daemon.pid) for name, daemon in daemons.items()}


def _moments(news: int, count: int) -> Sequence[float]:
    """The next lines of a pipe, as seconds of the monotonic clock."""
    text = b""
    while text.count(b"\n") < count:
        if not can_read(news, 20.0):
            raise TimeoutError("the service said nothing for 20 s")
        text += os.read(news, 4096)
    return [int(line) / 1e9 for line in text.split()]


def main() -> int:
    """Measure, and print tables and the targets."""
    options = arguments(__doc__ or "", rounds=15)
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="zephbench-") as name:
        folder = Path(name)
        (folder / "starts").mkdir(mode=0o700)
        starts, stops = start_and_stop(folder / "starts", options.rounds)
        rows = [[name, spread_cell(starts[name], digits=0), spread_cell(stops[name], digits=0)] for name in starts]
        table(f"Start and stop, {options.rounds} interleaved rounds", ["what", "start ms", "stop ms"], rows)

        kinds: list[type[Daemon]] = [Zephserver, *installed(Supervisor, Circus)]
        daemons = {kind.name: kind(folder / kind.name, UNITS) for kind in kinds}
        mortal = Zephserver(folder / "mortal", 0, mortal=True)
        everything = [*daemons.values(), mortal]
        try:
            for daemon in everything:
                daemon.start()
            shares, memory = idle(daemons)
            medians, answers = round_trips(daemons, options.rounds)
            deaths = deaths_of_services(mortal, options.rounds * 4)
            killed = {name: deaths_of_programs(daemons[name], PEER_DEATHS) for name in daemons if name != "zephserver"}
        finally:
            for daemon in everything:
                try:
                    if daemon.pid:
                        daemon.stop()
                finally:
                    daemon.kill()

    rows = [
        [name, spread_cell(answers[name], digits=3), f"{quantile(answers[name], 0.99) * 1000:.3f}",
         f"{statistics.median(a / b for a, b in zip(medians[name], medians['zephserver'], strict=True)):.1f}"]
        for name in answers
    ]  # fmt: skip
    table(
        f"State of {UNITS} units on an open connection, {len(answers['zephserver'])} answers",
        ["daemon", "ms (q10-q90)", "p99 ms", "x zephserver"],
        rows,
    )
    rows = [["zephserver, pause of 0.1 s as by default", spread_cell(deaths["Mortal"])],
            ["zephserver, no pause", spread_cell(deaths["Hasty"], digits=2)]]  # fmt: skip
    rows += [[name, spread_cell(values, digits=0)] for name, values in killed.items()]
    table("From the death of a unit to its next life", ["daemon", "ms (q10-q90)"], rows)
    rows = [[name, f"{memory[name]:.1f}", f"{shares[name] * 100:.3f}"] for name in daemons]
    table(f"{UNITS} idle units, {IDLE_SECONDS:g} s", ["daemon", "memory MB", "% of a core"], rows)

    ours = answers["zephserver"]
    targets = [
        Target("start to ready, 4 services", statistics.median(starts["zephserver, the chat example"]), 0.6, "s"),
        Target("status round trip, median", statistics.median(ours) * 1000, 0.2, "ms"),
        Target(f"memory, {UNITS} idle services", memory["zephserver"], 25, "MB"),
        Target("CPU when idle", shares["zephserver"] * 100, 0.2, "% of a core"),
    ]
    return report(
        options,
        targets,
        starts=starts,
        stops=stops,
        answers=answers,
        deaths=deaths | killed,
        memory=memory,
        idle=shares,
    )


if __name__ == "__main__":
    sys.exit(main())
