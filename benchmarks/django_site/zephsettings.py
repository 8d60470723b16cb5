"""The zephserver that benchmarks/django.py measures: the limits out of the way, everything else as it comes."""

import os

DJANGO_SETTINGS_MODULE = "bench_settings"
MY_SESSION_HANDLER = "zephserver.django.session_manager/DjangoSessionManager"
SERVICE_LIST = [
    MY_SESSION_HANDLER,
    "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]
TASKS_PATH = {"echo": "bench_tasks/Echo", "query": "bench_tasks/Query", "say": "bench_tasks/Say"}

PORT_ZEPH = int(os.environ["PORT"])
LOG_PATH = "-"
MESSAGE_RATE = None  # one client of the benchmark stands for many
TASKS_PER_CLIENT = 1_000
TASK_THREADS = 32  # as docs/how-to/django.md advises
