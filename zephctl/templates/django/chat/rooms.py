"""Who may be in a room."""

from zephserver.room_handler import RoomHandler


class ChatRooms(RoomHandler):
    """Rooms of the chat are for who is logged in, and only those that there are."""

    def may_join(self, user, room):
        from chat.models import Room  # the apps are loaded when somebody joins, not yet when this file is

        return user.is_authenticated and Room.objects.by_channel(room) is not None
