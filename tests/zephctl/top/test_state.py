"""What keys do to the live view."""

from __future__ import annotations

import pytest

from zephctl.top.numbers import Numbers, Service, Task
from zephctl.top.state import Action, Pane, Sort, ViewState

NUMBERS = Numbers(
    running=True,
    services=(
        Service("a/Router", "ready", 0.0, 0, None, 0.1),
        Service("b/Mailer", "failed", 0.0, 5, "oh", None),
        Service("c/Clock", "ready", 0.0, 2, None, 0.7),
    ),
    tasks=(Task("chat", 1.0, None, None, 0, 9), Task("echo", 5.0, None, None, 0, 0)),
)


@pytest.fixture
def state() -> ViewState:
    """As at the beginning."""
    return ViewState()


def press(state: ViewState, *keys: str) -> Action | None:
    """Press keys; what the last one asks for."""
    action = None
    for key in keys:
        action = state.press(key, NUMBERS)
    return action


def names(state: ViewState) -> list[str]:
    return [service.name for service in state.services(NUMBERS)]


def selected(state: ViewState) -> str:
    services = state.services(NUMBERS)
    return services[state.selection(services) or 0].name


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ((), "a/Router"),
        (("down",), "b/Mailer"),
        (("j", "j"), "c/Clock"),
        (("j", "j", "j"), "c/Clock"),
        (("down", "up"), "a/Router"),
        (("k",), "a/Router"),
        (("end",), "c/Clock"),
        (("G", "g"), "a/Router"),
        (("page down",), "c/Clock"),
        (("page down", "page up"), "a/Router"),
    ],
)
def test_arrows_and_letters_select(state: ViewState, keys: tuple[str, ...], name: str) -> None:
    press(state, *keys)

    assert selected(state) == name


def test_s_goes_through_the_orders(state: ViewState) -> None:
    found = []
    for _ in Sort:
        press(state, "s")
        found.append((state.sort, names(state), [task.name for task in state.tasks(NUMBERS)]))

    assert found == [
        (Sort.NAME, ["c/Clock", "b/Mailer", "a/Router"], ["chat", "echo"]),
        (Sort.BUSY, ["c/Clock", "a/Router", "b/Mailer"], ["echo", "chat"]),
        (Sort.TROUBLE, ["b/Mailer", "c/Clock", "a/Router"], ["chat", "echo"]),
        (Sort.LISTED, ["a/Router", "b/Mailer", "c/Clock"], ["chat", "echo"]),
    ]


def test_the_selection_stays_on_its_service_when_the_order_changes(state: ViewState) -> None:
    press(state, "down", "s", "s")

    assert selected(state) == "b/Mailer"


def test_a_filter_is_typed_and_kept(state: ViewState) -> None:
    press(state, "/", "M", "q", "backspace", "a", "enter")

    assert (names(state), state.tasks(NUMBERS), state.filter) == (["b/Mailer"], [], "Ma")
    assert selected(state) == "b/Mailer"
    assert not state.is_typing


@pytest.mark.parametrize("end", [("escape",), ("enter", "escape"), ("clear", "enter")])
def test_a_filter_is_given_up(state: ViewState, end: tuple[str, ...]) -> None:
    press(state, "/", "x", *end)

    assert len(names(state)) == 3
    assert state.filter == ""


def test_nothing_is_selected_when_nothing_is_shown(state: ViewState) -> None:
    press(state, "/", "x", "x", "enter")

    assert state.selection(state.services(NUMBERS)) is None
    assert [press(state, key) for key in ("r", "e", "d", "l", "down")] == [None] * 5
    assert state.question is None


@pytest.mark.parametrize(("key", "verb"), [("r", "restart"), ("d", "disable")])
@pytest.mark.parametrize("yes", ["y", "Y", "enter"])
def test_what_may_hurt_is_asked_first(state: ViewState, key: str, verb: str, yes: str) -> None:
    assert press(state, "down", key) is None
    assert state.question == Action(verb, "b/Mailer")

    assert press(state, yes) == Action(verb, "b/Mailer")
    assert state.question is None


@pytest.mark.parametrize("no", ["n", "escape", "q", "x"])
def test_any_other_key_is_a_no(state: ViewState, no: str) -> None:
    assert press(state, "r", no) is None
    assert state.question is None


def test_a_question_is_about_the_service_that_was_selected_then(state: ViewState) -> None:
    press(state, "down", "r")
    fewer = Numbers(running=True, services=NUMBERS.services[:1])

    assert state.press("y", fewer) == Action("restart", "b/Mailer")


def test_e_enables_at_once(state: ViewState) -> None:
    assert press(state, "e") == Action("enable", "a/Router")


def test_l_follows_the_log_and_goes_with_the_selection(state: ViewState) -> None:
    assert press(state, "l") == Action("follow", "a/Router")
    assert press(state, "j") == Action("follow", "b/Mailer")
    assert state.pane is Pane.LOG

    assert press(state, "l") is None
    assert state.pane is Pane.TASKS


def test_p_pauses_and_goes_on(state: ViewState) -> None:
    press(state, "p")
    assert state.is_paused

    press(state, " ")
    assert not state.is_paused


def test_help_goes_away_with_any_key(state: ViewState) -> None:
    press(state, "?")
    assert state.pane is Pane.HELP

    assert press(state, "q") is None
    assert state.pane is Pane.TASKS


def test_q_quits(state: ViewState) -> None:
    assert press(state, "q") == Action("quit")
    assert press(state, "/", "q") is None


def test_other_keys_do_nothing(state: ViewState) -> None:
    assert [press(state, key) for key in ("x", "tab", "left", "é", "delete")] == [None] * 5
