"""The rooms whose order this server decides. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable

from zephserver import messages
from zephserver.cluster.follower import Follower, adopt
from zephserver.cluster.line import Line, Rim
from zephserver.cluster.notes import At, Enter, Entered, Forward, Report, Said, Sync, Synced
from zephserver.cluster.view import View
from zephserver.histories import Histories, History, Rank

MOST_BYTES = 8_388_608  # of a history in one note; an engine carries 16 MiB
PATIENCE = 2.0  # seconds for the others to tell what they know; who is silent for longer is about to be down


class Host:
    """Gives the messages of a room their order and sends them to all servers that follow it. Loop only."""

    def __init__(
        self,
        view: View,
        lines: dict[str, Line],
        histories: Histories,
        rim: Rim,
        follower: Follower,
        new_epoch: Callable[[], str],
        *,
        is_alone: bool,
    ) -> None:
        self._view, self._lines, self._histories, self._rim = view, lines, histories, rim
        self._follower, self._new_epoch, self._is_alone = follower, new_epoch, is_alone
        self._id = 0  # of the last question
        self._awaited: set[str] = set()
        self._reports: dict[str, list[Report]] = {}
        self._until = 0.0

    def line(self, room: str) -> Line:
        """The line of a room, begun if there is none."""
        line = self._lines.get(room)
        if line is None:
            line = self._lines[room] = Line(room)
        return line

    def may_order(self, room: str) -> bool:
        """Whether all is known that is needed to go on with this room."""
        line = self._lines.get(room)
        keeps = self._histories.keeps(room)
        return self._view.may_order(room, keeps=keeps) and (line is None or line.source is None)

    # -- a message, and who hears it --------------------------------------------------------------------------------

    def say(self, note: Forward, now: float) -> None:
        """Give a message its place and send it out. Only when may_order()."""
        keeps = self._histories.keeps(note.room)
        line = self._lines.get(note.room)
        if not keeps and (line is None or not (line.followed or line.followers)):
            return  # nobody is there
        line = line or self.line(note.room)
        if not line.is_new(note.origin, note.seq):
            return
        offset = None
        if keeps:
            payload = self._histories.add(
                note.room,
                lambda offset: messages.with_offset(note.payload, offset),
                now,
                is_empty=not (line.followed or line.followers),
            )
            history = self._histories.find(note.room)
            assert history is not None
            epoch, place = history.epoch, history.offset
            offset = place
        else:
            payload = note.payload
            line.epoch = epoch = line.epoch or self._new_epoch()
            line.offset = place = line.offset + 1
        if line.followers:
            self._rim.post(
                line.followers, Said(note.room, epoch, place, note.origin, note.seq, note.but, payload), note.room
            )
        if line.followed:
            self._rim.deliver(note.room, payload, offset, note.but)

    def enter(self, peer: str, note: Enter, now: float) -> None:
        """A server has members in the room now, or wants to know what it missed. Only when may_order()."""
        line = self.line(note.room)
        line.followers.add(peer)
        self.tell(peer, line, self._histories.enter(note.room), note, now)

    def tell(self, peer: str, line: Line | None, history: History | None, note: Enter, now: float) -> None:
        """Tell a server what it missed."""
        origins = line.origins if line is not None else {}
        if history is None:
            epoch, offset = (line.epoch, line.offset) if line is not None else ("", 0)
            answer = Entered(note.room, epoch, 0, [], offset, False, [], origins)
        else:
            missed = history.kept_since(note.epoch, note.offset, now)
            told = _newest(history.kept(now) if missed is None else missed)
            answer = Entered(
                note.room,
                history.epoch,
                history.generation,
                history.lineage,
                history.offset,
                missed is None or len(told) < len(missed),
                [(max(0.0, now - said), payload) for said, payload in told],
                origins,
            )
        self._rim.post({peer}, answer)

    def tell_place(self, line: Line) -> None:
        """Tell the followers of a history that has come to rest how far it goes.

        A message on a topic is not said again after an outage, and without a next one nobody would miss the last.
        """
        history = self._histories.find(line.room)
        if history is None or not self.may_order(line.room):
            return
        place, seen = history.place(), line.seen
        line.seen = place
        if place == seen and place != line.told:
            line.told = place
            self._rim.post(line.followers, At(line.room, *place))

    # -- after a change of who is there -----------------------------------------------------------------------------

    def ask_all(self, came: frozenset[str], now: float) -> None:
        """Ask the others what they know of the rooms that are ours now; some of them have just come."""
        others = self._view.nodes - {self._view.me}
        self._id += 1
        self._awaited, self._reports, self._until = set(others), {}, now + PATIENCE
        if self._view.me not in self._view.nodes:
            self._awaited = set()
            return
        for peers, anew in ((others - came, False), (others & came, True)):
            if peers:
                self._rim.post(set(peers), Sync(self._id, sorted(self._view.nodes), anew))

    def ask(self, peer: str) -> None:
        """Ask one of the others once more, if it owes an answer."""
        if peer in self._awaited:
            self._rim.post({peer}, Sync(self._id, sorted(self._view.nodes), anew=False))

    def doubt(self, peer: str, now: float) -> None:
        """A server may have gone on with our rooms while it did not see us; unless it is asked already, all are."""
        if peer in self._view.nodes and peer not in self._awaited:
            self._view.doubt()
            self.ask_all(frozenset(), now)

    def answered(self, peer: str, note: Synced) -> None:
        """What another server knows."""
        if note.id == self._id and peer in self._awaited:
            self._reports.setdefault(peer, []).extend(note.reports)
            if note.is_last:
                self._awaited.discard(peer)
                if self._view.is_settled:  # it was waited for too long, and counts all the same
                    self._view.doubt()

    def has_all_answers(self, now: float) -> bool:
        """Whether nobody has to be waited for."""
        return not self._awaited or now >= self._until

    def take_over(self, now: float) -> None:
        """Go on with the rooms that are ours now: know who follows them, and begin where they were."""
        best: dict[str, tuple[Rank, str]] = {}  # of what the others remember, and who remembers it
        for peer, reports in self._reports.items():
            for report in reports:
                if not self._view.is_mine(report.room):
                    continue
                line = self.line(report.room)
                line.learn(report.origins)
                if report.follows and peer not in line.followers:
                    line.followers.add(peer)
                    line.told = ("", 0)  # it may have missed something, and not know that
                if report.rank is not None:
                    found = (report.rank, peer)
                    best[report.room] = max(found, best.get(report.room, found))
        gained = {room for room in self._lines if self._view.is_mine(room) and not self._view.was_mine(room)}
        self._reports.clear()
        self._view.settle()
        for room, line in list(self._lines.items()):
            if not self._histories.keeps(room):
                if room in gained:
                    line.epoch, line.offset = "", 0  # the others may have heard more of the last owner, or less
            elif room in gained or room in best:
                self._go_on_from(best.get(room), line, now, is_gained=room in gained)

    def _go_on_from(self, best: tuple[Rank, str] | None, line: Line, now: float, *, is_gained: bool) -> None:
        """From what that server remembers of the room, or from what is remembered here."""
        self._follower.catch_up(line, now)
        history = self._histories.find(line.room)
        if best is not None and (history is None or best[0] > history.rank()):
            line.source, line.asked_at = best[1], now
            epoch, offset = history.place() if history is not None else ("", 0)
            self._rim.post({line.source}, Enter(line.room, epoch, offset, follows=False))
        elif history is not None and is_gained:
            self.fork(line)

    def fetched(self, line: Line, note: Entered | None, now: float) -> None:
        """What a server remembers of a room that is ours now; None: it did not say."""
        line.source = None
        if note is not None and note.epoch:
            adopt(self._histories, self._rim, line, note, now)
        self.fork(line)

    def fork(self, line: Line) -> None:
        """Go on under a new epoch: whoever had the room before may go on too, without a link to us."""
        history = self._histories.find(line.room)
        if history is not None and not self._is_alone:
            history.fork(self._new_epoch())
            if line.followed:
                self._rim.moved(line.room, history.epoch, history.offset, recovered=True)


def _newest(told: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
    """As many of the last messages as one note carries."""
    size = 0
    for index in range(len(told) - 1, -1, -1):
        size += len(told[index][1])
        if size > MOST_BYTES:
            return told[index + 1 :]
    return told
