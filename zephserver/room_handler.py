"""Rooms, and who is in them."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from zephserver import messages
from zephserver.announcer import Announcer, send_all
from zephserver.cluster import notes
from zephserver.cluster.bridge import Bridge
from zephserver.cluster.notes import user_key
from zephserver.cluster.presence import EVERYWHERE
from zephserver.core import metrics
from zephserver.core.cluster.manager import ClusterManager
from zephserver.core.command_table import command
from zephserver.core.errors import BadMessage, RoomFull, TooManyRooms, UnknownRoom
from zephserver.core.service import Service
from zephserver.core.settings_page import Settings
from zephserver.histories import Histories
from zephserver.portal import Portal
from zephserver.rooms import Room
from zephserver.roster import Roster

if TYPE_CHECKING:
    from zephserver.client import Client

LONGEST = 8_388_608  # bytes of a message to other servers; an engine carries 16 MiB
KICKED = 4004  # close code: somebody does not want this connection
SWEEP = 5.0  # seconds between two looks at the histories of empty rooms


class RoomHandler(Roster, Service):
    """Creates rooms, keeps users and connections, and knows who gets an answer.

    The tables belong to the event loop, which calls enter, join, leave and depart; `say` and the questions (members,
    user_list, targets, ...) may be used from any thread. In a cluster, rooms and users are those of all servers, and
    connections those of this one. For rules of your own derive from it, override may_join() or more, and name your
    class in MY_ROOM_HANDLER.
    """

    def __init__(self) -> None:
        super().__init__()
        self._disabled = threading.Event()
        self._histories = Histories({}, 0, _new_epoch)
        self._settings: Settings
        self._portal: Portal | None = None
        self._loop: asyncio.AbstractEventLoop
        self._announcer: Announcer
        self._bridge: Bridge
        self._next_sweep = 0.0

    def main(self) -> None:
        """Everything is done on the event loop."""
        self._disabled.wait()
        self._disabled.clear()  # for the next life; at the beginning it would forget a disable() that was faster

    def disable(self) -> None:
        """End main()."""
        self._disabled.set()

    # -- yours to override ------------------------------------------------------------------------------------------

    def may_join(self, user: Any, room: str) -> bool:
        """Whether the user may be in this room. Runs in a thread, where it may ask a database; raising denies."""
        return True

    # -- loop only --------------------------------------------------------------------------------------------------

    def open(
        self,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        portal: Portal,
        cluster: ClusterManager | None = None,
    ) -> None:
        """The WebSocket service has begun to run on this loop, as part of this cluster."""
        if not len(self._histories):  # they outlive a restart of the WebSocket service
            self._histories = Histories(settings.room_history, settings.history_bytes, _new_epoch)
        self._settings, self._loop, self._portal = settings, loop, portal
        self._announcer = Announcer(self, settings, loop)
        self._bridge = Bridge(self, self._histories, settings, loop, portal, cluster)

    def close(self) -> None:
        """The loop ends; every connection has departed."""
        self._bridge.close()
        with self._lock:
            self._portal = None
            self._rooms.clear()
            self._elsewhere = Room()

    def drain(self, seconds: float) -> None:
        """The users of this server go to the others within so many seconds; nobody is to hear that they left."""
        self._bridge.drain(seconds)

    def takers(self, peers: frozenset[str]) -> frozenset[str]:
        """Those of the other servers that do not send their own clients away. Any thread."""
        return peers if self._bridge.is_alone else peers & self._bridge.order.view.nodes

    def enter(self, client: Client) -> str:
        """Know a connection whose user was found; its cid, which no other has."""
        client.cid = secrets.token_hex(8)
        self._tell(EVERYWHERE, client, self._come(client))
        return client.cid

    def prepare(self, name: str, done: Callable[[], object]) -> None:
        """Have *done* called, now or soon, when a client may join the room and will miss nothing that is said there."""

        def ready() -> None:
            done()
            self._close_if_empty(name)

        self._bridge.enter(name, ready)

    def join(
        self,
        client: Client,
        name: str,
        id: int | str | None = None,
        *,
        epoch: str | None = None,
        offset: int | None = None,
    ) -> None:
        """Put a connection into a room, which is made if there is none, and tell it so, with what it missed there.

        The others hear of a user who is new. Raises TooManyRooms, RoomFull.
        """
        now, settings, about = self._loop.time(), self._settings, {}
        wants_recovery = (epoch is not None or offset is not None) and name not in client.rooms
        missed: list[bytes] | None = None
        with self._lock:
            is_new = name not in client.rooms and self._admit(client, name)
            room = self._rooms[name]
            usernames, total = room.usernames(settings.presence_limit), len(room.users)
            here = room.users[client.member_key].connections
        self._tell(name, client, here)
        self._bridge.enter(name, _nothing)
        history = self._histories.enter(name)
        if history is not None:
            about = {"epoch": history.epoch, "offset": history.offset}
            missed = self._histories.since(name, epoch, offset, now) if wants_recovery else None
        if missed is not None and sum(map(len, missed)) > settings.send_queue_bytes // 2:
            missed = None  # more than the queue of a client takes, and there is never a part
        if wants_recovery:
            about["recovered"] = missed is not None
        client.send(messages.joined(name, id, about))
        for payload in missed or ():
            client.send(payload)
        client.send(messages.user_list(usernames, name, total))
        if is_new and client.user is not None:
            self._announcer.came(name, client.user.username, but=client)

    def leave(self, client: Client, name: str) -> None:
        """Take a connection out of a room; the others hear of it when it was the last one of its user."""
        self._leave(client, name, delay=0.0)

    def depart(self, client: Client) -> None:
        """Forget a connection that is closed. Its user may come back within LEAVE_DELAY, and was never gone then."""
        delay = self._settings.leave_delay if client.user is not None and client.user.id is not None else 0.0
        for name in list(client.rooms):
            self._leave(client, name, delay)
        self._tell(EVERYWHERE, client, self._go(client))

    def deliver(self, name: str, payload: bytes, but: str | None) -> None:
        """Send a message to the members of a room here, except to the one with the cid *but*."""
        room = self._rooms.get(name)
        if room is not None:
            members = list(room.members.values())
            send_all(members if but is None else [client for client in members if client.cid != but], payload)

    def deliver_to(self, note: notes.ForUsers | notes.ForAll | notes.ForOne) -> None:
        """Send what another server says to connections here."""
        match note:
            case notes.ForUsers():
                answer: dict[str, Any] = {"users": note.users, "except": note.but}
            case notes.ForAll():
                answer = {"all": True, "except": note.but}
            case notes.ForOne():
                answer = {"cid": note.cid}
        send_all(self.targets(answer), note.payload)

    def moved(self, name: str, epoch: str, offset: int, recovered: bool) -> None:
        """The history of a room has a new epoch: tell its members, so that they ask for the right one."""
        about = {"epoch": epoch, "offset": offset, "recovered": recovered}
        self.deliver(name, messages.joined(name, None, about), None)

    def close_connections(self, note: notes.Kick) -> int:
        """Close the connections that another server wants closed; how many."""
        found = self.find(note.who) if note.user is None else self.connections_of(note.user)
        for client in found:
            client.close(KICKED, note.reason)
        return len(found)

    def seen_elsewhere(self, server: str, name: str, key: notes.Key, username: str | None, connections: int) -> None:
        """Another server says that a user is in a room, or, without a name, not any more."""
        is_new, gone = self._note_elsewhere(server, name, key, username, connections)
        if name == EVERYWHERE:
            return
        if gone is not None:
            self._announcer.gone(name, gone)
            self._close_if_empty(name)
        elif is_new and username is not None:
            self._announcer.came(name, username)

    def sweep(self, now: float) -> None:
        """Forget, now and then, what rooms remember when nobody came back for it."""
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP
            self._histories.sweep(now)

    # -- any thread -------------------------------------------------------------------------------------------------

    def say(self, answer: dict[str, Any]) -> int:
        """Send an answer out; see WebsocketClient.say()."""
        task, data, name = answer.get("task"), answer.get("data"), answer.get("room")
        if not isinstance(task, str):
            raise BadMessage("an answer needs a task")
        portal = self._portal
        if portal is None:
            return 0
        if "cid" in answer or "users" in answer or name is None:
            return self._say_to_some(portal, answer, self._within_limits(messages.answer(task, data)))
        if not isinstance(name, str):
            raise BadMessage("a room has a name")
        payload, but = self._within_limits(messages.room_answer(task, data, name)), answer.get("except")
        portal.call(self._bridge.say, name, payload, but)
        with self._lock:
            room = self._rooms.get(name)
            if room is None:
                return 0
            return len(room.members) - (but in room.members) + room.connections_elsewhere()

    def kick_elsewhere(self, user: Any = None, who: str = "", reason: str = "", patience: float = 1.0) -> int:
        """Have the other servers close the connections of a user, or of WHO as in find(); how many, as far as they say.

        Not on the loop; it waits for at most *patience* seconds.
        """
        if self._portal is None or self._bridge.is_alone:
            return 0
        return self._bridge.kick(None if user is None else user_key(user)[1], who, reason, patience)

    def forget_user(self, name: str, key: notes.Key, left: float) -> str | None:
        """Take a user out of a room who left it at that time; the name, or None for one who is there. Loop only."""
        with self._lock:
            room = self._rooms.get(name)
            if room is None or not room.forget(key, left):
                return None
            gone = room.gone(key)
        self._bridge.tell(name, key, None)
        self._close_if_empty(name)
        return gone

    @command("rooms.show")
    def show_room(self, name: str) -> dict[str, Any]:
        """Who is in a room, and what it remembers."""
        with self._lock:
            room = self._rooms.get(name)
            if room is None:
                raise UnknownRoom(name)
            history = self._histories.find(name)
            return {
                "name": name,
                "users": sorted(room.usernames()),
                "cids": list(room.members),
                "servers": room.by_server(self._settings.cluster_node),
                "epoch": history.epoch if history is not None else None,
                "offset": history.offset if history is not None else None,
            }

    def metrics(self) -> Iterator[metrics.Family]:
        """Rooms, users, and what rooms remember. Any thread."""
        yield metrics.gauge("zephserver_rooms", "Rooms that somebody is in.", len(self._rooms))
        yield metrics.gauge(
            "zephserver_users", "Users with a connection to this server; anonymous ones count each.", len(self._users)
        )
        yield metrics.gauge("zephserver_histories", "Rooms that remember messages.", len(self._histories))
        yield metrics.gauge("zephserver_history_bytes", "Bytes of the messages they remember.", self._histories.size)
        if self._portal is not None:
            yield from self._bridge.metrics()

    # -- within -----------------------------------------------------------------------------------------------------

    def _admit(self, client: Client, name: str) -> bool:
        """Put a connection into a room; whether its user is new there. With the lock."""
        settings = self._settings
        if len(client.rooms) >= settings.rooms_per_client:
            raise TooManyRooms(f"you are in {settings.rooms_per_client} rooms; leave one first")
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room()
        elif (
            settings.room_members is not None
            and len(room.members) + room.connections_elsewhere() >= settings.room_members
        ):
            raise RoomFull(f"the room has {settings.room_members} connections already; try again later")
        client.rooms.append(name)
        return room.add(client)

    def _leave(self, client: Client, name: str, delay: float) -> None:
        if name not in client.rooms:
            return
        client.rooms.remove(name)
        now = self._loop.time()
        with self._lock:
            room = self._rooms[name]
            was_last = room.remove(client, now)
            connections = room.users[client.member_key].connections
            if not room.members and self._bridge.is_alone:  # who may come back would find nobody who saw them go
                del self._rooms[name]
                was_last = False
        if was_last or room.members:
            self._tell(name, client, connections)
        if was_last:
            self._announcer.left(name, client.member_key, now, delay)
        if not room.members:
            self._bridge.leave(name)

    def _close_if_empty(self, name: str) -> None:
        """Forget a room that nobody is in; nobody here follows it then."""
        with self._lock:
            room = self._rooms.get(name)
            if room is not None and room.members:
                return
            if room is not None and not room.users:
                del self._rooms[name]
        self._bridge.leave(name)

    def _tell(self, name: str, client: Client, connections: int) -> None:
        """Tell the other servers that a user is in a room here; of who is gone from all rooms, that it is gone."""
        is_gone = name == EVERYWHERE and not connections
        username = client.user.username if client.user is not None else ""
        self._bridge.tell(name, client.member_key, None if is_gone else username, connections)

    def _within_limits(self, payload: bytes) -> bytes:
        if len(payload) > LONGEST and not self._bridge.is_alone:
            raise BadMessage(f"the answer has {len(payload)} bytes; at most {LONGEST} go to other servers")
        return payload

    def _say_to_some(self, portal: Portal, answer: dict[str, Any], payload: bytes) -> int:
        """To connections by user or cid, or to all; how many, as far as this server knows."""
        targets, but = self.targets(answer), answer.get("except")
        if targets:
            portal.call(send_all, targets, payload)
        if self._bridge.is_alone:
            return len(targets)
        if "cid" in answer:
            if not targets:
                portal.call(self._bridge.for_others, notes.ForOne(answer["cid"], payload))
            return len(targets)
        servers, count = self._servers_with(answer)
        if "users" in answer:
            users = [user_key(id)[1] for id in answer["users"]]
            portal.call(self._bridge.for_others, notes.ForUsers(users, but, payload), servers)
        else:
            portal.call(self._bridge.for_others, notes.ForAll(but, payload))  # also where somebody is just coming in
        return len(targets) + count


def _nothing() -> None:
    """Whoever joins without prepare() does not wait."""


def _new_epoch() -> str:
    return secrets.token_hex(4)
