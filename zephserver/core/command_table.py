"""Name -> function: what can be asked of a running server."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from zephserver.core.errors import BadRequest, UnknownCommand

F = TypeVar("F", bound=Callable[..., Any])


def command(name: str, *, for_guests: bool = False) -> Callable[[F], F]:
    """Make a function, or a method of a service, answer to *name* on the control socket.

    It returns plain data (what JSON can carry), or is a generator of such data for an answer that streams. Arguments
    annotated int, float or bool are converted from words. It runs in a thread of its own for each client.

    With *for_guests*, programs that are no server may give it over the cluster too. Then it runs in the cluster thread,
    and has to be quick.
    """

    def mark(function: F) -> F:
        function.__zeph_command__ = name  # type: ignore[attr-defined] # no attribute of functions
        function.__zeph_for_guests__ = for_guests  # type: ignore[attr-defined]
        return function

    return mark


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table."""

    name: str
    function: Callable[..., Any]
    owner: object
    signature: inspect.Signature

    @property
    def for_guests(self) -> bool:
        """Whether it may be given over the cluster."""
        return bool(getattr(self._marked, "__zeph_for_guests__", False))

    @property
    def _marked(self) -> Callable[..., Any]:
        """The function as it was written."""
        return self.function.func if isinstance(self.function, functools.partial) else self.function

    @classmethod
    def of(cls, name: str, function: Callable[..., Any], owner: object = None) -> Command:
        """A row; its signature is read now, not at each call."""
        return cls(name, function, owner, inspect.signature(function))

    @property
    def usage(self) -> str:
        """The command and its arguments as they are typed."""
        words = [self.name.replace(".", " ")]
        for parameter in self.signature.parameters.values():
            word = parameter.name.upper()
            words.append(word if parameter.default is parameter.empty else f"[{word}]")
        return " ".join(words)

    @property
    def help(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self._marked) or "").partition("\n")[0]

    def call(self, words: Sequence[str], args: dict[str, Any]) -> Any:
        """Check the arguments and call the function. Raises BadRequest with the usage."""
        if not (words or args or self.signature.parameters):
            return self.function()
        try:
            bound = self.signature.bind(*words, **args)
        except TypeError as error:
            raise BadRequest(f"{error}; usage: {self.usage}") from None
        for name, value in bound.arguments.items():
            bound.arguments[name] = _converted(name, value, self.signature.parameters[name].annotation)
        return self.function(*bound.args, **bound.kwargs)


class CommandTable:
    """The commands of one server: the core's own, and those of its services while they exist. Any thread."""

    def __init__(self) -> None:
        self._rows: dict[str, Command] = {}

    def add_functions(self, functions: Iterable[Callable[..., Any]], server: object) -> None:
        """Add marked functions; each gets the server as its first argument."""
        for function in functions:
            name = getattr(function, "__zeph_command__", None)
            if name is not None:
                self._rows[name] = Command.of(name, functools.partial(function, server))

    def add_methods(self, owner: object) -> None:
        """Add the marked methods of a service; they replace those of an earlier instance."""
        for attribute in dir(type(owner)):
            name = getattr(getattr(type(owner), attribute, None), "__zeph_command__", None)
            if name is not None:
                known = self._rows.get(name)
                if known is not None and type(known.owner) is not type(owner):
                    raise ValueError(f"command {name!r} of {type(owner).__name__} exists already; choose another name")
                self._rows[name] = Command.of(name, getattr(owner, attribute), owner)

    def remove_methods(self, owner: object) -> None:
        """Take out the methods of a service."""
        self._rows = {name: row for name, row in self._rows.items() if row.owner is not owner}

    def rows(self) -> list[Command]:
        """All commands by name."""
        return [self._rows[name] for name in sorted(self._rows)]

    def find(self, name: str) -> Command:
        """Raises UnknownCommand, with names that are close."""
        try:
            return self._rows[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._rows, n=2, cutoff=0.6)
            raise UnknownCommand(name, [word.replace(".", " ") for word in near]) from None

    def find_words(self, words: Sequence[str]) -> tuple[Command, Sequence[str]]:
        """The command that the first words name, the longest name first, and the words that are left."""
        for count in range(len(words), 0, -1):
            row = self._rows.get(".".join(words[:count]))
            if row is not None:
                return row, words[count:]
        return self.find(".".join(words[:2])), ()


# What JSON may bring for a parameter; True is no number here, though Python says so.
_KINDS: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}


def _converted(name: str, value: Any, annotation: Any) -> Any:
    """The value as the function expects it: a word as the number or flag that it means, other values as they are."""
    expected = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    expected = expected.removesuffix(" | None")
    kinds = _KINDS.get(expected)
    if kinds is None or (isinstance(value, kinds) and isinstance(value, bool) == (expected == "bool")):
        return value
    if not isinstance(value, str):
        raise BadRequest(f"{name}: expected {expected}, got {value!r}")
    try:
        if expected == "int":
            return int(value)
        if expected == "float":
            return float(value)
        if expected == "bool":
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]
    except (ValueError, KeyError):
        raise BadRequest(f"{name}: expected {expected}, got {value!r}") from None
    return value
