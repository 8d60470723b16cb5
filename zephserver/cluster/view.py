"""Which servers are there, and which rooms are this one's to order. Pure: no I/O, no clock."""

from __future__ import annotations

from zephserver.cluster.owners import owner_of

MOST_CACHED = 65_536


class View:
    """What one server believes of the others.

    After each change the owner of a room may be another one. A server may order a room only when it owned it through
    all changes since the last one that is *settled*: until then, others may know more about the room. As soon as
    somebody came, that is true of each room with a history: whoever did not see this server has gone on without it.
    """

    def __init__(self, me: str) -> None:
        self.me = me
        self.nodes: frozenset[str] = frozenset()
        self._since: list[frozenset[str]] = [frozenset()]  # the settled one, and those after it
        self._owners: dict[str, str | None] = {}
        self._has_company = False  # somebody came since the settled one

    @property
    def is_settled(self) -> bool:
        """Whether everybody's answer to the last change is known."""
        return len(self._since) == 1

    def change(self, nodes: frozenset[str]) -> None:
        """These servers are there now, this one included unless it is leaving."""
        self._has_company |= not nodes <= self.nodes | {self.me}
        self.nodes = nodes
        self._since.append(nodes)
        self._owners.clear()

    def doubt(self) -> None:
        """The same servers are there, but one of them did not see this one for a while."""
        self._has_company = True
        self._since.append(self.nodes)

    def settle(self) -> None:
        """All have answered."""
        self._since, self._has_company = [self.nodes], False

    def owner(self, room: str) -> str | None:
        """Who owns the room now; None as long as nobody is there."""
        try:
            return self._owners[room]
        except KeyError:
            if len(self._owners) >= MOST_CACHED:
                self._owners.clear()
            owner = self._owners[room] = owner_of(room, self.nodes)
            return owner

    def is_mine(self, room: str) -> bool:
        """Whether this server owns the room."""
        return self.owner(room) == self.me

    def was_mine(self, room: str) -> bool:
        """Whether it owned the room all the time since the last settled view."""
        return all(owner_of(room, nodes) == self.me for nodes in self._since[:-1])

    def may_order(self, room: str, *, keeps: bool) -> bool:
        """Whether it may decide the order of the room's messages, of a room that keeps a history or does not."""
        return self.is_mine(room) and (self.is_settled or (self.was_mine(room) and not (keeps and self._has_company)))
