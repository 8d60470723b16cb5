"""The event loop of the WebSocket server: which one it is, and what it tells the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

_log = logging.getLogger("zephserver.engine")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where the extra of that name is installed, asyncio's own loop elsewhere."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def tell_log(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio can hand to nobody goes to the log, but for the faults of peers."""
    error = context.get("exception")
    if isinstance(error, type):  # as aiofastnet has it of a peer that went away
        error = error()
    if context.get("message") == "SSL handshake failed":  # a health check or a port scan, which would be an ERROR each
        _log.debug("a TLS handshake failed: %s", error or "the peer went away")
    elif not (isinstance(error, RuntimeError) and "write_eof" in str(error)):
        # Not that: a peer whose message was refused may have sent a frame behind it that picows refuses by itself; its
        # close frame then comes after our last word, which asyncio reports as a fault of ours.
        loop.default_exception_handler(context | {"exception": error} if error is not None else context)
