"""Tasks that an operator calls: `tasks.call` through the table of commands."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.scale import at_most
from tests.zephserver.tasks import Echo, ThreadEcho, task
from zephserver import login_required
from zephserver.caller import Caller
from zephserver.core.errors import BadRequest, CommandFailed, NoAnswer, ZephError
from zephserver.events import TaskFinished
from zephserver.testing import wait_until

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite, Site


def call(site: Site, *words: str, **args: Any) -> Any:
    """What `zephctl tasks call` asks."""
    return site.server.table.find("tasks.call").call(words, args)


async def _slowly(self: Any) -> None:
    await asyncio.sleep(0.001)
    self.reply("slowly")


def _about(self: Any) -> None:
    user = self.request["user"]
    self.reply([user.id, user.username, self.request["room"], self.request["cid"], self.request["task"]])


async def _many(self: Any) -> None:
    for number in range(3):
        self.reply(number)
        await asyncio.sleep(0)


def _many_in_a_thread(self: Any) -> None:
    for number in range(3):
        self.reply(number)


@pytest.mark.parametrize("kind", [Echo, ThreadEcho])
@pytest.mark.parametrize("data", ["null", "1", '{"a": [1, "é"]}', '"words"'])
def test_a_task_is_called_with_json(make_site: MakeSite, kind: type, data: str) -> None:
    assert call(make_site(kind), kind.__name__, data) == {"answers": [json.loads(data)]}


@pytest.mark.parametrize(
    ("main", "answers"),
    [
        (_slowly, ["slowly"]),
        (_many, [0, 1, 2]),
        (_many_in_a_thread, [0, 1, 2]),
        (lambda self: None, []),
    ],
    ids=["async", "many", "many in a thread", "none"],
)
def test_every_answer_is_told(make_site: MakeSite, main: Any, answers: list[Any]) -> None:
    site = make_site(task("Work", main))

    assert call(site, "Work") == {"answers": answers}
    assert site.wait(TaskFinished, task="Work").cid == ""
    wait_until(lambda: site.router.running() == 0, "it has ended")


def test_a_task_is_told_user_and_room(make_site: MakeSite) -> None:
    site = make_site(task("About", _about))

    assert call(site, "About") == {"answers": [["zephctl", "zephctl", None, "", "About"]]}
    assert call(site, "About", user="ann", room="r") == {"answers": [["ann", "ann", "r", "", "About"]]}
    assert site.rooms.rooms() == []
    assert site.service.list_clients() == []


def test_what_the_task_says_to_others_reaches_them(make_site: MakeSite) -> None:
    site = make_site(task("News", lambda self: self.say(self.data)))
    ann = site.join("ann")

    assert call(site, "News", '"hello"', room="lobby") == {"answers": []}

    assert ann.hear(task="News")["data"] == "hello"


@pytest.mark.parametrize(
    ("main", "code"),
    [
        (lambda self: self.fail("out-of-stock", "none left"), "out-of-stock"),
        (lambda self: 1 // 0, "task-failed"),
        (lambda self: self.reply(object()), "task-failed"),
    ],
    ids=["fails", "raises", "no json"],
)
def test_an_error_is_told_with_its_code(make_site: MakeSite, main: Any, code: str) -> None:
    site = make_site(task("Broken", main))

    told = call(site, "Broken")

    assert (told["answers"], told["error"]["code"]) == ([], code)


def test_answers_before_an_error_are_told_with_it(make_site: MakeSite) -> None:
    def main(self: Any) -> None:
        self.reply("begun")
        self.fail("out-of-stock", "none left")

    told = call(make_site(task("Broken", main)), "Broken")

    assert told["answers"] == ["begun"]


def test_a_guard_counts_here_too(make_site: MakeSite) -> None:
    guarded = login_required(task("Guarded", lambda self: self.reply("in")))

    assert call(make_site(guarded), "Guarded") == {"answers": ["in"]}


def test_an_unknown_task_is_told(site: Site) -> None:
    with pytest.raises(CommandFailed, match="no task named 'nope'"):
        call(site, "nope")


@pytest.mark.parametrize("data", ["", "{", "words"])
def test_data_that_is_no_json_is_refused(site: Site, data: str) -> None:
    with pytest.raises(BadRequest, match="not JSON"):
        call(site, "TaskPing", data)


def test_a_task_that_takes_longer_than_one_waits_goes_on(make_site: MakeSite, gate: threading.Event) -> None:
    site = make_site(task("Slow", lambda self: gate.wait(10)))

    with pytest.raises(NoAnswer, match="it goes on"):
        call(site, "Slow", within=0.05)

    assert site.router.running() == 1
    gate.set()
    assert site.wait(TaskFinished, task="Slow").outcome == "done"


def test_a_task_that_takes_longer_than_it_may_is_told_so(make_site: MakeSite, gate: threading.Event) -> None:
    site = make_site(task("Slow", lambda self: gate.wait(10), timeout=0.05))

    assert call(site, "Slow")["error"]["code"] == "timed-out"


@pytest.mark.parametrize("within", [1e10, float("inf"), float("nan")])
def test_a_time_that_cannot_be_waited_is_no_inner_error(site: Site, within: float) -> None:
    """The task is answered at once, or the number is refused."""
    try:
        assert call(site, "TaskPing", within=within) == {"answers": ["pong"]}
    except ZephError:
        pass


def test_without_the_websocket_service_nothing_can_be_called(site: Site) -> None:
    site.server.services.disable_service("zephserver.websocket_client/WebsocketClient")

    with pytest.raises(ZephError, match="does not run"):
        call(site, "TaskPing")


def test_who_waits_for_a_task_is_told_when_the_service_ends(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    def main(self: Any) -> None:
        began.put(1)
        gate.wait(10)

    site = make_site(task("Slow", main), STOP_TIMEOUT=1.0)
    outcomes: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            outcomes.put(call(site, "Slow", within=4.0))
        except ZephError as error:
            outcomes.put(error)

    asking = threading.Thread(target=ask)
    asking.start()
    began.get(timeout=5)

    site.server.services.disable_service("zephserver.websocket_client/WebsocketClient")
    since = time.monotonic()
    outcome = outcomes.get(timeout=10)
    asking.join()

    assert outcome["error"] == {"code": "overloaded", "message": "the server is stopping"}
    assert time.monotonic() - since < at_most(2)


def test_the_control_socket_answers_too(make_site: MakeSite) -> None:
    site = make_site(ThreadEcho)
    request = {"id": 1, "command": "tasks.call", "args": {"name": "ThreadEcho", "data": "[1]"}}

    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(10)
        control.connect(str(site.server.settings.configuration_network_interface_server))
        control.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(control.makefile().readline())

    assert answer["result"] == {"answers": [[1]]}


def test_many_may_call_at_once(make_site: MakeSite) -> None:
    site = make_site(ThreadEcho, Echo)
    answers: list[Any] = []

    def ask(number: int) -> None:
        name = ("Echo", "ThreadEcho")[number % 2]
        answers.append(call(site, name, str(number))["answers"])

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(10)

    assert sorted(answers) == [[number] for number in range(20)]
    wait_until(lambda: site.router.running() == 0, "all have ended")


def test_a_caller_is_nobody_who_is_connected() -> None:
    caller = Caller("ann", None)

    assert (caller.user.id, caller.room, caller.cid, caller.is_ready) == ("ann", None, "", True)
    assert Caller("ann", "r").room == "r"
