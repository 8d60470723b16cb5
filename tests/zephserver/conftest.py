"""What the tests of the WebSocket server share: a site with the tasks of a test, and clients of it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from zephserver.core.events import Event
from zephserver.core.server import Server
from zephserver.engines.interface import Handshake
from zephserver.events import ClientClosed
from zephserver.session_manager import SimpleSessionManager, User
from zephserver.testing import running_server, wait_for, wait_until

E = TypeVar("E", bound=Event)
T = TypeVar("T")

SESSION_MANAGER = "zephserver.session_manager/SimpleSessionManager"
ROOM_HANDLER = "zephserver.room_handler/RoomHandler"
ROUTER = "zephserver.router/Router"
WEBSOCKET_CLIENT = "zephserver.websocket_client/WebsocketClient"
MODULE = "things_of_the_test"
PATIENCE = 10.0  # seconds until a test gives up; never waited for when all is well


class Talker:
    """A real WebSocket client that speaks JSON and hears what it waits for."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.cid = ""

    def send(self, **message: Any) -> None:
        """Send one message."""
        self.connection.send(json.dumps(message))

    def read(self) -> dict[str, Any]:
        """The next message, whatever it is."""
        return json.loads(self.connection.recv(timeout=PATIENCE))  # type: ignore[no-any-return]

    def hear(self, **wanted: Any) -> dict[str, Any]:
        """The next message with these fields; those before it are dropped."""
        while True:
            message = self.read()
            if all(message.get(name, ...) == value for name, value in wanted.items()):
                return message

    def ask(self, task: str, data: Any = None, **more: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        id = f"{task} {os.urandom(4).hex()}"
        self.send(task=task, data=data, id=id, **more)
        return self.hear(id=id)

    def until(self, **wanted: Any) -> list[dict[str, Any]]:
        """The messages up to the next one with these fields, without it."""
        messages = []
        while True:
            message = self.read()
            if all(message.get(name, ...) == value for name, value in wanted.items()):
                return messages
            messages.append(message)

    def so_far(self) -> list[dict[str, Any]]:
        """What was sent to it until now, without lists of users, which come late."""
        id = f"so far {os.urandom(4).hex()}"
        self.send(task="TaskPing", id=id)  # its answer comes behind whatever was
        return [message for message in self.until(id=id) if message.get("msgtype") != "user_list"]

    def silent(self) -> bool:
        """Whether nothing was sent to it until now, but lists of users."""
        return not self.so_far()

    def users(self, room: str = "lobby") -> list[str]:
        """Who is in the room, as the server tells who asks."""
        self.send(msgtype="user_list", room=room, id=f"users of {room}")
        return self.hear(id=f"users of {room}")["data"]  # type: ignore[no-any-return]

    def enter(self, room: str, **more: Any) -> dict[str, Any]:
        """Join a room and hear the list of its users; the message `joined`."""
        self.send(msgtype="join", room=room, **more)
        joined = self.hear(msgtype="joined", room=room)
        self.hear(msgtype="user_list", room=room)
        return joined

    def closed(self) -> tuple[int, str]:
        """Code and reason of the server's close frame, for which it waits; (1006, '') when there was none."""
        try:
            while True:
                self.connection.recv(timeout=PATIENCE)
        except ConnectionClosed as over:
            return (over.rcvd.code, over.rcvd.reason) if over.rcvd is not None else (1006, "")


class Wire:
    """A peer that speaks in bytes and frames, rightly or wrongly."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        connection.settimeout(PATIENCE)
        self.held: bytes | None = None  # what was sent since hold()
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Send bytes."""
        if self.held is not None:
            self.held += data
        else:
            self.socket.sendall(data)

    def hold(self) -> None:
        """Send nothing more until release()."""
        self.held = b""

    def release(self, *, slowly: int = 0) -> None:
        """Send what was held, the first *slowly* bytes of it one by one."""
        data, self.held = self.held or b"", None
        for index in range(slowly):
            self.socket.sendall(data[index : index + 1])
        self.socket.sendall(data[slowly:])

    def head(self) -> bytes:
        """The head of the server's HTTP response."""
        while b"\r\n\r\n" not in self._buffer:
            data = self.socket.recv(65_536)
            assert data, f"the server hung up after {self._buffer!r}"
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    def ask_to_upgrade(self, *headers: str, connection: str = "Upgrade") -> None:
        """Send the request of the opening handshake."""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET /ws HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            f"Connection: {connection}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            *headers,
        ]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def upgrade(self, *headers: str, connection: str = "Upgrade") -> bytes:
        """Do the opening handshake; the head of the response."""
        self.ask_to_upgrade(*headers, connection=connection)
        return self.head()

    def frame(
        self, opcode: int, payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True
    ) -> None:
        """Send one frame."""
        payload = payload.encode() if isinstance(payload, str) else payload
        size, mask = len(payload), os.urandom(4) if masked else b""
        head = bytes([fin << 7 | rsv << 4 | opcode])
        if size < 126:
            head += bytes([masked << 7 | size])
        elif size < 65_536:
            head += bytes([masked << 7 | 126]) + struct.pack("!H", size)
        else:
            head += bytes([masked << 7 | 127]) + struct.pack("!Q", size)
        if masked:
            payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.send(head + mask + payload)

    def say(self, **message: Any) -> None:
        """Send a message as one text frame."""
        self.frame(0x1, json.dumps(message))

    def read_frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame of the server; (0x8, b'') with an opcode of -1 at the end."""
        try:
            first, second = self._take(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
            return first & 0x0F, self._take(size)
        except (EOFError, ConnectionResetError):
            return -1, b""

    def wait_frame(self, opcode: int) -> bytes:
        """The payload of the next frame of this kind."""
        while True:
            kind, payload = self.read_frame()
            assert kind != -1, f"the server hung up, no frame {opcode:#x} came"
            if kind == opcode:
                return payload

    def close_code(self) -> int:
        """The code of the server's close frame, for which it waits; 1006 when there was none."""
        while True:
            kind, payload = self.read_frame()
            if kind == 0x8:
                return int.from_bytes(payload[:2], "big") if payload else 1005
            if kind == -1:
                return 1006

    def is_gone(self) -> bool:
        """Wait until the server hangs up."""
        try:
            while self.socket.recv(65_536):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self.socket.recv(65_536)
            if not data:
                raise EOFError
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


class Response:
    """The answer to an HTTP request."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, dict(response.getheaders()), response.read()


class Site:
    """A server in this process, and all who visit it."""

    def __init__(self, server: Server, stack: ExitStack, tls: ssl.SSLContext | None = None) -> None:
        self.server, self.tls, self._stack = server, tls, stack
        self.service: Any = server.get_service(WEBSOCKET_CLIENT)
        self.rooms: Any = server.get_service(server.settings.my_room_handler)
        self.router: Any = server.get_service(ROUTER)
        self.events: list[Event] = []
        server.bus.subscribe(self.events.append)  # so that every event is wanted
        self.locate()

    def locate(self) -> None:
        """Learn where the server listens; again when the service was restarted."""
        self.host: str = self.service.address.host
        self.port: int = self.service.address.port

    @property
    def url(self) -> str:
        """Where the WebSocket is."""
        return f"ws://{self.host}:{self.port}/ws"

    def connect(self, **options: Any) -> Talker:
        """Somebody who has connected and said nothing.

        Not over TLS: websockets.sync reads and writes one SSLSocket in two threads, which CPython 3.11 does not bear
        (about 1 in 200 connections hang, with any server, and the heap may be damaged). Use peer().
        """
        assert self.tls is None
        options = {"compression": None, "ping_interval": None, "proxy": None, "close_timeout": 2} | options
        return Talker(self._stack.enter_context(connect(self.url, **options)))

    def join(self, name: Any = None, room: str | None = "lobby", **options: Any) -> Talker:
        """Somebody who was welcomed, is in the room and has heard of it."""
        talker = self.connect(**options)
        talker.send(session_id=name, room=room)
        talker.cid = talker.read()["cid"]
        if room is not None:
            talker.hear(msgtype="joined", room=room)
            talker.hear(msgtype="user_list", room=room)
        return talker

    def on_loop(self, function: Callable[[], T]) -> T:
        """Run a function on the event loop; what it returned."""
        answer: queue.SimpleQueue[T] = queue.SimpleQueue()
        self.service.portal.call_soon(lambda: answer.put(function()))
        return answer.get(timeout=PATIENCE)

    def gone(self, *talkers: Talker) -> None:
        """Have them close their connections, and wait until the server knows."""
        for talker in talkers:
            talker.connection.close()
        for talker in talkers:
            self.wait(ClientClosed, cid=talker.cid)

    def wire(self, *, receive_buffer: int | None = None, plain: bool = False) -> Wire:
        """Somebody who has opened a connection, with TLS where the site has it, before any handshake of HTTP."""
        connection = socket.socket()
        self._stack.callback(connection.close)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(PATIENCE)
        connection.connect((self.host, self.port))
        if self.tls is not None and not plain:
            connection = self.tls.wrap_socket(connection, server_hostname=self.host)
            self._stack.callback(connection.close)
        return Wire(connection)

    def peer(self, **options: Any) -> Wire:
        """Somebody who has done the handshake and said nothing."""
        wire = self.wire(**options)
        assert wire.upgrade().startswith(b"HTTP/1.1 101 ")
        return wire

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Response:
        """Send an HTTP request; its answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            return Response(connection.getresponse())
        finally:
            connection.close()

    def wait(self, kind: type[E], **wanted: object) -> E:
        """The first event of this kind with these attributes, past or future."""
        return wait_for(self.server.bus, kind, timeout=PATIENCE, **wanted)

    def wait_log(self, text: str) -> None:
        """Wait until the log says this; it is written by a thread of its own."""
        path = Path(self.server.settings.log_path)
        wait_until(lambda: text in path.read_text(), f"{text!r} in the log", timeout=PATIENCE)


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeSite]:
    """Starts a server with these tasks and settings; it and its clients are gone at the end.

    `session_manager` and `room_handler` may be classes. The folder of the site is tmp_path. Who leaves is gone at once,
    unless the test sets LEAVE_DELAY.
    """
    with ExitStack() as stack:

        def make(
            *tasks: type,
            session_manager: type | None = None,
            room_handler: type | None = None,
            services: tuple[str, ...] = (),
            tls: ssl.SSLContext | None = None,
            **settings: Any,
        ) -> Site:
            module = ModuleType(MODULE)
            monkeypatch.setitem(sys.modules, MODULE, module)
            for task in tasks:
                setattr(module, task.__name__, task)
            sessions, rooms = SESSION_MANAGER, ROOM_HANDLER
            if session_manager is not None:
                setattr(module, session_manager.__name__, session_manager)
                sessions = f"{MODULE}/{session_manager.__name__}"
            if room_handler is not None:
                setattr(module, room_handler.__name__, room_handler)
                rooms = f"{MODULE}/{room_handler.__name__}"
            values = {
                "SERVICE_LIST": [sessions, rooms, ROUTER, WEBSOCKET_CLIENT, *services],
                "MY_SESSION_HANDLER": sessions,
                "MY_ROOM_HANDLER": rooms,
                "LEAVE_DELAY": 0,
                "TASKS_PATH": {task.__name__: f"{MODULE}/{task.__name__}" for task in tasks},
            }
            server = stack.enter_context(running_server(tmp_path, **(values | settings)))
            return Site(server, stack, tls)

        yield make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A site without tasks but TaskPing."""
    return make_site()


class Doorkeeper(SimpleSessionManager):
    """A session manager that remembers whom it was asked about, and does as it is told."""

    asked: list[tuple[Handshake, Mapping[str, Any]]]
    answered: list[Any]
    gate: threading.Event

    def get_user_session(self, instance: Handshake, message: Mapping[str, Any]) -> User | None:
        self.asked.append((instance, message))
        assert self.gate.wait(10)
        match message["session_id"]:
            case "raise":
                raise RuntimeError("the database is gone")
            case "leave":
                raise SystemExit
        self.answered.append(message["session_id"])
        return super().get_user_session(instance, message)


@pytest.fixture
def doorkeeper() -> type[Doorkeeper]:
    """A session manager of this test; its gate is open."""
    gate = threading.Event()
    gate.set()
    return type("Doorkeeper", (Doorkeeper,), {"asked": [], "answered": [], "gate": gate})


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What tasks wait for; open at the end."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def began() -> queue.SimpleQueue[Any]:
    """Where tasks say that they have begun."""
    return queue.SimpleQueue()
