"""One room: its members and its users. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zephserver.client import Client


@dataclass(slots=True)
class Presence:
    """A user in a room. Without a connection here it is about to leave, since `left` (seconds), or elsewhere."""

    username: str
    connections: int = 0
    left: float = 0.0
    is_here: bool = False  # this server says that the user is in the room
    elsewhere: dict[str, int] | None = None  # the other servers that say so: connections there

    @property
    def count_elsewhere(self) -> int:
        """Connections to other servers."""
        return sum(self.elsewhere.values()) if self.elsewhere else 0


class Room:
    """Who is in a room, here and on other servers. A user with several connections is one user."""

    __slots__ = ("members", "users")

    def __init__(self) -> None:
        self.members: dict[str, Client] = {}  # by cid, in the order in which they came
        self.users: dict[Hashable, Presence] = {}

    def add(self, client: Client) -> bool:
        """Put a connection in; whether its user is new here."""
        self.members[client.cid] = client
        present = self.users.get(client.member_key)
        is_new = present is None
        if present is None:
            present = self.users[client.member_key] = Presence(client.user.username if client.user else "")
        present.username = client.user.username if client.user else ""
        present.connections += 1
        present.is_here = True
        return is_new

    def remove(self, client: Client, now: float) -> bool:
        """Take a connection out; whether it was the last one of its user, who stays until forget()."""
        del self.members[client.cid]
        present = self.users[client.member_key]
        present.connections -= 1
        present.left = now
        return present.connections == 0

    def forget(self, key: Hashable, left: float) -> bool:
        """Take out a user who left at that time; False when the user came back meanwhile. Then ask gone()."""
        present = self.users.get(key)
        if present is None or not present.is_here or present.connections or present.left != left:
            return False
        present.is_here = False
        return True

    def appear(self, server: str, key: Hashable, username: str, connections: int) -> bool:
        """Another server says that a user is in the room; whether the user is new."""
        present = self.users.get(key)
        is_new = present is None
        if present is None:
            present = self.users[key] = Presence(username)
        if present.elsewhere is None:
            present.elsewhere = {}
        present.elsewhere[server] = connections
        return is_new

    def vanish(self, server: str, key: Hashable) -> None:
        """Another server says that a user is not in the room any more. Then ask gone()."""
        present = self.users.get(key)
        if present is not None and present.elsewhere is not None:
            present.elsewhere.pop(server, None)

    def gone(self, key: Hashable) -> str | None:
        """The name of a user whom no server has any more, and who is taken out with that; None for others."""
        present = self.users.get(key)
        if present is None or present.is_here or present.elsewhere:
            return None
        del self.users[key]
        return present.username

    def connections_elsewhere(self) -> int:
        """How many connections other servers have in the room."""
        return sum(present.count_elsewhere for present in self.users.values())

    def by_server(self, me: str) -> dict[str, int]:
        """How many connections each server has in the room; this one is called *me*."""
        counts = {me: len(self.members)} if self.members else {}
        for present in self.users.values():
            for server, count in (present.elsewhere or {}).items():
                counts[server] = counts.get(server, 0) + count
        return counts

    def usernames(self, most: int | None = None) -> list[str]:
        """The names of the users, at most so many, in the order in which they came."""
        return [present.username for present in islice(self.users.values(), most)]
