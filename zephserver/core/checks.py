"""What can be found wrong with a folder before its server is started."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Mapping, Sequence
from typing import NoReturn

from zephserver.core.errors import ServiceNotLoaded
from zephserver.core.service import load_service
from zephserver.core.settings_page import Settings


def check(settings: Settings) -> list[str]:
    """Import every service and ask those that have a `check(settings)` of their own; one line for each fault."""
    faults: dict[str, list[str]] = {}  # what is wrong, and the services that it concerns
    own_faults: list[str] = []
    # The session manager first: what it sets up, tasks and other services may need to be imported.
    for name in sorted(settings.service_list, key=lambda name: name != settings.my_session_handler):
        try:
            service = load_service(name)
        except ServiceNotLoaded as error:
            faults.setdefault(error.why, []).append(name)
            continue
        own_check = getattr(service, "check", None)
        if callable(own_check):
            own_faults += own_check(settings)
    together = [*told_once("SERVICE_LIST", "service", faults), *own_faults]
    # A fault that names its own file and line needs no other.
    return [f"{settings.file}: {fault}" if settings.file and not fault.startswith("/") else fault for fault in together]


def check_aside(settings: Settings) -> list[str]:
    """As check(), in a process of its own: what modules do when they are imported leaves no trace in this one."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        _tell_faults(settings, theirs)
    os.close(theirs)
    with os.fdopen(ours, encoding="utf-8") as report:
        if not select.select([report], [], [], settings.start_timeout)[0]:
            os.kill(child, signal.SIGKILL)
        told = report.readline()  # not to the end: a process that a module has left behind may hold the pipe
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if told:
        found: list[str] = json.loads(told)
        return found
    if status == -signal.SIGKILL:
        return [f"importing the services and tasks takes longer than START_TIMEOUT, {settings.start_timeout:g} s"]
    return ["importing the services and tasks ended the process; see: zephctl check"]


def _tell_faults(settings: Settings, report: int) -> NoReturn:
    """The child of check_aside()."""
    try:
        os.chdir(settings.folder)
        os.dup2(2, 1)  # what a module prints is not the answer of the command
        os.write(report, json.dumps(check(settings)).encode() + b"\n")
    finally:
        os._exit(0)


def told_once(setting: str, kind: str, faults: Mapping[str, Sequence[str]]) -> list[str]:
    """One line for each reason, with the names that it concerns; the setting is told where no place in a file is."""
    lines = []
    for why, names in faults.items():
        who = f"{kind}{'' if len(names) == 1 else 's'} {', '.join(names)}"
        lines.append(f"{why} ({who})" if why.startswith("/") else f"{setting}: {who}: {why}")
    return lines
