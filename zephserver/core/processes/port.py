"""The port that several workers listen on at once."""

from __future__ import annotations

import errno
import socket


class SharedPort:
    """Finds a free port for port 0 and keeps it for the workers; looks who listens on any other. One thread.

    A socket that is bound and does not listen gets no connection, but nobody else is given its port.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host, self.number = host, port
        self.is_taken = False  # by somebody who listened before us, and would be given a share of our connections
        self._kept: socket.socket | None = None

    def hold(self) -> None:
        """Choose and keep, or look. Raises OSError when the address is none of this machine."""
        if self.number:
            self.is_taken = self._is_taken()
            return
        self._kept = self._bind(0, shared=True)
        self.number = self._kept.getsockname()[1]

    def close(self) -> None:
        """Let go."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _is_taken(self) -> bool:
        """Whether somebody listens. Only a socket that does not share can tell."""
        try:
            self._bind(self.number, shared=False).close()
        except OSError as error:
            return error.errno == errno.EADDRINUSE  # whatever else is wrong the workers will say
        return False

    def _bind(self, port: int, *, shared: bool) -> socket.socket:
        family, kind, _, _, address = socket.getaddrinfo(
            self.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what is in TIME_WAIT takes nothing
            if shared:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.bind(address)
        except OSError:
            made.close()
            raise
        return made
