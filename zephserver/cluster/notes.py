"""What servers write to each other about rooms and users, as msgpack. Pure: no I/O, no clock."""

from __future__ import annotations

from typing import Any

import msgspec

from zephserver.histories import Rank
from zephserver.messages import plain_id

EVENT = "zephserver:rooms 1"  # with the version: servers of different versions do not misunderstand each other


class Note(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One note. Room and user are as everywhere; a user's key is ["user", id] or ["cid", cid]."""


Key = tuple[str, str | int]
Place = tuple[str, int]  # an epoch of a history, and an offset

# -- the order of a room's messages (order.py) --------------------------------------------------------------------


class Forward(Note, frozen=True):
    """To the owner: have this said in the room. *origin* numbers what it has said with *seq*.

    *life* is that of the owner that it is meant for: in another one, what was said before it may be missing.
    """

    room: str
    origin: str
    seq: int
    but: str | None
    payload: bytes
    life: str

    def to(self, life: str) -> Forward:
        """The same message, for another life."""
        return msgspec.structs.replace(self, life=life)


class Taken(Note, frozen=True):
    """From the owner: these were said. *late* were not: the server waited in vain to learn that it is the owner."""

    seqs: list[int]
    late: list[int]


class Said(Note, frozen=True):
    """From the owner: the message with this place in the room's order."""

    room: str
    epoch: str
    offset: int
    origin: str
    seq: int
    but: str | None
    payload: bytes


class Enter(Note, frozen=True):
    """To the owner: there are members here; what was heard so far. Without *follows*: what do you remember of it?"""

    room: str
    epoch: str
    offset: int
    follows: bool


class Entered(Note, frozen=True):
    """What the asker missed, or, with *anew*, all that is remembered; each message with its age in seconds."""

    room: str
    epoch: str
    generation: int
    lineage: list[Place]
    offset: int
    anew: bool
    messages: list[tuple[float, bytes]]
    origins: dict[str, int]


class At(Note, frozen=True):
    """From the owner: so far goes the history of a room in which nothing has been said for a moment."""

    room: str
    epoch: str
    offset: int


class Exit(Note, frozen=True):
    """To the owner: nobody here is in the room any more."""

    room: str


class Report(msgspec.Struct, frozen=True, array_like=True):
    """What a server knows of a room that another one owns from now on; *rank* of its history, if it has one."""

    room: str
    follows: bool
    rank: Rank | None
    origins: dict[str, int]


class Sync(Note, frozen=True):
    """These servers are there: which of the rooms that I own with them do you know?

    *anew*: for me you were not there just before, so that I may have gone on with rooms of yours.
    """

    id: int
    nodes: list[str]
    anew: bool


class Synced(Note, frozen=True):
    """The answer, or a part of it."""

    id: int
    reports: list[Report]
    is_last: bool


class Leaving(Note, frozen=True):
    """I own nothing any more; my users come back, to any of us, within so many seconds."""

    seconds: float


# -- who is where (presence.py) -----------------------------------------------------------------------------------

Seen = tuple[str, Key, str | None, int]  # room, user, name (None: gone), connections


class Here(Note, frozen=True):
    """All who are here, in *parts* notes: the state of this life at this version."""

    life: str
    version: int
    part: int
    parts: int
    seen: list[Seen]


class Change(Note, frozen=True):
    """What has changed since the version before this one."""

    life: str
    version: int
    seen: list[Seen]


class Version(Note, frozen=True):
    """The state of this life is at this version. Who has not *begun* orders no rooms yet: it waits for the others."""

    life: str
    version: int
    has_begun: bool = True


class Missed(Note, frozen=True):
    """Something was missed: tell all who are there."""


# -- to connections wherever they are (bridge.py) -----------------------------------------------------------------


class ForUsers(Note, frozen=True):
    """For every connection of these users."""

    users: list[str | int]
    but: str | None
    payload: bytes


class ForAll(Note, frozen=True):
    """For every connection."""

    but: str | None
    payload: bytes


class ForOne(Note, frozen=True):
    """For the connection with this cid."""

    cid: str
    payload: bytes


class Kick(Note, frozen=True):
    """Close the connections of this user, or of *who*: a cid, an id as text, or a name; *id* numbers the question."""

    id: int
    user: str | int | None
    who: str
    reason: str


class Kicked(Note, frozen=True):
    """How many were closed."""

    id: int
    count: int


_AnyNote = (
    Forward | Taken | Said | Enter | Entered | At | Exit | Sync | Synced | Leaving
    | Here | Change | Version | Missed | ForUsers | ForAll | ForOne | Kick | Kicked
)  # fmt: skip

_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(_AnyNote)
_encoder = msgspec.msgpack.Encoder()


def encode(note: Note) -> bytes:
    """Write a note."""
    return _encoder.encode(note)


def decode(data: bytes) -> Note:
    """Read a note. Raises ValueError when it is none."""
    note: Note = _decoder.decode(data)
    return note


def user_key(id: Any) -> Key:
    """The key of a user, the same on every server."""
    return ("user", plain_id(id))
