"""How long the commands take, beside bare Python, a bare click program and the commands of supervisor and circus.

Every command speaks to a server of its own that really runs, with the same number of units.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness import (
    BIN,
    ENVIRONMENT,
    Program,
    Samples,
    Target,
    arguments,
    interleave,
    ratio,
    ratio_cell,
    report,
    spread_cell,
    table,
    wait_until,
)
from peers import Circus, Daemon, Supervisor, Zephserver, installed

UNITS = 5
PYTHON, CLICK, SUPERVISOR = "python -c pass", "bare click program", "supervisorctl status"
STOP = "zephserver-stop"
STOP_DEAD, STOP_STUB, STOP_HERE = f"{STOP} SOCKET, nobody listens", f"{STOP} SOCKET, answered at once", STOP
LIST = "zephctl services list -o json"

CLICK_PROGRAM = """\
import click


@click.command()
@click.option("-o", "--output")
def main(output):
    click.echo("done")


if __name__ == "__main__":
    main()
"""


class Stub:
    """A server that answers everything with 'stopped', at once, so that only the command itself is measured."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"stopping\nstopped\n")


def programs(folder: Path, ours: Zephserver, peers: Sequence[Daemon]) -> list[Program]:
    """All command lines that are measured."""
    click_program = folder / "click_program.py"
    click_program.write_text(CLICK_PROGRAM)
    here = folder / "stub"
    here.mkdir(mode=0o700)
    (here / "zephsettings.py").write_text("SERVICE_LIST = []\n")
    Stub(str(here / "interface.sock"))
    stop = str(BIN / "zephserver-stop")
    zephctl = str(BIN / "zephctl")
    home = str(ours.folder)
    return [
        Program(PYTHON, [sys.executable, "-c", "pass"]),
        Program(CLICK, [sys.executable, str(click_program)]),
        Program(STOP_DEAD, [stop, str(folder / "nobody.sock")], expected=5),
        Program(STOP_STUB, [stop, str(here / "interface.sock")]),
        Program(STOP_HERE, [stop], folder=str(here)),
        Program("zephserver-command status", [str(BIN / "zephserver-command"), "status"], folder=home),
        Program("zephctl status -o json", [zephctl, "status", "-o", "json"], folder=home),
        Program(LIST, [zephctl, "services", "list", "-o", "json"], folder=home),
        Program("zephctl status, table on a terminal", [zephctl, "status"], folder=home, terminal=True),
        Program("zephctl --help", [zephctl, "--help"], folder=home),
        *(peer.status_command() for peer in peers),
    ]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[Zephserver, list[Daemon]]]:
    """Ours and the peers, each with UNITS units."""
    ours = Zephserver(folder / "zephserver", UNITS)
    peers: list[Daemon] = [kind(folder / kind.name, UNITS) for kind in installed(Supervisor, Circus)]
    daemons = [ours, *peers]
    try:
        for daemon in daemons:
            daemon.start()
        for peer in peers:
            if isinstance(peer, Supervisor):
                wait_until(peer.all_running)
        yield ours, peers
    finally:
        for daemon in daemons:
            try:
                if daemon.pid:
                    daemon.stop()
            finally:
                daemon.kill()


def measure(all_programs: Sequence[Program], rounds: int) -> tuple[Samples, Samples]:
    """Wall and CPU seconds of every program."""
    cpu: Samples = {program.name: [] for program in all_programs}

    def once(program: Program) -> Callable[[], float]:
        def run() -> float:
            cost = program.run()
            cpu[program.name].append(cost.cpu)
            return cost.wall

        return run

    wall = interleave({program.name: once(program) for program in all_programs}, rounds, warm_up=2)
    return wall, {name: values[-rounds:] for name, values in cpu.items()}


def targets(wall: Samples) -> list[Target]:
    """What section 13 of the specification promises of the commands."""
    promised = [Target(f"`{name}` / `{PYTHON}`", ratio(wall, name, PYTHON), 2.5) for name in (STOP_STUB, STOP_DEAD)]
    promised.append(Target(f"`{STOP}` in its folder / `{PYTHON}`", ratio(wall, STOP_HERE, PYTHON), 2.5))
    promised.append(Target(f"`{LIST}` / {CLICK}", ratio(wall, LIST, CLICK), 1.3))
    if SUPERVISOR in wall:
        promised.append(Target(f"`{LIST}` / `{SUPERVISOR}`", ratio(wall, LIST, SUPERVISOR), 1.0))
    return promised


def main() -> int:
    """Measure, and print a table and the targets."""
    options = arguments(__doc__ or "", rounds=25)
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="zephbench-") as name, running(Path(name)) as (ours, peers):
        wall, cpu = measure(programs(Path(name), ours, peers), options.rounds)
    rows = [
        [name if name == CLICK else f"`{name}`", spread_cell(wall[name]), f"{statistics.median(cpu[name]) * 1000:.1f}",
         *(ratio_cell(wall, name, base) for base in (PYTHON, CLICK, SUPERVISOR))]
        for name in wall
    ]  # fmt: skip
    head = ["command", "wall ms (q10-q90)", "CPU ms", "x bare Python", "x bare click", "x supervisorctl"]
    table(f"Commands, {options.rounds} interleaved rounds, {UNITS} units", head, rows)
    return report(options, targets(wall), wall=wall, cpu=cpu)


if __name__ == "__main__":
    sys.exit(main())
