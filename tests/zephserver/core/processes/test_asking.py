"""Asking a worker over its control socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from zephserver.core.bus import EventBus
from zephserver.core.command_table import CommandTable, command
from zephserver.core.control import ControlServer
from zephserver.core.errors import BadRequest, CommandFailed, ControlUnreachable, NoAnswer
from zephserver.core.processes import asking
from zephserver.core.processes.asking import Question, ask


class Commands:
    """What the worker answers."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.inside = threading.Event()

    @command("add")
    def add(self, a: int, b: int = 1) -> int:
        return a + b

    @command("refuse")
    def refuse(self) -> None:
        raise BadRequest("not like this")

    @command("count")
    def count(self, to: int) -> Iterator[int | None]:
        for number in range(to):
            yield number
            yield None

    @command("break")
    def break_(self) -> Iterator[int]:
        yield 1
        raise BadRequest("no more")

    @command("hesitate")
    def hesitate(self) -> Iterator[int]:
        yield 1
        self.gate.wait(30)
        yield 2

    @command("wait")
    def wait(self) -> str:
        self.inside.set()
        self.gate.wait(30)
        return "done"


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def path(tmp_path: Path, commands: Commands) -> Iterator[str]:
    """The control socket of a worker."""
    table = CommandTable()
    table.add_methods(commands)
    server = ControlServer(tmp_path / "1.sock", table, EventBus())
    server.open()
    yield server.path
    commands.gate.set()
    server.close()
    server.hang_up()


def test_a_result_comes_back(path: str) -> None:
    assert Question(1, path, {"command": "add", "args": {"a": 2, "b": 3}}).answer() == 5


def test_words_are_handed_on_as_they_were_typed(path: str) -> None:
    assert Question(1, path, {"command": "add", "words": ["2", "3"]}).answer() == 5
    assert Question(1, path, {"words": ["add", "2"]}).answer() == 3


def test_a_refusal_keeps_its_code(path: str) -> None:
    with pytest.raises(CommandFailed, match=r"^not like this$") as refused:
        Question(1, path, {"command": "refuse"}).answer()

    assert refused.value.code == "bad-request"


def test_a_stream_comes_as_it_is_told(path: str) -> None:
    assert list(Question(1, path, {"command": "count", "args": {"to": 3}}).answer()) == [0, 1, 2]


def test_a_stream_that_fails_raises_where_it_does(path: str) -> None:
    stream = Question(1, path, {"command": "break"}).answer()

    assert next(stream) == 1
    with pytest.raises(CommandFailed, match="no more"):
        next(stream)


def test_a_silent_stream_lets_its_reader_look_around(
    path: str, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PULSE", 0.01)

    stream = Question(1, path, {"command": "hesitate"}).answer()

    assert [next(stream), next(stream)] == [1, None]
    commands.gate.set()
    assert [news for news in stream if news is not None] == [2]


def test_a_worker_that_goes_away_before_its_answer_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "4.sock"))
        listener.listen()
        question = Question(4, str(tmp_path / "4.sock"), {"command": "ping"})
        listener.accept()[0].close()

        with pytest.raises(ControlUnreachable, match=r"^worker 4 went away before it answered$"):
            question.answer()


def test_who_does_not_answer_in_time_is_told(path: str, commands: Commands) -> None:
    question = Question(3, path, {"command": "wait"})
    assert commands.inside.wait(10)

    with pytest.raises(NoAnswer, match=r"^worker 3 gave no answer in 0\.05 s$"):
        question.answer(0.05)


def test_who_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ControlUnreachable, match=r"^worker 2 cannot be asked: No such file or directory$"):
        Question(2, str(tmp_path / "2.sock"), {"command": "ping"})


def test_all_are_asked_at_once_and_each_has_its_answer_or_error(path: str, tmp_path: Path) -> None:
    answers = ask({1: path, 2: str(tmp_path / "2.sock"), 3: path}, {"command": "add", "args": {"a": 1}})

    assert (answers[1], answers[3]) == (2, 2)
    assert isinstance(answers[2], ControlUnreachable)
    assert list(answers) == [1, 2, 3]
