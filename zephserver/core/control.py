"""The control socket: a UNIX socket on which a running server takes commands."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zephserver.core import runtime, wire
from zephserver.core.bus import EventBus
from zephserver.core.command_table import Command, CommandTable
from zephserver.core.errors import BadRequest, ServerBusy, ZephError
from zephserver.core.events import CommandServed, ControlRefused
from zephserver.core.files import close_own, keep_from_children, no_fork
from zephserver.core.unix_socket import bind, inode_of, make_room, peer_of

if TYPE_CHECKING:
    from zephserver.core.server import Server

SETTING = "CONFIGURATION_NETWORK_INTERFACE_SERVER"
MOST_CLIENTS = 40
REQUEST_TIME = 5.0  # seconds that a client has for sending a request, also between two of them
ANSWER_TIME = 5.0  # seconds that a client may leave an answer unread

logger = logging.getLogger(__name__)


class ControlServer:
    """Listens on a UNIX socket of mode 0600 and answers, one thread a client. Any thread.

    A client that says nothing is closed after five seconds, and sooner when its place is needed: nobody can keep
    another from saying `stop`.
    """

    def __init__(self, path: str | os.PathLike[str], table: CommandTable, bus: EventBus, server: Server | None = None):
        self.path = os.fspath(path)
        self._table, self._bus, self._server = table, bus, server
        self._clients: set[_Client] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._inode: tuple[int, int] | None = None
        self._wake: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> bool:
        """Listen; True if a dead server's socket was removed for it.

        Raises AlreadyRunning when somebody answers on the path, FileRefused when it is not a socket of ours.
        """
        stale = make_room(SETTING, self.path)
        with no_fork():
            listener = bind(SETTING, self.path, 0o600)
            keep_from_children(listener.fileno())
        listener.setblocking(False)
        self._listener = listener
        self._inode = inode_of(self.path)
        self._wake, waker = socket.socketpair()
        self._thread = runtime.spawn("control", lambda: self._accept(listener, waker), self._server)
        return stale

    def heal(self) -> bool:
        """Listen anew if somebody deleted the socket; True if it had to. Open clients are not touched."""
        if self._inode is None or os.path.lexists(self.path):
            return False  # if something else is there now, it is not ours to remove
        self._stop_listening()
        self.open()
        return True

    def close(self) -> None:
        """Stop listening and remove the socket, if it is still ours. Open clients get the rest of their answer."""
        self._stop_listening()
        if self._inode is not None and inode_of(self.path) == self._inode:
            os.unlink(self.path)
        self._inode = None

    def hang_up(self, timeout: float = 1.0) -> None:
        """Wait a moment for the answers that are under way, then close every client."""
        end = time.monotonic() + timeout
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            if client.waiting_since is not None:
                client.shut()
        for client in clients:
            if client.thread is not None and client.thread is not threading.current_thread():
                client.thread.join(max(0.0, end - time.monotonic()))
            client.shut()

    def _stop_listening(self) -> None:
        if self._wake is not None:
            self._wake.close()
            self._wake = None
        if self._thread is not None:
            self._thread.join(1.0)
            self._thread = None
        if self._listener is not None:
            close_own(self._listener.detach())
            self._listener = None

    def _accept(self, listener: socket.socket, waker: socket.socket) -> None:
        """Body of the accepting thread; ends when the other end of *waker* is closed."""
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(waker, select.POLLIN)
        number = 0
        with waker:
            while True:
                ready = [descriptor for descriptor, _ in poll.poll()]
                if waker.fileno() in ready:
                    return
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    continue
                except OSError as error:  # out of descriptors: wait for some to come back instead of spinning
                    logger.warning("control socket cannot accept: %s", error)
                    time.sleep(0.2)
                    continue
                number += 1
                self._admit(connection, number)

    def _admit(self, connection: socket.socket, number: int) -> None:
        uid, pid = peer_of(connection)
        if uid not in (None, 0, os.geteuid()):
            self._bus.publish(ControlRefused(uid=uid, pid=pid, why="another user"))
            connection.close()
            return
        client = _Client(connection, uid)
        with self._lock:
            full = len(self._clients) >= MOST_CLIENTS
            if full:
                idle = [c for c in self._clients if c.waiting_since is not None]
                if idle:
                    oldest = min(idle, key=lambda c: c.waiting_since or 0.0)
                    oldest.shut()
                    self._clients.discard(oldest)
                    full = False
            if not full:
                self._clients.add(client)
        if full:
            self._bus.publish(ControlRefused(uid=uid, pid=pid, why=f"{MOST_CLIENTS} clients are being served"))
            client.send(wire.plain_error(ServerBusy(f"{MOST_CLIENTS} clients are being served; try again")))
            client.shut()
            connection.close()
            return
        try:
            client.thread = runtime.spawn(f"control:{number}", lambda: self._serve(client), self._server)
        except RuntimeError as error:  # no thread left on this machine: then above all somebody has to see to it
            logger.warning("control client is served by the accepting thread: %s", error)
            self._serve(client, once=True)

    def _serve(self, client: _Client, *, once: bool = False) -> None:
        """Body of a client's thread."""
        try:
            while (line := client.read_line()) is not None:
                if not self._answer(client, line) or once:
                    break
        except BadRequest as error:
            client.send(wire.plain_error(error))
        finally:
            with self._lock:
                self._clients.discard(client)
            client.connection.close()

    def _answer(self, client: _Client, line: bytes) -> bool:
        """Answer one request; False when the client is to be closed after it."""
        started = time.monotonic()
        call = wire.Call(args={}) if line.startswith(b"{") else wire.Call()
        name, error = "?", None
        try:
            call = wire.parse_request(line)
            if call.plain or (not call.command and call.words):
                row, words = self._table.find_words(call.words)
            else:
                row, words = self._table.find(call.command), call.words
            name = row.name
            alive = self._run(client, call, row, words)
        except ZephError as problem:
            error = problem
            id = call.id if call.id is not None else getattr(error, "id", None)
            alive = client.send(wire.plain_error(error) if call.plain else wire.error_line(id, error))
        if self._bus.wants(CommandServed):
            seconds = time.monotonic() - started
            code = error.code if error is not None else None
            self._bus.publish(CommandServed(command=name, uid=client.uid, seconds=seconds, error=code))
        return alive and not call.plain

    def _run(self, client: _Client, call: wire.Call, row: Command, words: Any) -> bool:
        try:
            result = row.call(words, call.args or {})
            if isinstance(result, Iterator):
                with contextlib.closing(result):  # type: ignore[type-var]
                    for notice in result:
                        # A stream yields None now and then, so that a client that left is noticed.
                        if client.has_left():
                            return False
                        if notice is None:
                            continue
                        line = wire.plain_text(notice) if call.plain else wire.notice_line(call.id, notice)
                        if not client.send(line):
                            return False
                result = None
            elif result is None and call.plain:
                result = "done"  # an empty answer is what a server that is killed gives
            return client.send(wire.plain_text(result) if call.plain else wire.result_line(call.id, result))
        except ZephError:
            raise
        except Exception as error:
            logger.exception("command %s raised", row.name)
            raise ZephError(f"command {row.name} raised {error!r}; the log has the traceback") from error


class _Client:
    """One connection on the control socket."""

    def __init__(self, connection: socket.socket, uid: int | None) -> None:
        self.connection, self.uid = connection, uid
        self.waiting_since: float | None = time.monotonic()  # None while a request is being served
        self.thread: threading.Thread | None = None
        self._buffer = b""
        self._timeout = 0.0
        self._is_shut = False

    def read_line(self) -> bytes | None:
        """The next request, None when the client left or was too slow. Raises BadRequest for an endless line."""
        self.waiting_since = started = time.monotonic()
        while b"\n" not in self._buffer:
            if len(self._buffer) >= wire.LONGEST_REQUEST:
                raise BadRequest(f"a request has at most {wire.LONGEST_REQUEST} bytes")
            left = started + REQUEST_TIME - time.monotonic()
            if left <= 0:
                return None
            try:
                self._limit(left if self._buffer else REQUEST_TIME)
                data = self.connection.recv(wire.LONGEST_REQUEST)
            except OSError:
                return None
            if not data and self._is_shut:
                return None  # half a request of a client that was closed is not a request
            if not data:  # the last line may lack its newline: `printf stop | nc -U interface.sock`
                line, self._buffer = self._buffer, b""
                self.waiting_since = None
                return line or None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        if len(line) >= wire.LONGEST_REQUEST:
            raise BadRequest(f"a request has at most {wire.LONGEST_REQUEST} bytes")
        self.waiting_since = None
        return line

    def send(self, data: bytes) -> bool:
        """Send all of it; False when the client is gone or does not read."""
        try:
            self._limit(ANSWER_TIME)
            self.connection.sendall(data)
            return True
        except OSError:
            return False

    def _limit(self, seconds: float) -> None:
        """Set the time limit of the socket, which is a system call, only when it changes."""
        if seconds != self._timeout:
            self._timeout = seconds
            self.connection.settimeout(seconds)

    def has_left(self) -> bool:
        """Whether the client has closed the connection altogether. One that only ended its own side still listens."""
        try:
            poll = select.poll()
            poll.register(self.connection, 0)  # POLLHUP and POLLERR are always reported
            return bool(poll.poll(0))
        except (OSError, ValueError):
            return True

    def shut(self) -> None:
        """End the connection; its thread notices and closes it."""
        self._is_shut = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
