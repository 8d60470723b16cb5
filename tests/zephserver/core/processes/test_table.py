"""What the process above the workers answers itself, and what it hands on to whom."""

from __future__ import annotations

from typing import Any

import pytest

from zephserver.core import core_commands
from zephserver.core.command_table import command
from zephserver.core.processes import commands
from zephserver.core.processes.rules import RULES, Rule, Whom
from zephserver.core.processes.table import HandedOn

Asked = list[tuple[Rule, dict[str, Any]]]


@command("status")
def status(server: object, verbose: bool = False) -> str:
    """How it is."""
    return f"fine {verbose}"


@pytest.fixture
def asked() -> Asked:
    """What was handed on."""
    return []


@pytest.fixture
def table(asked: Asked) -> HandedOn:
    """A table with one command of its own."""

    def answer(rule: Rule, request: dict[str, Any]) -> str:
        asked.append((rule, request))
        return "their answer"

    table = HandedOn(answer)
    table.add_functions([status], object())
    return table


def test_its_own_commands_are_answered_here(table: HandedOn, asked: Asked) -> None:
    assert table.find("status").call((), {}) == "fine False"
    row, words = table.find_words(["status", "yes"])
    assert row.call(words, {}) == "fine True"
    assert asked == []


def test_a_command_with_a_rule_is_handed_on_by_it(table: HandedOn, asked: Asked) -> None:
    assert table.find("services.show").call((), {"name": "Router"}) == "their answer"

    assert asked == [(RULES["services.show"], {"command": "services.show", "words": [], "args": {"name": "Router"}})]


def test_its_words_go_along(table: HandedOn, asked: Asked) -> None:
    row, words = table.find_words(["services", "restart", "Router", "no"])
    row.call(words, {})

    assert row.name == "services.restart"
    assert asked == [
        (RULES["services.restart"], {"command": "services.restart", "words": ["Router", "no"], "args": {}})
    ]


def test_a_command_that_nobody_here_knows_is_for_the_first_worker(table: HandedOn, asked: Asked) -> None:
    table.find("mine.flush").call((), {"deep": True})

    assert asked == [(Rule(Whom.FIRST), {"command": "mine.flush", "words": [], "args": {"deep": True}})]


def test_words_that_nobody_here_knows_are_told_apart_by_the_worker(table: HandedOn, asked: Asked) -> None:
    row, words = table.find_words(["mine", "flush", "deep"])
    row.call(words, {})

    assert row.name == "mine.flush"
    assert asked == [(Rule(), {"words": ["mine", "flush", "deep"], "args": {}})]


def test_every_command_with_a_rule_is_one_of_a_server() -> None:
    from zephserver.room_handler import RoomHandler
    from zephserver.router import Router
    from zephserver.websocket_client import WebsocketClient

    known = [*vars(core_commands).values()]
    known += [vars(cls)[name] for cls in (RoomHandler, Router, WebsocketClient) for name in vars(cls)]
    names = {name for function in known if (name := getattr(function, "__zeph_command__", None))}
    own = {name for function in vars(commands).values() if (name := getattr(function, "__zeph_command__", None))}

    assert set(RULES) <= names
    assert own <= names
    assert not set(RULES) & own
