"""Settings of the chat example. All of them: zephctl settings show."""

import os

# The four services of the WebSocket server, started in this order.
SERVICE_LIST = [
    "zephserver.session_manager/SimpleSessionManager",
    "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]

# What a browser may call: the name it uses, and the class that does the work.
TASKS_PATH = {
    "echo": "chat_tasks/Echo",
    "chat": "chat_tasks/Chat",
    "recent": "chat_tasks/Recent",
    "rooms": "chat_tasks/Rooms",
}

# Every room remembers so much, for pages that were away for a moment: (messages, seconds).
ROOM_HISTORY = {"*": (200, 600)}

PORT_ZEPH = int(os.environ.get("PORT", "8080"))
STATIC_FOLDER = "static"
