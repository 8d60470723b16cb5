"""Name -> task: what clients can call, and how it changes while the server runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zephserver.access import guards_of
from zephserver.core.errors import CommandFailed, ReloadFailed
from zephserver.events import ReloadMended, ReloadRefused, TasksReloaded
from zephserver.job import TaskClass, load_task
from zephserver.reload import TaskCode
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

    def load(self) -> None:
        """Import the tasks of TASKS_PATH, and TaskPing, which is always there. Raises ServiceNotLoaded."""
        paths = self._server.settings.tasks_path
        classes = {"TaskPing": TaskPing} | {name: load_task(path) for name, path in paths.items()}
        self._install(classes)
        self._code.remember(classes)

    def reload(self, touched: Iterable[Path] = (), *, running: int, dry_run: bool = False) -> dict[str, Any]:
        """Load the code that has changed; *touched* are files that are known to have. Raises ReloadFailed."""
        publish = self._server.bus.publish
        try:
            done = self._code.reload(self._install, dry_run=dry_run, touched=touched)
        except ReloadFailed as error:
            self._fault = error
            facts = {name: getattr(error, name) for name in ("file", "line", "source", "column")}
            publish(ReloadRefused(error=str(error), **facts))
            raise
        fault, self._fault = self._fault, None
        if done is None:
            if fault is not None:
                publish(ReloadMended(file=fault.file))
            return {"modules": [], "seconds": 0.0, "keep_old": []}
        if not dry_run:
            publish(TasksReloaded(modules=done.modules, seconds=done.seconds, running=running, keep_old=done.keep_old))
        return {"modules": list(done.modules), "seconds": round(done.seconds, 4), "keep_old": list(done.keep_old)}

    def rollback(self) -> bool:
        """Go back to the code from before the last reload. Raises CommandFailed when there was none."""
        if not self._code.rollback(self._install):
            raise CommandFailed("nothing-to-undo", "there is no reload to undo")
        return True

    def restarts_needed(self, touched: Iterable[Path]) -> list[str]:
        """What only a restart reads anew of the files that changed."""
        return self._code.restarts_needed(touched)

    @property
    def roots(self) -> list[Path]:
        """The folders that the user's modules come from."""
        return self._code.roots

    def _install(self, classes: dict[str, type[Any]]) -> None:
        timeout = self._server.settings.task_timeout
        self.rows = {name: TaskClass.of(cls, timeout) for name, cls in classes.items()}
