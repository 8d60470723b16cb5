"""The family of errors, as its tree in the docstring draws it."""

from __future__ import annotations

import inspect
import re

import pytest

from zephserver.core import errors
from zephserver.core.errors import ZephError

CLASSES = {
    name: found for name, found in vars(errors).items() if inspect.isclass(found) and issubclass(found, ZephError)
}


def tree() -> list[tuple[str, str | None, str]]:
    """(class, its parent, what stands beside it) for each line of the tree."""
    found: list[tuple[str, str | None, str]] = []
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.fullmatch(r"    ([│ ├└─]*)(\w+)(?: {2,}(.*))?", line):
            depth = len(match[1]) // 3
            path[depth:] = [match[2]]
            found.append((match[2], path[depth - 1] if depth else None, match[3] or ""))
    return found


def test_the_tree_has_every_class_once_and_under_its_parent() -> None:
    drawn = {name: parent for name, parent, _ in tree()}

    assert sorted(name for name, _, _ in tree()) == sorted(CLASSES)
    for name, parent in drawn.items():
        assert parent is None or CLASSES[name].__bases__ == (CLASSES[parent],)


def test_the_tree_tells_the_code_of_every_class() -> None:
    for name, _, beside in tree():
        said = re.match(r"[a-z-]+(?=[:,]|$)", beside)
        if said is not None and name != "ZephError":
            assert CLASSES[name].code == said[0], name


def test_a_code_is_for_machines() -> None:
    for found in CLASSES.values():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", found.code)


@pytest.mark.parametrize(
    ("error", "text", "facts"),
    [
        (errors.SettingsError(("a", "b")), "a\nb", {"faults": ["a", "b"]}),
        (errors.AlreadyRunning("/l", 7), "a server is already running (pid 7, /l); stop it with zephserver-stop",
         {"where": "/l", "pid": 7}),
        (errors.AlreadyRunning("/l", None),
         "a server is already running (another process, /l); stop it with zephserver-stop", {"pid": None}),
        (errors.FileRefused("LOCK_FILE", "/l", "is odd"), "LOCK_FILE: /l is odd; remove it or name another path",
         {"setting": "LOCK_FILE", "path": "/l"}),
        (errors.UnknownService("x", iter(["a", "b"])), "no service named 'x'; SERVICE_LIST has: a, b",
         {"name": "x", "known": ["a", "b"]}),
        (errors.UnknownService("x", []), "no service named 'x'; SERVICE_LIST has: nothing", {"known": []}),
        (errors.ServiceNotLoaded("x", "why"), "service x is not loaded: why", {"name": "x"}),
        (errors.ServiceFailed("x", "why"), "service x has failed: why; mend it, then: zephctl services reset x",
         {"name": "x"}),
        (errors.ServiceStuck("x", "why"), "service x is stuck: why; see: zephctl services stack x", {"name": "x"}),
        (errors.CalledInConstructor("x", "y"),
         "x.__init__ asks for service y, which may not be constructed yet; call it from main() instead",
         {"name": "x", "wanted": "y"}),
        (errors.UnknownCommand("x", ["y", "z"]), "unknown command 'x'; did you mean y or z?", {"name": "x"}),
        (errors.UnknownCommand("x"), "unknown command 'x'; 'help' lists the commands", {"name": "x"}),
        (errors.ServerUnheard("/s", "/l", 7),
         "pid 7 holds /l, but nobody listens on /s; wait until it has put its socket back (2 s), or end it with: "
         "kill 7", {"path": "/s", "lock": "/l", "pid": 7}),
        (errors.ServerUnheard("/s", "/l", None),
         "a server holds /l, but nobody listens on /s; wait until it has put its socket back (2 s), or end it by its "
         "pid", {"pid": None}),
        (errors.CommandFailed("busy", "later"), "later", {"code": "busy"}),
        (errors.UnknownTask("x" * 100), f"no task named {'x' * 80!r}", {"name": "x" * 100}),
        (errors.TaskFailed("no"), "no", {"code": "task-failed"}),
        (errors.TaskFailed("no", "sold-out"), "no", {"code": "sold-out"}),
    ],
)  # fmt: skip
def test_an_error_keeps_its_facts_and_ends_with_the_next_step(
    error: ZephError, text: str, facts: dict[str, object]
) -> None:
    assert str(error) == text
    assert {name: getattr(error, name) for name in facts} == facts
