"""Which server a thread works for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zephserver.core import runtime
from zephserver.core.errors import ZephError


class Fake:
    """A server that writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.cluster = self

    def get_service(self, name: str) -> str:
        return f"instance of {name}"

    def say(self, *words: Any) -> None:
        self.asked.append(("say", *words))

    def subscribe(self, *words: Any) -> None:
        self.asked.append(("subscribe", *words))

    def unsubscribe(self, *words: Any) -> None:
        self.asked.append(("unsubscribe", *words))


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The servers that run in this process: none yet."""
    running: list[Any] = []
    monkeypatch.setattr(runtime, "running", running)
    return running


def in_thread(server: Any, act: Callable[[], Any], **more: str) -> Any:
    """What *act* returns in a thread of that server."""
    found: list[Any] = []
    runtime.spawn("test", lambda: found.append(act()), server, **more).join(5)
    return found[0]


def test_a_thread_of_nobodys_gets_the_only_server(running: list[Any]) -> None:
    with pytest.raises(ZephError, match="no server runs in this process"):
        runtime.current_server()
    running.append(only := Fake())

    assert runtime.find_server() is only  # type: ignore[comparison-overlap]
    assert runtime.current_server() is only  # type: ignore[comparison-overlap]


def test_a_thread_of_nobodys_gets_none_of_several(running: list[Any]) -> None:
    running += [Fake(), Fake()]

    assert runtime.find_server() is None
    with pytest.raises(ZephError, match="several servers run in this process; call the method of the Server object"):
        runtime.current_server()


def test_a_thread_of_a_server_gets_its_own_of_several(running: list[Any]) -> None:
    running += [Fake(), mine := Fake()]

    assert in_thread(mine, runtime.current_server) is mine


def test_a_thread_knows_its_service(running: list[Any]) -> None:
    assert runtime.current_service() == runtime.constructing() == ""
    assert in_thread(None, runtime.current_service, service="a/B") == "a/B"
    assert in_thread(None, runtime.constructing, service="a/B") == ""


def test_a_constructor_belongs_to_its_service_too(running: list[Any]) -> None:
    assert in_thread(None, runtime.current_service, constructing="a/B") == "a/B"
    assert in_thread(None, runtime.constructing, constructing="a/B") == "a/B"


def test_a_thread_is_named_after_its_work_and_keeps_no_process_alive() -> None:
    thread = runtime.spawn("task:3 Echo", lambda: None, None)
    thread.join(5)

    assert (thread.name, thread.daemon) == ("task:3 Echo", True)


def test_the_functions_of_the_package_ask_the_server_of_the_thread(running: list[Any]) -> None:
    running.append(server := Fake())

    assert runtime.get_service("a/B") == "instance of a/B"
    runtime.say("news", 1)
    runtime.subscribe("news", print)
    runtime.unsubscribe("news", print)

    assert server.asked == [("say", "news", 1), ("subscribe", "news", print), ("unsubscribe", "news", print)]
