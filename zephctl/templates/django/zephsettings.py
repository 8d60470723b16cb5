"""Settings of the WebSocket server. All of them: zephctl settings show."""

import os

DJANGO_SETTINGS_MODULE = "mysite.settings"
MY_SESSION_HANDLER = "zephserver.django.session_manager/DjangoSessionManager"
MY_ROOM_HANDLER = "chat.rooms/ChatRooms"

# The four services of the WebSocket server, started in this order.
SERVICE_LIST = [
    MY_SESSION_HANDLER,
    MY_ROOM_HANDLER,
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]

# What a browser may call: the name it uses, and the class that does the work.
TASKS_PATH = {
    "chat": "chat.tasks/Chat",
    "recent": "chat.tasks/Recent",
}
TASK_TIMEOUT = 4.5  # seconds: a database that hangs keeps nobody waiting for an answer
TASK_THREADS = 32  # as many connections to the database, at most, and 36 for look-ups and async tasks

# Every room remembers so much, for pages that were away for a moment: (messages, seconds).
ROOM_HISTORY = {"room-*": (200, 600)}

PORT_ZEPH = int(os.environ.get("PORT", "8080"))

# The pages that may connect. Behind one nginx, page and WebSocket have one origin.
SITE_PORT = os.environ.get("SITE_PORT", "8000")
ALLOWED_ORIGINS = [
    os.environ.get("SITE_ORIGIN", f"http://127.0.0.1:{SITE_PORT}"),
    f"http://localhost:{SITE_PORT}",
]
TRUSTED_PROXIES = ["127.0.0.1"]
