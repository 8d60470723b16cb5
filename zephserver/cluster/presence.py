"""Who is where: each server tells its own users, and copies those of the others. Pure: no I/O, no clock.

A server is the only one that writes its own state, so copies cannot contradict each other: they are old or new. Each
change has a version; whoever misses one asks for everything. The users of a server that is gone fade: they stay for a
while, because they are about to come back on another one, and nobody is to hear that they left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from zephserver.cluster.notes import Change, Here, Key, Note, Seen, Version

PART = 5_000  # users in one note
ASK_AGAIN = 1.0  # seconds without an answer
EVERYWHERE = ""  # the room that everybody is in who is connected; others have a name

Place = tuple[str, Key]  # a user in a room


class Own:
    """The users of this server, as the others are told. Loop only."""

    def __init__(self, life: str) -> None:
        self._life = life
        self._version = 0
        self._seen: dict[Place, tuple[str, int]] = {}
        self._changed: dict[Place, None] = {}  # in order

    def set(self, room: str, key: Key, username: str, connections: int) -> None:
        """A user is in a room with so many connections; with none: it may come back."""
        if self._seen.get((room, key)) != (username, connections):
            self._seen[room, key] = (username, connections)
            self._changed[room, key] = None

    def gone(self, room: str, key: Key) -> None:
        """A user is not in a room any more."""
        if self._seen.pop((room, key), None) is not None:
            self._changed[room, key] = None

    def change(self) -> Change | None:
        """What the others have to be told, once; None when nothing has changed."""
        if not self._changed:
            return None
        changed, self._changed = self._changed, {}
        self._version += 1
        return Change(self._life, self._version, [self._row(place) for place in changed])

    def version(self, *, has_begun: bool = True) -> Version:
        """Where the copies have to be by now."""
        return Version(self._life, self._version, has_begun)

    def here(self) -> list[Here]:
        """Everything, after change(): what comes later builds on it."""
        rows = [self._row(place) for place in self._seen]
        parts = [rows[start : start + PART] for start in range(0, len(rows), PART)] or [[]]
        return [Here(self._life, self._version, number, len(parts), part) for number, part in enumerate(parts)]

    def _row(self, place: Place) -> Seen:
        username, connections = self._seen.get(place, (None, 0))
        return (*place, username, connections)


@dataclass(slots=True)
class _Copy:
    """What is known of one other server."""

    life: str = ""
    version: int = -1
    seen: dict[Place, tuple[str, int]] = field(default_factory=dict)
    silent_until: float | None = None  # cannot be reached, and all its users are gone by then
    fading: dict[Place, float] = field(default_factory=dict)  # who is gone by then, unless told of again
    parts: list[Seen] = field(default_factory=list)  # of a state that is not whole yet
    asked: tuple[str, float] = ("", 0.0)  # for everything: which life, and until when to wait for the answer


class Others:
    """The users of the other servers. Loop only."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._copies: dict[str, _Copy] = {}

    def heard(self, peer: str, note: Note, now: float) -> tuple[list[Seen], bool]:
        """What has changed by a note of another server, and whether it has to be asked for everything."""
        copy = self._copies.setdefault(peer, _Copy())
        copy.silent_until = None
        match note:
            case Here():
                copy.parts = copy.parts + note.seen if note.part else list(note.seen)
                if note.part < note.parts - 1:
                    return [], False
                parts, copy.parts = copy.parts, []
                return self._replace(copy, note, parts, now), False
            case Change(life=copy.life, version=version) if version == copy.version + 1:
                copy.version = version
                return self._apply(copy, note.seen), False
            case Change() | Version() if note.life != copy.life or note.version > copy.version:
                life, until = copy.asked
                if note.life == life and now < until:
                    return [], False
                copy.asked = (note.life, now + ASK_AGAIN)
                return [], True
        return [], False

    def has_told(self, peer: str) -> bool:
        """Whether a server has told who is on it."""
        return peer in self._copies and self._copies[peer].version >= 0

    def silent(self, peer: str, until: float) -> None:
        """A server cannot be reached: its users are gone by then, unless it is heard again."""
        copy = self._copies.get(peer)
        if copy is not None:
            copy.silent_until = until

    def leaving(self, peer: str, until: float) -> None:
        """A server sends its users away: those whom it does not tell of again are gone by then."""
        copy = self._copies.get(peer)
        if copy is not None:
            copy.fading = dict.fromkeys(copy.seen, until)

    def expire(self, now: float) -> list[tuple[str, list[Seen]]]:
        """Who has faded, of each server."""
        gone = []
        for peer, copy in self._copies.items():
            if copy.silent_until is not None and copy.silent_until <= now:
                copy.silent_until, copy.version = None, -1  # if it is heard again, it has to tell everything
                due = [place for place in copy.seen if place not in copy.fading]
            else:
                due = []
            due += [place for place, until in copy.fading.items() if until <= now]
            if due:
                gone.append((peer, self._apply(copy, [(*place, None, 0) for place in due])))
        return gone

    def _replace(self, copy: _Copy, note: Here, seen: list[Seen], now: float) -> list[Seen]:
        known = {(room, key) for room, key, _, _ in seen}
        missing = [place for place in copy.seen if place not in known and place not in copy.fading]
        is_new_life = copy.life not in ("", note.life)
        copy.life, copy.version, copy.asked = note.life, note.version, ("", 0.0)
        changes = self._apply(copy, seen)
        if is_new_life:
            copy.fading |= dict.fromkeys(missing, now + self._grace)
        else:
            changes += self._apply(copy, [(*place, None, 0) for place in missing])
        return changes

    @staticmethod
    def _apply(copy: _Copy, seen: list[Seen]) -> list[Seen]:
        changes: list[Seen] = []
        for room, key, username, connections in seen:
            place = (room, key)
            copy.fading.pop(place, None)
            if username is None:
                if copy.seen.pop(place, None) is not None:
                    changes.append((room, key, None, 0))
            elif copy.seen.get(place) != (username, connections):
                copy.seen[place] = (username, connections)
                changes.append((room, key, username, connections))
        return changes
