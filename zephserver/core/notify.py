"""Telling systemd how the server is (sd_notify(3)); silent when systemd did not ask."""

from __future__ import annotations

import os
import socket


class Notify:
    """Sends READY=1, STOPPING=1, WATCHDOG=1 and STATUS= to the socket that systemd named in the environment.

    The variables are taken out of the environment, so that no child process speaks for the server.
    """

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        self._address = address
        self.watchdog = watchdog  # seconds between two WATCHDOG=1, None when systemd does not watch

    @classmethod
    def from_environment(cls) -> Notify:
        """What systemd asked of this process."""
        address = os.environ.pop("NOTIFY_SOCKET", None)
        usec = os.environ.pop("WATCHDOG_USEC", "")
        pid = os.environ.pop("WATCHDOG_PID", str(os.getpid()))
        # Half the time-out, as sd_watchdog_enabled(3) advises.
        watchdog = int(usec) / 2_000_000 if usec.isdigit() and int(usec) and pid == str(os.getpid()) else None
        return cls(address, watchdog)

    def send(self, *words: str) -> None:
        """Send the words, one a line; a systemd that is gone is no reason to fail."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendto("\n".join(words).encode(), address)
        except OSError:
            pass
