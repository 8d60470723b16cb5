"""The decorators let in whom they should, and nobody when in doubt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import pytest

from zephserver.access import guards_of, login_required, room_required, user_passes_test
from zephserver.core.errors import AccessDenied
from zephserver.session_manager import User
from zephserver.task import Request, Task

ANN, NOBODY = User("ann", "ann"), User()
Decorator = Callable[[Any], Any]
Guard = Callable[[Decorator], Any]


class Deaf:
    """A channel to nowhere."""

    def reply(self, data: Any) -> bool:
        return False

    def say(self, answer: dict[str, Any]) -> int:
        return 0


def request_of(user: Any = ANN, room: str | None = "lobby") -> Request:
    """A request from this user in this room."""
    return Request(Deaf(), data=None, cid="c1", user=user, task="Guarded", room=room)


def on_the_class(decorator: Decorator) -> Any:
    """A task whose class is decorated."""

    class Guarded(Task):
        def main(self) -> None:
            pass

    return decorator(Guarded)


def on_the_constructor(decorator: Decorator) -> Any:
    """A task, without base class, whose constructor is decorated."""

    class Guarded:
        @decorator
        def __init__(self, request: Request) -> None:
            self.request = request

        def main(self) -> None:
            pass

    return Guarded


@pytest.fixture(params=[on_the_class, on_the_constructor])
def guard(request: pytest.FixtureRequest) -> Guard:
    """Makes a task guarded by a decorator, in both ways."""
    return request.param  # type: ignore[no-any-return]


def test_a_known_user_passes_login_required(guard: Guard) -> None:
    task = guard(login_required)

    instance = task(given := request_of(ANN))

    assert instance.request is given


@pytest.mark.parametrize(
    "user",
    [
        None,
        NOBODY,
        SimpleNamespace(id=1, username="ann", is_authenticated=False),
        SimpleNamespace(id=1, username="ann", is_authenticated=lambda: False),
        SimpleNamespace(id=1, username="ann", is_authenticated="yes"),
    ],
    ids=["nobody", "anonymous", "not authenticated", "a method", "a word"],
)
def test_any_other_is_told_to_log_in(guard: Guard, user: Any) -> None:
    with pytest.raises(AccessDenied, match="log in first") as denied:
        guard(login_required)(request_of(user))

    assert denied.value.code == "access-denied"


def test_a_user_without_the_attribute_is_denied(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AccessDenied):
        guard(login_required)(request_of(SimpleNamespace(id=1, username="ann")))

    assert "raised, so access is denied" in caplog.text


@pytest.mark.parametrize("answer", [True, 1, "yes", [0]])
def test_a_user_for_whom_the_test_is_true_passes(guard: Guard, answer: object) -> None:
    asked: list[Any] = []

    def is_good(user: Any) -> object:
        asked.append(user)
        return answer

    guard(user_passes_test(is_good))(request_of(ANN))

    assert asked == [ANN]


@pytest.mark.parametrize("answer", [False, None, 0, "", []])
def test_a_user_for_whom_it_is_false_is_told_why_not(guard: Guard, answer: object) -> None:
    with pytest.raises(AccessDenied, match="only for captains"):
        guard(user_passes_test(lambda user: answer, "only for captains"))(request_of())


def test_without_a_message_there_is_a_plain_one(guard: Guard) -> None:
    with pytest.raises(AccessDenied, match=r"^not allowed$"):
        guard(user_passes_test(lambda user: False))(request_of())


def test_a_test_that_raises_denies_and_is_logged(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    def broken(user: Any) -> bool:
        raise KeyError("secret")

    with pytest.raises(AccessDenied) as denied, caplog.at_level(logging.ERROR, "zephserver.access"):
        guard(user_passes_test(broken))(request_of())

    assert "secret" not in str(denied.value)
    assert "secret" in caplog.text


def test_a_coroutine_test_denies_and_leaves_no_coroutine_behind(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    async def is_captain(user: Any) -> bool:
        return True

    with pytest.raises(AccessDenied):
        guard(user_passes_test(is_captain))(request_of())

    assert "raised, so access is denied" in caplog.text


class Promise:
    """Something to await that is no coroutine, as a Future is."""

    def __await__(self) -> Generator[None, None, bool]:
        yield
        return False


def test_a_test_that_returns_anything_to_await_denies(guard: Guard) -> None:
    with pytest.raises(AccessDenied):
        guard(user_passes_test(lambda user: Promise()))(request_of())


def test_an_answer_whose_truth_cannot_be_told_does_not_let_anybody_in(guard: Guard) -> None:
    class Unclear:
        def __bool__(self) -> bool:
            raise ValueError("unclear")

    with pytest.raises((AccessDenied, ValueError)):
        guard(user_passes_test(lambda user: Unclear()))(request_of())


def test_a_test_that_ends_the_program_does_not_let_anybody_in(guard: Guard) -> None:
    def leave(user: Any) -> bool:
        raise SystemExit

    with pytest.raises(SystemExit):
        guard(user_passes_test(leave))(request_of())


@pytest.mark.parametrize(
    ("patterns", "room"),
    [
        ((), "any"),
        ((), ""),
        (("lobby",), "lobby"),
        (("game-*",), "game-1"),
        (("game-*", "lobby"), "lobby"),
        (("*",), "x"),
    ],
)
def test_a_client_in_the_room_passes(guard: Guard, patterns: tuple[str, ...], room: str) -> None:
    assert guard(room_required(*patterns))(request_of(room=room)).request["room"] == room


@pytest.mark.parametrize(
    ("patterns", "room"),
    [
        ((), None),
        (("lobby",), None),
        (("lobby",), "Lobby"),
        (("lobby",), "lobby2"),
        (("game-*",), "a game-1"),
        (("game-*", "lobby"), "x"),
    ],
)
def test_a_client_outside_is_told_to_join(guard: Guard, patterns: tuple[str, ...], room: str | None) -> None:
    with pytest.raises(AccessDenied, match="join the room first"):
        guard(room_required(*patterns))(request_of(room=room))


def test_the_constructor_of_a_denied_task_does_not_run() -> None:
    ran: list[Request] = []

    class Guarded(Task):
        @login_required
        def __init__(self, request: Request) -> None:
            ran.append(request)

    with pytest.raises(AccessDenied):
        Guarded(request_of(NOBODY))

    assert ran == []


def test_guards_can_be_piled_up(guard: Guard) -> None:
    task = guard(lambda target: login_required(room_required("lobby")(target)))

    assert task(request_of())
    with pytest.raises(AccessDenied, match="log in first"):
        task(request_of(user=NOBODY, room=None))
    with pytest.raises(AccessDenied, match="join the room first"):
        task(request_of(room="other"))


def test_a_decorated_class_does_not_guard_its_base() -> None:
    guarded = on_the_class(login_required)

    assert guarded.__init__ is not Task.__init__
    assert Task(request_of(NOBODY)).request["user"] is NOBODY


def test_a_subclass_of_a_guarded_task_is_guarded_too() -> None:
    base = on_the_class(login_required)
    derived = type("Derived", (base,), {})

    with pytest.raises(AccessDenied):
        derived(request_of(NOBODY))


def test_a_guarded_constructor_keeps_its_name_and_takes_more_arguments() -> None:
    class Guarded:
        @login_required
        def __init__(self, request: Request, size: int, *, color: str) -> None:
            """Make one."""
            self.what = (size, color)

    made = Guarded(request_of(), 3, color="red")

    assert made.what == (3, "red")
    assert Guarded.__init__.__doc__ == "Make one."
    assert guards_of(Guarded) == {"login_required"}


def test_a_request_that_is_no_request_is_denied(guard: Guard) -> None:
    with pytest.raises(AccessDenied):
        guard(login_required)({})
