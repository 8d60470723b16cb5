"""Which names of a running server stand for which argument, in one table. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

Ask = Callable[[str], Any]  # the answer of the server to a command

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Source(Protocol):
    """Where names come from. *words* are those before the incomplete one, for a source that needs them."""

    def __call__(self, ask: Ask, *, words: Sequence[str] = (), incomplete: str = "") -> Iterable[str]: ...


def services(ask: Ask, *, words: Sequence[str] = (), incomplete: str = "") -> Iterator[str]:
    """Classes of services, as in Router; full names once one is begun, or where a class is there twice."""
    names = list(dict.fromkeys(row["name"] for row in ask("services.list")))  # several workers have the same ones
    short = [name.partition("/")[2] for name in names]
    for name, cls in zip(names, short, strict=True):
        if short.count(cls) == 1:
            yield cls
        if short.count(cls) > 1 or incomplete:
            yield name


def tasks(ask: Ask, *, words: Sequence[str] = (), incomplete: str = "") -> Iterator[str]:
    """Tasks that browsers can call."""
    yield from (row["name"] for row in ask("tasks.list"))


def rooms(ask: Ask, *, words: Sequence[str] = (), incomplete: str = "") -> Iterator[str]:
    """Rooms that somebody is in."""
    yield from (row["name"] for row in ask("rooms.list"))


def clients(ask: Ask, *, words: Sequence[str] = (), incomplete: str = "") -> Iterator[str]:
    """Connections, and the users behind them."""
    rows = ask("clients.list")
    yield from (row["cid"] for row in rows)
    yield from (row["user"] for row in rows if row["user"])


def users(ask: Ask, *, words: Sequence[str] = (), incomplete: str = "") -> Iterator[str]:
    """Ids of the users who are connected."""
    yield from (str(row["id"]) for row in ask("users.list") if row["id"] is not None)


def levels(ask: Ask, *, words: Sequence[str] = (), incomplete: str = "") -> Iterator[str]:
    """Levels of the log, in the case that was begun."""
    yield from (level.lower() if incomplete.islower() else level for level in LEVELS)


def kinds(ask: Ask, *, words: Sequence[str] = (), incomplete: str = "") -> Iterator[str]:
    """Kinds of events."""
    yield from ask("events.kinds")


def settings(ask: Ask, *, words: Sequence[str] = (), incomplete: str = "") -> Iterator[str]:
    """Names of settings; the page has them, whether a server runs or not."""
    from zephserver.core.settings_page import page

    yield from (line.name.upper() for line in page())


def commands(ask: Ask, *, words: Sequence[str] = (), incomplete: str = "") -> Iterator[str]:
    """The next word of what a server answers: `services`, then `show`, then the name of a service."""
    for row in ask("help"):
        usage = row["command"].split(" ")
        if len(usage) <= len(words) or not all(map(_stands_for, usage, words)):
            continue
        following = usage[len(words)]
        if following.strip("[]").islower():
            yield following
        else:
            source = _ARGUMENTS.get((usage[0], following.strip("[]"))) or _ARGUMENTS.get(("", following.strip("[]")))
            if source is not None:
                yield from source(ask, incomplete=incomplete)


def of(path: str, parameter: str) -> Source | None:
    """Where the names come from that *parameter* of the command *path* takes; None when nobody knows any."""
    for (pattern, name), source in SOURCES.items():
        if name == parameter and fnmatchcase(path, pattern):
            return source
    return None


def _stands_for(expected: str, word: str) -> bool:
    """Whether *word* is what a usage has at its place: the same, or anything where it says NAME."""
    return expected == word or not expected.islower()


# (command as it is typed, parameter): source. The first row that fits counts.
SOURCES: dict[tuple[str, str], Source] = {
    ("services *", "name"): services,
    ("log-level", "level"): levels,
    ("log-level", "service"): services,
    ("events", "kinds"): kinds,
    ("events", "level"): levels,
    ("events", "service"): services,
    ("tail-log", "level"): levels,
    ("tail-log", "service"): services,
    ("tasks call", "name"): tasks,
    ("tasks call", "room"): rooms,
    ("tasks call", "user"): users,
    ("rooms *", "name"): rooms,
    ("rooms say", "task"): tasks,
    ("clients *", "who"): clients,
    ("say", "task"): tasks,
    ("say", "room"): rooms,
    ("say", "users"): users,
    ("token", "user"): users,
    ("settings show", "names"): settings,
    ("command", "words"): commands,
}
PATHS = {("new", "target"): "dir", ("unit", "target"): "dir"}
# (first word of a command of the server, argument): source
_ARGUMENTS: dict[tuple[str, str], Source] = {
    ("services", "NAME"): services,
    ("tasks", "NAME"): tasks,
    ("rooms", "NAME"): rooms,
    ("clients", "WHO"): clients,
    ("", "SERVICE"): services,
    ("", "LEVEL"): levels,
    ("", "ROOM"): rooms,
}
