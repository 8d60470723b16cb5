"""Several commands for Redis at once, below the client of redis-py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import exceptions


async def run(connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send the commands together; their answers, in order. Raises RedisError: the first one, of several."""
    await connection.send_packed_command(connection.pack_commands(commands))
    answers: list[Any] = []
    failure: exceptions.ResponseError | None = None
    for _ in commands:
        try:
            answers.append(await connection.read_response(disconnect_on_error=False))
        except exceptions.ResponseError as error:  # the answers to the others follow all the same
            failure = failure or error
    if failure is not None:
        raise failure
    return answers
