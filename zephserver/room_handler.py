"""Rooms, and who is in them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from zephserver import messages
from zephserver.core.errors import BadMessage
from zephserver.core.service import Service
from zephserver.engines.interface import DeflateCache

if TYPE_CHECKING:
    from zephserver.client import Client

LONGEST_ROOM = 2_048  # characters; the documents use the address of a page


class RoomHandler(Service):
    """Creates rooms, keeps users and connections, and knows who gets an answer.

    The tables belong to the event loop, which calls enter, join, leave and depart; the questions (members, user_list,
    targets, ...) may be asked from any thread. Replace it by a class of your own with MY_ROOM_HANDLER.
    """

    def __init__(self) -> None:
        self._disabled = threading.Event()
        self._lock = threading.Lock()
        self._clients: dict[str, Client] = {}
        self._rooms: dict[str, dict[str, Client]] = {}
        self._users: dict[Any, set[Client]] = {}
        self._new_cid: Callable[[], str] = lambda: secrets.token_hex(8)

    def main(self) -> None:
        """There is nothing to do until somebody asks."""
        self._disabled.wait()
        self._disabled.clear()  # for the next life; at the beginning it would forget a disable() that was faster

    def disable(self) -> None:
        """End main()."""
        self._disabled.set()

    # -- loop only --------------------------------------------------------------------------------------------------

    def enter(self, client: Client) -> str:
        """Know a connection whose user was found; its cid, which no other has."""
        client.cid = self._new_cid()
        with self._lock:
            self._clients[client.cid] = client
            self._users.setdefault(client.member_key, set()).add(client)
        return client.cid

    def join(self, client: Client, room: str) -> None:
        """Put a connection into a room, which is made if there is none; the others hear of a user who is new there."""
        if room in client.rooms:
            return
        with self._lock:
            members = self._rooms.setdefault(room, {})
            is_new = all(member.member_key != client.member_key for member in members.values())
            members[client.cid] = client
        client.rooms.append(room)
        if is_new and client.user is not None:
            self._tell(room, messages.presence("join", client.user.username, room), but=client)
        self._tell(room, messages.user_list(self.user_list(room), room), only=None if is_new else client)

    def leave(self, client: Client, room: str) -> None:
        """Take a connection out of a room; the others hear of it when it was the last one of its user."""
        if room not in client.rooms:
            return
        client.rooms.remove(room)
        with self._lock:
            members = self._rooms[room]
            del members[client.cid]
            is_gone = all(member.member_key != client.member_key for member in members.values())
            if not members:
                del self._rooms[room]
        if is_gone and members and client.user is not None:
            self._tell(room, messages.presence("leave", client.user.username, room))
            self._tell(room, messages.user_list(self.user_list(room), room))

    def depart(self, client: Client) -> None:
        """Forget a connection that is closed."""
        for room in list(client.rooms):
            self.leave(client, room)
        with self._lock:
            self._clients.pop(client.cid, None)
            connections = self._users.get(client.member_key)
            if connections is not None:
                connections.discard(client)
                if not connections:
                    del self._users[client.member_key]

    # -- any thread -------------------------------------------------------------------------------------------------

    def rooms(self) -> list[str]:
        """The names of the rooms that somebody is in."""
        with self._lock:
            return list(self._rooms)

    def members(self, room: str) -> list[Client]:
        """The connections in a room."""
        with self._lock:
            return list(self._rooms.get(room, {}).values())

    def user_list(self, room: str) -> list[str]:
        """The names of the users in a room; a user with several connections is there once."""
        seen = {client.member_key: client.user.username for client in self.members(room) if client.user is not None}
        return list(seen.values())

    def connections_of(self, user_id: Any) -> int:
        """How many connections a user has."""
        with self._lock:
            return len(self._users.get(("user", user_id), ()))

    def targets(self, answer: dict[str, Any]) -> list[Client]:
        """The connections that *answer* goes to: by `cid`, `users`, `room` or `all`, but not `except` (a cid).

        Raises BadMessage when it has none of them, or ids that cannot be any.
        """
        with self._lock:
            if "cid" in answer:
                found = [self._clients[answer["cid"]]] if answer["cid"] in self._clients else []
            elif "users" in answer:
                found = [client for id in _once(answer["users"]) for client in self._users.get(("user", id), ())]
            elif answer.get("room") is not None:
                found = list(self._rooms.get(answer["room"], {}).values())
            elif answer.get("all"):
                found = list(self._clients.values())
            else:
                raise BadMessage("an answer needs one of room, users, all, cid")
        but = answer.get("except")
        return [client for client in found if client.cid != but] if but is not None else found

    def stats(self) -> dict[str, int]:
        """How many rooms there are."""
        return {"rooms": len(self._rooms)}

    # -- within -----------------------------------------------------------------------------------------------------

    def _tell(self, room: str, payload: bytes, *, but: Client | None = None, only: Client | None = None) -> None:
        cache: DeflateCache = {}
        for member in [only] if only is not None else self.members(room):
            if member is not but:
                member.send(payload, cache)


def _once(ids: Any) -> Iterable[Any]:
    """The ids without repetition: a user who is named twice gets a message once."""
    try:
        return dict.fromkeys(ids)
    except TypeError:
        raise BadMessage("users is a list of user ids") from None
