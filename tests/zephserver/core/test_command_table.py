"""Name -> function: finding, converting, and saying what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from zephserver.core.command_table import Command, CommandTable, command
from zephserver.core.errors import BadRequest, UnknownCommand


@command("services.list")
def list_things(server: object, verbose: bool = False) -> list[str]:
    """What there is.

    And more about it.
    """
    return [f"{server} {verbose}"]


@command("services")
def services(server: object, *words: str) -> tuple[str, ...]:
    return words


def unmarked(server: object) -> None:
    """Not a command."""


class Mine:
    """A service with commands."""

    def __init__(self) -> None:
        self.flushed: list[Any] = []

    @command("mine.flush")
    def flush(self, count: int, ratio: float = 0.5, deep: bool = False, name: str = "x") -> list[Any]:
        """Flush it."""
        self.flushed.append(count)
        return [count, ratio, deep, name]

    def helper(self) -> None: ...


class Other:
    """Another service that wants the same name."""

    @command("mine.flush")
    def flush(self) -> None: ...


@pytest.fixture
def table() -> CommandTable:
    """A table with functions and a service."""
    table = CommandTable()
    table.add_functions([list_things, services, unmarked], "the server")
    table.add_methods(Mine())
    return table


def test_rows_are_sorted_and_tell_their_usage_and_help(table: CommandTable) -> None:
    rows = {row.name: (row.usage, row.help) for row in table.rows()}

    assert list(rows) == ["mine.flush", "services", "services.list"]
    assert rows["services.list"] == ("services list [VERBOSE]", "What there is.")
    assert rows["mine.flush"] == ("mine flush COUNT [RATIO] [DEEP] [NAME]", "Flush it.")
    assert rows["services"][1] == ""


def test_functions_get_the_server_and_methods_their_service(table: CommandTable) -> None:
    assert table.find("services.list").call([], {}) == ["the server False"]
    assert table.find("mine.flush").call(["3"], {}) == [3, 0.5, False, "x"]


def test_the_longest_name_wins_and_the_rest_are_arguments(table: CommandTable) -> None:
    assert [
        table.find_words(words)[0].name for words in (["services", "list"], ["services", "x"], ["services.list"])
    ] == [
        "services.list",
        "services",
        "services.list",
    ]
    assert table.find_words(["mine", "flush", "1", "2"])[1] == ["1", "2"]


def test_words_are_converted_as_the_function_expects(table: CommandTable) -> None:
    row = table.find("mine.flush")

    assert row.call(["3", "0.25", "Yes", "7"], {}) == [3, 0.25, True, "7"]
    assert row.call([], {"count": 3, "deep": "0"}) == [3, 0.5, False, "x"]


@pytest.mark.parametrize(
    ("words", "args", "text"),
    [
        (["x"], {}, "count: expected int, got 'x'"),
        (["1", "x"], {}, "ratio: expected float, got 'x'"),
        (["1", "1", "maybe"], {}, "deep: expected bool, got 'maybe'"),
        ([], {}, "missing a required argument: 'count'; usage: mine flush COUNT [RATIO] [DEEP] [NAME]"),
        (["1"] * 5, {}, "too many positional arguments; usage: mine flush"),
        (["1"], {"count": 2}, "multiple values for argument 'count'"),
        ([], {"count": 1, "colour": 2}, "unexpected keyword argument 'colour'"),
    ],
)
def test_wrong_arguments_are_refused_with_the_usage(
    table: CommandTable, words: list[str], args: dict[str, Any], text: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        table.find("mine.flush").call(words, args)

    assert text in str(caught.value)


def test_an_argument_that_may_be_missing_is_converted_too() -> None:
    def function(count: int | None = None) -> int | None:
        return count

    row = Command.of("x", function)

    assert row.call(["4"], {}) == 4
    with pytest.raises(BadRequest, match="expected int, got 'y'"):
        row.call(["y"], {})


def test_only_int_float_and_bool_are_converted() -> None:
    class Hint(str): ...

    def function(a: Hint, b: list[int], c) -> list[Any]:  # type: ignore[no-untyped-def]
        return [a, b, c]

    assert Command.of("x", function).call(["a", "1", "2"], {}) == ["a", "1", "2"]


def test_annotations_that_are_no_text_are_understood() -> None:
    def function(count: Any) -> Any:
        return count

    function.__annotations__["count"] = int

    assert Command.of("x", function).call(["4"], {}) == 4
    with pytest.raises(BadRequest, match="count: expected int, got 'y'"):
        Command.of("x", function).call(["y"], {})


def test_an_unknown_name_is_told_with_names_that_are_close(table: CommandTable) -> None:
    with pytest.raises(UnknownCommand, match=r"unknown command 'mine.flash'; did you mean mine flush"):
        table.find("mine.flash")
    with pytest.raises(UnknownCommand, match="'help' lists the commands"):
        table.find_words(["xyzzy", "is", "nothing"])


def test_a_new_instance_takes_the_place_of_the_old_one(table: CommandTable) -> None:
    second = Mine()

    table.add_methods(second)
    table.find("mine.flush").call(["3"], {})

    assert second.flushed == [3]


def test_two_services_cannot_share_a_name(table: CommandTable) -> None:
    with pytest.raises(ValueError, match=r"command 'mine.flush' of Other exists already; choose another name"):
        table.add_methods(Other())


def test_a_service_cannot_replace_a_command_of_the_core(table: CommandTable) -> None:
    class Greedy:
        @command("services.list")
        def steal(self) -> None: ...

    with pytest.raises(ValueError, match="exists already"):
        table.add_methods(Greedy())
