"""Asking a server from an event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from zephctl.top.async_client import AsyncControlClient
from zephserver.core.errors import CommandFailed, ControlError, ControlUnreachable, NoAnswer
from zephserver.core.server import Server

SOCKET = "some.sock"
Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def ask(
    question: Callable[[AsyncControlClient], Awaitable[Any]], path: str = SOCKET, behave: Behave | None = None
) -> Any:
    """Ask the server at *path*, or one that behaves as told."""

    async def run() -> Any:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert behave is not None
            await behave(reader, writer)
            await writer.wait_closed()

        server = await asyncio.start_unix_server(handle, path) if behave is not None else None
        client = AsyncControlClient(path)
        try:
            return await question(client)
        finally:
            client.close()
            await asyncio.sleep(0)
            if server is not None:
                server.close()
            while tasks := asyncio.all_tasks() - {asyncio.current_task()}:  # also of who was let in a moment ago
                await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(run())


def saying(*lines: bytes) -> Behave:
    """A server that answers every request with these bytes and hangs up."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.writelines(lines)
        writer.close()

    return behave


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets are made in a folder of the test."""
    monkeypatch.chdir(tmp_path)


def test_one_connection_answers_one_question_after_the_other(serve: Callable[..., Server]) -> None:
    server = serve(SERVICE_LIST=["workers/Talker"])

    async def questions(client: AsyncControlClient) -> list[Any]:
        return [
            await client.call("ping", 5.0),
            await client.call("talker.greet", 5.0, whom="ann", times=2),
            [notice async for notice in client.stream("talker.count", to=3)],
            await client.call("ping", 5.0),
        ]

    answers = ask(questions, str(server.settings.configuration_network_interface_server))

    assert answers == ["pong", ["hello ann", "hello ann"], [0, 1, 2], "pong"]


def test_an_error_has_its_code_and_leaves_the_connection_open(serve: Callable[..., Server]) -> None:
    server = serve()

    async def questions(client: AsyncControlClient) -> Any:
        with pytest.raises(CommandFailed) as failed:
            await client.call("services.show", 5.0, name="nobody")
        assert failed.value.code == "unknown-service"
        return await client.call("ping", 5.0)

    assert ask(questions, str(server.settings.configuration_network_interface_server)) == "pong"


def test_where_nobody_listens_is_told() -> None:
    with pytest.raises(ControlUnreachable, match="zephctl start"):
        ask(lambda client: client.call("ping", 5.0))


def test_a_server_that_is_silent_is_given_up() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    with pytest.raises(NoAnswer, match=r"some\.sock gave no answer in time"):
        ask(lambda client: client.call("ping", 0.05), behave=behave)


@pytest.mark.parametrize("lines", [[], [b'{"id": 1, "notice": 1}\n'], [b'{"id": 1, "ok": tr']])
def test_a_server_that_goes_away_is_told(lines: list[bytes]) -> None:
    with pytest.raises(ControlError):
        ask(lambda client: client.call("ping", 5.0), behave=saying(*lines))


@pytest.mark.parametrize("line", [b"HTTP/1.1 400 Bad Request\n", b"[]\n", b'{"ok": true}\n', b"\xff\n", b"error: x\n"])
def test_what_is_no_zephserver_is_told(line: bytes) -> None:
    with pytest.raises(ControlError, match="is not a zephserver"):
        ask(lambda client: client.call("ping", 5.0), behave=saying(line))


def test_a_refusal_in_plain_words_is_one() -> None:
    with pytest.raises(CommandFailed, match="40 others") as failed:
        ask(lambda client: client.call("ping", 5.0), behave=saying(b"error: busy: 40 others are connected\n"))

    assert failed.value.code == "busy"


def test_a_question_that_was_given_up_does_not_answer_the_next() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command = json.loads(await reader.readline())["command"]
        if command == "quick":
            writer.write(b'{"id": 1, "ok": true, "result": "right"}\n')
        await reader.read()
        writer.close()

    async def questions(client: AsyncControlClient) -> Any:
        slow = asyncio.ensure_future(client.call("slow", 5.0))
        await asyncio.sleep(0.05)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        return await client.call("quick", 5.0)

    assert ask(questions, behave=behave) == "right"
