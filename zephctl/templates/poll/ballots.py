"""A service that counts votes and keeps them in votes.json."""

import json
import os
import threading
from collections import Counter
from pathlib import Path

from zephserver import Service, command

FILE = Path(__file__).with_name("votes.json")


class Ballots(Service):
    """One vote for each user. Tasks call it from many threads, so a lock stands before the votes."""

    def __init__(self):
        self.lock = threading.Lock()
        self._votes = json.loads(FILE.read_text()) if FILE.exists() else {}  # user id -> option
        self._disabled = threading.Event()

    def main(self):
        self._disabled.wait()  # all its work is done in the threads of those who call it
        self._disabled.clear()  # so that it can be enabled again

    def disable(self):
        self._disabled.set()

    def vote(self, user_id, option):
        """Count a vote, instead of the one that the user had."""
        with self.lock:
            self._votes[str(user_id)] = option
            self._save()

    def of(self, user_id):
        """What the user voted for, None without a vote."""
        with self.lock:
            return self._votes.get(str(user_id))

    def counts(self):
        """Option -> votes."""
        with self.lock:
            return dict(Counter(self._votes.values()))

    @command("ballots.clear")
    def clear(self):
        """Begin anew: zephctl command ballots.clear"""
        with self.lock:
            self._votes.clear()
            self._save()
        return "all votes are gone; pages see it with the next vote"

    def _save(self):
        draft = FILE.with_suffix(".new")
        draft.write_text(json.dumps(self._votes))
        os.replace(draft, FILE)  # whole or not at all, whatever happens meanwhile
