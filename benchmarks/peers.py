"""The daemons that are measured, each with units that do nothing: ours, supervisord, circusd.

Each is started in a folder of its own, listens on a UNIX socket there, and is ended by its process id.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import BIN, ENVIRONMENT, Program, free_port, wait_until

UNITS = """\
import os
import threading
import time


class Idle:
    def __init__(self):
        self._disabled = threading.Event()

    def main(self):
        self._disabled.clear()
        self._disabled.wait()

    def disable(self):
        self._disabled.set()


class Mortal:
    \"\"\"Says when it lives, dies when it is told to, and says when.\"\"\"

    def __init__(self):
        self._orders = os.open(type(self).__name__ + ".orders", os.O_RDWR)
        self._news = os.open(type(self).__name__ + ".news", os.O_RDWR)

    def main(self):
        os.write(self._news, b"%d\\n" % time.monotonic_ns())
        if os.read(self._orders, 1) == b"d":
            os.write(self._news, b"%d\\n" % time.monotonic_ns())
            raise RuntimeError("told to die")

    def disable(self):
        os.write(self._orders, b"x")


class Hasty(Mortal):
    pass
"""
MORTALS = ("Mortal", "Hasty")
PROC = Path("/proc/self/stat")  # Linux


class Daemon(ABC):
    """A service manager that can be started, asked and stopped."""

    name: str
    pid = 0

    def __init__(self, folder: Path, units: int) -> None:
        self.folder, self.units = folder, units
        folder.mkdir(mode=0o700)
        self.write_settings()

    @abstractmethod
    def write_settings(self) -> None:
        """Make the files that it is started with."""

    @abstractmethod
    def start(self) -> float:
        """Start it and return when it answers; how many seconds that took."""

    @abstractmethod
    def status_command(self) -> Program:
        """Its own command for the state of all units."""

    @abstractmethod
    def stop_command(self) -> Program:
        """Its own command for ending it."""

    @abstractmethod
    def connect(self) -> tuple[Callable[[], object], Callable[[], object]]:
        """Open a connection; how to ask for the state of all units on it, and how to close it."""

    def stop(self) -> float:
        """Stop it with its own command and return when its process has gone; how many seconds that took."""
        began = time.monotonic()
        self.stop_command().run()
        return wait_until(lambda: not is_alive(self.pid)) - began

    def kill(self) -> None:
        """End it and its units, whatever its state."""
        if self.pid and is_alive(self.pid):
            for pid in (self.pid, *children(self.pid)):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


class Zephserver(Daemon):
    """Ours. `template` names the example to run; without one it runs `units` services that wait."""

    name = "zephserver"

    def __init__(self, folder: Path, units: int = 10, template: str = "", mortal: bool = False) -> None:
        self._template, self._mortal = template, mortal
        super().__init__(folder, units)

    @property
    def socket(self) -> str:
        """The path of the control socket."""
        return str(self.folder / "interface.sock")

    def write_settings(self) -> None:
        if self._template:
            self.folder.rmdir()
            Program("new", [str(BIN / "zephctl"), "new", self._template, str(self.folder)]).run()
            settings = self.folder / "zephsettings.py"
            settings.write_text(settings.read_text() + f"\nPORT_ZEPH = {free_port()}\n")
            return
        classes = [f"Idle{number}" for number in range(self.units)]
        text = UNITS + "".join(f"\n\nclass {name}(Idle):\n    pass\n" for name in classes)
        (self.folder / "units.py").write_text(text)
        lines = [f"SERVICE_LIST = {[f'units/{name}' for name in (*classes, *(MORTALS if self._mortal else ()))]!r}"]
        if self._mortal:
            for name in MORTALS:
                os.mkfifo(self.folder / f"{name}.orders")
                os.mkfifo(self.folder / f"{name}.news")
            # A short period: each death counts as the first one, so that the pause does not grow from round to round.
            lines += ["RESTART_PERIOD = 0.01", "SERVICE_OPTIONS = {'units/Hasty': {'restart_delay': 1e-6}}"]
        (self.folder / "zephsettings.py").write_text("\n".join(lines) + "\n")

    def start(self) -> float:
        starter = [str(BIN / "zephserver-start"), "--daemon", "--folder", str(self.folder)]
        seconds = Program("zephserver-start --daemon", starter).run().wall
        ask, close = self.connect()
        status: Any = ask()
        close()
        self.pid = int(status["pid"])
        return seconds

    def status_command(self) -> Program:
        return Program(
            "zephctl services list -o json",
            [str(BIN / "zephctl"), "services", "list", "-o", "json"],
            folder=str(self.folder),
        )

    def stop_command(self) -> Program:
        return Program("zephserver-stop", [str(BIN / "zephserver-stop")], folder=str(self.folder))

    def connect(self) -> tuple[Callable[[], object], Callable[[], object]]:
        from zephctl.client import ControlClient

        client = ControlClient(self.socket, 10.0)
        return lambda: client.call("status"), client.close


class Supervisor(Daemon):
    """supervisord on a UNIX socket, with units that sleep."""

    name = "supervisor"

    def write_settings(self) -> None:
        parts = [
            f"[unix_http_server]\nfile={self.folder}/supervisor.sock",
            f"[supervisord]\nlogfile={self.folder}/supervisord.log\npidfile={self.folder}/supervisord.pid"
            f"\nchildlogdir={self.folder}",
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface",
            f"[supervisorctl]\nserverurl=unix://{self.folder}/supervisor.sock",
        ]
        parts += [f"[program:unit{number}]\ncommand={_sleep()} 100000" for number in range(self.units)]
        (self.folder / "supervisord.conf").write_text("\n\n".join(parts) + "\n")

    def start(self) -> float:
        began = time.monotonic()
        starter = [str(BIN / "supervisord"), "-c", str(self.folder / "supervisord.conf")]
        Program("supervisord", starter).run()
        first = wait_until(self._answers)
        self.pid = int((self.folder / "supervisord.pid").read_text())
        return first - began

    def all_running(self) -> bool:
        """Whether every unit is RUNNING, so that the status command has exit status 0."""
        infos = self._proxy().supervisor.getAllProcessInfo()
        return all(info["statename"] == "RUNNING" for info in infos)

    def _answers(self) -> bool:
        try:
            return bool(self._proxy().supervisor.getState())
        except OSError:
            return False

    def _proxy(self) -> Any:
        import xmlrpc.client

        transport = importlib.import_module("supervisor.xmlrpc").SupervisorTransport(
            None, None, f"unix://{self.folder}/supervisor.sock"
        )
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)

    def status_command(self) -> Program:
        return self._ctl("status")

    def stop_command(self) -> Program:
        return self._ctl("shutdown")

    def connect(self) -> tuple[Callable[[], object], Callable[[], object]]:
        proxy = self._proxy()
        return lambda: proxy.supervisor.getAllProcessInfo(), lambda: proxy("close")()

    def _ctl(self, word: str) -> Program:
        argv = [str(BIN / "supervisorctl"), "-c", str(self.folder / "supervisord.conf"), word]
        return Program(f"supervisorctl {word}", argv)


class Circus(Daemon):
    """circusd on UNIX sockets, with units that sleep."""

    name = "circus"

    @property
    def endpoint(self) -> str:
        """Where it takes commands."""
        return f"ipc://{self.folder}/endpoint.sock"

    def write_settings(self) -> None:
        parts = [f"[circus]\nendpoint = {self.endpoint}\npubsub_endpoint = ipc://{self.folder}/pubsub.sock"]
        parts += [f"[watcher:unit{number}]\ncmd = {_sleep()} 100000" for number in range(self.units)]
        (self.folder / "circus.ini").write_text("\n\n".join(parts) + "\n")

    def start(self) -> float:
        pid_file = self.folder / "circusd.pid"
        pid_file.unlink(missing_ok=True)
        began = time.monotonic()
        starter = [str(BIN / "circusd"), "--daemon", "--pidfile", str(pid_file), "--log-output",
                   str(self.folder / "circusd.log"), str(self.folder / "circus.ini")]  # fmt: skip
        Program("circusd --daemon", starter).run()
        ask, close = self.connect()  # ZeroMQ holds the question until somebody listens
        ask()
        first = time.monotonic()
        close()
        self.pid = int(pid_file.read_text())
        return first - began

    def status_command(self) -> Program:
        return self._ctl("status")

    def stop_command(self) -> Program:
        return self._ctl("quit")

    def connect(self) -> tuple[Callable[[], object], Callable[[], object]]:
        client = importlib.import_module("circus.client").CircusClient(endpoint=self.endpoint, timeout=30.0)
        return lambda: client.send_message("status"), client.stop

    def _ctl(self, word: str) -> Program:
        return Program(f"circusctl {word}", [str(BIN / "circusctl"), "--endpoint", self.endpoint, word])


def installed(*kinds: type[Daemon]) -> Sequence[type[Daemon]]:
    """Those of the peers that are here; a word about the others."""
    programs = {Supervisor: "supervisord", Circus: "circusd"}
    found = [kind for kind in kinds if (BIN / programs[kind]).exists()]
    for kind in kinds:
        if kind not in found:
            print(f"{kind.name} is not installed beside this Python: left out", file=sys.stderr)
    return found


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not PROC.exists()


def children(pid: int) -> list[int]:
    """The processes that *pid* has started."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        answer = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
        return [int(word) for word in answer.stdout.split()]


def resident(pid: int) -> float:
    """Memory of the process that is in RAM, in MB (10^6 bytes)."""
    answer = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(answer.stdout) * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """CPU time that all threads of the process have used."""
    if PROC.exists():
        return time.clock_gettime(~pid << 3 | 2)  # the clock of another process, as clock_getcpuclockid(3) makes it
    answer = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True)
    minutes, _, seconds = answer.stdout.strip().rpartition(":")
    return float(seconds) + 60.0 * float(minutes or 0)


def _sleep() -> str:
    return shutil.which("sleep", path=ENVIRONMENT.get("PATH")) or "/bin/sleep"
