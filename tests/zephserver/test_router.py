"""From a message to a task and back, in a real server: answers, order and overlap, who may."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.zephserver.tasks import Echo, ThreadEcho, task, waiting
from zephserver import get_service, login_required, room_required, user_passes_test
from zephserver.events import ClientClosed
from zephserver.task import Request, Task

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite, Site


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Echo, ThreadEcho])
@pytest.mark.parametrize(
    "data", [None, True, 0, -1.5, "é🙂\x00", [], {}, {"a": [1, {"b": None}]}, 10**30, "x" * 100_000]
)
def test_an_answer_carries_data_of_any_kind(make_site: MakeSite, kind: type, data: Any) -> None:
    ann = make_site(kind).join("ann")

    ann.send(task=kind.__name__, data=data)

    assert ann.read() == {"task": kind.__name__, "data": data}


@pytest.mark.parametrize("id", [0, 1, -1, 2**64, "", "a", "é"])
def test_an_answer_carries_the_id_of_its_request(make_site: MakeSite, id: Any) -> None:
    ann = make_site(Echo).join("ann")

    ann.send(task="Echo", data=1, id=id)

    assert ann.read() == {"task": "Echo", "data": 1, "id": id}


def test_task_ping_is_always_there(site: Site) -> None:
    ann = site.join("ann")

    ann.send(task="TaskPing", data={}, session_id="ann", room="lobby", date=1424300000000)

    assert ann.read() == {"task": "TaskPing", "data": "pong"}


def test_task_ping_may_be_replaced(make_site: MakeSite) -> None:
    site = make_site(task("TaskPing", lambda self: self.reply("mine")))

    assert site.join("ann").ask("TaskPing")["data"] == "mine"


async def _nothing(self: Any) -> None:
    """An async main() that says nothing."""


@pytest.mark.parametrize("main", [_nothing, lambda self: "a result nobody gets"])
def test_a_request_that_is_served_without_a_word_is_acknowledged(make_site: MakeSite, main: Any) -> None:
    ann = make_site(task("Quiet", main)).join("ann")

    ann.send(task="Quiet", id=1)

    assert ann.read() == {"task": "Quiet", "id": 1, "data": None}
    ann.send(task="Quiet")
    assert ann.silent()


def test_a_task_may_answer_many_times(make_site: MakeSite) -> None:
    ann = make_site(task("Count", lambda self: [self.reply(number) for number in range(5)])).join("ann")

    ann.send(task="Count", id=1)

    assert [ann.read() for _ in range(5)] == [{"task": "Count", "id": 1, "data": number} for number in range(5)]
    assert ann.silent()


def test_a_reply_tells_whether_the_client_is_still_there(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    told: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def main(self: Any) -> None:
        told.put(self.reply("first"))
        gate.wait(10)
        told.put(self.reply("second"))

    site = make_site(task("Work", main))
    ann = site.join("ann")
    ann.send(task="Work")
    assert ann.read()["data"] == "first"
    while_there = told.get(timeout=5)

    ann.connection.close()
    site.wait(ClientClosed, cid=ann.cid)
    gate.set()

    assert (while_there, told.get(timeout=5)) == (True, False)


def test_a_task_needs_no_base_class(make_site: MakeSite) -> None:
    class Plain:
        def __init__(self, request: Request) -> None:
            self.request = request

        def main(self) -> None:
            self.request.channel.reply(sorted(self.request))

    assert make_site(Plain).join("ann").ask("Plain")["data"] == ["cid", "data", "room", "task", "user"]


def test_a_task_lives_in_one_thread_that_knows_its_server(make_site: MakeSite) -> None:
    class Where(Task):
        def __init__(self, request: Request) -> None:
            super().__init__(request)
            self.born = threading.current_thread()

        def main(self) -> None:
            router = get_service("zephserver.router/Router")
            here = threading.current_thread()
            self.reply([here is self.born, here.name, router.running()])

    same, name, running = make_site(Where).join("ann").ask("Where")["data"]

    assert same is True
    assert (name.startswith("task:"), name.endswith(" Where")) == (True, True)
    assert running == 1


def test_every_message_makes_an_instance(make_site: MakeSite) -> None:
    class Once(Task):
        count = 0

        def main(self) -> None:
            self.count += 1
            self.reply(self.count)

    ann = make_site(Once).join("ann")

    assert [ann.ask("Once")["data"] for _ in range(3)] == [1, 1, 1]


# -- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Echo, ThreadEcho])
def test_messages_of_one_connection_to_one_task_are_served_in_order(make_site: MakeSite, kind: type) -> None:
    ann = make_site(kind, TASKS_PER_CLIENT=1_000, MESSAGE_RATE=None).join("ann")

    for number in range(300):
        ann.send(task=kind.__name__, data=number)

    assert [ann.read()["data"] for _ in range(300)] == list(range(300))


def test_the_next_message_to_a_task_waits_while_other_tasks_overlap(
    make_site: MakeSite, gate: threading.Event, began: queue.SimpleQueue[Any]
) -> None:
    site = make_site(waiting("Slow", gate, began), ThreadEcho, Echo)
    ann, bob = site.join("ann"), site.join("bob")
    ann.hear(msgtype="user_list", data=["ann", "bob"])
    ann.send(task="Slow", data=1)
    ann.send(task="Slow", data=2)
    ann.send(task="ThreadEcho", data=3)
    ann.send(task="Echo", data=4)

    overlapping = {ann.read()["data"], ann.read()["data"]}
    bob.send(task="Slow", data="another connection")

    assert overlapping == {3, 4}
    assert [began.get(timeout=5), began.get(timeout=5)] == [1, "another connection"]
    gate.set()
    assert [ann.read()["data"], ann.read()["data"]] == [1, 2]


def test_a_concurrent_task_overlaps_with_itself(make_site: MakeSite) -> None:
    meeting = threading.Barrier(3)

    def main(self: Any) -> None:
        meeting.wait(5)
        self.reply("met")

    ann = make_site(task("Meet", main, concurrent=True)).join("ann")

    for _ in range(3):
        ann.send(task="Meet")

    assert [ann.read()["data"] for _ in range(3)] == ["met"] * 3


def test_an_async_task_runs_on_the_loop_and_overlaps_with_itself_when_concurrent(make_site: MakeSite) -> None:
    arrived: list[int] = []
    threads: set[str] = set()

    async def main(self: Any) -> None:
        arrived.append(self.data)
        threads.add(threading.current_thread().name)
        while len(arrived) < 3:
            await asyncio.sleep(0.001)
        self.reply(self.data)

    ann = make_site(task("Meet", main, concurrent=True)).join("ann")

    for number in range(3):
        ann.send(task="Meet", data=number)

    assert {ann.read()["data"] for _ in range(3)} == {0, 1, 2}
    assert len(threads) == 1
    assert threads.pop().startswith("service:")


def test_an_async_task_that_is_not_concurrent_waits_for_itself(make_site: MakeSite) -> None:
    running: list[int] = []

    async def main(self: Any) -> None:
        running.append(self.data)
        await asyncio.sleep(0.01)
        self.reply(len(running))
        running.remove(self.data)

    ann = make_site(task("Alone", main)).join("ann")

    for number in range(4):
        ann.send(task="Alone", data=number)

    assert [ann.read()["data"] for _ in range(4)] == [1, 1, 1, 1]


# -- access -----------------------------------------------------------------------------------------------------------


@login_required
class ForUsers(Task):
    """For known users."""

    def main(self) -> None:
        self.reply("welcome")


class ForAnn(Task):
    """For Ann, on the event loop."""

    @user_passes_test(lambda user: user.username == "ann", "only for Ann")
    def __init__(self, request: Request) -> None:
        super().__init__(request)

    async def main(self) -> None:
        self.reply("hello Ann")


@room_required("game-*")
class InGame(Task):
    """For those in a game."""

    def main(self) -> None:
        self.reply(self.request["room"])


def test_a_guarded_task_is_for_those_who_may(make_site: MakeSite) -> None:
    site = make_site(ForUsers, ForAnn, InGame)
    ann, bob, nobody = site.join("ann", room="game-1"), site.join("bob"), site.join(None)

    assert ann.ask("ForUsers")["data"] == bob.ask("ForUsers")["data"] == "welcome"
    assert nobody.ask("ForUsers")["error"] == {"code": "access-denied", "message": "log in first"}
    assert ann.ask("ForAnn")["data"] == "hello Ann"
    assert bob.ask("ForAnn")["error"] == {"code": "access-denied", "message": "only for Ann"}
    assert ann.ask("InGame", room="game-1")["data"] == "game-1"
    assert ann.ask("InGame", room="game-2")["error"]["code"] == "access-denied"
    assert bob.ask("InGame", room="game-1")["error"]["code"] == "access-denied"
