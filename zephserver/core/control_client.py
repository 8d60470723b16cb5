"""Asking a running server, over its control socket, in JSON."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

from zephserver.core.control_socket import connect, control_error
from zephserver.core.errors import CommandFailed, ControlError, ControlUnreachable

FOR_EVER = float("inf")


def request_line(id: int, command: str, args: dict[str, Any]) -> bytes:
    """A request in JSON; wire.py tells its form."""
    return json.dumps({"id": id, "command": command, "args": args}).encode() + b"\n"


def parse_answer(line: bytes, path: str) -> tuple[str, Any]:
    """A line of the answer from *path*: "notice" or "result", and what that is.

    Raises CommandFailed with the server's code and message, ControlError for what no server says.
    """
    try:
        if line.startswith(b"error: "):  # of a server that could not even read the request
            _, code, message = line.decode("utf-8", "replace").strip().split(": ", 2)
            raise CommandFailed(code, message)
        answer = json.loads(line)
        if "notice" in answer:
            return "notice", answer["notice"]
        if answer["ok"]:
            return "result", answer["result"]
        error = answer["error"]
        raise CommandFailed(error["code"], error["message"], error.get("facts"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ControlError(f"what listens on {path} is not a zephserver: {error!r}") from None


class ControlClient:
    """One connection to the control socket at *path*. `timeout` is how long the server may say nothing, in seconds."""

    def __init__(self, path: str, timeout: float | None = None) -> None:
        self.path = path
        self._timeout = self._limit = timeout
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._number = 0

    def connect(self) -> None:
        """Connect now and not with the first command. Raises ControlError."""
        try:
            self._connect()
        except OSError as error:
            self.close()
            raise control_error(self.path, error, "zephctl start") from None

    def call(self, command: str, timeout: float | None = None, **args: Any) -> Any:
        """The result of a command. Raises CommandFailed with the server's code, or another ControlError."""
        answer = self._ask(command, args, timeout)
        for kind, value in answer:
            if kind == "result":
                return value
        raise ControlUnreachable(f"the server on {self.path} went away before it answered")

    def stream(self, command: str, timeout: float = FOR_EVER, **args: Any) -> Iterator[Any]:
        """The notices of a command that streams, as they come. It may be silent for as long as it likes."""
        for kind, value in self._ask(command, args, timeout):
            if kind == "notice":
                yield value

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, command: str, args: dict[str, Any], timeout: float | None) -> Iterator[tuple[str, Any]]:
        """Send a request; its notices and its result. Ends early when the server goes away."""
        self._number += 1
        request = request_line(self._number, command, args)
        try:
            connection = self._connect()
            limit = self._timeout if timeout is None else timeout
            if limit != self._limit:
                self._limit = limit
                connection.settimeout(None if limit == FOR_EVER else limit)
            unsent = _send(connection, request)
            while (line := self._line(connection)) is not None:
                kind, value = parse_answer(line, self.path)
                yield kind, value
                if kind == "result":
                    return
            if unsent is not None:
                raise unsent
        except OSError as error:
            self.close()
            raise control_error(self.path, error, "zephctl start") from None
        except ControlError:
            self.close()
            raise

    def _connect(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(self._timeout)
            self._limit = self._timeout
            connect(self._socket, self.path, self._timeout)
            self._buffer = b""
        return self._socket

    def _line(self, connection: socket.socket) -> bytes | None:
        while b"\n" not in self._buffer:
            data = connection.recv(65_536)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def _send(connection: socket.socket, request: bytes) -> BrokenPipeError | None:
    """Send a request. A server that hangs up at once may have said why, so that is read first and raised last."""
    try:
        connection.sendall(request)
    except BrokenPipeError as error:
        return error
    return None
