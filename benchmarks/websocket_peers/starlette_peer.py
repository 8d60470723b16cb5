"""A WebSocket route of Starlette on uvicorn."""

from __future__ import annotations

import uvicorn
import work
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def peer(connection: WebSocket) -> None:
    await connection.accept()
    room = ""
    try:
        while True:
            task, message = work.read(await connection.receive_text())
            if task is None:
                room = message["room"]
                work.rooms[room].add(connection)
                await connection.send_text(work.joined(room))
            elif task == "say":
                text = work.answer(message)
                for member in list(work.rooms[room]):
                    await member.send_text(text)
            elif task == "threaded":
                await connection.send_text(await run_in_threadpool(work.answer, message))
            else:
                await connection.send_text(work.answer(message))
    except WebSocketDisconnect:
        pass
    finally:
        work.rooms[room].discard(connection)


app = Starlette(routes=[WebSocketRoute("/ws", peer)])
uvicorn.run(app, host="127.0.0.1", port=work.PORT, log_level="error", lifespan="off", backlog=1024)
