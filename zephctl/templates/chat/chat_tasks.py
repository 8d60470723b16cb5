"""The tasks of the chat example. One instance is made for each message."""

import time

from zephserver import Task

LONGEST = 2_000  # characters of a message


class Echo(Task):
    """Answers with what it got. An async task runs on the event loop, so it must never wait for anything slow."""

    async def main(self):
        self.reply(self.data)


class Chat(Task):
    """Sends a message to everybody in the room. It runs in a worker thread and may wait for a database."""

    def main(self):
        text = self.data.get("text") if isinstance(self.data, dict) else None
        if not isinstance(text, str) or not text.strip():
            self.fail("empty", "a message needs some text")
        self.say({"from": self.request["user"].username, "text": text[:LONGEST], "at": time.time()})
