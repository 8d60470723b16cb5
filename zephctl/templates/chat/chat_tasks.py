"""The tasks of the chat example. One instance is made for each message."""

import time

import archive

from zephserver import Task, get_service, room_required

LONGEST = 2_000  # characters of a message


class Echo(Task):
    """Answers with what it got. An async task runs on the event loop, so it must never wait for anything slow."""

    async def main(self):
        self.reply(self.data)


@room_required()
class Chat(Task):
    """Sends a message to everybody in the room. It runs in a worker thread and may wait for a database."""

    def main(self):
        text = self.data.get("text") if isinstance(self.data, dict) else None
        if not isinstance(text, str) or not text.strip():
            self.fail("empty", "a message needs some text")
        said = {"from": self.request["user"].username, "text": text[:LONGEST], "at": time.time()}
        said["id"] = archive.add(self.request["room"], said)
        key = self.data.get("key")  # the page's own mark, by which it knows its message again
        self.say(said | {"key": key} if isinstance(key, str) and len(key) <= 40 else said)


@room_required()
class Recent(Task):
    """Answers with the last messages of the room: what a page shows at first."""

    def main(self):
        self.reply(archive.last(self.request["room"]))


class Rooms(Task):
    """Answers with the rooms that there are. Any service can be asked."""

    def main(self):
        rooms = get_service("zephserver.room_handler/RoomHandler").list_rooms()
        rooms.sort(key=lambda room: -room["users"])
        self.reply([{"name": room["name"], "users": room["users"]} for room in rooms[:50]])
