"""Every server speaks to every other one, in one thread that owns all sockets.

Each server has a ROUTER socket at its own address, on which it hears, and a DEALER socket to each of the others, on
which it speaks and gets acknowledgements. ZeroMQ brings frames, encryption and reconnection; numbers, acknowledgements
and what is said again after an outage are ours (link.py), because its own queues cannot be looked into.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import zmq

from zephserver.core.cluster.engine import Listener
from zephserver.core.cluster.mesh import wire
from zephserver.core.cluster.mesh.link import Inbound, Outbound, Verdict, cut
from zephserver.core.cluster.mesh.peer import Peer
from zephserver.core.cluster.mesh.sockets import Sockets, endpoint_of
from zephserver.core.errors import ClusterError

BEAT = 1.0  # seconds between two signs of life
HELLO = 0.2  # seconds between two attempts to reach a peer that is not there
SILENCE = 3.5  # seconds after which a silent peer counts as down: three beats and a little
MOST_EVENTS = 65_536  # kept for one peer that does not answer
WINDOW = 4_194_304  # bytes under way to one peer; more would only fill queues that nobody can look into
BATCH = 256  # events in one message
JOIN = 2.0  # seconds for the thread to end

_log = logging.getLogger("zephserver.cluster")


class MeshEngine:
    """Any thread may publish; one thread, `cluster`, owns every socket."""

    name = "mesh"

    def __init__(
        self,
        node: str,
        servers: Sequence[Mapping[str, Any]],
        *,
        secret: str | None = None,
        queue_bytes: int = 16_777_216,
    ) -> None:
        self._node = node
        self._boot = secrets.token_hex(8)
        self._began = 0.0
        self._endpoint = ""
        self._peers: dict[str, Peer] = {}
        for server in servers:
            endpoint = endpoint_of(server)
            if server["hostname"] == node:
                self._endpoint = endpoint
            else:
                peer = Peer(server["hostname"], endpoint, Outbound(MOST_EVENTS, queue_bytes))
                self._peers[peer.name] = peer
        if not self._endpoint:
            raise ClusterError(f"CLUSTER_NODE {node!r} is not in CLUSTER_SERVER_LIST; name one of its hostnames")
        self._said: deque[tuple[str, bytes, Collection[str] | None]] = deque()
        self._wake_in, self._wake_out = -1, -1
        self._is_awake = False
        self._is_stopping = False
        self._complained = 0.0
        self._thread: threading.Thread | None = None
        self._listener: Listener
        self._sockets = Sockets(secret)
        self._router: Any = None

    # -- any thread -------------------------------------------------------------------------------------------------

    def start(self, listener: Listener) -> None:
        """Listen, and begin to look for the others. Raises ClusterError when the address cannot be had."""
        self._listener = listener
        self._began = time.monotonic()
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        try:
            self._open()
        except zmq.ZMQError as error:
            self._close()
            raise ClusterError(f"the cluster cannot listen on {self._endpoint}: {error.strerror}") from None
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._thread.start()

    def publish(self, event: str, payload: bytes, to: Collection[str] | None = None, topic: str | None = None) -> None:
        """Send to all other servers, or to some. Never waits."""
        self._said.append((event, payload, to))
        self._wake()

    def stop(self) -> None:
        """Leave; what could not be said by now is not said."""
        if self._thread is None:
            return
        self._is_stopping = True
        self._wake()
        self._thread.join(JOIN)
        self._thread = None

    def follow(self, topic: str) -> None:
        """Done: every server knows to whom it speaks."""

    def unfollow(self, topic: str) -> None:
        """Done."""

    def rows(self) -> list[dict[str, Any]]:
        """The other servers: name, address, whether they are up, what waits for them, what was lost."""
        now = time.monotonic()
        return [peer.row(now) for peer in self._peers.values()]

    def state(self) -> str:
        """What is wrong when none of the others can be reached; '' otherwise."""
        is_alone = self._peers and all(peer.problem for peer in self._peers.values())
        return "connecting: no other server can be reached; see zephctl cluster peers" if is_alone else ""

    def lost_for(self) -> float:
        """Never: there is nothing between the servers, and one whose peers are down serves its clients."""
        return 0.0

    def _wake(self) -> None:
        if not self._is_awake:  # without a lock: at worst it is woken once too often
            self._is_awake = True
            try:
                os.write(self._wake_out, b"x")
            except OSError:  # full, so it wakes anyway; or closed
                pass

    # -- cluster thread ---------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._sockets.open()
        self._router = self._sockets.listen(self._endpoint)
        for peer in self._peers.values():
            identity = wire.identity(self._node, self._boot)
            peer.socket, peer.watch = self._sockets.connect_watched(peer.endpoint, identity)
            peer.lost_at = self._began

    def _run(self) -> None:
        """Body of the thread."""
        poller = zmq.Poller()
        for socket in (self._wake_in, self._router, self._sockets.zap, *(peer.socket for peer in self._peers.values())):
            if socket is not None:
                poller.register(socket, zmq.POLLIN)
        next_beat = 0.0
        try:
            while not self._is_stopping:
                now = time.monotonic()
                if now >= next_beat:
                    next_beat = now + self._beat(now)
                ready = dict(poller.poll(int(max(0.0, next_beat - now) * 1000) + 1))
                try:
                    self._turn(ready)
                except Exception:
                    _log.exception("a message of the cluster could not be handled")
            self._take_said()
            for peer in self._peers.values():
                self._send(peer, {"t": "bye"})
        finally:
            self._close()

    def _turn(self, ready: Mapping[Any, int]) -> None:
        if self._wake_in in ready:
            try:
                os.read(self._wake_in, 4_096)
            except BlockingIOError:
                pass
            self._is_awake = False  # now: whoever writes before the read relies on this turn, and its byte is gone
            self._take_said()
        if self._sockets.zap is not None and self._sockets.zap in ready:
            self._sockets.answer_who_may_connect()
        if self._router in ready:
            self._hear()
        for peer in self._peers.values():
            if peer.socket in ready:
                self._hear_answers(peer)

    def _take_said(self) -> None:
        now = time.monotonic()
        while self._said:
            event, payload, to = self._said.popleft()
            for peer in self._peers.values():
                if to is None or peer.name in to:
                    peer.out.say(event, payload, now)
        for peer in self._peers.values():
            self._push(peer)

    def _push(self, peer: Peer) -> None:
        """Hand to the wire what may be, many events in one message."""
        items = peer.out.take(WINDOW) if peer.boot else []
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            head = {
                "t": "events",
                "s": batch[0].number,
                "o": peer.out.oldest,
                "n": [item.event for item in batch],
                "z": [len(item.payload) for item in batch],
            }
            # One frame for all of them: ZeroMQ in Python takes longer for a frame than for 200 bytes of it.
            if not self._send(peer, head, b"".join([item.payload for item in batch])):
                peer.boot = ""  # it went away; after the next hello it is said again
                return

    def _beat(self, now: float) -> float:
        """Give every peer a sign of life; after how many seconds again."""
        for peer in self._peers.values():
            if peer.is_up and now - peer.heard_at > SILENCE:
                self._went_down(peer, f"silent for {SILENCE:g} s")
            if peer.watch.hear():
                peer.lost_at = now  # it has as long to say something
            if not peer.is_up and now - peer.lost_at > SILENCE:
                self._cannot_reach(peer, peer.watch.why)
            if peer.boot:
                self._send(peer, {"t": "beat"})
            else:
                self._send(peer, {"t": "hello", "v": wire.VERSION, "node": self._node, "boot": self._boot})
        return BEAT if all(peer.boot for peer in self._peers.values()) else HELLO

    def _send(self, peer: Peer, head: dict[str, Any], body: bytes | None = None) -> bool:
        frames = [json.dumps(head).encode()]
        try:
            peer.socket.send_multipart(frames if body is None else [*frames, body], zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    # what others say to us

    def _hear(self) -> None:
        for _ in range(1_000):  # then the others have their turn
            try:
                identity, head, *bodies = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            except ValueError:
                continue  # not of ours: a frame is missing
            try:
                name, boot = wire.parse_identity(identity)
                said = json.loads(head)
                kind = said["t"]
                body = b"".join(bodies)
                answer = (
                    self._asked(said, body)
                    if name == wire.GUEST
                    else self._heard(self._peers[name], boot, kind, said, body)
                )
            except (KeyError, TypeError, ValueError, RecursionError):
                self._complain(identity)
                continue
            if answer is not None:
                self._reply(identity, answer)

    def _heard(self, peer: Peer, boot: str, kind: str, said: Mapping[str, Any], body: bytes) -> dict[str, Any] | None:
        """Handle a message of a peer; what it gets back."""
        if kind == "hello":
            refusal = wire.refusal(self._node, said["v"])
            if refusal:
                return {"t": "refused", "why": refusal}
            if peer.inbound is None or peer.inbound.boot != boot:
                peer.inbound = Inbound(boot)
            return {
                "t": "welcome",
                "boot": self._boot,
                "heard": peer.inbound.heard,
                "up": time.monotonic() - self._began,
            }
        inbound = peer.inbound
        if inbound is None or inbound.boot != boot:
            return {"t": "who"}
        if kind == "beat":
            return {"t": "heard", "s": inbound.heard}
        if kind == "bye":
            if peer.is_up:
                self._went_down(peer, "it said good-bye")
            return None
        first, oldest = int(said["s"]), int(said["o"])
        events = cut(said["n"], said["z"], body)  # all of it is right, or nothing is taken
        if inbound.take_all(first, len(events)):
            for event, payload in events:
                self._listener.heard(peer.name, event, payload)
            return {"t": "heard", "s": inbound.heard}
        for number, (event, payload) in enumerate(events, first):
            verdict, lost = inbound.take(number, oldest)
            if verdict is Verdict.EARLY:
                return self._ask_again(peer, inbound, oldest)
            if lost:
                self._listener.lost(peer.name, lost)
            if verdict is Verdict.NEW:
                self._listener.heard(peer.name, event, payload)
        return {"t": "heard", "s": inbound.heard}

    def _asked(self, said: Mapping[str, Any], args: bytes) -> dict[str, Any]:
        """Do what a guest wants; what it gets back."""
        if said["t"] == "find":
            return {"t": "found", "i": said["i"]}
        refusal = wire.refusal(self._node, said["v"])
        return {"t": "done", "i": said["i"], "why": refusal or self._listener.asked(said["c"], args)}

    def _ask_again(self, peer: Peer, inbound: Inbound, oldest: int) -> dict[str, Any] | None:
        """Events got lost on the way: ask for all behind the last one that was heard, but not for each of them."""
        now = time.monotonic()
        heard = oldest - 1 if inbound.heard is None else inbound.heard
        if peer.asked == heard and now - peer.asked_at < BEAT:
            return None
        peer.asked, peer.asked_at = heard, now
        return {"t": "again", "s": heard}

    def _reply(self, identity: bytes, answer: dict[str, Any]) -> None:
        try:
            self._router.send_multipart([identity, json.dumps(answer).encode()], zmq.NOBLOCK)
        except zmq.ZMQError:
            pass  # it has gone; it will say hello again

    # what others answer

    def _hear_answers(self, peer: Peer) -> None:
        while True:
            try:
                (head,) = peer.socket.recv_multipart(zmq.NOBLOCK)
                answer = json.loads(head)
                kind = answer["t"]
            except zmq.Again:
                break
            except (KeyError, TypeError, ValueError, RecursionError):
                continue
            peer.heard_at = time.monotonic()
            if kind == "welcome":
                self._welcomed(peer, answer)
            elif kind == "who":
                peer.boot = ""
                self._send(peer, {"t": "hello", "v": wire.VERSION, "node": self._node, "boot": self._boot})
            elif kind == "again":
                peer.out.resume(int(answer["s"]))
            elif kind == "heard" and answer["s"] is not None:
                peer.out.acknowledged(int(answer["s"]))
            elif kind == "refused":
                peer.watch.hear()  # what is older than this
                peer.watch.why = f"it refused this one: {str(answer['why'])[:200]}"
                self._cannot_reach(peer, peer.watch.why)
        self._push(peer)

    def _welcomed(self, peer: Peer, answer: Mapping[str, Any]) -> None:
        heard = answer["heard"]
        if heard is not None:
            peer.out.resume(int(heard))
        else:
            peer.out.resume(0, since=time.monotonic() - float(answer["up"]), is_first=not peer.life)
        peer.boot = str(answer["boot"])
        if not peer.is_up or peer.life != peer.boot:
            peer.is_up, peer.life = True, peer.boot
            peer.watch.hear()
            peer.watch.begin()
            peer.problem = ""
            peer.told.clear()
            self._listener.came(peer.name)

    def _went_down(self, peer: Peer, why: str) -> None:
        peer.is_up, peer.boot = False, ""
        peer.lost_at = time.monotonic()
        self._listener.went(peer.name, why)

    def _cannot_reach(self, peer: Peer, why: str) -> None:
        """Tell what is wrong: in the log once, however often it is tried again."""
        peer.problem = why
        if why not in peer.told:
            peer.told.add(why)
            _log.warning("server %s cannot be reached: %s", peer.name, why)

    def _complain(self, identity: bytes) -> None:
        """Somebody else found the port: told once a second at most."""
        now = time.monotonic()
        if now - self._complained >= 1.0:
            self._complained = now
            _log.warning("what %r said to the cluster port is none of ours", identity[:80])

    def _close(self) -> None:
        self._sockets.close()
        wakes, self._wake_in, self._wake_out = (self._wake_in, self._wake_out), -1, -1
        for descriptor in wakes:
            os.close(descriptor)
