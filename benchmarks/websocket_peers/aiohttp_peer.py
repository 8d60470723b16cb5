"""A WebSocket handler of aiohttp."""

from __future__ import annotations

import asyncio

import work
from aiohttp import WSMsgType, web


async def peer(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    room = ""
    try:
        async for received in connection:
            if received.type != WSMsgType.TEXT:
                continue
            task, message = work.read(received.data)
            if task is None:
                room = message["room"]
                work.rooms[room].add(connection)
                await connection.send_str(work.joined(room))
            elif task == "say":
                text = work.answer(message)
                for member in list(work.rooms[room]):
                    await member.send_str(text)
            elif task == "threaded":
                await connection.send_str(await asyncio.to_thread(work.answer, message))
            else:
                await connection.send_str(work.answer(message))
    finally:
        work.rooms[room].discard(connection)
    return connection


async def main() -> None:
    app = web.Application()
    app.router.add_get("/ws", peer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", work.PORT, backlog=1024).start()
    await asyncio.Event().wait()


work.run(main())
