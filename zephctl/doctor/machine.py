"""The machine: Python, libraries with compiled parts, limits of the kernel."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import resource
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from zephctl.doctor.finding import Finding, bad, ok, warn

if TYPE_CHECKING:
    from zephserver.core.settings_page import Settings

OLDEST_PYTHON = (3, 11)
COMPILED = ("picows", "msgspec", "aiofastnet")
SPARE_FILES = 64  # what the server keeps for itself of the file limit
USUAL_CONNECTIONS = 10_000  # MAX_CONNECTIONS without a number
INOTIFY = Path("/proc/sys/fs/inotify")
LEAST_INOTIFY = {"max_user_instances": 64, "max_user_watches": 8_192}


def look(settings: Settings | None) -> Iterator[Finding]:
    """All that can be said about the machine; without settings, what does not depend on them."""
    yield _python()
    yield from _libraries()
    yield from _compiled(settings)
    yield _files(settings)
    yield from _inotify()


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return bad("python", f"Python {version}", f"install Python {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    return ok("python", f"Python {version}, {sys.executable}")


def _libraries() -> Iterator[Finding]:
    """Everything that zephserver depends on is there, and new enough."""
    try:
        wanted = [line for line in metadata.requires("zephserver") or () if "extra ==" not in line]
        version = metadata.version("zephserver")
    except metadata.PackageNotFoundError:
        yield warn("libraries", "zephserver is not installed, only found", "install it: pip install zephserver")
        return
    found, fine = [], True
    for line in sorted(wanted):
        name = re.match(r"[\w.-]+", line)
        if name is None:
            continue
        try:
            has = metadata.version(name.group())
        except metadata.PackageNotFoundError:
            fine = False
            yield bad("libraries", f"{name.group()} is missing", f"pip install '{line}'")
            continue
        least = re.search(r">=([\d.]+)", line)
        if least is not None and _numbers(has) < _numbers(least[1]):
            fine = False
            yield bad("libraries", f"{name.group()} {has} is too old", f"pip install '{line}'")
        found.append(f"{name.group()} {has}")
    if fine:
        yield ok("libraries", f"zephserver {version}, {', '.join(found)}")


def _compiled(settings: Settings | None) -> Iterator[Finding]:
    """The parts that are fast because they are compiled."""
    missing = [name for name in COMPILED if not is_compiled(name)]
    if not missing:
        yield ok("wheels", f"{', '.join(COMPILED)} are compiled")
        return
    advice = f"pip install --force-reinstall --only-binary :all: {' '.join(missing)}"
    if settings is not None and settings.websocket_engine == "threaded" and missing == ["picows"]:
        yield warn("wheels", "picows has no compiled part; the engine 'threaded' does without", advice)
    else:
        yield bad("wheels", f"no compiled part: {', '.join(missing)}", advice)


def is_compiled(name: str) -> bool:
    """Whether a package is there with a module that this Python can load."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    return any(
        path.name.endswith(suffixes)
        for place in spec.submodule_search_locations or ()
        for path in Path(place).iterdir()
    )


def _files(settings: Settings | None) -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    asked = settings.max_connections if settings is not None else None
    wanted = (asked or USUAL_CONNECTIONS) + SPARE_FILES
    can = "no limit" if soft == resource.RLIM_INFINITY else f"{soft} open files"
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return ok("files", f"{can}, enough for {asked or USUAL_CONNECTIONS} connections")
    advice = f"ulimit -n {wanted}, or LimitNOFILE={wanted} in the unit"
    if hard != resource.RLIM_INFINITY and hard < wanted:
        advice = f"raise the hard limit of {hard}: LimitNOFILE={wanted} in the unit, or /etc/security/limits.conf"
    if asked is not None:
        return bad("files", f"{can}, and MAX_CONNECTIONS is {asked}", advice)
    return warn("files", f"{can}: at most {max(0, soft - SPARE_FILES)} connections", advice)


def _inotify() -> Iterator[Finding]:
    """What `zephctl dev` needs to be told of changes."""
    values = {}
    for name in LEAST_INOTIFY:
        try:
            values[name] = int((INOTIFY / name).read_text())
        except (OSError, ValueError):  # not Linux
            return
    low = [name for name, least in LEAST_INOTIFY.items() if values[name] < least]
    if low:
        shown = ", ".join(f"{name} is {values[name]}" for name in low)
        settings = " ".join(f"fs.inotify.{name}={LEAST_INOTIFY[name]}" for name in low)
        yield warn("inotify", f"{shown}: zephctl dev may miss changes", f"sudo sysctl {settings}, or RELOAD_POLL = 1")
    else:
        yield ok("inotify", ", ".join(f"{name} {value}" for name, value in values.items()))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))
