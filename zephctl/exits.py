"""The exit statuses of all commands, in one table. Pure: no I/O, no clock."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """What a shell gets back."""

    DONE = 0
    FAILED = 1  # the command failed
    USAGE = 2
    NOT_RUNNING = 3  # only status and services show
    UNKNOWN = 4  # no such service, task or room; status unknown
    UNREACHABLE = 5  # the server cannot be reached
    SETTINGS = 6  # the settings are invalid
    DENIED = 7  # permission denied
    TIMED_OUT = 8
    INTERRUPTED = 130


# Stable codes of errors (zephserver/core/errors.py) that have a status of their own; the others are FAILED.
_OF_CODE = {
    "bad-settings": ExitStatus.SETTINGS,
    "unknown-service": ExitStatus.UNKNOWN,
    "unknown-task": ExitStatus.UNKNOWN,
    "unknown-room": ExitStatus.UNKNOWN,
    "unknown-client": ExitStatus.UNKNOWN,
    "unknown-setting": ExitStatus.UNKNOWN,
    "unknown-command": ExitStatus.USAGE,
    "bad-request": ExitStatus.USAGE,
    "unreachable": ExitStatus.UNREACHABLE,
    "permission-denied": ExitStatus.DENIED,
    "timed-out": ExitStatus.TIMED_OUT,
}


def status_of(code: str) -> ExitStatus:
    """The exit status for an error with this code."""
    return _OF_CODE.get(code, ExitStatus.FAILED)
