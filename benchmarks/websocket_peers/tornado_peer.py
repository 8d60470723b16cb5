"""Tornado with a new thread for every message: how the zephserver of 2015 was made."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import Any

import tornado.web
import tornado.websocket
import work


class Peer(tornado.websocket.WebSocketHandler):
    room = ""

    def initialize(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def get_compression_options(self) -> dict[str, Any]:
        return {}

    def on_message(self, text: str | bytes) -> None:
        task, message = work.read(text)
        if task is None:
            self.room = message["room"]
            work.rooms[self.room].add(self)
            self.write_message(work.joined(self.room))
        else:
            threading.Thread(target=self.serve, args=(message,)).start()

    def serve(self, message: dict[str, Any]) -> None:
        members = list(work.rooms[self.room]) if message["task"] == "say" else [self]
        self.loop.call_soon_threadsafe(send_all, members, work.answer(message))

    def on_close(self) -> None:
        work.rooms[self.room].discard(self)


def send_all(members: Iterable[Peer], text: str) -> None:
    for member in members:
        member.write_message(text)


async def main() -> None:
    app = tornado.web.Application([(r"/ws", Peer, {"loop": asyncio.get_running_loop()})])
    app.listen(work.PORT, "127.0.0.1", backlog=1024)
    await asyncio.Event().wait()


work.run(main())
