"""The tasks of the poll example: what is asked, and a vote."""

import threading

from zephserver import Task, get_service, login_required

QUESTION = "Where shall we have lunch?"
OPTIONS = ["Noodles", "Pizza", "The market", "I brought my own"]

_one_at_a_time = threading.Lock()  # so that the counts are told in the order in which they were


def result():
    """The counts of all options."""
    counts = get_service("ballots/Ballots").counts()
    return {option: counts.get(option, 0) for option in OPTIONS}


class Poll(Task):
    """Answers with the question, the options, the counts, and what the user has voted for."""

    def main(self):
        mine = get_service("ballots/Ballots").of(self.request["user"].id)
        with _one_at_a_time:
            self.reply({"question": QUESTION, "options": OPTIONS, "counts": result(), "mine": mine})


@login_required
class Vote(Task):
    """Takes a vote, answers the one who voted, and tells the room."""

    def main(self):
        option = self.data.get("option") if isinstance(self.data, dict) else None
        if option not in OPTIONS:
            self.fail("unknown-option", "this can not be voted for any more")
        with _one_at_a_time:
            get_service("ballots/Ballots").vote(self.request["user"].id, option)
            self.say({"counts": result(), "by": self.request["user"].username}, room="poll")
        self.reply({"mine": option})
