"""python-socketio on uvicorn, the WebSocket transport only. It frames its messages in its own way.

With REDIS_URL it is one of several servers.
"""

from __future__ import annotations

import os
from typing import Any

import socketio
import uvicorn
import work

url = os.environ.get("REDIS_URL")
server = socketio.AsyncServer(
    async_mode="asgi",
    transports=["websocket"],
    cors_allowed_origins="*",
    client_manager=socketio.AsyncRedisManager(url) if url else None,
)
where: dict[str, str] = {}  # the room of each connection


@server.event
async def join(sid: str, data: dict[str, Any]) -> None:
    where[sid] = data["room"]
    await server.enter_room(sid, data["room"])
    await server.emit("joined", {"room": data["room"]}, to=sid)


@server.event
async def echo(sid: str, data: Any) -> None:
    await server.emit("echo", data, to=sid)


@server.event
async def say(sid: str, data: Any) -> None:
    await server.emit("say", data, room=where[sid])


@server.event
async def disconnect(sid: str) -> None:
    where.pop(sid, None)


app = socketio.ASGIApp(server, socketio_path="ws")
uvicorn.run(app, host="127.0.0.1", port=work.PORT, log_level="error", backlog=1024)
