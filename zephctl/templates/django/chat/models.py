"""Rooms, and what was said in them."""

from django.conf import settings
from django.db import models

PREFIX = "room-"  # what the WebSocket server calls a room: this and its number


class RoomQuerySet(models.QuerySet):
    def by_channel(self, name):
        """The room that the WebSocket server calls so, None for any other name."""
        number = str(name).removeprefix(PREFIX)
        is_room = str(name).startswith(PREFIX) and number.isascii() and number.isdecimal() and len(number) < 16
        return self.filter(pk=int(number)).first() if is_room else None


class Room(models.Model):
    name = models.CharField(max_length=40, unique=True)
    objects = RoomQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name

    @property
    def channel(self):
        return f"{PREFIX}{self.pk}"


class Message(models.Model):
    room = models.ForeignKey(Room, models.CASCADE, related_name="messages")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    text = models.CharField(max_length=2_000)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["room", "-id"], name="newest_of_a_room")]

    def __str__(self):
        return f"{self.author}: {self.text}"

    def said(self):
        """As the page shows it."""
        author = self.author.get_username()
        return {"id": self.pk, "from": author, "text": self.text, "at": self.at.timestamp()}
