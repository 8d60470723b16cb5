"""How a process of the project gets a command to a server: in the same process, on this machine, or in its cluster."""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from typing import Any

from django.core.signals import setting_changed

from zephserver.core import runtime
from zephserver.core.cluster.engine import Guest
from zephserver.core.cluster.factory import make_guest
from zephserver.core.control_client import ControlClient
from zephserver.core.errors import ControlUnreachable, SettingsError, ZephError
from zephserver.core.settings import make_settings
from zephserver.core.settings_file import interface_of, run_settings_file
from zephserver.django import options, project

PAUSE = 5.0  # seconds in which servers that gave no answer in time are not asked again: they would hold up every view
BUSY = 0.02  # seconds after which a server that has too many control clients is asked again
OF_THE_CLUSTER = ("CLUSTER_ENGINE", "CLUSTER_NAME", "CLUSTER_SECRET", "CLUSTER_SERVER_LIST")

_silent_until = 0.0
_guest_of: tuple[int, Guest | None] = 0, None  # of which process it is
_lock = threading.Lock()


def ask(command: str, words: dict[str, Any]) -> bool:
    """Have a server do a command, and wait for that, TIMEOUT at most; False when that was not even tried.

    A server on this machine is asked over its control socket; where there is none, one of its cluster. Any thread.
    Raises ZephError when it was not done, or, after a time-out, maybe done.
    """
    global _silent_until
    server = runtime.find_server()
    if server is not None and not server.is_stopping:  # a task speaks
        server.table.find(command).call((), words)
        return True
    if time.monotonic() < _silent_until:
        return False
    try:
        _ask_others(command, words, options.read().timeout)
    except ZephError as error:
        if error.code == "timed-out":
            _silent_until = time.monotonic() + PAUSE
        raise
    return True


def _ask_others(command: str, words: dict[str, Any], timeout: float) -> None:
    end = time.monotonic() + timeout
    while True:
        client = ControlClient(socket_path(), max(0.01, end - time.monotonic()))
        try:
            client.connect()
        except ControlUnreachable:
            guest = _guest()
            if guest is None:
                raise
            return guest.ask(command, json.dumps(words).encode(), max(0.01, end - time.monotonic()))
        try:
            client.call(command, **words)
            return None
        except ZephError as error:
            if error.code != "busy" or time.monotonic() + BUSY > end:
                raise
            time.sleep(BUSY)
        finally:
            client.close()


@functools.cache
def socket_path() -> str:
    """The control socket of the server of this project. Raises SettingsError."""
    given = options.read()
    if given.socket is not None:
        return given.socket
    try:
        return interface_of(project.settings_file(given.settings))
    except SettingsError as error:
        raise SettingsError([f"ZEPHSERVER: where is the server? {error}"]) from None


def _guest() -> Guest | None:
    """The guest of this process; None without a cluster. Raises SettingsError."""
    global _guest_of
    with _lock:
        pid, guest = _guest_of
        if pid != os.getpid():  # the first time; or a fork, which would take half of it
            guest = _make_guest()
            _guest_of = os.getpid(), guest
        return guest


def _make_guest() -> Guest | None:
    try:
        names, _ = run_settings_file(project.settings_file(options.read().settings))
    except SettingsError:
        return None  # SOCKET is all there is
    given = {name: names[name] for name in OF_THE_CLUSTER if name in names}
    try:
        given["CLUSTER_NODE"] = given["CLUSTER_SERVER_LIST"][0]["hostname"]  # has to be one of them, and this is none
    except (IndexError, KeyError, TypeError):
        pass  # there is no list, or a fault in it that is told
    return make_guest(make_settings({"SERVICE_LIST": [], **given}))


def forget() -> None:
    """Hang up, and find the server anew, the next time."""
    global _silent_until, _guest_of
    socket_path.cache_clear()
    with _lock:
        (pid, guest), _guest_of, _silent_until = _guest_of, (0, None), 0.0
    if guest is not None and pid == os.getpid():
        guest.close()


def _forget(*, setting: str, **more: Any) -> None:
    if setting in (options.NAME, "BASE_DIR"):
        forget()


setting_changed.connect(_forget)  # override_settings of tests
