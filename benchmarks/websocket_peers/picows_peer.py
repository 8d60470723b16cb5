"""picows without anything around it: the transport that zephserver stands on. With --msgspec instead of json."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import work
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

read: Callable[[bytes], Any] = json.loads
write: Callable[[Any], bytes] = lambda value: json.dumps(value).encode()  # noqa: E731
if "--msgspec" in sys.argv:
    read, write = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode


class Peer(WSListener):
    room = ""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
            return
        message = read(frame.get_payload_as_bytes())
        task = message.get("task")
        if task is None:
            self.room = message["room"]
            work.rooms[self.room].add(transport)
            transport.send(WSMsgType.TEXT, write({"msgtype": "joined", "room": self.room}))
        elif task == "say":
            payload = write({"task": task, "data": message["data"]})
            for member in work.rooms[self.room]:
                member.send(WSMsgType.TEXT, payload)
        else:
            transport.send(WSMsgType.TEXT, write({"task": task, "data": message["data"]}))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        work.rooms[self.room].discard(transport)


async def main() -> None:
    server = await ws_create_server(lambda request: Peer(), "127.0.0.1", work.PORT, backlog=1024)
    await server.serve_forever()


work.run(main())
