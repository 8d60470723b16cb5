"""What an engine with a broker has to bring: how messages get to the broker, and back."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import NamedTuple, Protocol


class Where(Enum):
    """For whom a message is."""

    ALL = "all"
    NODE = "node"  # one server, by name
    TOPIC = "topic"  # those that follow it


class Message(NamedTuple):
    """Bytes on their way to the broker. Those that are *numbered* may be kept by it for who is away for a moment."""

    where: Where
    name: str
    data: bytes
    numbered: bool = False


class BusLost(Exception):
    """The broker cannot be reached, or does not take or bring messages any more. Says why, without any password."""


class BusRefused(BusLost):
    """The broker is there and does not let us in; a person has to do something."""


def in_one_line(error: BaseException) -> str:
    """What the system says went wrong, or else the library."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"no TLS: {cause.reason or 'the connection was closed'}"
        if isinstance(cause, OSError) and isinstance(cause.errno, int) and cause.errno > 0:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split()) or type(error).__name__


def is_distrust(error: BaseException | None) -> bool:
    """Whether it is about TLS, so that a person has to do something."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


class Transport(Protocol):
    """One connection to a broker after the other. Loop only."""

    limit: int
    """Bytes of one message, at most; known when it is open."""

    async def open(
        self, node: str, heard: Callable[[bytes], None], failed: Callable[[str], None], *, is_guest: bool = False
    ) -> None:
        """Connect, and hear what is for all and for this server. *heard* gets every message, not those of one's own
        connection where that can be helped; *failed* is called with the reason when the connection is lost later. A
        guest hears nothing but what is said to it alone, and not numbered.

        Raises BusLost, BusRefused.
        """

    async def follow(self, topics: Collection[str]) -> None:
        """Hear these topics too; what is sent from now on comes. Raises BusLost."""

    async def unfollow(self, topics: Collection[str]) -> None:
        """Hear them no more. Raises BusLost."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Hand messages to the broker, in order; they are there when this returns. Raises BusLost."""

    async def close(self) -> None:
        """Hang up, whatever state it is in; open() may follow. Raises nothing, and does not wait for the broker."""
