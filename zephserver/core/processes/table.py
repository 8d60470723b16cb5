"""The command table of the process above the workers: what it answers itself, and what it hands on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from zephserver.core.command_table import Command, CommandTable
from zephserver.core.processes.rules import RULES, Rule

Answer = Callable[[Rule, dict[str, Any]], Any]


class HandedOn(CommandTable):
    """A table that has a row for every name: its own ones, and those for which *answer* asks the workers."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer

    def find(self, name: str) -> Command:
        """The row of a command; whether workers know it they will say."""
        own = self._rows.get(name)
        return own or Command.of(name, functools.partial(self._hand_on, name))

    def find_words(self, words: Sequence[str]) -> tuple[Command, Sequence[str]]:
        """The command that the first words name; all of the words for one that only the workers know."""
        for count in range(len(words), 0, -1):
            name = ".".join(words[:count])
            if name in self._rows or name in RULES:
                return self.find(name), words[count:]
        return Command.of(".".join(words[:2]), functools.partial(self._hand_on, "")), words

    def _hand_on(self, command: str, *words: Any, **args: Any) -> Any:
        request: dict[str, Any] = {"words": list(words), "args": args}
        if command:
            request["command"] = command
        return self._answer(RULES.get(command, Rule()), request)
