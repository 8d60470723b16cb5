"""What users test their tasks and services with."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.zephserver.conftest import Site, make_site  # noqa: F401 - the second is a fixture
from zephserver import Request, Task, User, login_required, user_passes_test
from zephserver.core.bus import EventBus
from zephserver.core.errors import AccessDenied, BadMessage, RequestError, TaskFailed
from zephserver.events import Listening
from zephserver.testing import FakeClock, TaskRun, run_task, running_server, wait_for, wait_until

ANN = User(7, "ann")


class Echo(Task):
    """Says what it hears."""

    def main(self) -> None:
        """Reply."""
        self.reply(self.data)


class Answers(Task):
    """Replies with each part of its data."""

    async def main(self) -> None:
        """Reply, on an event loop."""
        for one in self.data:
            self.reply(one)


class Says(Task):
    """Says something to those whom its data names."""

    def main(self) -> None:
        """Say."""
        self.reply(self.say("hello", **self.data))


class Fails(Task):
    """Fails in its own words."""

    def main(self) -> None:
        """Fail."""
        self.reply("so far")
        self.fail("out-of-stock", "no apples")


class Members(Task):
    """For those who are known."""

    @login_required
    def __init__(self, request: Request) -> None:
        super().__init__(request)

    def main(self) -> None:
        """Reply."""
        self.reply("welcome")


class Ann(Task):
    """For one person."""

    @user_passes_test(lambda user: user.username == "ann")
    def __init__(self, request: Request) -> None:
        super().__init__(request)

    async def main(self) -> None:
        """Reply."""
        self.reply("welcome, ann")


# -- run_task -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "heard"), [(None, None), ({"a": [1]}, {"a": [1]}), ((1, 2), [1, 2]), ({1: 2}, {"1": 2})]
)
def test_a_task_hears_its_data_as_from_a_browser_and_is_heard_so(data: Any, heard: Any) -> None:
    run = run_task(Echo, data)

    assert run == TaskRun(replies=[heard], said=[], error=None)
    assert run.reply == heard


def test_what_a_task_keeps_of_a_reply_does_not_change_it() -> None:
    class Changes(Task):
        def main(self) -> None:
            self.reply(self.data)
            self.data.append(2)
            self.reply(self.data)

    assert run_task(Changes, [1]).replies == [[1], [1, 2]]


def test_a_task_on_the_event_loop_runs_too() -> None:
    assert run_task(Answers, [1, "b", None]).replies == [1, "b", None]


def test_a_task_runs_in_the_thread_of_its_test() -> None:
    class Where(Task):
        def main(self) -> None:
            self.reply(threading.get_ident())

    assert run_task(Where).reply == threading.get_ident()


def test_a_class_without_the_base_class_runs_too() -> None:
    class Bare:
        def __init__(self, request: Request) -> None:
            self.request = request

        def main(self) -> None:
            self.request.channel.reply(sorted(self.request))

    assert run_task(Bare).reply == ["cid", "data", "room", "task", "user"]


def test_the_request_is_that_of_an_anonymous_stranger_by_default() -> None:
    class Keeps(Task):
        def main(self) -> None:
            seen.update(self.request)

    seen: dict[str, Any] = {}
    run_task(Keeps)

    assert seen == {"data": None, "cid": "test", "user": User(), "task": "Keeps", "room": None}


def test_the_request_is_what_the_test_says() -> None:
    class Keeps(Task):
        def main(self) -> None:
            seen.update(self.request)

    seen: dict[str, Any] = {}
    run_task(Keeps, 1, user=ANN, room="lobby", cid="c", name="keep")

    assert seen == {"data": 1, "cid": "c", "user": ANN, "task": "keep", "room": "lobby"}


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ({}, {"room": "lobby"}),
        ({"room": "news"}, {"room": "news"}),
        ({"users": [1, "b"]}, {"users": [1, "b"]}),
        ({"everyone": True}, {"all": True}),
        ({"cid": "c"}, {"cid": "c"}),
        ({"task": "chat"}, {"task": "chat", "room": "lobby"}),
        ({"except_self": True}, {"room": "lobby", "except": "test"}),
    ],
)
def test_what_a_task_says_to_others_is_noted(target: dict[str, Any], answer: dict[str, Any]) -> None:
    run = run_task(Says, target, room="lobby")

    assert run.said == [{"task": "Says", "data": "hello"} | answer]
    assert run.error is None


def test_saying_something_to_nobody_fails_as_in_a_server(make_site: Any) -> None:  # noqa: F811
    site: Site = make_site(Says)
    told = site.join("ann", None).ask("Says", {})

    with pytest.raises(BadMessage, match="one of room, users, all, cid"):
        run_task(Says, {})

    assert told["error"]["code"] == TaskFailed.code


def test_a_task_that_fails_has_a_code_and_its_replies_are_kept() -> None:
    run = run_task(Fails)

    assert isinstance(run.error, TaskFailed)
    assert (run.error.code, str(run.error)) == ("out-of-stock", "no apples")
    assert run.replies == ["so far"]


@pytest.mark.parametrize("task", [Members, Ann])
def test_access_is_decided_as_in_a_server(task: type[Task]) -> None:
    denied, let_in = run_task(task), run_task(task, user=ANN)

    assert isinstance(denied.error, AccessDenied)
    assert denied.replies == []
    assert let_in.reply.startswith("welcome")


@pytest.mark.parametrize("data", [object(), {"a": lambda: None}, "\ud800"])
def test_data_that_no_browser_can_send_is_the_mistake_of_the_test(data: Any) -> None:
    with pytest.raises(BadMessage):
        run_task(Echo, data)


def test_a_reply_that_json_cannot_carry_is_an_error_of_the_task() -> None:
    class Odd(Task):
        def main(self) -> None:
            self.reply(object())

    with pytest.raises(BadMessage, match="cannot be written as JSON"):
        run_task(Odd)


def test_a_bug_in_a_task_is_seen_where_it_is() -> None:
    class Trips(Task):
        def main(self) -> None:
            raise ValueError("one foot on the other")

    with pytest.raises(ValueError, match="one foot on the other"):
        run_task(Trips)


# -- TaskRun ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (TaskRun(), "the task replied 0 times"),
        (TaskRun(replies=[1, 2]), "the task replied 2 times"),
        (TaskRun(replies=[1], error=RequestError("no apples")), "the task failed: no apples"),
    ],
)
def test_the_only_reply_of_a_task_that_has_none_is_asked_for_in_vain(run: TaskRun, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        _ = run.reply


# -- clocks and waiting -------------------------------------------------------------------------------------------


def test_a_fake_clock_moves_when_it_is_told_to() -> None:
    clock = FakeClock(100.0)

    assert (clock.monotonic(), clock.time()) == (100.0, 100.0)
    assert clock.advance(2.5) == 102.5
    assert (clock.monotonic(), clock.time()) == (102.5, 102.5)


def test_wait_for_gives_the_event_that_was_and_says_which_did_not_come() -> None:
    bus = EventBus()
    bus.publish(Listening(url="http://a/", host="a", port=1))
    bus.publish(Listening(url="http://b/", host="b", port=2))

    assert wait_for(bus, Listening, port=2).host == "b"
    with pytest.raises(AssertionError, match=r"no Listening with \{'port': 3\} within 0\.01 s"):
        wait_for(bus, Listening, port=3, timeout=0.01)


def test_wait_until_says_what_did_not_become_true() -> None:
    answers = iter([False, True])

    wait_until(lambda: next(answers))
    with pytest.raises(AssertionError, match=r"not within 0\.01 s: pigs fly"):
        wait_until(lambda: False, "pigs fly", timeout=0.01)


def test_a_running_server_is_ready_within_and_stopped_after(tmp_path: Path) -> None:
    with running_server(tmp_path, LOG_LEVEL="WARNING") as server:
        was_ready = server.is_ready

    assert was_ready
    assert server.stopped.is_set()
    assert server.settings.log_level == "WARNING"
