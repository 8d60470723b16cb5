"""When connections write: at the end of the turn of the loop, or of the batch."""

from __future__ import annotations

import asyncio

import pytest

from zephserver.engines.picows.batch import Batch


class Pen:
    """A connection that notes when it wrote."""

    def __init__(self, book: list[str], name: str) -> None:
        self._book, self._name = book, name

    def flush(self) -> None:
        self._book.append(self._name)


def test_they_write_in_order_at_the_end_of_the_turn() -> None:
    async def run() -> list[str]:
        batch, book = Batch(), list[str]()
        for name in "ab":
            batch.add(Pen(book, name))
        asyncio.get_running_loop().call_soon(book.append, "the next turn")
        book.append("this turn")
        await asyncio.sleep(0)
        return book

    assert asyncio.run(run()) == ["this turn", "a", "b", "the next turn"]


def test_what_is_said_within_is_written_at_its_end_and_not_again() -> None:
    async def run() -> list[str]:
        batch, book = Batch(), list[str]()
        batch.add(Pen(book, "before"))
        with batch:
            batch.add(Pen(book, "within"))
            book.append("said")
        book.append("behind")
        batch.add(Pen(book, "after"))
        await asyncio.sleep(0)
        return book

    assert asyncio.run(run()) == ["said", "before", "within", "behind", "after"]


def test_one_that_cannot_write_keeps_nobody_else_from_it(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def flush(self) -> None:
            raise RuntimeError("no ink")

    async def run() -> list[str]:
        batch, book = Batch(), list[str]()
        with batch:
            batch.add(Broken())
            batch.add(Pen(book, "a"))
        return book

    assert asyncio.run(run()) == ["a"]
    assert "a connection could not write" in caplog.text
