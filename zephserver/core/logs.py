"""The log: events and ordinary logging become lines, lines go to the file and to whoever follows them."""

from __future__ import annotations

import io
import json
import logging
import re
import secrets
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from zephserver.core import runtime
from zephserver.core.bus import EventBus, Subscription
from zephserver.core.clock import Clock, SystemClock
from zephserver.core.events import Event
from zephserver.core.journal import Journal
from zephserver.core.log_file import LogFile
from zephserver.core.text import escape

KEPT = 5_000  # lines in memory, for whoever follows the log
UNWRITTEN = 50_000  # lines that may wait for a slow disk; what comes then is dropped, counted and told
IN_LINE = ("text", "level", "traceback", "seq", "at")  # of an event; a line has them in places of their own
LONGEST = 16_384  # characters of a line; a log is no place for a payload

_SECRETS = re.compile(r"(?i)\b(\w*(?:password|passwd|secret|token|session_?id|authorization|cookie)[\"']?\s*[=:]\s*)"
                      r"(?:bearer\s+|basic\s+)?(\"[^\"]*\"|'[^']*'|[^\s,;&}]+)")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log."""

    seq: int
    at: float
    level: str
    service: str
    text: str
    trace: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    worker: int = 0  # which process of several wrote it; 0 where there is only one, or the one above them

    def as_text(self) -> str:
        """As it stands in a text log."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at))
        trace = f" | {escape(self.trace)}" if self.trace else ""
        who = f" [{self.service}]" if self.service and self.service not in self.text else ""
        worker = f"worker {self.worker}: " if self.worker else ""
        return f"{moment}.{int(self.at % 1 * 1000):03d} {self.level:<8}{who} {worker}{self.text}{trace}"

    def as_dict(self) -> dict[str, Any]:
        """As it stands in a JSON log."""
        row: dict[str, Any] = {"seq": self.seq, "at": round(self.at, 6), "level": self.level, "text": self.text}
        for name in ("service", "trace", "fields", "worker"):
            if value := getattr(self, name):
                row[name] = value
        return row


class Log:
    """The log of one server. Any thread may log; a thread of its own writes, so that no disk ever holds anybody up.

    `journal` has the last lines; `boot` names this run, so that a cursor 'boot:seq' is never taken for another run's.
    """

    def __init__(
        self,
        file: LogFile,
        bus: EventBus,
        *,
        level: str = "INFO",
        format: str = "text",
        secret_values: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self.journal: Journal[Line] = Journal(KEPT)
        self.boot = secrets.token_hex(4)
        self._file, self._bus, self._json = file, bus, format == "json"
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._level = level
        self._levels: dict[str, str] = {}
        self._reopen = False
        self._unwritten: deque[Line] = deque()
        hidden = sorted(filter(None, secret_values), key=len, reverse=True)
        self._hidden = re.compile("|".join(map(re.escape, hidden))) if hidden else None
        self._subscription: Subscription | None = None
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)

    def start(self) -> None:
        """Start the writer and read the bus."""
        self._thread.start()
        self._subscription = self._bus.subscribe(self._on_event, floor=self.floor)

    def close(self) -> None:
        """Write what is still to be written, at most for two seconds, and close the file."""
        if self._subscription is not None:
            self._subscription.close()
        self.journal.close()
        if self._thread.is_alive():
            self._thread.join(2.0)
        self._file.close()

    def write(
        self,
        level: str,
        text: str,
        *,
        service: str = "",
        trace: str = "",
        at: float | None = None,
        fields: dict[str, Any] | None = None,
        worker: int = 0,
    ) -> None:
        """Add a line, if the level of its service allows."""
        if _number(level) < _number(self._levels.get(service, self._level)):
            return
        text = escape(self._redact(text[:LONGEST]))
        trace = self._redact(trace[-LONGEST:].rstrip("\n"))
        service = escape(service)
        fields = {name: self._redact(v) if isinstance(v, str) else v for name, v in (fields or {}).items()}
        at = self._clock.time() if at is None else at
        with self._lock:
            if self.journal.closed:
                return
            line = Line(self.journal.last + 1, at, level, service, text, trace, fields, worker)
            if len(self._unwritten) < UNWRITTEN:
                self._unwritten.append(line)
            else:
                self._file.dropped += 1
            self.journal.append(line)

    def level(self, service: str = "") -> str:
        """The least severe level that is written, of a service or of the server."""
        return self._levels.get(service, self._level)

    def levels(self) -> dict[str, str]:
        """The level of the server under '' and those of services that have one of their own."""
        return {"": self._level, **self._levels}

    def set_level(self, level: str, service: str = "") -> None:
        """Change a level from now on; for one service only if it is named."""
        if service:
            self._levels[service] = level
        else:
            self._level = level
            self._levels.clear()
        if self._subscription is not None:
            self._subscription.set_floor(self.floor)

    @property
    def floor(self) -> int:
        """The number of the lowest level in use."""
        return min(map(_number, self.levels().values()))

    def reopen(self) -> None:
        """Open the file anew before the next line is written, after somebody else rotated it."""
        self._reopen = True

    @property
    def dropped(self) -> int:
        """Lines that wait to be confessed because the disk is full."""
        return self._file.dropped

    def _redact(self, text: str) -> str:
        if self._hidden is not None:
            text = self._hidden.sub("***", text)
        return _SECRETS.sub(r"\1***", text)

    def _on_event(self, event: Event) -> None:
        fields = {k: v for k, v in event.as_dict().items() if k not in IN_LINE}
        self.write(
            logging.getLevelName(event.level),
            str(event),
            service=str(getattr(event, "name", "")),
            trace=str(getattr(event, "traceback", "")),
            at=event.at,
            fields=fields,
        )

    def _write(self) -> None:
        """Body of the writer's thread."""
        seen = 0
        while not (self.journal.closed and seen == self.journal.last):
            seen = self.journal.wait(seen)
            if self._reopen:
                self._reopen = False
                try:
                    self._file.reopen()
                except Exception as error:
                    self.write("ERROR", f"the log cannot be opened anew: {error}")
            lines = [self._unwritten.popleft() for _ in range(len(self._unwritten))]
            if lines:
                self._file.write([self._encode(line) for line in lines])

    def _encode(self, line: Line) -> bytes:
        text = json.dumps(line.as_dict(), ensure_ascii=True, default=str) if self._json else line.as_text()
        return text.encode("utf-8", "backslashreplace") + b"\n"


class LogHandler(logging.Handler):
    """Takes the records of Python's own logging that are made in a server's threads into that server's log.

    With *everything* it takes those of all other threads too: for a process that is nothing but this server.
    """

    def __init__(self, log: Log, server: object, *, everything: bool) -> None:
        super().__init__()
        self._log, self._server, self._everything = log, server, everything

    def emit(self, record: logging.LogRecord) -> None:
        """Any thread. Never raises: a wrong format string is logged as it stands."""
        owner = runtime.find_server()
        if owner is not self._server and not (owner is None and self._everything):
            return
        try:
            text = record.getMessage()
        except Exception as error:
            text = f"{record.msg!r} % {record.args!r} raised {error!r}"
        trace = record.exc_text or ""
        if record.exc_info and record.exc_info[1] is not None and not trace:
            trace = "".join(traceback.format_exception(record.exc_info[1]))
        service = runtime.current_service() or record.name
        self._log.write(_name(record.levelno), text, service=service, trace=trace, at=record.created)


class LogStream(io.TextIOBase):
    """What a daemon has for stdout and stderr: whatever is printed becomes log lines."""

    def __init__(self, log: Log, level: str) -> None:
        self._log, self._level = log, level

    def write(self, text: str) -> int:
        """Any thread."""
        for line in text.splitlines():
            if line.strip():
                self._log.write(self._level, line, service=runtime.current_service())
        return len(text)

    def writable(self) -> bool:
        """It is."""
        return True


def _number(level: str) -> int:
    return logging.getLevelNamesMapping().get(level, logging.INFO)


def _name(number: int) -> str:
    """The name of a level; a number between two levels has the name of the lower one."""
    for level in (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO):
        if number >= level:
            return logging.getLevelName(level)
    return "DEBUG"
