"""Name -> task: what clients can call, and how it changes while the server runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zephserver.access import guards_of
from zephserver.core.checks import told_once
from zephserver.core.errors import CommandFailed, ReloadFailed, ServiceNotLoaded
from zephserver.events import ReloadMended, ReloadRefused, TasksReloaded
from zephserver.job import TaskClass, load_task
from zephserver.reload import Stale, TaskCode
from zephserver.task import TaskPing

if TYPE_CHECKING:
    from zephserver.core.server import Server


class TaskTable:
    """The tasks of a server. Any thread: the table is replaced whole."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._code = TaskCode(server.settings, guards_of)
        self._fault: ReloadFailed | None = None  # of the files as they are now
        self.rows: dict[str, TaskClass] = {}

    def load(self) -> list[str]:
        """Import the tasks of TASKS_PATH, and TaskPing, which is always there; what is wrong with those left out."""
        found, faults = load_tasks(self._server.settings.tasks_path)
        self.remember({"TaskPing": TaskPing} | found)
        return faults

    def remember(self, classes: dict[str, type[Any]]) -> None:
        """Take these classes for the tasks, and the code as it is now for what runs."""
        self._install(classes)
        self._code.remember(classes)

    def reload(self, touched: Iterable[Path] = (), *, running: int, dry_run: bool = False) -> dict[str, Any]:
        """Load the code that has changed; *touched* are files that are known to have. Raises ReloadFailed."""
        publish = self._server.bus.publish
        try:
            done = self._code.reload(self._install, dry_run=dry_run, touched=touched)
        except ReloadFailed as error:
            if self.missing:
                error = ReloadFailed(error.origin, so=f"not loaded: {', '.join(self.missing)}")
            self._fault = error
            publish(ReloadRefused(error=str(error), **error.facts))
            raise error from None
        fault, self._fault = self._fault, None
        if done is None:
            if fault is not None:
                publish(ReloadMended(file=fault.origin.file))
            return {"modules": [], "seconds": 0.0, "keep_old": []}
        if not dry_run:
            publish(TasksReloaded(modules=done.modules, seconds=done.seconds, running=running, keep_old=done.keep_old))
        return {"modules": list(done.modules), "seconds": round(done.seconds, 4), "keep_old": list(done.keep_old)}

    def rollback(self) -> bool:
        """Go back to the code from before the last reload. Raises CommandFailed when there was none."""
        if not self._code.rollback(self._install):
            raise CommandFailed("nothing-to-undo", "there is no reload to undo")
        return True

    def stale(self, touched: Iterable[Path] | None = None) -> Stale:
        """What has changed that only a new process uses; of the files *touched* only, if they are given."""
        return self._code.stale(touched)

    @property
    def missing(self) -> list[str]:
        """The tasks of TASKS_PATH that could not be loaded yet."""
        return [name for name in self._server.settings.tasks_path if name not in self.rows]

    @property
    def roots(self) -> list[Path]:
        """The folders that the user's modules come from."""
        return self._code.roots

    def _install(self, classes: dict[str, type[Any]]) -> None:
        timeout = self._server.settings.task_timeout
        self.rows = {name: TaskClass.of(cls, timeout) for name, cls in classes.items()}


def load_tasks(paths: Mapping[str, str]) -> tuple[dict[str, type[Any]], list[str]]:
    """The classes of the tasks that can be imported, and what is wrong with the others, one line for each reason."""
    found: dict[str, type[Any]] = {}
    faults: dict[str, list[str]] = {}
    for name, path in paths.items():
        try:
            found[name] = load_task(path)
        except ServiceNotLoaded as error:
            faults.setdefault(error.why, []).append(name)
    return found, told_once("TASKS_PATH", "task", faults)
