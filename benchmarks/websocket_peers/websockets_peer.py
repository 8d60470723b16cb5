"""The asyncio server of the websockets library."""

from __future__ import annotations

import asyncio

import work
from websockets.asyncio.server import ServerConnection, broadcast, serve


async def peer(connection: ServerConnection) -> None:
    room = ""
    try:
        async for text in connection:
            task, message = work.read(text)
            if task is None:
                room = message["room"]
                work.rooms[room].add(connection)
                await connection.send(work.joined(room))
            elif task == "say":
                broadcast(work.rooms[room], work.answer(message))
            elif task == "threaded":
                await connection.send(await asyncio.to_thread(work.answer, message))
            else:
                await connection.send(work.answer(message))
    finally:
        work.rooms[room].discard(connection)


async def main() -> None:
    async with serve(peer, "127.0.0.1", work.PORT, backlog=1024) as server:
        await server.serve_forever()


work.run(main())
