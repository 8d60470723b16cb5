"""What a session manager may wish: a limit for look-ups, a user for each task, something around each task."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from tests.scale import at_most
from zephserver.core.errors import Overloaded
from zephserver.engines.interface import Handshake
from zephserver.messages import plain_id
from zephserver.session_manager import SimpleSessionManager, User
from zephserver.task import Task

if TYPE_CHECKING:
    from tests.zephserver.conftest import MakeSite

NEVER = 3_600.0


class Around:
    """Notes who is inside, by thread."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []

    def __enter__(self) -> None:
        self.notes.append(("in", threading.current_thread().name))

    def __exit__(self, *error: object) -> None:
        self.notes.append(("out", threading.current_thread().name))


class Wishes(SimpleSessionManager):
    """Has them all."""

    look_up_timeout = 0.2

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.around_task = Around()
        self.invalid: set[Any] = set()

    def get_user_session(self, instance: Handshake, message: Mapping[str, Any]) -> User | None:
        match message.get("session_id"):
            case "wait":
                self.gate.wait(10)
            case "overloaded":
                raise Overloaded("the database does not answer")
            case "uuid":
                return User(uuid.UUID(int=7), "seven")  # type: ignore[arg-type]
        return super().get_user_session(instance, message)

    def is_valid(self, instance: Handshake, user: User) -> bool:
        return user.id not in self.invalid

    def user_for_task(self, user: User) -> User:
        return User(user.id, f"{user.username}, for a task")


class Name(Task):
    """Who is it?"""

    def main(self) -> None:
        self.reply(self.request["user"].username)


class AsyncName(Name):
    """On the loop."""

    async def main(self) -> None:  # type: ignore[override]
        super().main()


class Raises(Task):
    """Fails in a thread."""

    def main(self) -> None:
        raise RuntimeError("this is what the test is for")


class SayToSeven(Task):
    """By the id as it is, and as it travels."""

    def main(self) -> None:
        self.say("one", users=[uuid.UUID(int=7)])
        self.say("two", users=[str(uuid.UUID(int=7))])


def test_a_look_up_may_have_less_time_than_the_first_message(make_site: MakeSite) -> None:
    site = make_site(session_manager=Wishes, IDENTIFY_TIMEOUT=10.0)
    talker, began = site.connect(), time.monotonic()

    talker.send(session_id="wait")

    assert talker.closed()[0] == 1013
    assert time.monotonic() - began < at_most(2.0)
    sessions_of(site).gate.set()


def test_who_cannot_be_looked_up_now_comes_back_later(make_site: MakeSite) -> None:
    talker = make_site(session_manager=Wishes).connect()

    talker.send(session_id="overloaded")

    assert talker.closed()[0] == 1013


@pytest.mark.parametrize("task", ["Name", "AsyncName"])
def test_a_task_gets_the_user_that_is_made_for_it(make_site: MakeSite, task: str) -> None:
    assert make_site(Name, AsyncName, session_manager=Wishes).join("ann").ask(task)["data"] == "ann, for a task"


def test_a_task_in_a_thread_has_something_around_it(make_site: MakeSite) -> None:
    site = make_site(Name, AsyncName, Raises, session_manager=Wishes)
    ann = site.join("ann")

    ann.ask("Name"), ann.ask("Raises"), ann.ask("AsyncName")

    notes = sessions_of(site).around_task.notes
    assert [what for what, _ in notes] == ["in", "out"] * 2
    assert all(thread.startswith("task:") for _, thread in notes)


def test_some_can_be_closed_or_looked_at_at_once(make_site: MakeSite) -> None:
    site = make_site(session_manager=Wishes, SESSION_CHECK_INTERVAL=NEVER)
    ann, bob, eve = site.join("ann"), site.join("bob"), site.join("eve")
    sessions_of(site).invalid = {"bob", "eve"}

    site.service.look_again(lambda user: user.id in ("ann", "bob"))
    closed = site.service.disconnect_where(lambda user: user.id == "eve", 4321, "because")

    assert bob.closed() == (4003, "your session has ended")
    assert (closed, eve.closed()) == (1, (4321, "because"))
    assert ann.ask("TaskPing")["data"] == "pong"


def test_without_an_interval_a_look_is_not_the_first_of_many(make_site: MakeSite) -> None:
    site = make_site(session_manager=Wishes, SESSION_CHECK_INTERVAL=None)
    ann = site.join("ann")

    site.service.look_again(lambda user: True)

    assert ann.ask("TaskPing")["data"] == "pong"
    assert len(site.service.reception._due) == 0


def test_an_id_that_is_no_number_and_no_text_is_known_by_its_text(make_site: MakeSite) -> None:
    site = make_site(SayToSeven, session_manager=Wishes)
    seven = site.join("uuid")

    seven.send(task="SayToSeven")

    assert [seven.hear(task="SayToSeven")["data"] for _ in range(2)] == ["one", "two"]
    assert site.service.disconnect_user(uuid.UUID(int=7)) == 1
    assert seven.closed()[0] == 4004


def test_the_plain_form_of_an_id() -> None:
    assert [plain_id(id) for id in (None, 7, "7", uuid.UUID(int=7))] == [None, 7, "7", str(uuid.UUID(int=7))]


def sessions_of(site: Any) -> Any:
    return site.server.get_service(site.server.settings.my_session_handler)
