"""What a load shall be: the first line that the process reads. Pure: no I/O, no clock."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

MARK = "zb#"  # stands before the number of a message; nothing else that is said contains it
DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A load. Either *host* and *port*, or *unix*, say where the server is."""

    mode: Literal["echo", "fanout", "connect"]
    clients: int
    seconds: float
    rate: float | None = None  # messages, or connections, per second of all clients together; None: as fast as it goes
    size: int = 32  # characters of a message's text
    task: str = ""  # fanout: '' has the operator say it, over the control socket
    room: str = ""
    token: str | None = None  # None: every client is a user of its own
    host: str = ""
    port: int | None = None
    unix: str = ""
    path: str = "/ws"
    tls: bool = False
    verify: bool = True
    control: str = ""  # path of the control socket

    @classmethod
    def read(cls, line: str) -> Plan:
        """The plan that a line of JSON has. Raises ValueError or TypeError."""
        return cls(**json.loads(line))

    def write(self) -> str:
        """As a line of JSON."""
        return json.dumps(asdict(self))

    def first_message(self, number: int) -> bytes:
        """What the client with this number says first: who it is, and where it wants to be."""
        who: Any = self.token or {"id": f"bench-{number}", "username": f"bench-{number}"}
        return json.dumps({"session_id": who} | ({"room": self.room} if self.room else {})).encode()

    def handshake(self) -> bytes:
        """The opening request."""
        host = f"[{self.host}]" if ":" in self.host else self.host or "localhost"
        where = f"{host}:{self.port}" if self.port is not None else host
        return (
            f"GET {self.path} HTTP/1.1\r\nHost: {where}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()

    def text(self, number: int) -> str:
        """The text of the message with this number."""
        return mark(number).ljust(self.size, "x")

    def message(self, number: int) -> bytes:
        """A request of the task."""
        message = {"task": self.task, "data": {"text": self.text(number)}, "id": mark(number)}
        return json.dumps(message | ({"room": self.room} if self.room else {})).encode()


def mark(number: int) -> str:
    """What stands in the message with this number."""
    return f"{MARK}{number:0{DIGITS}d}"


_MARK = MARK.encode()


def number_in(payload: bytes) -> int | None:
    """The number of the message that this one answers, or carries."""
    at = payload.find(_MARK)
    if at < 0:
        return None
    digits = payload[at + len(_MARK) : at + len(_MARK) + DIGITS]
    return int(digits) if len(digits) == DIGITS and digits.isdigit() else None
