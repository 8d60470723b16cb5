"""One server: its parts, put together in order and taken apart in reverse. It takes no signal: it can be embedded."""

from __future__ import annotations

import logging
import os
import random
import threading
import traceback
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any, ClassVar

from zephserver.core import core_commands, legacy, runtime
from zephserver.core.bus import EventBus
from zephserver.core.clock import Clock, SystemClock
from zephserver.core.cluster.factory import make_engine
from zephserver.core.cluster.manager import ClusterManager
from zephserver.core.command_table import CommandTable
from zephserver.core.control import ControlServer
from zephserver.core.errors import StartFailed, ZephError
from zephserver.core.events import (
    Recovered,
    ServerReady,
    ServerStarted,
    ServerStopped,
    ServerStopping,
    SettingsWarned,
)
from zephserver.core.keeper import Keeper
from zephserver.core.lock import Lock
from zephserver.core.log_file import LogFile
from zephserver.core.logs import Log, LogHandler
from zephserver.core.notify import Notify
from zephserver.core.service import Service
from zephserver.core.service_manager import ServiceManager
from zephserver.core.settings_page import Settings
from zephserver.core.startup import explained, start_services
from zephserver.core.threads import all_stacks
from zephserver.version import __version__

SERVICES_SHARE = 0.9  # of SHUTDOWN_TIMEOUT; the rest is for the cluster, the socket and the last lines of the log


class Server:
    """A service manager with its lock, log, control socket, cluster and services. Any thread.

    `with Server(settings) as server:` starts it, waits until every service is ready, and stops it at the end. Several
    servers can live in one process. With *owns_process* the log also takes what other threads log, and a stop that
    hangs ends the process.
    """

    commands: ClassVar[ModuleType] = core_commands  # what it answers

    def __init__(
        self,
        settings: Settings,
        *,
        owns_process: bool = False,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        notify: Notify | None = None,
        table: CommandTable | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.bus = EventBus(self.clock)
        self.table = table or CommandTable()
        self.lock = Lock(settings.lock_file)
        self.control = ControlServer(settings.configuration_network_interface_server, self.table, self.bus, self)
        self.cluster = ClusterManager(make_engine(settings), self.bus, self.table, is_ready=lambda: self.is_ready)
        self.stop_reason = ""
        self.is_drained = False  # its clients go to the other servers, and it takes no new ones
        self.exit_status = 0
        self.stopped = threading.Event()  # everything is down, the lock is free
        self.closed = threading.Event()  # and the last control client has its answer
        self.log: Log
        self._owns_process = owns_process
        self._notify = notify or Notify(None)
        self._keeper = Keeper(self, self._notify)
        self._stopping = threading.Lock()
        self._is_stopping = False
        self._is_over = False  # the start, well or not
        self._is_announced = False
        self._started = 0.0
        self._undo: list[Callable[[], object]] = []  # what close() has to take down, last first
        self._advised: set[str] = set()  # names of 2015 that were warned about
        self.services = ServiceManager(
            self.bus,
            settings.service_list,
            {name: settings.options_of(name) for name in settings.service_list},
            clock=self.clock,
            chance=chance,
            server=self,
            wake=self._keeper.wake,
            essential_failed=self._essential_failed,
            translate=self._translate,
        )

    # -- starting --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the lock, open the log and the control socket. From here on the commands can speak to the server.

        Raises AlreadyRunning, FileRefused; what had come up is taken down again.
        """
        try:
            self._started = self.clock.monotonic()
            self.table.add_functions(vars(self.commands).values(), self)
            left_behind = self.lock.acquire()
            self._undo.append(self.lock.release)
            self._open_log()
            socket_was_stale = self.control.open()
            self._undo.append(self.control.close)
        except BaseException:
            self._close()
            raise
        runtime.running.append(self)
        self.bus.publish(ServerStarted(version=__version__, pid=os.getpid()))
        if left_behind is not None:
            self.bus.publish(Recovered(what=f"pid {left_behind} ended without stopping; its lock was free"))
        if socket_was_stale:
            self.bus.publish(Recovered(what=f"removed the control socket of a dead server, {self.control.path}"))
        for warning in self.settings.warnings:
            self.bus.publish(SettingsWarned(text=warning))
        self._keeper.start()

    def start(self) -> None:
        """Open if need be, start the cluster and every service, and return when all of them are ready.

        Raises StartFailed naming those that are not; the others run on, and stop() is still needed. Without an
        essential service the server ends, and SettingsError names all that `zephctl check` finds, if that is anything.
        """
        if not self._undo and not self._is_stopping:
            self.open()
        if self._is_stopping:
            raise StartFailed(f"stopped while starting: {self.stop_reason}")
        try:
            self.cluster.start()
        except ZephError as error:
            self.request_stop(str(error), exit_status=1)
            raise StartFailed(str(error)) from None
        faults, is_given_up = start_services(self)
        if self._is_stopping:
            raise StartFailed(f"stopped while starting: {self.stop_reason}")
        self._is_over = True
        if not faults:
            self._announce()
            return
        failure = StartFailed("; ".join(faults))
        if not is_given_up:
            raise failure
        told = explained(failure, self)
        self.request_stop(f"an essential service cannot start: {failure}", exit_status=1)
        raise told

    def look_ready(self) -> None:
        """Tell that the server is ready, if what failed at its start was mended. Any thread, any number of times."""
        if not self._is_announced and self._is_over and not self.not_ready:
            self._announce()

    def _announce(self) -> None:
        with self._stopping:
            if self._is_announced:
                return
            self._is_announced = True
        seconds = self.clock.monotonic() - self._started
        self.bus.publish(ServerReady(seconds=seconds, services=len(self.settings.service_list)))
        self._notify.send("READY=1", "STATUS=ready")

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self.stop("the start failed")
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop("the with block ended")

    # -- stopping --------------------------------------------------------------------------------------------------

    def request_stop(self, reason: str, *, exit_status: int = 0) -> None:
        """Have the server stopped by a thread of its own; returns at once. The first reason counts."""
        with self._stopping:
            if self._is_stopping:
                return
            self._is_stopping, self.stop_reason = True, reason
            self.exit_status = max(self.exit_status, exit_status)
        runtime.spawn("stop", self._stop, self)

    def stop(self, reason: str = "asked to") -> int:
        """Stop everything in reverse order and return when it is down: 0, or 1 when a service got stuck.

        Stop accepting and refuse new tasks, drain, disable the services in reverse, then cluster, socket, lock.
        """
        self.request_stop(reason)
        self.closed.wait()
        return self.exit_status

    @property
    def is_ready(self) -> bool:
        """Every service was enabled and ready, all still are, nobody stops or drains it, and it reaches its cluster."""
        return not self.not_ready

    @property
    def not_ready(self) -> str:
        """Why the server is not ready, in one line; '' when it is."""
        if self._is_stopping:
            return "stopping"
        counts = self.services.counts()
        if not self._is_over or counts.get("ready", 0) != counts["total"]:
            return f"{counts.get('ready', 0)} of {counts['total']} services are ready"
        unready = self.unready()
        if unready:
            return "; ".join(unready.values())
        if self.is_drained:
            return "the cluster takes its clients, since it was drained"
        grace = self.settings.cluster_grace
        if grace is not None and self.cluster.lost_for() > grace:
            return f"the cluster cannot be reached: {self.cluster.state()}"
        return ""

    @property
    def is_stopping(self) -> bool:
        """The stop procedure has begun."""
        return self._is_stopping

    # -- being asked -----------------------------------------------------------------------------------------------

    def get_service(self, name: str) -> Any:
        """The instance of a service, resurrected if it had died; see ServiceManager.get_service()."""
        return self.services.get_service(name)

    def status(self) -> dict[str, Any]:
        """What `zephctl status` shows: the server, counts of services, and what the services say of themselves."""
        services, why = self.services.counts(), self.not_ready
        status: dict[str, Any] = {
            "running": True,
            "ready": not why,
            "stopping": self._is_stopping,
            "pid": os.getpid(),
            "uptime": round(self.clock.monotonic() - self._started, 3),
            "version": __version__,
            "services": services,
            "threads": threading.active_count(),
            "log_dropped": self.log.dropped,
        }
        if why:
            status["not_ready"] = why
        for instance in self.services.get_all_services().values():
            stats = getattr(instance, "stats", None)
            if callable(stats):
                try:
                    status |= stats()
                except Exception:
                    logging.getLogger(__name__).exception("stats() of %s raised", type(instance).__name__)
        return status

    def adopt(self, instance: object) -> None:
        """Make a new service known: it learns its server, and its commands join the table."""
        if isinstance(instance, Service):
            instance.server = self
        self.table.add_methods(instance)

    def disown(self, instance: object) -> None:
        """Forget a service that was deleted: its commands leave the table."""
        self.table.remove_methods(instance)

    def reload(self) -> None:
        """What SIGHUP does: open the log file anew, and have every service that has a reload() call it."""
        self.log.reopen()
        self.log.write("INFO", "the log was opened anew")
        for name, instance in self.services.get_all_services().items():
            reload = getattr(instance, "reload", None)
            if callable(reload) and self.services.state(name).is_enabled:
                try:
                    reload()
                except Exception:
                    logging.getLogger(__name__).exception("reload() of %s raised", name)

    @property
    def service_names(self) -> list[str]:
        """The services whose lines the log has."""
        return self.services.names

    def unready(self) -> dict[str, str]:
        """What keeps the server from being ready though all its services are, by name."""
        services = self.services.get_all_services()
        return {name: s.not_ready for name, s in services.items() if isinstance(s, Service) and s.not_ready}

    def force_exit(self, status: int) -> None:
        """End the process at once, whatever its threads are doing."""
        os._exit(status)

    def set_log_level(self, level: str, service: str = "") -> None:
        """Change the least severe level that is logged, of the server or of one service, while it runs."""
        self.log.set_level(level, service)
        if self._owns_process:
            logging.getLogger().setLevel(self.log.floor)

    def log_stacks(self, why: str) -> None:
        """Write the stack of every thread to the log (SIGUSR1, and a stop that hangs)."""
        self.log.write("WARNING", f"stacks of all threads: {why}", trace=all_stacks())

    # -- within ----------------------------------------------------------------------------------------------------

    def _open_log(self) -> None:
        settings = self.settings
        file = LogFile(settings.log_path, max_bytes=settings.log_max_bytes, backups=settings.log_backups)
        self.log = Log(
            file,
            self.bus,
            level=settings.log_level,
            format=settings.log_format,
            secret_values=settings.secrets(),
            clock=self.clock,
        )
        self.log.start()
        self._undo.append(self.log.close)
        handler = LogHandler(self.log, self, everything=self._owns_process)
        root = logging.getLogger()
        root.addHandler(handler)
        self._undo.append(lambda: root.removeHandler(handler))
        if self._owns_process:
            root.setLevel(self.log.floor)  # a host program's level is not ours to change

    def _essential_failed(self, name: str, why: str) -> None:
        self.request_stop(f"essential service {name} is lost: {why}", exit_status=1)

    def _translate(self, name: str) -> str:
        if name in self.services._services:
            return name
        advice = legacy.advice(name)
        if advice is not None and name not in self._advised:
            self._advised.add(name)
            self.bus.publish(SettingsWarned(text=f"get_service: {advice}"))
        return legacy.today(name)

    def _stop(self) -> None:
        """Body of the stopping thread."""
        began = self.clock.monotonic()
        watchdog = threading.Timer(self.settings.shutdown_timeout, self._stop_overran)
        watchdog.name, watchdog.daemon = "shutdown watchdog", True
        watchdog.start()
        try:
            self._notify.send("STOPPING=1", f"STATUS=stopping: {self.stop_reason}")
            self.bus.publish(ServerStopping(reason=self.stop_reason))
            outcome = self.services.disable_all_services(self.settings.shutdown_timeout * SERVICES_SHARE, for_good=True)
            stuck = [name for name, error in outcome.items() if error is not None]
            if stuck:
                self.exit_status = self.exit_status or 1
                self.log_stacks(f"stuck at the end: {', '.join(stuck)}")
            self.cluster.stop()
            self.bus.publish(ServerStopped(seconds=self.clock.monotonic() - began, clean=not stuck))
            self.bus.journal.close()
        except BaseException:  # nothing may keep the lock from being released
            self.exit_status = 1
            traceback.print_exc()
        finally:
            watchdog.cancel()
            self._close()

    def _close(self) -> None:
        """Take down what open() brought up: log, then socket, then lock."""
        if self in runtime.running:
            runtime.running.remove(self)
        hang_up = self.control.close in self._undo
        for undo in reversed(self._undo):
            try:
                undo()
            except Exception:
                traceback.print_exc()
        self._undo.clear()
        self.stopped.set()
        self._keeper.wake()
        if hang_up:
            self.control.hang_up()
        self._keeper.join()
        self.closed.set()

    def _stop_overran(self) -> None:
        """The stop takes longer than SHUTDOWN_TIMEOUT. Thread of the timer."""
        self.log_stacks(f"the stop has not ended after {self.settings.shutdown_timeout:g} s")
        if self._owns_process:
            self.log.close()
            self.force_exit(1)
