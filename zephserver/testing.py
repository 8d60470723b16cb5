"""Doubles and helpers for tests: of zephserver itself, and of the services and tasks that users write."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import os
import queue
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from zephserver import messages
from zephserver.core.bus import EventBus
from zephserver.core.errors import BadMessage, RequestError
from zephserver.core.events import Event
from zephserver.core.server import Server
from zephserver.core.settings import make_settings
from zephserver.core.settings_file import find_settings_file, run_settings_file
from zephserver.session_manager import User
from zephserver.task import Request

E = TypeVar("E", bound=Event)
WEBSOCKET_CLIENT = "zephserver.websocket_client/WebsocketClient"


class FakeClock:
    """A clock that moves only when the test says so. Any thread."""

    def __init__(self, now: float = 1_000.0) -> None:
        self._now = now
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Seconds, as time.monotonic()."""
        return self._now

    def time(self) -> float:
        """Seconds, as time.time(): the same number."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Move on; the new time."""
        with self._lock:
            self._now += seconds
            return self._now


def wait_for(bus: EventBus, kind: type[E], *, timeout: float = 10.0, **wanted: object) -> E:
    """The first event of this kind with these attributes, past or future. Raises AssertionError after *timeout* s."""
    inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with bus.subscribe(inbox.put, replay=True):
        while True:
            try:
                event = inbox.get(timeout=timeout)
            except queue.Empty:
                raise AssertionError(f"no {kind.__name__} with {wanted} within {timeout} s") from None
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in wanted.items()):
                return event


def wait_until(fact: Callable[[], object], what: str = "", *, timeout: float = 10.0) -> None:
    """Wait for a fact that nobody announces. Raises AssertionError, naming *what*, after *timeout* seconds."""
    pause = threading.Event()
    for _ in range(int(timeout / 0.005)):
        if fact():
            return
        pause.wait(0.005)
    raise AssertionError(f"not within {timeout} s: {what or fact}")


@dataclass
class TaskRun:
    """What a task did: its replies, what it said to others, and how it failed."""

    replies: list[Any] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)  # as in WebsocketClient.say()
    error: RequestError | None = None  # what the client would be told: AccessDenied, TaskFailed with a code, ...

    @property
    def reply(self) -> Any:
        """The only reply. Raises AssertionError when there was an error, none, or more than one."""
        assert self.error is None, f"the task failed: {self.error}"
        assert len(self.replies) == 1, f"the task replied {len(self.replies)} times"
        return self.replies[0]


def run_task(
    task: type[Any],
    data: Any = None,
    *,
    user: Any = None,
    room: str | None = None,
    cid: str = "test",
    name: str | None = None,
) -> TaskRun:
    """Run a task from birth to death in this thread, without a server: what it answered and said.

    *data* passes through JSON, as on its way from a browser. A task that raises something that is not for browsers
    raises it here too.
    """
    run = TaskRun()
    received = json.loads(messages.encode({"data": data}))["data"]
    request = Request(_Notes(run), data=received, cid=cid, user=user or User(), task=name or task.__name__, room=room)
    try:
        outcome = task(request).main()
        if inspect.iscoroutine(outcome):
            asyncio.run(outcome)
    except BadMessage:
        raise
    except RequestError as error:
        run.error = error
    return run


class _Notes:
    """The channel of a task that nobody is connected to."""

    def __init__(self, run: TaskRun) -> None:
        self._run = run

    def reply(self, data: Any) -> bool:
        """Note it, as a browser would get it."""
        self._run.replies.append(json.loads(messages.encode({"data": data}))["data"])
        return True

    def say(self, answer: dict[str, Any]) -> int:
        """Note it; as in a server, what is said to nobody at all is a mistake."""
        if not answer.get("all") and all(answer.get(name) is None for name in ("room", "users", "cid")):
            raise BadMessage("an answer needs one of room, users, all, cid")
        messages.encode(answer)
        self._run.said.append(answer)
        return 1


@contextmanager
def running_server(folder: str | Path, **settings: Any) -> Iterator[Server]:
    """A server in this process with the files of *folder*, ready; stopped at the end.

    The settings are upper-case names as in zephsettings.py; without PORT_ZEPH it picks a free port. The modules of the
    folder can be imported meanwhile.
    """
    values = {"SERVICE_LIST": [], "PORT_ZEPH": 0} | settings
    path = str(folder)
    sys.path.insert(0, path)
    try:
        with Server(make_settings(values, folder=folder)) as server:
            yield server
    finally:
        sys.path.remove(path)


@contextmanager
def server_of(folder: str | Path, **settings: Any) -> Iterator[Server]:
    """The server of a folder with a zephsettings.py, in this process, ready; stopped at the end.

    *settings* count more than the file. It may run beside the real one: it picks a free port, and its lock, log and
    control socket are in a folder of their own.
    """
    path = find_settings_file(folder=str(folder))
    before = list(sys.path)
    names, _ = run_settings_file(path)
    sys.path[:] = before
    values = {name: value for name, value in names.items() if name.isupper()}
    with tempfile.TemporaryDirectory(prefix="zephserver-") as place:
        values |= {"PORT_ZEPH": 0, "LOCK_FILE": f"{place}/server.lock", "LOG_PATH": f"{place}/logging.log"}
        values |= dict.fromkeys(_INTERFACES, f"{place}/interface.sock")
        with running_server(Path(path).parent, **(values | settings)) as server:
            yield server


_INTERFACES = ("CONFIGURATION_NETWORK_INTERFACE", "CONFIGURATION_NETWORK_INTERFACE_SERVER")


class RequestFailed(AssertionError):
    """A request was answered with an error: its `code` and `message`."""

    def __init__(self, task: str, code: str, message: str) -> None:
        super().__init__(f"{task}: {code}: {message}")
        self.task, self.code, self.message = task, code, message


def connect(
    server: Server, *, session: Any = None, room: str | None = None, headers: Mapping[str, str] | None = None
) -> Visitor:
    """A client of a server of this process, over a real WebSocket: known as *session*, and in *room*.

    Close it, or use it with `with`. It needs the package websocket-client: pip install 'zephserver[testing]'. Raises
    AssertionError when the server does not let it in.
    """
    return Visitor(server, session, room, headers or {})


class Visitor:
    """Somebody who is connected. One thread. A message that nobody has asked for stays until somebody does."""

    def __init__(self, server: Server, session: Any, room: str | None, headers: Mapping[str, str]) -> None:
        self._numbers = itertools.count(1)
        self._heard: list[dict[str, Any]] = []
        self._connection = _open(server, headers)
        try:
            self._send({"session_id": session} | ({} if room is None else {"room": room}))
            welcome = self.hear(msgtype="welcome")
            self.cid: str = welcome["cid"]
            self.user: dict[str, Any] = welcome["user"]
            if room is not None and "error" in (joined := self.hear(room=room)):
                raise RequestFailed("join", **joined["error"])
        except BaseException:
            self._connection.shutdown()
            raise

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def send(self, task: str, data: Any = None, *, room: str | None = None) -> None:
        """Call a task, and do not wait for an answer."""
        self._send({"task": task, "data": data} | ({} if room is None else {"room": room}))

    def request(self, task: str, data: Any = None, *, room: str | None = None, timeout: float = 10.0) -> Any:
        """Call a task; the data of its answer. Raises RequestFailed, or AssertionError when there is none in time."""
        id = f"request {next(self._numbers)}"
        self._send({"task": task, "data": data, "id": id} | ({} if room is None else {"room": room}))
        answer = self.hear(id=id, timeout=timeout)
        if "error" in answer:
            raise RequestFailed(task, **answer["error"])
        return answer["data"]

    def hear(self, *, timeout: float = 10.0, **wanted: Any) -> dict[str, Any]:
        """The next message with these fields, as in hear(task="chat") or hear(msgtype="join"); past or future.

        Raises AssertionError, with what was heard instead, when none comes within *timeout* seconds.
        """
        end = time.monotonic() + timeout
        seen = 0
        while True:
            for message in self._heard[seen:]:
                if all(message.get(name, ...) == value for name, value in wanted.items()):
                    self._heard.remove(message)
                    return message
            seen = len(self._heard)
            self._read(end, wanted)

    def so_far(self, **wanted: Any) -> list[dict[str, Any]]:
        """The messages with these fields that were sent to it until now, and were not heard yet."""
        self.request("TaskPing")  # its answer comes behind them
        found = [m for m in self._heard if all(m.get(name, ...) == value for name, value in wanted.items())]
        self._heard = [message for message in self._heard if message not in found]
        return found

    def close(self) -> None:
        """Hang up."""
        self._connection.close(timeout=1)
        self._connection.shutdown()  # close() leaves the socket open when the server was first

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.send(json.dumps(message))

    def _read(self, end: float, wanted: Mapping[str, Any]) -> None:
        from websocket import ABNF, WebSocketException

        what = " and ".join(f"{name}={value!r}" for name, value in wanted.items())
        self._connection.settimeout(max(0.001, end - time.monotonic()))
        try:
            kind, data = self._connection.recv_data(control_frame=True)
        except (OSError, WebSocketException) as error:  # a time-out is the package's own exception
            raise AssertionError(f"no message with {what}: {error}; heard: {self._heard}") from None
        if kind == ABNF.OPCODE_CLOSE:
            code, reason = int.from_bytes(data[:2], "big"), data[2:].decode("utf-8", "replace")
            raise AssertionError(f"no message with {what}: the server hung up with {code} {reason}".rstrip())
        if kind == ABNF.OPCODE_TEXT:
            self._heard.append(json.loads(data))


def _open(server: Server, headers: Mapping[str, str]) -> Any:
    """The opening handshake."""
    try:
        import websocket
    except ImportError:
        raise ImportError("connect() needs websocket-client; get it with: pip install 'zephserver[testing]'") from None
    address = server.get_service(WEBSOCKET_CLIENT).address
    if address is None:
        raise AssertionError("the server does not listen")
    options: dict[str, Any] = {"timeout": 5.0, "header": dict(headers), "http_no_proxy": ["*", address.host]}
    if address.is_secure:  # with a certificate for another name, most likely
        options["sslopt"] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    if address.port is None:
        options["socket"] = socket.socket(socket.AF_UNIX)
        options["socket"].connect(os.fspath(address.host))
        return websocket.create_connection("ws://localhost/ws", **options)
    return websocket.create_connection(f"ws{address.url.removeprefix('http')}ws", **options)
