"""A PostgreSQL of Debian's packages for tests: on a UNIX socket in a folder of its own; stopped, started, held."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.requirements import missing

PROGRAMS = Path("/usr/lib/postgresql")
PATIENCE = 60.0
OPTIONS = ("listen_addresses=", "fsync=off", "full_page_writes=off", "synchronous_commit=off")


class Postgres:
    """A cluster; `settings` are Django's for a database in it."""

    def __init__(self, programs: Path, folder: Path, user: list[str]) -> None:
        self._programs, self._folder, self._user = programs, folder, user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """An entry of DATABASES."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": str(self._folder),
            "NAME": "postgres",
            "USER": "postgres",
        }

    def make(self) -> None:
        """Fill the folder."""
        words = [
            "-D",
            str(self._folder / "data"),
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        self._run("initdb", *words)

    def start(self) -> None:
        """Start it; returns when it takes connections."""
        words = [word for option in OPTIONS for word in ("-c", option)]
        argv = [
            *self._user,
            str(self._programs / "postgres"),
            "-D",
            str(self._folder / "data"),
            "-k",
            str(self._folder),
        ]
        with open(self._folder.with_suffix(".log"), "ab") as log:
            self._process = subprocess.Popen([*argv, *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/")
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, self._folder.with_suffix(".log").read_text()[-2_000:]
            assert time.monotonic() < end, "PostgreSQL does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it at once, with every connection."""
        if self._process is not None:
            self.go_on()
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE)
            self._process = None

    def hold(self) -> None:
        """Have it do nothing any more, as a machine that hangs: it takes connections and answers none."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it work again."""
        self._signal(signal.SIGCONT)

    def connect(self) -> psycopg.Connection[Any]:
        """A connection for the test itself."""
        return psycopg.connect(host=str(self._folder), dbname="postgres", user="postgres", autocommit=True)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            try:
                os.kill(one, number)
            except ProcessLookupError:  # a connection that has just ended
                pass

    def _run(self, program: str, *words: str) -> None:
        argv = [*self._user, str(self._programs / program), *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, cwd="/")
        assert done.returncode == 0, done.stderr


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A new cluster that runs. Skips without PostgreSQL, or fails where all has to be there."""
    found = sorted(PROGRAMS.glob("*/bin/postgres"))
    if not found:
        missing("PostgreSQL is not installed; on Debian: see .ci/packages.txt")
    base = Path(tempfile.mkdtemp(prefix="zephpg", dir="/tmp"))  # short, for a socket's path has 107 bytes at most
    try:
        folder, user = base / "pg", _another_user()
        folder.mkdir(mode=0o755)
        base.chmod(0o755)
        if user:
            shutil.chown(folder, "postgres")
        postgres = Postgres(found[-1].parent, folder, user)
        postgres.make()
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(base)


def _another_user() -> list[str]:
    """PostgreSQL refuses to run as root; what lets a program run as somebody else."""
    if os.geteuid() != 0:
        return []
    entry = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
