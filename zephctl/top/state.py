"""What a person does to the live view with keys. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from zephctl.top.numbers import Numbers, Service, Task

TROUBLED = ("failed", "stuck", "dead", "back-off", "not answering")


class Sort(StrEnum):
    """What comes first."""

    LISTED = "as listed"
    NAME = "by name"
    BUSY = "busiest first"
    TROUBLE = "troubles first"


class Pane(StrEnum):
    """What is shown beside the services."""

    TASKS = "tasks"
    LOG = "log"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Action:
    """What is to be done outside: 'quit', 'follow', 'restart', 'enable' or 'disable', and to which service."""

    verb: str
    service: str = ""


class ViewState:
    """What is selected, sorted, filtered and asked."""

    def __init__(self) -> None:
        self.selected = ""
        self.sort = Sort.LISTED
        self.filter = ""
        self.is_typing = False  # a filter
        self.question: Action | None = None
        self.pane = Pane.TASKS
        self.is_paused = False

    def services(self, numbers: Numbers) -> list[Service]:
        """The services that are shown, in their order."""
        found = [service for service in numbers.services if self._fits(service.name)]
        match self.sort:
            case Sort.NAME:
                found.sort(key=lambda service: class_of(service.name).lower())
            case Sort.BUSY:
                found.sort(key=lambda service: -(service.cpu or 0.0))
            case Sort.TROUBLE:
                found.sort(key=lambda service: (service.state not in TROUBLED, -service.restarts))
        return found

    def tasks(self, numbers: Numbers) -> list[Task]:
        """The tasks that are shown, in their order."""
        found = [task for task in numbers.tasks if self._fits(task.name)]
        match self.sort:
            case Sort.BUSY:
                found.sort(key=lambda task: -(task.rate or 0.0))
            case Sort.TROUBLE:
                found.sort(key=lambda task: -task.failed)
        return found

    def selection(self, services: Sequence[Service]) -> int | None:
        """The place of the selected service, the first one when it is not shown; None without services."""
        for place, service in enumerate(services):
            if service.name == self.selected:
                return place
        return 0 if services else None

    def press(self, key: str, numbers: Numbers) -> Action | None:
        """Take a key; what is to be done outside, if anything."""
        if self.is_typing:
            self._type(key)
        elif self.question is not None:
            question, self.question = self.question, None
            return question if key in ("y", "Y", "enter") else None
        elif self.pane is Pane.HELP:
            self.pane = Pane.TASKS
        else:
            return self._command(key, numbers)
        return None

    def _command(self, key: str, numbers: Numbers) -> Action | None:
        services = self.services(numbers)
        place = self.selection(services)
        name = services[place].name if place is not None else ""
        match key:
            case "q":
                return Action("quit")
            case "up" | "k" | "down" | "j" | "page up" | "page down" | "home" | "end" | "g" | "G":
                return self._move(key, services, place or 0)
            case "s":
                order = list(Sort)
                self.sort = order[(order.index(self.sort) + 1) % len(order)]
            case "/":
                self.is_typing = True
            case "p" | " ":
                self.is_paused = not self.is_paused
            case "?" | "h":
                self.pane = Pane.HELP
            case "escape":
                self.filter, self.pane = "", Pane.TASKS
            case "l" if self.pane is Pane.LOG:
                self.pane = Pane.TASKS
            case "l" if name:
                self.selected, self.pane = name, Pane.LOG
                return Action("follow", name)
            case "r" | "d" if name:
                self.selected = name  # what is asked about stays marked, however the list is sorted meanwhile
                self.question = Action({"r": "restart", "d": "disable"}[key], name)
            case "e" if name:
                return Action("enable", name)
        return None

    def _move(self, key: str, services: Sequence[Service], place: int) -> Action | None:
        if not services:
            return None
        step = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -10, "page down": 10}.get(key)
        place = place + step if step is not None else 0 if key in ("home", "g") else len(services) - 1
        self.selected = services[max(0, min(len(services) - 1, place))].name
        return Action("follow", self.selected) if self.pane is Pane.LOG else None

    def _type(self, key: str) -> None:
        match key:
            case "enter" | "up" | "down":
                self.is_typing = False
            case "escape":
                self.is_typing, self.filter = False, ""
            case "backspace":
                self.filter = self.filter[:-1]
            case "clear":
                self.filter = ""
            case _ if len(key) == 1:
                self.filter += key

    def _fits(self, name: str) -> bool:
        return self.filter.lower() in name.lower()


def class_of(name: str) -> str:
    """`Router` of `zephserver.router/Router`."""
    return name.rpartition("/")[2]
