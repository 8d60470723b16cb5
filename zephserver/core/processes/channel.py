"""A worker's line to the process above it: what it is to do comes in, what happens goes out."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import socket
import threading
from typing import Any

from zephserver.core.bus import EventBus, Subscription
from zephserver.core.events import Event
from zephserver.core.files import keep_from_children
from zephserver.core.processes.lines import Lines
from zephserver.core.processes.plan import Plan

MOST_UNSENT = 10_000  # events that may wait for a process above that does not read; what comes then is counted
LAST_WORDS = 1.0  # seconds for what is still to be sent when the worker ends


class Channel:
    """The worker's end of a socket pair. A line of JSON each way is a word.

    It is also how a worker notices that the process above is gone, however that died: then it stops by itself.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._lines = Lines()
        self._heard: list[bytes] = []
        self._unsent: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._lost = 0
        self._floor = logging.INFO
        self._subscription: Subscription | None = None
        self._sender = threading.Thread(target=self._send, name="channel out", daemon=True)

    @classmethod
    def inherited(cls, descriptor: int) -> Channel:
        """The one that this process was started with. No child of ours may keep it open."""
        os.set_inheritable(descriptor, False)
        keep_from_children(descriptor)
        return cls(socket.socket(fileno=descriptor))

    def plan(self) -> Plan:
        """What the process above wants of this one: its first word. Raises EOFError when it is gone already."""
        line = self._next()
        if line is None:
            raise EOFError
        return Plan(**json.loads(line))

    def open(self) -> None:
        """Listen for more words, and send ours."""
        threading.Thread(target=self._listen, name="channel in", daemon=True).start()
        self._sender.start()

    def follow(self, bus: EventBus) -> None:
        """Tell the process above what happens from now on, after all that has happened."""
        self._subscription = bus.subscribe(self._on_event, replay=True, floor=self._floor)

    def tell(self, **word: Any) -> None:
        """Send a word. Any thread; never waits."""
        self._unsent.put(word)

    def close(self) -> None:
        """Send what is still to be sent, as far as somebody reads it."""
        self._unsent.put(None)
        if self._sender.is_alive():
            self._sender.join(LAST_WORDS)

    def _on_event(self, event: Event) -> None:
        if self._unsent.qsize() < MOST_UNSENT:
            self._unsent.put({"event": event.as_dict()})
        else:
            self._lost += 1

    def _send(self) -> None:
        """Body of a thread."""
        while (word := self._unsent.get()) is not None:
            if self._lost and self._unsent.qsize() < MOST_UNSENT // 2:
                count, self._lost = self._lost, 0
                word = {**word, "lost": count}
            try:
                self._socket.sendall(json.dumps(word, default=str).encode() + b"\n")
            except OSError:
                return  # nobody is there any more; the other thread sees to it

    def _listen(self) -> None:
        """Body of a thread."""
        while (line := self._next()) is not None:
            self._floor = logging.NOTSET if json.loads(line)["watch"] else logging.INFO
            if self._subscription is not None:
                self._subscription.set_floor(self._floor)
        os.kill(os.getpid(), signal.SIGTERM)  # which ends the process at once as long as there is no server

    def _next(self) -> bytes | None:
        while not self._heard:
            try:
                data = self._socket.recv(65_536)
            except OSError:
                return None
            if not data:
                return None
            self._heard = self._lines.feed(data)
        return self._heard.pop(0)
