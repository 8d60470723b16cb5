"""New code for the tasks of a running server: all of it or nothing, and nobody is disconnected."""

from __future__ import annotations

import linecache
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zephserver.core.errors import ReloadFailed
from zephserver.core.origin import Origin, origin_of
from zephserver.core.service import ServicePath
from zephserver.core.settings_page import Settings
from zephserver.job import fault_of
from zephserver.module_graph import (
    Source,
    dependants,
    found_again,
    imports_of,
    is_ours,
    is_package,
    local_modules,
    reachable,
    roots_of,
)
from zephserver.staging import Staging

Classes = dict[str, type[Any]]  # of the tasks, by the names that clients use
Digests = dict[str, str]  # of source files, by the names of their modules


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did, or would do."""

    modules: tuple[str, ...]  # executed anew, without those that were not there before
    seconds: float
    keep_old: tuple[str, ...] = ()  # services that use one of them, and go on with the old code


@dataclass(frozen=True, slots=True)
class Stale:
    """What has changed that only a new process uses: the code of services, and the settings."""

    files: tuple[str, ...]
    services: tuple[str, ...]  # that use one of these files
    settings: str | None  # the settings file, if it has changed

    def __bool__(self) -> bool:
        return bool(self.files or self.settings)


@dataclass(frozen=True, slots=True)
class _Undo:
    """What rollback() needs."""

    staging: Staging
    classes: Classes
    digests: Digests


class TaskCode:
    """The code of the tasks: loads it again when it has changed. Any thread, one at a time."""

    def __init__(self, settings: Settings, guards_of: Callable[[type[Any]], frozenset[str]]) -> None:
        self._settings, self._guards_of = settings, guards_of
        self._paths = {name: ServicePath.parse(path) for name, path in settings.tasks_path.items()}
        self._services = {path: ServicePath.parse(path).module for path in settings.service_list}
        self._lock = threading.Lock()
        self._since = 0.0  # when the digests were taken; a module that is imported later has none yet
        self._classes: Classes = {}
        self._digests: Digests = {}  # of what runs
        self._refused: Digests = {}  # of what was rolled back
        self._settings_digest = ""
        self._imports: dict[str, tuple[str, set[str]]] = {}  # digest and imports, for a file is seldom a new one
        self._undo: _Undo | None = None
        self.roots = [settings.folder]

    def remember(self, classes: Classes) -> None:
        """Note which classes were loaded, where the user's modules are, and what those look like."""
        with self._lock:
            self._since = time.time()
            self._classes = classes
            self.roots = roots_of(self._settings.folder, {path.module for path in self._paths.values()})
            self._digests = {name: source.digest for name, source in self._read().items()}
            self._settings_digest = self._digest_of_settings()

    def reload(
        self, install: Callable[[Classes], None], *, dry_run: bool = False, touched: Iterable[Path] = ()
    ) -> Reloaded | None:
        """Load what has changed, with everything that imports it, and have *install* take the new classes.

        None when nothing has changed. *touched* are files that are known to have changed. Raises ReloadFailed, and then
        everything is as it was.
        """
        with self._lock:
            began = time.perf_counter()
            sources = self._read()
            graph = self._graph(sources)
            of_tasks = self._of_tasks(graph)
            for name in sorted(of_tasks):
                if not sources[name].digest:
                    raise _refused(f"{sources[name].path} is gone, the file of module {name}")
            missing = self._missing()
            changed = (self._changed(sources, touched) - _once(sources)) | (missing & sources.keys())
            affected = sorted(dependants(graph, changed) & of_tasks)
            if not affected and not missing:
                return None
            staging = Staging({name: sources[name] for name in affected}, self._is_local)
            try:
                staging.build(missing)
                found = self._check(staging)
            except ReloadFailed:
                raise
            except BaseException as error:
                raise _failure(error, [*sources.values(), *staging.sources.values()]) from error
            keep_old = tuple(self._services_in(dependants(graph, affected)))
            if not dry_run:
                self._use(staging, found, install)
            return Reloaded(tuple(sorted({*affected, *missing})), time.perf_counter() - began, keep_old)

    def rollback(self, install: Callable[[Classes], None]) -> bool:
        """Undo the last reload; False when there is none to undo. The files stay as they are."""
        with self._lock:
            if self._undo is None:
                return False
            undo, self._undo = self._undo, None
            undo.staging.undo()
            install(undo.classes)
            # These files are not loaded again by the next SIGHUP, but together with the next file that changes.
            self._refused = {name: source.digest for name, source in undo.staging.sources.items()}
            self._classes, self._digests = undo.classes, undo.digests
            return True

    def stale(self, touched: Iterable[Path] | None = None) -> Stale:
        """What has changed that only a new process uses; of the files *touched* only, if they are given."""
        with self._lock:
            files = {path.resolve() for path in touched} if touched is not None else None
            sources = self._read()
            graph = self._graph(sources)
            changed = {
                name
                for name, source in sources.items()
                if source.digest != self._digests.get(name)
                and (name in self._digests if files is None else source.path.resolve() in files)
            } - self._of_tasks(graph)
            file = self._settings.file
            has_new_settings = (
                file is not None
                and (files is None or file.resolve() in files)
                and self._digest_of_settings() != self._settings_digest
            )
            return Stale(
                tuple(sorted(str(sources[name].path) for name in changed)),
                tuple(self._services_in(dependants(graph, changed))),
                str(file) if has_new_settings else None,
            )

    def _missing(self) -> set[str]:
        """The modules of tasks that could not be loaded yet."""
        return {path.module for task, path in self._paths.items() if task not in self._classes}

    def _changed(self, sources: Mapping[str, Source], touched: Iterable[Path]) -> set[str]:
        """The modules whose files are not what runs; none when these are what was rolled back."""
        files = {path.resolve() for path in touched}
        changed = set()
        for name, source in sources.items():
            known = self._digests.get(name)
            if known is None and source.path.resolve() not in files and not self._is_new(source.path):
                known = self._digests[name] = source.digest  # a task has imported it meanwhile
            if source.digest and source.digest != known:
                changed.add(name)
        return changed if any(self._refused.get(name) != sources[name].digest for name in changed) else set()

    def _is_new(self, path: Path) -> bool:
        """Whether a file was written since the tasks were loaded. Its ctime tells, for rsync and tar set the mtime."""
        try:
            return path.stat().st_ctime > self._since
        except OSError:
            return False

    def _check(self, staging: Staging) -> Classes:
        """The classes of all tasks after the reload. Raises ReloadFailed for one that is none, or is less guarded."""
        found = dict(self._classes)
        for task, path in self._paths.items():
            module = staging.modules.get(path.module)
            if module is None:
                continue
            new = getattr(module, path.class_name, None)
            if not isinstance(new, type):
                raise _refused(f"task {task!r}: module {path.module} has no class {path.class_name}")
            if fault := fault_of(new):
                raise _refused(f"task {task!r}: {fault}")
            old = self._classes.get(task)
            lost = self._guards_of(old) - self._guards_of(new) if old is not None else None
            if lost:
                raise _refused(
                    f"task {task!r} would lose {', '.join(sorted(lost))}; a reload never opens a guarded task: "
                    "restart the server if you mean it"
                )
            found[task] = new
        return found

    def _use(self, staging: Staging, classes: Classes, install: Callable[[Classes], None]) -> None:
        staging.commit()
        try:
            install(classes)
        except BaseException as error:
            staging.undo()
            raise _failure(error, staging.sources.values()) from error
        self._undo = _Undo(staging, self._classes, dict(self._digests))
        self._classes, self._refused = classes, {}
        for name, source in staging.sources.items():
            self._digests[name] = source.digest
            linecache.cache.pop(str(source.path), None)

    def _services_in(self, modules: set[str]) -> list[str]:
        return [path for path, module in self._services.items() if module in modules]

    def _of_tasks(self, graph: Mapping[str, set[str]]) -> set[str]:
        return reachable(graph, {path.module for path in self._paths.values()}) - _once(graph)

    def _read(self) -> dict[str, Source]:
        """The files of the user's modules that are loaded."""
        sources = {}
        files = {name: path for name in self._missing() if (path := found_again(name)) is not None}
        for name, path in (files | local_modules(self.roots)).items():
            source = Source.read(path)
            if not source.digest and (elsewhere := found_again(name)) is not None:
                source = Source.read(elsewhere)
            sources[name] = source
        return sources

    def _graph(self, sources: Mapping[str, Source]) -> dict[str, set[str]]:
        graph = {}
        for name, source in sources.items():
            digest, imports = self._imports.get(name, (None, set()))
            if digest != source.digest:
                try:
                    imports = imports_of(name, source.text, is_package=is_package(source.path)) - {name}
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    imports = set()  # compiling it says what is wrong
                self._imports[name] = (source.digest, imports)
            graph[name] = imports
        return graph

    def _is_local(self, path: Path) -> bool:
        roots = [*self.roots, *(root.resolve() for root in self.roots)]
        return any(is_ours(form, root) for form in (path, path.resolve()) for root in roots)

    def _digest_of_settings(self) -> str:
        return Source.read(self._settings.file).digest if self._settings.file is not None else ""


def _once(names: Iterable[str]) -> set[str]:
    """Those of the modules that say that they must not be executed again: `__zeph_once__ = True`."""
    return {name for name in names if getattr(sys.modules.get(name), "__zeph_once__", False)}


def _refused(what: str) -> ReloadFailed:
    return ReloadFailed(Origin(what))


def _failure(error: BaseException, sources: Collection[Source]) -> ReloadFailed:
    """Where in the user's files it went wrong."""
    files = {str(source.path) for source in sources}
    return ReloadFailed(origin_of(error, files.__contains__))
