"""The process above the workers: holds lock, log and control socket, keeps the workers alive, and stops them."""

from __future__ import annotations

import signal
import time
from types import ModuleType
from typing import Any, ClassVar

from zephserver.core import runtime
from zephserver.core.errors import AlreadyRunning, SettingsError, StartFailed, ZephError
from zephserver.core.events import Recovered, WorkerSaid
from zephserver.core.processes import commands, merge
from zephserver.core.processes.crew import Crew
from zephserver.core.processes.folder import RunFolder
from zephserver.core.processes.plan import Plan, faults_of_workers, settings_of_parent
from zephserver.core.processes.port import SharedPort
from zephserver.core.processes.rules import LOOK, RULES
from zephserver.core.processes.table import HandedOn
from zephserver.core.server import Server
from zephserver.core.settings_page import Settings

POLL = 0.02  # seconds between two looks whether the workers of a killed server have ended


class Supervisor(Server):
    """A server whose services are processes, each with the services that the settings name. Any thread.

    To its operator it is one server: its command table asks the workers. `whole` are the settings as they were given,
    `settings` those of this process. Raises SettingsError when several workers cannot be had with them.
    """

    commands: ClassVar[ModuleType] = commands

    def __init__(self, settings: Settings, *, capture_output: bool = False, **more: Any) -> None:
        faults = [f"{name}: {fault}" for name, fault in faults_of_workers(settings)]
        if settings.file is None:
            faults.append("WORKERS: each worker reads a settings file, and these settings are of none; write one")
        if faults:
            raise SettingsError(faults)
        self.whole = settings
        self.crew = Crew(self)
        self.folder = RunFolder(settings.lock_file)
        self.port = SharedPort(settings.host_zeph, settings.port_zeph)
        self.came_up = False  # the first start is over
        self._captures_output = capture_output
        super().__init__(settings_of_parent(settings), table=HandedOn(self.crew.answer), **more)

    def start(self) -> None:
        """Start every worker, and return when all of them are ready.

        The workers of a server that was killed end by themselves; they are waited for. Raises StartFailed.
        """
        if not self._undo and not self.is_stopping:
            self.open()
        try:
            self._prepare()
        except (ZephError, OSError) as error:
            why = f"stopped while starting: {self.stop_reason}" if self.is_stopping else str(error)
            self.request_stop(why, exit_status=1)
            raise StartFailed(why) from None
        try:
            super().start()
        finally:
            self.came_up = True

    def force_exit(self, status: int) -> None:
        """End all processes at once."""
        self.crew.kill()
        super().force_exit(status)

    def unready(self) -> dict[str, str]:
        """The workers that run without being ready, and why."""
        return {f"worker {n}": f"worker {n}: {slot.failure}" for n, slot in self.crew.slots.items() if slot.failure}

    def status(self) -> dict[str, Any]:
        """One status of all: ready if all are ready; connections, tasks and services added up."""
        mine = super().status()
        asked = self.crew.paths
        answers = self.crew.ask_all("status", LOOK)
        count = self.whole.workers
        ready = sum(bool(status["ready"]) for status in answers.values())
        whole = merge.total(answers) | {
            name: mine[name] for name in ("running", "stopping", "pid", "uptime", "version")
        }
        whole["ready"] = mine["ready"] and ready == count
        whole["threads"] = whole.get("threads", 0) + mine["threads"]
        whole["log_dropped"] = whole.get("log_dropped", 0) + mine["log_dropped"]
        services = whole.setdefault("services", {"enabled": 0, "available": 0})
        services["total"] = count * len(self.whole.service_list)  # also of those that do not answer
        whole.pop("not_ready", None)
        if not whole["ready"]:
            silent = {number: merge.SILENT for number in asked if number not in answers}
            told = {number: status["not_ready"] for number, status in answers.items() if not status["ready"]}
            why = mine.get("not_ready") or merge.in_one_line(silent | told, count)
            whole |= {"not_ready": why} if why else {}
        return {**{name: whole[name] for name in mine}, **whole, "workers": {"total": count, "ready": ready}}

    def reload(self) -> None:
        """Open the log anew, and have the workers reload one after the other, in a thread of its own."""
        self.log.reopen()
        self.log.write("INFO", "the log was opened anew")
        runtime.spawn("reload", self._reload_workers, self)

    def log_stacks(self, why: str) -> None:
        """Write the stack of every thread of every process to the log."""
        super().log_stacks(why)
        self.crew.signal(signal.SIGUSR1)

    @property
    def service_names(self) -> list[str]:
        """The services whose lines the log has: those of the workers, and those that keep them."""
        return [*self.whole.service_list, *self.services.names]

    # -- what a slot asks -------------------------------------------------------------------------------------------

    def plan_of(self, number: int) -> Plan:
        """What a worker is to do that is started now."""
        return Plan(
            number=number,
            count=self.whole.workers,
            folder=self.folder.path,
            sockets=self.folder.sockets,
            port=self.port.number,
            levels=self.log.levels(),
            captures_output=self._captures_output,
        )

    def heard(self, said: WorkerSaid) -> None:
        """An event of a worker."""
        if self.port.is_taken and said.event.get("port") == self.port.number:
            where = f"{self.port.host}:{self.port.number}"
            self.request_stop(f"{where} is taken; set another PORT_ZEPH, or 0 for a free one", exit_status=1)
        self.bus.publish(said)

    # -- within -----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """A folder for locks and sockets, nobody left of a server that was killed, and the port."""
        self.folder.claim()
        began = time.monotonic()
        first = survivors = self.folder.survivors()
        while survivors and not self.is_stopping:
            if time.monotonic() - began > self.whole.shutdown_timeout:
                raise AlreadyRunning(self.folder.path, survivors[0] or None)
            time.sleep(POLL)
            survivors = self.folder.survivors()
        if self.is_stopping:
            return
        if first:
            pids = ", ".join(map(str, first))
            self.bus.publish(Recovered(what=f"workers of a server that was killed have ended, pid {pids}"))
        self._undo += [self.folder.remove, self.port.close]
        self.folder.clean(self.whole.workers)
        self.port.hold()

    def _stop(self) -> None:
        """Body of the stopping thread: all workers drain at once, then each is waited for."""
        self.crew.end()
        super()._stop()

    def _reload_workers(self) -> None:
        try:
            self.crew.answer(RULES["reload"], {"command": "reload"})
        except ZephError as error:
            self.log.write("ERROR", f"not every worker has reloaded: {error}")
