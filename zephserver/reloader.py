"""Development mode: watches the user's folders, and has changed tasks loaded while everybody stays connected."""

from __future__ import annotations

import logging
import os
import queue
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from zephserver import messages
from zephserver.core.errors import ReloadFailed, SettingsError
from zephserver.core.origin import origin_of
from zephserver.core.service import Service
from zephserver.core.settings import load_settings
from zephserver.core.settings_page import Settings
from zephserver.events import RestartNeeded
from zephserver.module_graph import is_ours
from zephserver.router import ROUTER, Router
from zephserver.settling import PAUSE, Settling
from zephserver.task_table import TaskTable
from zephserver.websocket_client import WebsocketClient

# Reading a file makes events too ("opened", "closed_no_write"), and reading is what follows an event.
_CHANGES: list[type[FileSystemEvent]] = [
    FileCreatedEvent, FileModifiedEvent, FileMovedEvent, FileDeletedEvent, FileClosedEvent,
    DirCreatedEvent, DirMovedEvent,
]  # fmt: skip
_EDITORS = ("~", ".swp", ".tmp", "___jb_tmp___", "___jb_old___", "#", "4913")  # how names end that are an editor's own
HALF_WRITTEN = 0.15  # seconds to wait for the rest of a file that does not compile
FALLBACK_POLL = 1.0  # seconds between two looks, where the system cannot tell of changes
# A tree with more folders is watched in parts, without its environments: the system has a limit for watched folders.
LARGE_TREE = 1_000

_log = logging.getLogger("zephserver.reloader")


class Reloader(Service):
    """The service that `zephserver-start --dev` adds. Its thread does the work, one burst of saves after the other."""

    notify_ready: ClassVar[bool] = True

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Path | None] = queue.SimpleQueue()  # None: stop
        self._scope: _Scope
        self._table: TaskTable
        self._router: Router | None = None  # a server without a web has no tasks to load

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override] # read-only here
        """The router, where there is one."""
        return (ROUTER,) if ROUTER in self.server.settings.service_list else ()

    def main(self) -> None:
        """Watch until disable()."""
        if self.requires:
            self._router = self.server.get_service(ROUTER)
            self._table = self._router.table
        else:
            self._table = TaskTable(self.server)
            self._table.remember({})
        self._scope = _Scope(self.server.settings, self._table.roots)
        observer = self._watch()
        try:
            self._reload(set())  # what was saved between the start of the router and now
            self.ready()
            self._serve()
        finally:
            observer.stop()
            observer.join()

    def disable(self) -> None:
        """End main()."""
        self._events.put(None)

    def _watch(self) -> BaseObserver:
        """Begin to watch, by looking again and again where the system cannot tell."""
        poll = self.server.settings.reload_poll
        try:
            return self._observe(Observer() if poll is None else PollingObserver(timeout=poll))
        except OSError as error:
            _log.warning(
                "the system cannot watch these folders (%s), so they are looked at every %g s; on Linux "
                "fs.inotify.max_user_watches and max_user_instances are the limits",
                error.strerror or error, FALLBACK_POLL,
            )  # fmt: skip
            return self._observe(PollingObserver(timeout=FALLBACK_POLL))

    def _observe(self, observer: BaseObserver) -> BaseObserver:
        handler = _Handler(self._events, observer, self._scope)
        try:
            for root in list(self._scope.roots):
                handler.watch(root)
            observer.start()
        except OSError:
            observer.stop()
            raise
        return observer

    def _serve(self) -> None:
        settling = Settling()
        while True:
            due = settling.due
            try:
                path = self._events.get(timeout=None if due is None else max(0.0, due - time.monotonic()))
            except queue.Empty:
                touched = settling.take(time.monotonic())
                if self._is_half_written(touched) and self._wait_for_more(settling):
                    for path in touched:
                        settling.touch(path, time.monotonic())
                    continue
                self._changed(touched)
                was_storm = settling.is_storm
                settling.done(more=not self._events.empty())
                if settling.is_storm and not was_storm:
                    _log.warning("%s is saved again and again; it is looked at every %g s only", min(touched), PAUSE)
                continue
            if path is None:
                return
            settling.touch(path, time.monotonic())

    def _changed(self, touched: set[Path]) -> None:
        """Do what a burst of saves asks for."""
        modules = self._reload(touched)
        pages = sorted(page for path in touched if (page := self._scope.page(path)))
        if modules or pages:
            self._tell_browsers(modules, pages)
        stale = self._table.stale(touched)
        if stale.files:
            faults = tuple(_faults_of_code(stale.files))
            self.server.bus.publish(RestartNeeded(files=stale.files, services=stale.services, faults=faults))
        if stale.settings:
            self.server.bus.publish(RestartNeeded(files=(stale.settings,), faults=tuple(_faults_of(stale.settings))))

    def _reload(self, touched: set[Path]) -> list[str]:
        """The modules that were loaded anew."""
        if self._router is None:
            return []
        try:
            modules: list[str] = self._router.reload_touched(touched)["modules"]
        except ReloadFailed:
            return []  # it was published, and the old code goes on
        except Exception:
            _log.exception("the files could not be looked at")
            return []
        return modules

    def _tell_browsers(self, modules: list[str], pages: list[str]) -> None:
        for instance in self.server.services.get_all_services().values():
            if isinstance(instance, WebsocketClient) and instance.address is not None:
                instance.tell_everyone(messages.reloaded(modules, pages))

    def _is_half_written(self, touched: set[Path]) -> bool:
        """Whether a file ends in the middle, or was emptied to be written anew."""
        for path in touched:
            if path.suffix != ".py":
                continue
            try:
                text = path.read_bytes()
                if not text and path.name != "__init__.py":
                    return True
                compile(text, str(path), "exec", dont_inherit=True)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return True
            except OSError:
                pass
        return False

    def _wait_for_more(self, settling: Settling) -> bool:
        """Whether something more is saved within a moment."""
        try:
            path = self._events.get(timeout=HALF_WRITTEN)
        except queue.Empty:
            return False
        if path is None:
            self._events.put(None)
            return False
        settling.touch(path, time.monotonic())
        return True


def _faults_of_code(files: Iterable[str]) -> Iterator[str]:
    """What is wrong with source files that cannot be compiled."""
    for file in files:
        try:
            compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            yield str(origin_of(error, file.__eq__))
        except OSError:
            yield f"{file} is gone"


def _faults_of(settings: str) -> list[str]:
    """What is wrong with a settings file."""
    try:
        load_settings(settings)
    except SettingsError as error:
        return error.faults
    return []


class _Scope:
    """Which files matter: the code of the user, and what browsers have loaded."""

    def __init__(self, settings: Settings, roots: Sequence[Path]) -> None:
        code = [root.resolve() for root in roots]
        self._pages = settings.static_folder.resolve() if settings.static_folder is not None else None
        outside = self._pages is not None and not any(self._pages.is_relative_to(root) for root in code)
        self.roots = [*code, *([self._pages] if self._pages is not None and outside else [])]
        # A page that is loaded makes a line in the log; where that is in the folder of the pages, it would never end.
        own = (settings.log_path, settings.lock_file, settings.configuration_network_interface_server)
        self._own = tuple(os.path.realpath(path) for path in own)

    def is_wanted(self, path: Path) -> bool:
        """Whether it is code, or belongs to a page."""
        return (path.suffix == ".py" and self.is_ours(path)) or self.page(path) is not None

    def is_ours(self, path: Path) -> bool:
        """Whether it is in a folder of the user's, and not in an environment, a cache or a hidden folder."""
        return any(is_ours(path, root) for root in self.roots)

    def add(self, folder: Path) -> bool:
        """One more folder of the user's, to which a link leads; False when it is known, or would lead in a circle."""
        if any(folder.is_relative_to(root) or root.is_relative_to(folder) for root in self.roots):
            return False
        self.roots.append(folder)
        return True

    def page(self, path: Path) -> str | None:
        """Its path in the address, for a file that browsers load."""
        if self._pages is None or not is_ours(path, self._pages) or path.suffix in (".py", ".pyc"):
            return None
        if path.name.endswith(_EDITORS) or str(path).startswith(self._own):
            return None
        return f"/{path.relative_to(self._pages).as_posix()}"


class _Handler(FileSystemEventHandler):
    """Takes note of what changes in folders. Thread of the observer."""

    def __init__(self, events: queue.SimpleQueue[Path | None], observer: BaseObserver, scope: _Scope) -> None:
        self._events, self._observer, self._scope = events, observer, scope
        self._alone: set[Path] = set()  # folders that are watched without those below them

    def watch(self, folder: Path) -> None:
        """Watch a folder and what is below it. Raises OSError."""
        for path, is_whole in self._parts(folder):
            self._observer.schedule(self, str(path), recursive=is_whole, event_filter=_CHANGES)
            if not is_whole:
                self._alone.add(path)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """A save may be a write, a rename onto the file (most editors), or a rename away and a new file (vim)."""
        for name in (event.src_path, event.dest_path):
            if not name:
                continue
            path = Path(os.fsdecode(name))
            if event.is_directory:
                self._new_folder(path)
            elif self._scope.is_wanted(path):
                self._events.put(path)

    def _new_folder(self, folder: Path) -> None:
        if not self._scope.is_ours(folder / "any.py"):
            return
        try:
            if folder.parent in self._alone and folder.is_dir():
                self.watch(folder)
            for path in folder.rglob("*.py"):  # they may have been there before the folder was watched
                self._events.put(path)
        except OSError as error:
            _log.warning("%s cannot be watched: %s", folder, error.strerror or error)

    def _parts(self, folder: Path) -> Iterator[tuple[Path, bool]]:
        """The folders to watch, each with all that is below it or alone."""
        links: list[Path] = []
        count = 0
        for place, folders, _ in os.walk(folder):
            links += [Path(place, name) for name in folders if os.path.islink(os.path.join(place, name))]
            count += len(folders)
            if count > LARGE_TREE:
                break
        if count <= LARGE_TREE:
            yield folder, True
            below = links
        else:
            yield folder, False
            below = [Path(entry) for entry in os.scandir(folder) if entry.is_dir()]
        for child in below:
            if self._scope.is_ours(child / "any.py") and (not child.is_symlink() or self._scope.add(child.resolve())):
                yield from self._parts(child.resolve())
