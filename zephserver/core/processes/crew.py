"""The workers, as the process above them sees them: who is there, and asking them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zephserver.core.errors import CommandFailed, ControlUnreachable, UnknownClient, ZephError
from zephserver.core.processes.asking import ask
from zephserver.core.processes.plan import control_of
from zephserver.core.processes.rules import Rule, Whom
from zephserver.core.processes.slot import Slot

if TYPE_CHECKING:
    from zephserver.core.processes.supervisor import Supervisor


class Crew:
    """Asks the workers and signals them. Any thread."""

    def __init__(self, server: Supervisor) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._watchers = 0

    @property
    def slots(self) -> dict[int, Slot]:
        """The places for workers by number, whether somebody is there or not."""
        instances = self._server.services.get_all_services().values()
        return {slot.number: slot for slot in instances if isinstance(slot, Slot)}

    @property
    def paths(self) -> dict[int, str]:
        """The control sockets of the workers that are there."""
        sockets = self._server.folder.sockets
        return {number: control_of(sockets, number) for number, slot in self.slots.items() if slot.is_up}

    def answer(self, rule: Rule, request: dict[str, Any]) -> Any:
        """Ask whom the rule says, and make one answer of theirs. Raises what they say, or ControlUnreachable."""
        paths = self.paths
        if not paths:
            raise ControlUnreachable("no worker is there right now; see: zephctl services list")
        match rule.whom:
            case Whom.ALL:
                answers = ask(paths, request, rule.within)
            case Whom.ROLLING:
                answers = self._one_by_one(paths, request, rule)
            case Whom.KNOWING:
                answers = self._who_knows(paths, request, rule)
            case Whom.FIRST:
                number = min(paths)
                answers = ask({number: paths[number]}, request, rule.within)
        return rule.merge(_without_errors(answers))

    def ask_all(self, command: str, within: float | None = None, **args: Any) -> dict[int, Any]:
        """The answers of those that are there and answer in time."""
        answers = ask(self.paths, {"command": command, "args": args}, within)
        return {number: answer for number, answer in answers.items() if not isinstance(answer, ZephError)}

    def signal(self, number: int) -> None:
        """Send a signal to every process."""
        for slot in self.slots.values():
            slot.send_signal(number)

    def end(self) -> None:
        """Ask every process to end, all at once."""
        for slot in self.slots.values():
            slot.end()

    def kill(self) -> None:
        """End every process, whatever it is doing."""
        self.signal(signal.SIGKILL)

    @property
    def is_watching(self) -> bool:
        """Whether somebody looks at the events, so that the workers tell all of them."""
        return self._watchers > 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Have the workers tell every event, also those that no log takes."""
        self._count_watchers(1)
        try:
            yield
        finally:
            self._count_watchers(-1)

    def _count_watchers(self, more: int) -> None:
        with self._lock:
            before, self._watchers = self.is_watching, self._watchers + more
            if before != self.is_watching:
                for slot in self.slots.values():
                    slot.watch(self.is_watching)

    def _one_by_one(self, paths: Mapping[int, str], request: dict[str, Any], rule: Rule) -> dict[int, Any]:
        """One after the other; the first that cannot do it keeps the rest from it."""
        answers: dict[int, Any] = {}
        for number, path in paths.items():
            answers |= ask({number: path}, request, rule.within)
            if isinstance(answers[number], CommandFailed):
                break
        return answers

    def _who_knows(self, paths: Mapping[int, str], request: dict[str, Any], rule: Rule) -> dict[int, Any]:
        """One after the other until one knows who is meant."""
        answers: dict[int, Any] = {}
        for number, path in paths.items():
            answers = ask({number: path}, request, rule.within)
            if getattr(answers[number], "code", "") != UnknownClient.code:
                break
        return answers


def _without_errors(answers: dict[int, Any]) -> dict[int, Any]:
    """The answers that are none. Raises what a worker refused; those that went away meanwhile are left out."""
    good = {number: answer for number, answer in answers.items() if not isinstance(answer, ZephError)}
    for number, error in answers.items():
        if isinstance(error, CommandFailed):
            where = f"worker {number}: " if good else ""
            raise CommandFailed(error.code, f"{where}{error}", error.facts)
    if not good:
        raise first_error(answers)
    return good


def first_error(answers: Mapping[int, Any]) -> ZephError:
    """The error of the first worker that has one."""
    return next(answer for answer in answers.values() if isinstance(answer, ZephError))
