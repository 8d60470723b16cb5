"""The setting ZEPHSERVER of a Django project: one dict, read into one typed page."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

NAME = "ZEPHSERVER"


@dataclass(frozen=True)
class Options:
    """What ZEPHSERVER may say; the names are upper case there. Times are in seconds. Frozen: any thread."""

    settings: str | None = None  # the zephsettings.py; without, it is looked for as the commands do, then in BASE_DIR
    socket: str | None = None  # the control socket; without, what the settings file says
    url: str = "/ws"  # where browsers connect: a path, a whole wss:// address, or ':8080/ws', a port of the same host
    anonymous: bool = True  # who is not logged in may connect
    basic_auth: bool = False  # programs may log in with HTTP Basic
    token_lifetime: float = 60.0
    timeout: float = 1.0  # that say() may take
    database_timeout: float | None = 4.0  # of a query in the server; None leaves the databases as they are


def read() -> Options:
    """The options in force. Raises ValueError with every fault, each on a line."""
    from django.conf import settings

    found, faults = parse(getattr(settings, NAME, {}))
    if faults:
        raise ValueError("\n".join(faults))
    return found


def parse(value: object) -> tuple[Options, list[str]]:
    """The options that the dict gives, and what is wrong with it."""
    if not isinstance(value, dict):
        return Options(), [f"{NAME}: expected a dict, got {value!r}"]
    kinds = {field.name.upper(): str(field.type) for field in fields(Options)}
    good: dict[str, Any] = {}
    faults = []
    for name, given in value.items():
        if name not in kinds:
            near = difflib.get_close_matches(str(name).upper(), kinds, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(kinds)}"
            faults.append(f"{NAME}: unknown name {name!r}{hint}")
        elif (checked := _checked(given, kinds[name])) is _WRONG:
            faults.append(f"{NAME}[{name!r}]: expected {_WORDS[kinds[name]]}, got {given!r}")
        else:
            good[name.lower()] = checked
    return Options(**good), faults


_WRONG = object()
_WORDS = {
    "str | None": "a path",
    "str": "a path as '/ws', a port as ':8080/ws', or an address as 'wss://ws.example.com/ws'",
    "bool": "True or False",
    "float": "seconds",
    "float | None": "seconds, or None",
}


def _checked(value: object, kind: str) -> object:
    """The value as its kind wants it, _WRONG when it is none."""
    if value is None:
        return None if kind.endswith("None") else _WRONG
    if kind == "bool":
        return value if isinstance(value, bool) else _WRONG
    if kind.startswith("float"):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
        return float(value) if is_number else _WRONG  # type: ignore[arg-type] # a number by now
    if kind == "str":
        return value if isinstance(value, str) and _is_address(value) else _WRONG
    text = str(value)  # a Path too
    return text if text and isinstance(value, (str, _path())) else _WRONG


def _is_address(url: str) -> bool:
    """Whether browsers can connect there; see Options.url."""
    whole = f"ws://host{url}" if url.startswith(":") or (url.startswith("/") and not url.startswith("//")) else url
    try:
        parts = urlsplit(whole)
        _ = parts.port  # raises for one that is none
    except ValueError:
        return False
    return bool(parts.hostname) and parts.scheme in ("ws", "wss") and "#" not in url and not re.search(r"\s", url)


def _path() -> type:
    from pathlib import PurePath

    return PurePath
