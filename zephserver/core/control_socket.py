"""Reaching the control socket of a running server, and what it means when that fails. Imports next to nothing."""

from __future__ import annotations

import os
import socket
import stat
import time

from zephserver.core.errors import ControlDenied, ControlUnreachable, NoAnswer, ZephError

PATIENCE = 120.0  # seconds without a word from the server


def connect(connection: socket.socket, path: str, timeout: float | None) -> None:
    """Connect, and try again while the server has too many clients waiting to be accepted (EAGAIN on a UNIX socket)."""
    end = time.monotonic() + (timeout or PATIENCE)
    while True:
        try:
            connection.connect(path)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimeoutError from None
            time.sleep(0.01)


def control_error(path: str, error: OSError, start: str = "zephserver-start") -> ZephError:
    """What an OSError on the control socket means; *start* is the command that starts a server."""
    if isinstance(error, PermissionError):
        return ControlDenied(f"the control socket {path} belongs to another user; use sudo -u OWNER")
    if isinstance(error, TimeoutError):
        return NoAnswer(f"the server on {path} gave no answer in time; see its log")
    if isinstance(error, ConnectionRefusedError) and not is_socket(path):
        return ControlUnreachable(f"{path} is not a socket; name the control socket of a server")
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        stale = " (the file is a dead server's; the next start removes it)" if is_socket(path) else ""
        return ControlUnreachable(f"no server listens on {path}{stale}; start one with: {start}")
    return ControlUnreachable(f"no server can be reached on {path}: {error.strerror or error}")


def is_socket(path: str) -> bool:
    """Whether there is a socket at *path*."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
