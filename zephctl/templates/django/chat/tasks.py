"""What a browser may call over the WebSocket. One instance is made for each message, in a worker thread."""

from chat.models import Message, Room
from zephserver.django import login_required, room_required
from zephserver.task import Task

SHOWN = 50  # messages that a page begins with
LONGEST = 2_000  # characters of a message


class InRoom(Task):
    """A task for who is logged in and in a room of the chat."""

    @login_required
    @room_required("room-*")
    def __init__(self, request):
        super().__init__(request)

    def room(self):
        room = Room.objects.by_channel(self.request["room"])
        if room is None:
            self.fail("no-room", "this room is gone")
        return room


class Chat(InRoom):
    """Keeps a message, and sends it to everybody in the room."""

    def main(self):
        text = self.data.get("text") if isinstance(self.data, dict) else None
        if not isinstance(text, str) or not text.strip() or "\0" in text:
            self.fail("empty", "a message needs some text")
        message = Message.objects.create(room=self.room(), author=self.request["user"], text=text.strip()[:LONGEST])
        said = message.said()
        key = self.data.get("key")  # the page's own mark, by which it knows its message again
        self.say(said | {"key": key} if isinstance(key, str) and len(key) <= 40 else said)


class Recent(InRoom):
    """Answers with the last messages of the room: what a page shows at first."""

    def main(self):
        newest = self.room().messages.select_related("author").order_by("-pk")[:SHOWN]
        self.reply([message.said() for message in reversed(newest)])
