"""The zephserver that the benchmarks measure: the limits out of the way, everything else as it comes."""

import json
import os

SERVICE_LIST = [
    "zephserver.session_manager/SimpleSessionManager",
    "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]
TASKS_PATH = {
    "echo": "measured_tasks/Echo",
    "threaded": "measured_tasks/Threaded",
    "work": "measured_tasks/Work",
    "say": "measured_tasks/Say",
}

PORT_ZEPH = int(os.environ["PORT"])
LOG_LEVEL = "INFO"
LOG_PATH = "-"
COMPRESSION = True  # for those that offer it: only the rows that say so do
MESSAGE_RATE = None  # one client of the benchmark stands for many
TASKS_PER_CLIENT = 1_000
globals().update(json.loads(os.environ.get("MORE_SETTINGS", "{}")))  # of benchmarks/cluster.py
