"""The JSON work that every peer does, so that only the libraries around it differ.

{"room": "a"}                     joins a room        -> {"msgtype": "joined", "room": "a"}
{"task": "echo", "data": 1}       to the sender       -> {"task": "echo", "data": 1}
{"task": "threaded", "data": 1}   the same, by way of a thread
{"task": "say", "data": 1}        to the whole room   -> {"task": "say", "data": 1}
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any

PORT = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 0
rooms: defaultdict[str, set[Any]] = defaultdict(set)  # the connections in each room


def read(text: str | bytes) -> tuple[str | None, dict[str, Any]]:
    """The task that a message names, None when it joins a room, and the whole message."""
    message = json.loads(text)
    return message.get("task"), message


def joined(room: str) -> str:
    """The answer to who joins."""
    return json.dumps({"msgtype": "joined", "room": room})


def answer(message: dict[str, Any]) -> str:
    """What a task says."""
    return json.dumps({"task": message["task"], "data": message["data"]})


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed, as zephserver takes it too; asyncio's own loop elsewhere."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a server until the process is ended."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main)
