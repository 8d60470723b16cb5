"""The base class of tasks, spoken to through a channel that takes notes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from zephserver.core.errors import TaskFailed
from zephserver.session_manager import User
from zephserver.task import Request, Task, TaskPing


class Notes:
    """A channel that remembers what was said."""

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.answers: list[dict[str, Any]] = []

    def reply(self, data: Any) -> bool:
        self.replies.append(data)
        return True

    def say(self, answer: dict[str, Any]) -> int:
        self.answers.append(answer)
        return 3


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def request_(notes: Notes) -> Request:
    return Request(notes, data={"x": 1}, cid="c1", user=User("ann", "ann"), task="Move", room="lobby")


@pytest.fixture
def task(request_: Request) -> Task:
    return Task(request_)


def test_a_request_is_a_dict_with_what_the_server_knows(request_: Request) -> None:
    assert isinstance(request_, dict)
    assert set(request_) == {"data", "cid", "user", "task", "room"}


def test_a_task_has_its_request_and_the_data_of_it(task: Task, request_: Request) -> None:
    assert task.request is request_
    assert task.data == {"x": 1}


def test_a_task_has_sensible_wishes() -> None:
    assert Task.concurrent is False
    assert Task.timeout is None


def test_a_task_without_main_says_so(task: Task) -> None:
    with pytest.raises(NotImplementedError, match=r"Task has no main\(\)"):
        task.main()


def test_a_task_may_be_interrupted_without_a_method_of_its_own(task: Task) -> None:
    task.interrupt()


def test_a_reply_goes_to_the_channel_and_its_answer_comes_back(task: Task, notes: Notes) -> None:
    assert task.reply({"y": 2}) is True
    assert task.reply() is True

    assert notes.replies == [{"y": 2}, None]


@pytest.mark.parametrize(
    ("wishes", "target"),
    [
        ({}, {"room": "lobby"}),
        ({"room": "other"}, {"room": "other"}),
        ({"room": ""}, {"room": ""}),
        ({"users": [1, "ann"]}, {"users": [1, "ann"]}),
        ({"users": (1,)}, {"users": [1]}),
        ({"users": iter([])}, {"users": []}),
        ({"everyone": True}, {"all": True}),
        ({"cid": "c2"}, {"cid": "c2"}),
        ({"except_self": True}, {"room": "lobby", "except": "c1"}),
        ({"everyone": True, "except_self": True}, {"all": True, "except": "c1"}),
        ({"everyone": True, "room": "other", "users": [1], "cid": "c2"}, {"all": True}),
        ({"users": [1], "room": "other", "cid": "c2"}, {"users": [1]}),
        ({"cid": "c2", "room": "other"}, {"cid": "c2"}),
    ],
)
def test_say_has_one_target(task: Task, notes: Notes, wishes: dict[str, Any], target: dict[str, Any]) -> None:
    told = task.say("hello", **wishes)

    assert told == 3
    assert notes.answers == [{"task": "Move", "data": "hello"} | target]


def test_say_may_speak_for_another_task(task: Task, notes: Notes) -> None:
    task.say("hello", task="Chat")

    assert notes.answers == [{"task": "Chat", "data": "hello", "room": "lobby"}]


def test_fail_ends_the_task_with_a_code_and_a_sentence(task: Task) -> None:
    with pytest.raises(TaskFailed, match="none left") as failed:
        task.fail("out-of-stock", "none left")

    assert failed.value.code == "out-of-stock"


def test_the_ping_of_2015_is_answered(request_: Request, notes: Notes) -> None:
    asyncio.run(TaskPing(request_).main())

    assert notes.replies == ["pong"]
