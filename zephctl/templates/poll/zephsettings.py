"""Settings of the poll example. All of them: zephctl settings show."""

import os

SERVICE_LIST = [
    "ballots/Ballots",
    "zephserver.session_manager/SimpleSessionManager",
    "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]

# The router gives tasks work as soon as it runs, so what they need has to be there.
SERVICE_OPTIONS = {"zephserver.router/Router": {"requires": ["ballots/Ballots"]}}

TASKS_PATH = {
    "poll": "poll_tasks/Poll",
    "vote": "poll_tasks/Vote",
}

# What a page may miss and still be given: (messages, seconds).
ROOM_HISTORY = {"poll": (100, 300)}

PORT_ZEPH = int(os.environ.get("PORT", "8080"))
STATIC_FOLDER = "static"
