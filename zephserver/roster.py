"""Who is connected, and who is in which room: the tables of the room handler."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zephserver.cluster.notes import Key, user_key
from zephserver.cluster.presence import EVERYWHERE
from zephserver.core.command_table import command
from zephserver.core.errors import BadMessage
from zephserver.rooms import Presence, Room

if TYPE_CHECKING:
    from zephserver.client import Client

_NOBODY = Room()


class Roster:
    """Rooms and users of all servers, and the connections to this one. Any thread may ask; the event loop writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[str, Client] = {}
        self._rooms: dict[str, Room] = {}
        self._users: dict[Any, set[Client]] = {}
        self._elsewhere = Room()  # who is connected to other servers

    def rooms(self) -> list[str]:
        """The names of the rooms that somebody is in."""
        with self._lock:
            return list(self._rooms)

    def clients(self) -> list[Client]:
        """Every connection whose user is known, and that is not being closed."""
        with self._lock:
            return [client for client in self._clients.values() if not client.is_closing]

    def find(self, who: str) -> list[Client]:
        """The connection with the cid WHO, or every connection of the user with the id or name WHO."""
        return [
            client
            for client in self.clients()
            if client.cid == who
            or (client.user is not None and (client.user.username == who or str(client.user.id) == who))
        ]

    def members(self, room: str) -> list[Client]:
        """The connections in a room."""
        with self._lock:
            found = self._rooms.get(room)
            return list(found.members.values()) if found is not None else []

    def user_list(self, room: str, most: int | None = None) -> list[str]:
        """The names of the users in a room; a user with several connections is there once."""
        with self._lock:
            found = self._rooms.get(room)
            return found.usernames(most) if found is not None else []

    def user_count(self, room: str) -> int:
        """How many users a room has."""
        with self._lock:
            found = self._rooms.get(room)
            return len(found.users) if found is not None else 0

    def connections_of(self, user_id: Any) -> list[Client]:
        """The connections of a user to this server."""
        with self._lock:
            return list(self._users.get(user_key(user_id), ()))

    def connection_count(self, user_id: Any) -> int:
        """How many connections a user has, to all servers."""
        key = user_key(user_id)
        with self._lock:
            elsewhere = self._elsewhere.users.get(key)
            count = elsewhere.count_elsewhere if elsewhere is not None else 0
            return len(self._users.get(key, ())) + count

    def is_online(self, user_id: Any) -> bool:
        """Whether a user has a connection, to any server."""
        return self.connection_count(user_id) > 0

    def targets(self, answer: dict[str, Any]) -> list[Client]:
        """The connections that *answer* goes to: by `cid`, `users`, `room` or `all`, but not `except` (a cid).

        Raises BadMessage when it has none of them, or ids that cannot be any.
        """
        with self._lock:
            try:
                return self._targets(answer)
            except TypeError:  # a list where a name is expected
                raise BadMessage("a room and a cid are texts") from None

    def stats(self) -> dict[str, int]:
        """How many rooms there are."""
        return {"rooms": len(self._rooms)}

    @command("rooms.list")
    def list_rooms(self) -> list[dict[str, Any]]:
        """The rooms that somebody is in."""
        with self._lock:
            return [
                {
                    "name": name,
                    "users": len(room.users),
                    "connections": len(room.members) + room.connections_elsewhere(),
                }
                for name, room in self._rooms.items()
            ]

    @command("users.list")
    def list_users(self) -> list[dict[str, Any]]:
        """The users who are connected."""
        found: dict[Any, dict[str, Any]] = {}
        with self._lock:
            everyone: dict[Any, Presence] = self._elsewhere.users
            for key, present in everyone.items():
                id = key[1] if key[0] == "user" else None
                about: dict[str, Any] = {"name": present.username, "id": id, "rooms": []}
                found[key] = about | {"connections": present.count_elsewhere}
            for name, room in self._rooms.items() if found else ():
                for key, present in room.users.items():
                    if present.elsewhere and key in found:
                        found[key]["rooms"].append(name)
        for client in self.clients():
            if client.user is not None:
                about = {"name": client.user.username, "id": client.user.id, "connections": 0, "rooms": []}
                row = found.setdefault(client.member_key, about)
                row["connections"] += 1
                row["rooms"] = sorted({*row["rooms"], *client.rooms})
        return list(found.values())

    # -- what the room handler writes; loop only --------------------------------------------------------------------

    def _come(self, client: Client) -> int:
        """Know a connection; how many its user has now."""
        with self._lock:
            self._clients[client.cid] = client
            connections = self._users.setdefault(client.member_key, set())
            connections.add(client)
            return len(connections)

    def _go(self, client: Client) -> int:
        """Forget a connection; how many its user has left."""
        with self._lock:
            self._clients.pop(client.cid, None)
            connections = self._users.get(client.member_key, set())
            connections.discard(client)
            if not connections:
                self._users.pop(client.member_key, None)
            return len(connections)

    def _note_elsewhere(
        self, server: str, name: str, key: Key, username: str | None, connections: int
    ) -> tuple[bool, str | None]:
        """What another server says of a user in a room: whether the user is new there, and the name of one who left."""
        with self._lock:
            if name == EVERYWHERE:
                room = self._elsewhere
            elif username is None:
                room = self._rooms.get(name, _NOBODY)
            else:
                room = self._rooms.setdefault(name, Room())
            if username is not None:
                return room.appear(server, key, username, connections), None
            room.vanish(server, key)
            return False, room.gone(key)

    def _servers_with(self, answer: dict[str, Any]) -> tuple[set[str], int]:
        """The other servers that have users of this answer, and how many connections those have there."""
        with self._lock:
            everyone: Iterable[Any] = self._elsewhere.users
            keys = map(user_key, _once(answer["users"])) if "users" in answer else everyone
            found = [present for key in keys if (present := self._elsewhere.users.get(key)) is not None]
            servers = {server for present in found for server in present.elsewhere or ()}
            return servers, sum(present.count_elsewhere for present in found)

    def _targets(self, answer: dict[str, Any]) -> list[Client]:
        if "cid" in answer:
            found = [self._clients[answer["cid"]]] if answer["cid"] in self._clients else []
        elif "users" in answer:
            found = [client for id in _once(answer["users"]) for client in self._users.get(user_key(id), ())]
        elif answer.get("room") is not None:
            room = self._rooms.get(answer["room"])
            found = list(room.members.values()) if room is not None else []
        elif answer.get("all"):
            found = list(self._clients.values())
        else:
            raise BadMessage("an answer needs one of room, users, all, cid")
        but = answer.get("except")
        return [client for client in found if client.cid != but] if but is not None else found


def _once(ids: Any) -> Iterable[Any]:
    """The ids without repetition: a user who is named twice gets a message once."""
    try:
        return dict.fromkeys(ids)
    except TypeError:
        raise BadMessage("users is a list of user ids") from None
