"""A room whose order another server decides. Pure: no I/O, no clock."""

from __future__ import annotations

from zephserver.cluster.line import Line, Rim
from zephserver.cluster.notes import At, Enter, Entered, Exit, Said
from zephserver.cluster.view import View
from zephserver.histories import Histories

ASK_AGAIN = 1.0  # seconds without an answer


class Follower:
    """Keeps up with the lines of rooms, and hands their messages to the members here. Loop only."""

    def __init__(self, view: View, histories: Histories, rim: Rim) -> None:
        self._view, self._histories, self._rim = view, histories, rim

    def ask(self, line: Line, now: float) -> None:
        """Ask the owner where the line is, and for what is missing here."""
        line.asked_at = now
        owner = self._view.owner(line.room)
        if owner is None or owner == self._view.me:
            return
        history = self._histories.find(line.room)
        epoch, offset = history.place() if history is not None else (line.epoch, line.offset)
        self._rim.post({owner}, Enter(line.room, epoch, offset, follows=True))

    def entered(self, line: Line, peer: str, note: Entered, now: float) -> None:
        """The owner's answer."""
        if not line.followed or self._view.owner(line.room) != peer:
            return
        if self._histories.keeps(line.room):
            if not adopt(self._histories, self._rim, line, note, now):
                self.ask(line, now)
                return
        elif line.epoch != note.epoch or line.offset < note.offset:
            line.epoch, line.offset = note.epoch, note.offset
        self.ready(line, now)

    def ready(self, line: Line, now: float) -> None:
        """The line is where its owner is; what came early has its turn, and who waits comes in."""
        self.catch_up(line, now)
        if line.is_ready:
            line.let_in(now)

    def catch_up(self, line: Line, now: float) -> None:
        """What came early has its turn, but not what is of another epoch: if that counts, its owner tells it again."""
        line.is_ready = True
        history = self._histories.find(line.room)
        early = [note for note in line.early if history is not None and note.epoch == history.epoch]
        line.early.clear()
        for note in early:
            self.said(line, "", note, now)

    def said(self, line: Line, peer: str, note: Said, now: float) -> None:
        """A message of the line."""
        if self._histories.keeps(note.room):
            self._said_to_be_kept(line, peer, note, now)
        elif not line.followed:
            self._rim.post({peer}, Exit(note.room))
        else:
            if note.epoch == line.epoch:
                if note.offset <= line.offset:
                    return
                if note.offset > line.offset + 1:
                    self._rim.lost(peer, note.offset - line.offset - 1)
            if not self._view.is_mine(note.room):  # else we go on under an epoch of our own
                line.epoch, line.offset = note.epoch, note.offset
            if line.is_new(note.origin, note.seq):
                self._rim.deliver(note.room, note.payload, None, note.but)

    def told(self, line: Line, peer: str, note: At, now: float) -> None:
        """How far the history goes: what is missing here is asked for."""
        history = self._histories.find(line.room)
        if not (line.followed and line.is_ready and history is not None and self._view.owner(line.room) == peer):
            return  # it is asked for anyway, or is not wanted
        if not history.has(note.epoch, note.offset):
            line.is_ready = False
            self.ask(line, now)

    def _said_to_be_kept(self, line: Line, peer: str, note: Said, now: float) -> None:
        history = self._histories.find(note.room)
        if history is None and not line.followed:
            self._rim.post({peer}, Exit(note.room))
            return
        if history is None or not line.is_ready:
            line.early.append(note)
            return
        if note.epoch != history.epoch:
            if not any(note.epoch == epoch for epoch, _ in history.lineage):
                self._wait_for_what_is_missing(line, note, now)
            return  # otherwise: of an owner that does not know yet that it is none
        if note.offset > history.offset + 1:
            self._wait_for_what_is_missing(line, note, now)
        elif note.offset == history.offset + 1:
            self._histories.put(note.room, note.payload, now, now)
            if line.is_new(note.origin, note.seq) and line.followed:
                self._rim.deliver(note.room, note.payload, note.offset, note.but)

    def _wait_for_what_is_missing(self, line: Line, note: Said, now: float) -> None:
        line.is_ready = False
        line.early.append(note)
        self.ask(line, now)


def adopt(histories: Histories, rim: Rim, line: Line, note: Entered, now: float) -> bool:
    """Take over what another server remembers of a room; False: more has come since, and it has to be asked again."""
    room, history = line.room, histories.find(line.room)
    if history is not None and history.epoch == note.epoch and history.offset >= note.offset:
        return True
    is_anew = note.anew or history is None
    if history is None or is_anew:
        history = histories.replace(room, note.epoch, note.offset - len(note.messages))
        assert history is not None
    else:
        epoch, offset = history.place()
        if offset > {**dict(note.lineage), note.epoch: note.offset}.get(epoch, -1):
            return False
    line.learn(note.origins)
    is_moved = is_anew or history.epoch != note.epoch
    history.epoch, history.generation, history.lineage = note.epoch, note.generation, list(note.lineage)
    if is_moved and line.followed:
        rim.moved(room, note.epoch, note.offset if is_anew else history.offset, recovered=not is_anew)
    known = history.offset - (note.offset - len(note.messages))
    for age, payload in note.messages[known:]:
        histories.put(room, payload, now - age, now)
        if line.followed and not is_anew:
            rim.deliver(room, payload, history.offset, None)
    return True
