"""What one may ask of a stream: since when, which words, which level and service."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from zephctl.app import TIMEOUT, App
from zephctl.live_names import LEVELS

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Moment(click.ParamType):  # type: ignore[type-arg]  # it has them since click 8.5
    """A time: as long ago as 10m, or a date as in 2026-11-22T15:00, in local time where it names no zone."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds since 1970, or a usage error."""
        if isinstance(value, (int, float)):
            return float(value)
        ago = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smhdw])", value)
        if ago is not None:
            return time.time() - float(ago[1]) * UNITS[ago[2]]
        try:
            return datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is no time; write 30s, 10m, 2h, 7d or 2026-11-22T15:00.", param, ctx)


class Pattern(click.ParamType):  # type: ignore[type-arg]  # it has them since click 8.5
    """A regular expression."""

    name = "pattern"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> re.Pattern[str]:
        """The expression, compiled, or a usage error."""
        if isinstance(value, re.Pattern):
            return value
        try:
            return re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            self.fail(f"{value!r} is no regular expression: {error}.", param, ctx)


class Level(click.ParamType):  # type: ignore[type-arg]  # it has them since click 8.5
    """A level of the log, in either case."""

    name = "level"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The level in capitals, or a usage error."""
        level = str(value).upper()
        if level not in LEVELS:
            self.fail(f"{value!r} is no level; write {', '.join(LEVELS[:-1])} or {LEVELS[-1]}.", param, ctx)
        return level


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines of the log are wanted."""

    level: str = "DEBUG"
    service: str = ""
    pattern: re.Pattern[str] | None = None
    since: float | None = None

    def takes(self, row: dict[str, Any]) -> bool:
        """Whether a line of the server or of a file is one of them."""
        level = row.get("level", "DEBUG")
        if level in LEVELS and LEVELS.index(level) < LEVELS.index(self.level):
            return False
        if self.since is not None and row.get("at", self.since) < self.since:
            return False
        if self.service and not self._is_of_service(row):
            return False
        return self.pattern is None or self.pattern.search(row["text"]) is not None

    def _is_of_service(self, row: dict[str, Any]) -> bool:
        name = row.get("service")
        if name is not None:
            return self.service in (name, name.partition("/")[2])
        # A text log does not repeat the name of a service that its line names already.
        return "cursor" not in row and re.search(rf"\b{re.escape(self.service)}\b", row["text"]) is not None


def check_service(app: App, name: str) -> None:
    """Raise CommandFailed when the server of *app* knows no service of that name; ControlUnreachable without one."""
    for _ in app.client.stream("log.tail", timeout=app.timeout or TIMEOUT, lines=0, service=name):
        pass
