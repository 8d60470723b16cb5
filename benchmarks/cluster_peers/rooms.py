"""What servers hear of a room: three whole servers in this process, and one line of JSON.

`rooms.py SETTINGS MESSAGES`, with the settings of the three as JSON. Members are on two of them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from zephserver.cluster import notes
from zephserver.testing import connect, running_server, wait_until

SERVICES = {
    "session": "zephserver.session_manager/SimpleSessionManager",
    "rooms": "zephserver.room_handler/RoomHandler",
    "router": "zephserver.router/Router",
    "websocket": "zephserver.websocket_client/WebsocketClient",
}
OF_ROOMS = (notes.Said, notes.Forward, notes.Taken, notes.Entered, notes.At)  # the others are about servers and users
LIFE = 8  # characters before a note
NODES = "abc"
PATIENCE = 30.0
TEXT = "x" * 200


class Site:
    """One server, and the bytes about messages of rooms that came to it."""

    def __init__(self, node: str, settings: dict[str, Any], folder: str, stack: ExitStack) -> None:
        place = Path(folder, node)
        place.mkdir()
        history = {"kept*": (1_000, 600.0)}
        self.server = stack.enter_context(
            running_server(place, SERVICE_LIST=list(SERVICES.values()), ROOM_HISTORY=history, **settings)
        )
        self.bridge = self.server.get_service(SERVICES["rooms"])._bridge
        self.say = self.server.get_service(SERVICES["websocket"]).say
        self._stack = stack
        self.bytes = 0
        take = self.bridge._take

        def counted(peer: str, payload: bytes) -> None:
            if isinstance(notes.decode(payload[LIFE:]), OF_ROOMS):
                self.bytes += len(payload)
            take(peer, payload)

        self.bridge._cluster.take(notes.EVENT, counted)

    def join(self, room: str) -> Any:
        """A member of the room."""
        return self._stack.enter_context(connect(self.server, session="somebody", room=room))


def measure(sites: list[Site], room: str, messages: int) -> Counter[str]:
    """Bytes a message that came to each server."""
    members = [site.join(room) for site in sites[:2]]
    for site in sites:
        site.bytes = 0
    for number in range(messages):
        sites[0].say({"task": "news", "data": [number, TEXT], "room": room})
    for member in members:
        member.hear(task="news", data=[messages - 1, TEXT], timeout=PATIENCE)
    return Counter({node: site.bytes for node, site in zip(NODES, sites, strict=True)})


def main() -> int:
    """A room that one of the two owns that have members, and one that the third owns."""
    every, messages = json.loads(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="zephbench-") as folder, ExitStack() as stack:
        sites = [Site(node, settings, folder, stack) for node, settings in zip(NODES, every, strict=True)]
        orders = [site.bridge.order for site in sites]
        wait_until(lambda: all(o.view.nodes == set(NODES) and o.view.is_settled for o in orders), timeout=PATIENCE)
        found = {}
        for owner in NODES:
            room = next(room for room in map("kept {}".format, range(1_000)) if orders[0].view.owner(room) == owner)
            found[owner] = {node: size / messages for node, size in measure(sites, room, messages).items()}
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
