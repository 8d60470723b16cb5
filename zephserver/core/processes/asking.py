"""Asking a worker over its control socket, as an operator would."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

from zephserver.core.errors import CommandFailed, ControlUnreachable, NoAnswer, ZephError
from zephserver.core.processes.lines import Lines

PULSE = 1.0  # seconds after which a stream without news lets its reader look around
CONNECT = 5.0  # seconds to connect, and to hand over a request


class Question:
    """One request on its way to one worker. Whoever asked reads the answer, in the same thread."""

    def __init__(self, worker: int, path: str, request: dict[str, Any]) -> None:
        """Send it. Raises ControlUnreachable."""
        self.worker = worker
        self._lines = Lines()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(CONNECT)
        try:
            self._socket.connect(path)
            self._socket.sendall(json.dumps({"id": 1, **request}).encode() + b"\n")
        except OSError as error:
            self._socket.close()
            raise ControlUnreachable(f"worker {worker} cannot be asked: {error.strerror or error}") from None

    def answer(self, within: float | None = None) -> Any:
        """The result, or an iterator over the notices of a command that streams, with None now and then.

        Raises CommandFailed with the worker's own code, ControlUnreachable when it goes away, NoAnswer after *within*
        seconds.
        """
        lines = self._read(within)
        is_stream = False
        try:
            for line in lines:
                if line is None:
                    continue
                answer = json.loads(line)
                if "notice" in answer:
                    is_stream = True
                    return self._stream(answer["notice"], lines)
                return _result(answer)
            raise ControlUnreachable(f"worker {self.worker} went away before it answered")
        finally:
            if not is_stream:
                self._socket.close()

    def _stream(self, first: Any, lines: Iterator[bytes | None]) -> Iterator[Any]:
        with self._socket:
            yield first
            for line in lines:
                if line is None:
                    yield None
                    continue
                answer = json.loads(line)
                if "notice" not in answer:
                    _result(answer)
                    return
                yield answer["notice"]

    def _read(self, within: float | None) -> Iterator[bytes | None]:
        """The lines of the answer, None at a pulse; ends when the worker hangs up. Until the first line, *within*."""
        end = None if within is None else time.monotonic() + within
        self._socket.settimeout(PULSE if within is None else min(PULSE, within))
        while True:
            try:
                data = self._socket.recv(65_536)
            except TimeoutError:
                if end is not None and time.monotonic() >= end:
                    raise NoAnswer(f"worker {self.worker} gave no answer in {within:g} s") from None
                yield None
                continue
            except OSError:
                return
            if not data:
                return
            for line in self._lines.feed(data):
                end = None
                yield line


def _result(answer: dict[str, Any]) -> Any:
    """What a last line says. Raises CommandFailed."""
    if answer["ok"]:
        return answer["result"]
    error = answer["error"]
    raise CommandFailed(error["code"], error["message"], error.get("facts"))


def ask(paths: dict[int, str], request: dict[str, Any], within: float | None = None) -> dict[int, Any]:
    """Ask several workers at once; the answer, or the ZephError, of each."""
    questions: dict[int, Question] = {}
    answers: dict[int, Any] = {}
    for worker, path in paths.items():
        try:
            questions[worker] = Question(worker, path, request)
        except ZephError as error:
            answers[worker] = error
    for worker, question in questions.items():
        try:
            answers[worker] = question.answer(within)
        except ZephError as error:
            answers[worker] = error
    return {worker: answers[worker] for worker in paths}
