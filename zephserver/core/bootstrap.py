"""The first module of a start and the last of a stop.

`start_server()` and `command_stop()` work inside another program; `run()` is the whole life of a process of its own, as
zephserver-start has it, with signals.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from zephserver.core.errors import SettingsError, StartFailed, ZephError
from zephserver.core.logs import LogStream
from zephserver.core.notify import Notify
from zephserver.core.runtime import current_server
from zephserver.core.server import Server
from zephserver.core.settings import load_settings
from zephserver.core.settings_file import find_settings_file
from zephserver.core.settings_page import Settings
from zephserver.core.startup import explained

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
INTERRUPTED = 130
# Python lets a thread compute for 5 ms before another gets its turn. With 16 tasks that compute, an echo took 194 ms
# at its 99th percentile, and takes 104 ms with this.
SWITCH_INTERVAL = 0.001  # seconds


def start_server(settings: Settings | str | None = None) -> Server:
    """Start a server inside this program and return it when every service is ready.

    *settings* is a Settings object, the path of a settings file, or None for the file of the current folder. No signal
    handler is installed. Raises SettingsError, AlreadyRunning, FileRefused, StartFailed; nothing is left running then.
    """
    if not isinstance(settings, Settings):
        settings = load_settings(find_settings_file(settings))
    return Server(settings).__enter__()


def command_stop(server: Server | None = None) -> int:
    """Stop a server of this program, the only one without *server*; 0, or 1 when a service got stuck."""
    return (server or current_server()).stop("command_stop()")


def run(
    settings: Settings | str | None = None,
    *,
    on_started: Callable[[Server, ZephError | None], object] | None = None,
    strict: bool = False,
    capture_output: bool = False,
) -> int:
    """Be a server until somebody stops it, and return the exit status. Main thread only.

    SIGTERM, SIGINT and SIGQUIT stop it, a second SIGINT ends the process at once with status 130, SIGHUP opens the log
    anew and reloads the services that can, SIGUSR1 writes all stacks to the log.

    *on_started* is called with the server and None when it is ready, or with what is wrong when a service is not and
    the others run on; with *strict* such a service ends the server. With *capture_output* what is printed goes to the
    log.

    Raises SettingsError, AlreadyRunning, FileRefused before anything runs. When *strict*, or when an essential service
    did not start, which ends the server, it raises StartFailed, or SettingsError for what `zephctl check` finds.
    """
    if not isinstance(settings, Settings):
        settings = load_settings(find_settings_file(settings))
    os.chdir(settings.folder)
    sys.setswitchinterval(SWITCH_INTERVAL)
    with _Signals() as signals:
        server = _make_server(settings, capture_output)
        server.open()
        _own_process(server, capture_output)
        signals.serve(server)
        failure: ZephError | None = None
        try:
            server.start()
            gc.freeze()  # what is here now stays; the collector need not look at it again
        except (StartFailed, SettingsError) as error:
            failure = error
            if not server.is_stopping:
                logging.getLogger(__name__).error("%s", error)
        if failure is not None and strict:
            was_asked = server.is_stopping and not server.exit_status
            server.stop("the start failed")
            raise failure if was_asked else explained(failure, server)
        came_up = not server.is_stopping
        if on_started is not None and came_up:
            on_started(server, failure)
        server.closed.wait()
        if failure is not None and not came_up and server.exit_status:
            raise explained(failure, server)  # an essential service ended the server while it started
        return server.exit_status


def _make_server(settings: Settings, capture_output: bool) -> Server:
    """One process, or one above several."""
    notify = Notify.from_environment()
    if settings.workers == 1:
        return Server(settings, owns_process=True, notify=notify)
    from zephserver.core.processes.supervisor import Supervisor

    return Supervisor(settings, capture_output=capture_output, owns_process=True, notify=notify)


class _Signals:
    """Turns signals into calls. They are only noted when they come, and acted upon in a thread of their own."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._before: dict[signal.Signals, Any] = {}
        self._interrupts = 0

    def __enter__(self) -> _Signals:
        self._sender.setblocking(False)
        # The number is written by the C handler, at once: a Python handler waits until the main thread does something.
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for number in (*STOPS, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            self._before[number] = signal.signal(number, lambda number, frame: None)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self._sender.close()

    def serve(self, server: Server) -> None:
        """Act for *server* from now on, on what came before too."""
        threading.Thread(target=self._act, args=(server,), name="signals", daemon=True).start()

    def _act(self, server: Server) -> None:
        """Body of the thread. The second SIGINT ends the process, whatever the others are doing."""
        with self._receiver:
            while numbers := self._receiver.recv(64):
                for number in numbers:
                    if number == signal.SIGINT:
                        self._interrupts += 1
                        if self._interrupts > 1:
                            server.force_exit(INTERRUPTED)
                    if number in STOPS:
                        server.request_stop(f"signal {signal.Signals(number).name}")
                    elif number == signal.SIGHUP:
                        server.reload()
                    elif number == signal.SIGUSR1:
                        server.log_stacks("SIGUSR1")


def _own_process(server: Server, capture_output: bool) -> None:
    """Arrange what belongs to the whole process: the last words of a crash, and where loose ends are told."""
    logger = logging.getLogger("zephserver")

    def thread_failed(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread is not None else "?"
        if args.exc_value is not None and args.exc_type is not SystemExit:
            logger.error("thread %s raised", name, exc_info=args.exc_value)

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        logger.error("%s: %r", args.err_msg or "ignored exception in", args.object, exc_info=args.exc_value)

    threading.excepthook = thread_failed
    sys.unraisablehook = unraisable
    if capture_output:
        sys.stdout, sys.stderr = LogStream(server.log, "INFO"), LogStream(server.log, "WARNING")
        path = server.settings.log_path
        faulthandler.enable(file=open(path, "a") if path != "-" else 2)  # noqa: SIM115 - open as long as the process
    else:
        faulthandler.enable()
