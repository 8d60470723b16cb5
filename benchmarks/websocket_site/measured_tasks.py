"""The tasks that are measured."""

import time

from zephserver import Task

WORK = 0.001  # seconds of a core


class Echo(Task):
    """Answers with what it got, on the event loop."""

    async def main(self):
        self.reply(self.data)


class Threaded(Task):
    """The same in a worker thread."""

    def main(self):
        self.reply(self.data)


class Work(Task):
    """Echo behind some computing, as a task has it that does something."""

    async def main(self):
        end = time.thread_time() + WORK
        while time.thread_time() < end:
            pass
        self.reply(self.data)


class Say(Task):
    """Hands on what it got to everybody in the room."""

    async def main(self):
        self.say(self.data)
