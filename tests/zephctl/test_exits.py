"""Every error has its exit status, as in the table of the manual."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from zephctl.exits import ExitStatus, status_of
from zephserver.core import errors

TABLE = {
    "bad-settings": 6,
    "already-running": 1,
    "start-failed": 1,
    "file-refused": 1,
    "unknown-service": 4,
    "service-not-loaded": 1,
    "service-failed": 1,
    "service-stuck": 1,
    "called-in-constructor": 1,
    "illegal-transition": 1,
    "reload-failed": 1,
    "unknown-room": 4,
    "unknown-client": 4,
    "cluster-error": 1,
    "bad-request": 2,
    "unknown-command": 2,
    "busy": 1,
    "unreachable": 5,
    "permission-denied": 7,
    "timed-out": 8,
    "bad-message": 1,
    "unknown-task": 4,
    "access-denied": 1,
    "session-expired": 1,
    "too-many-rooms": 1,
    "room-full": 1,
    "overloaded": 1,
    "task-failed": 1,
}


def codes_of_the_docstring() -> set[str]:
    """The codes that the tree at the top of errors.py names."""
    return set(re.findall(r"─ \w+ +([a-z]+(?:-[a-z]+)*)(?=[:,\n])", errors.__doc__ or ""))


def family(base: type[errors.ZephError] = errors.ZephError) -> Iterator[type[errors.ZephError]]:
    """The classes of errors.py."""
    if base.__module__ == errors.__name__:
        yield base
    for derived in base.__subclasses__():
        yield from family(derived)


def test_every_code_of_the_docstring_is_in_the_table() -> None:
    assert codes_of_the_docstring() == set(TABLE)


@pytest.mark.parametrize(("code", "status"), TABLE.items())
def test_a_code_has_its_exit_status(code: str, status: int) -> None:
    assert status_of(code) == status


@pytest.mark.parametrize("code", ["error", "", "mine", "service-error", "control-error", "request-error"])
def test_any_other_code_is_a_failure(code: str) -> None:
    assert status_of(code) is ExitStatus.FAILED


def test_every_code_of_an_error_stands_in_the_docstring() -> None:
    of_bases = {"error", "service-error", "control-error", "request-error"}

    codes = {kind.code for kind in family()}

    assert codes - of_bases == codes_of_the_docstring()


def test_the_statuses_are_those_of_the_manual() -> None:
    assert {status.name: int(status) for status in ExitStatus} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "NOT_RUNNING": 3,
        "UNKNOWN": 4,
        "UNREACHABLE": 5,
        "SETTINGS": 6,
        "DENIED": 7,
        "TIMED_OUT": 8,
        "INTERRUPTED": 130,
    }
