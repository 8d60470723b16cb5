"""One server on a bus: whom it knows there, what it says and hears. Pure: no I/O, no clock.

Every server says each second that it lives, and how much it has said. Who is new is counted in: it is told from which
number on events are for it. Who misses something asks for it; who is silent counts as gone.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from zephserver.core.cluster.broker import frames
from zephserver.core.cluster.broker.inbound import Heard
from zephserver.core.cluster.broker.outbound import Outbound
from zephserver.core.cluster.broker.parts import cut
from zephserver.core.cluster.broker.peer import Peer
from zephserver.core.cluster.broker.ring import Position
from zephserver.core.cluster.broker.transport import Message, Where
from zephserver.core.cluster.engine import Listener

BEAT = 1.0  # seconds between two signs of life
SILENCE = 3.5  # seconds after which a silent server counts as gone: three beats and a little
GRACE = 0.3  # seconds in which what is missing may still be on its way
LONGEST_WAIT = 16.0  # seconds between two requests for the same events, at most
FORGET = 3_600.0  # seconds after which a server that is gone is not shown any more
MOST_PEERS = 1_024  # servers that are known at once; a cluster of that size has other problems
COMPLAIN = 1.0  # seconds between two complaints about what is none of ours

_log = logging.getLogger("zephserver.cluster")


class Node:
    """One server. One thread at a time; the listener is called in it."""

    def __init__(self, name: str, life: str, listener: Listener, *, most: int, max_bytes: int) -> None:
        self.name, self.life = name, life
        self.peers: dict[str, Peer] = {}
        self._listener = listener
        self._most, self._max_bytes = most, max_bytes
        self._out = Outbound({"f": name, "l": life}, most, max_bytes)
        self._control: deque[Message] = deque()
        self._next_beat = 0.0
        self._twins: set[str] = set()  # lives of other servers that have our name
        self._complained = -COMPLAIN
        self._unsaid = 0  # complaints that were not made
        self._is_noted = False  # that something is missing
        self._parts = itertools.count()  # messages that were cut into parts

    # -- what this server says --------------------------------------------------------------------------------------

    def say(self, event: str, payload: bytes, to: Collection[str] | None) -> None:
        """Number an event, for all or for some of the servers that are known."""
        if to is not None:
            to = [name for name in dict.fromkeys(to) if name in self.peers and self.peers[name].life]
            if not to:
                return
        self._out.ring.say(event, payload, to)

    def skip(self, for_all: int, to: Mapping[str, int]) -> None:
        """So many events could not be taken; those who miss them learn it by their numbers."""
        self._out.ring.skip(for_all, {name: count for name, count in to.items() if name in self.peers})

    def publish(self, topic: str, event: str, payload: bytes) -> None:
        """Say something once to those who follow a topic."""
        self._out.publish(topic, event, payload)

    def bye(self) -> None:
        """Say that this server leaves, behind everything else."""
        self._out.last = self._message(Where.ALL, "", {"t": "bye"})._replace(numbered=True)

    def messages(self, window: int, limit: int) -> list[Message]:
        """What is to be handed to the broker now: about *window* bytes, in messages of at most *limit*."""
        found = [*self._control]
        self._control.clear()
        found += self._out.messages(window)
        head = {"f": self.name, "l": self.life}
        return [
            message._replace(data=part) for message in found for part in cut(message.data, limit, head, self._parts)
        ]

    def accepted(self) -> None:
        """The broker has what messages() returned."""
        self._out.ring.accepted()

    def connected(self, now: float) -> None:
        """The bus can be used, maybe again: say hello."""
        self._next_beat = now

    def disconnected(self) -> None:
        """The bus is lost. What was not accepted is said again later, but for what is only good now."""
        self._control.clear()
        self._out.interrupted()

    @property
    def waiting(self) -> tuple[Position, dict[str, Position]]:
        """Events and bytes that wait for the broker: for all, and for each server alone."""
        return self._out.ring.waiting()

    def dropped(self, peer: Peer) -> int:
        """How many events for this server were dropped since it came."""
        ring = self._out.ring
        return ring.dropped_all + ring.dropped_to[peer.name] - peer.dropped_before

    # -- time -------------------------------------------------------------------------------------------------------

    def has_answers(self) -> bool:
        """Whether what was heard made something to do."""
        noted, self._is_noted = self._is_noted, False
        return noted or bool(self._control) or self._out.is_asked

    def tick(self, now: float) -> float:
        """Do what is due; when to call again."""
        if now >= self._next_beat:
            self._next_beat = now + BEAT
            total, to = self._out.ring.sent
            self._control.append(self._message(Where.ALL, "", {"t": "hello", "a": total, "d": to}))
            self.tick_alone(now)
        return min([self._next_beat, *(wake for peer in self.peers.values() if (wake := self._ask(peer, now)))])

    def tick_alone(self, now: float) -> None:
        """See who is silent; as long as there is no bus, that is all there is to do."""
        for peer in list(self.peers.values()):
            if peer.is_up and now - peer.heard_at > SILENCE:
                self._went(peer, f"silent for {SILENCE:g} s")
            elif not peer.is_up and now - peer.heard_at > FORGET:
                del self.peers[peer.name]

    def _ask(self, peer: Peer, now: float) -> float | None:
        """Ask for what is missing, when it does not come by itself; when to look again."""
        inbound = peer.inbound
        if not peer.is_up or not inbound.is_behind:
            peer.stuck_at, peer.ask_at = None, 0.0
            return None
        if peer.stuck_at != inbound.at or not peer.ask_at:
            peer.stuck_at, peer.wait, peer.ask_at = inbound.at, BEAT, now + GRACE
        elif now >= peer.ask_at:
            wish = {"t": "who"} if inbound.at is None else {"t": "again", "p": inbound.at}
            self._control.append(self._message(Where.NODE, peer.name, wish))
            peer.ask_at = now + peer.wait
            peer.wait = min(2 * peer.wait, LONGEST_WAIT)
        return peer.ask_at

    # -- what others say --------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take a message from the bus, whoever wrote it."""
        try:
            head, body = frames.unpack(data)
            self._receive(head, body, now)
        except frames.OtherVersion as error:
            self._other_version(error, now)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            self._complain(f"something on the bus of the cluster is none of ours: {error}", now)

    def _receive(self, head: dict[str, Any], body: bytes, now: float) -> None:
        name, life, kind = head["f"], head["l"], head["t"]
        if life == self.life:
            return
        if name == self.name:
            if kind == "hello":
                self._twin(life)
            return
        if kind in ("find", "ask"):  # a guest
            answer: dict[str, Any] = {"t": "found", "i": frames.whole(head["i"])}
            if kind == "ask":
                answer |= {"t": "done", "why": self._listener.asked(head["c"], body)}
            self._control.append(self._message(Where.NODE, name, answer))
            return
        peer = self._peer(name, life, kind, now)
        if peer is None:
            return
        if kind == "part":
            whole = peer.joiner.add(head, body)
            if whole is None:
                return
            head, body = frames.unpack(whole)
            if (head["f"], head["l"]) != (name, life) or head["t"] == "part":
                raise frames.NotOurs("a part of somebody else's")
            kind = head["t"]
        match kind:
            case "all" | "to" | "said":
                self._events(peer, kind, head, body)
            case "topic":
                for _, event, payload in frames.slices(head["e"], body):
                    self._listener.heard(peer.name, event, payload)
            case "hello":
                peer.inbound.knows((frames.whole(head["a"]), frames.whole(head["d"].get(self.name, 0))))
            case "welcome":
                self._deliver(peer, peer.inbound.begin(_position(head["b"])))
            case "who":
                self._welcome(peer)
            case "again":
                self._out.again(peer.name, _position(head["p"]))
            case "bye":
                peer.has_left = True
                if peer.is_up:
                    self._went(peer, "it said good-bye")
            case _:
                raise frames.NotOurs(f"a message of kind {kind!r:.40}")
        if peer.inbound.is_behind and not peer.ask_at:
            self._is_noted = self._ask(peer, now) is not None

    def _events(self, peer: Peer, kind: str, head: Mapping[str, Any], body: bytes) -> None:
        """Events with numbers."""
        events = list(_heard(self.name, kind, head, body))  # all of it is right, or nothing is taken
        if "o" in head:
            if kind == "to":
                due = peer.inbound.base_alone(frames.whole(head["o"]))
            else:
                base = head["o"] if kind == "said" else (head["o"], head["b"].get(self.name, 0))
                due = peer.inbound.base(_position(base))
            self._deliver(peer, due)
        for heard in events:
            self._deliver(peer, peer.inbound.take(heard))

    def _deliver(self, peer: Peer, ready: list[Heard]) -> None:
        """Tell what was heard, and what will never be."""
        lost, peer.told_lost = peer.inbound.lost - peer.told_lost, peer.inbound.lost
        if lost:
            self._listener.lost(peer.name, lost)
        for heard in ready:
            self._listener.heard(peer.name, heard.event, heard.payload)

    def _peer(self, name: str, life: str, kind: str, now: float) -> Peer | None:
        """The server that says something; None when it is one that another of the same name has replaced."""
        peer = self.peers.get(name)
        if kind == "bye" and (peer is None or life != peer.life):
            return None
        if peer is None:
            if len(self.peers) >= MOST_PEERS:
                raise frames.NotOurs(f"server {name} is one more than the {MOST_PEERS} that a cluster may have")
            peer = self.peers[name] = Peer(name, self._most, self._max_bytes)
        if life in peer.past:
            if kind == "hello" and now - peer.began > 2 * BEAT:
                peer.complain(f"two servers say that they are {name}; give each a CLUSTER_NODE of its own")
            return None
        if life != peer.life:
            ring = self._out.ring
            peer.begin(life, now, ring.position(name), ring.dropped_all + ring.dropped_to[name])
            self._came(peer)
            self._welcome(peer)
        peer.heard_at = now
        if not peer.is_up and not peer.has_left:
            self._came(peer)
        return peer

    def _came(self, peer: Peer) -> None:
        peer.is_up = True
        self._listener.came(peer.name)

    def _went(self, peer: Peer, why: str) -> None:
        peer.is_up = False
        self._listener.went(peer.name, why)

    def _welcome(self, peer: Peer) -> None:
        self._control.append(self._message(Where.NODE, peer.name, {"t": "welcome", "b": peer.counted_from}))

    # -- what is wrong ----------------------------------------------------------------------------------------------

    def _twin(self, life: str) -> None:
        if life not in self._twins and len(self._twins) < MOST_PEERS:
            self._twins.add(life)
            _log.error("another server says that it is %s too; give each a CLUSTER_NODE of its own", self.name)

    def _other_version(self, error: frames.OtherVersion, now: float) -> None:
        text = (
            f"server {error.node} speaks version {error.version} on the bus of the cluster, this one {frames.VERSION}; "
            "have both run the same version of zephserver"
        )
        peer = self.peers.get(error.node)
        if peer is None and len(self.peers) < MOST_PEERS and error.node != self.name:
            peer = self.peers[error.node] = Peer(error.node, self._most, self._max_bytes)
        if peer is None:
            self._complain(text, now)
            return
        if not peer.is_up:
            peer.heard_at = now
        peer.complain(text)

    def _complain(self, text: str, now: float) -> None:
        """Told once a second at most; how often it was not told comes with the next one."""
        if now - self._complained < COMPLAIN:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more since the last complaint)" if self._unsaid else ""
        self._complained, self._unsaid = now, 0
        _log.warning("%s%s", text, more)

    def _message(self, where: Where, name: str, head: Mapping[str, Any]) -> Message:
        return Message(where, name, frames.pack({"f": self.name, "l": self.life, **head}))


def _position(value: Any) -> Position:
    total, alone = value
    return frames.whole(total), frames.whole(alone)


def _heard(name: str, kind: str, head: Mapping[str, Any], body: bytes) -> Iterator[Heard]:
    """The events of a message with their numbers, as the server with this *name* sees them."""
    slices = frames.slices(head["e"], body)
    if kind == "said":
        for (_, _, for_all, number, needs), event, payload in slices:
            yield Heard(bool(for_all), frames.whole(number), frames.whole(needs), event, payload)
        return
    first = frames.whole(head["s"])
    moved = head.get("d", {})
    for index, (entry, event, payload) in enumerate(slices):
        needs = moved.get(str(index), {}).get(name, 0) if kind == "all" else entry[2]
        yield Heard(kind == "all", first + index, frames.whole(needs), event, payload)
