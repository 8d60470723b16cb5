"""The examples in the how-to pages do what the pages say."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from zephserver.core.server import Server
from zephserver.testing import running_server

HOW_TO = Path(__file__).parent.parent / "docs" / "how-to"
OTHERS = ["zephserver.router/Router", "zephserver.websocket_client/WebsocketClient"]
SIMPLE = "zephserver.session_manager/SimpleSessionManager"
ROOMS = "zephserver.room_handler/RoomHandler"


def example(page: str, name: str) -> str:
    """The file *name* in the Python block of a page that begins with its name."""
    blocks = re.findall(r"```python\n(.*?)```", (HOW_TO / page).read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(f"# {name}\n")]
    return found


def visit(server: Server, **options: Any) -> ClientConnection:
    """A connection to the server."""
    address = server.get_service("zephserver.websocket_client/WebsocketClient").address
    return connect(f"ws://{address.host}:{address.port}/ws", compression=None, proxy=None, **options)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sessions.py").write_text(example("sessions.md", "sessions.py"))
    database = sqlite3.connect(tmp_path / "shop.db")
    with database:
        database.execute("CREATE TABLE sessions (key TEXT, user_id INTEGER, name TEXT)")
        database.execute("INSERT INTO sessions VALUES ('k1', 7, 'ann')")
    database.close()
    services = ["sessions/ShopSessions", ROOMS, *OTHERS]
    settings = {"MY_SESSION_HANDLER": "sessions/ShopSessions", "SESSION_CHECK_INTERVAL": 0.05}
    with running_server(tmp_path, SERVICE_LIST=services, **settings) as server:
        yield server


def test_the_shop_knows_its_users_by_their_cookies(shop: Server, tmp_path: Path) -> None:
    with visit(shop, additional_headers={"Cookie": "shop_session=k1"}) as ann:
        ann.send("{}")
        welcome = ann.recv(timeout=10)
        database = sqlite3.connect(tmp_path / "shop.db")
        with database:
            database.execute("DELETE FROM sessions")
        database.close()
        with pytest.raises(ConnectionClosed) as closed:
            ann.recv(timeout=10)

    assert '"user":{"id":7,"username":"ann"}' in str(welcome)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4003


@pytest.mark.parametrize(("user", "room", "answer"), [("ann", "team-red", "joined"), ("bob", "team-red", "error")])
def test_the_rooms_of_a_team_are_for_its_members(tmp_path: Path, user: str, room: str, answer: str) -> None:
    (tmp_path / "rooms.py").write_text(example("rooms.md", "rooms.py"))
    services = [SIMPLE, "rooms/TeamRooms", *OTHERS]
    with (
        running_server(tmp_path, SERVICE_LIST=services, MY_ROOM_HANDLER="rooms/TeamRooms") as server,
        visit(server) as client,
    ):
        client.send(f'{{"session_id": "{user}", "room": "{room}"}}')
        client.recv(timeout=10)
        said = str(client.recv(timeout=10))

    assert f'"{answer}"' in said
    assert f'"room":"{room}"' in said
