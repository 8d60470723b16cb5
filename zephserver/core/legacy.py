"""The names of the 2015 project and what to write today. Pure: no I/O, no clock.

Each is accepted wherever it stood in 2015, with one warning that says what to write now.
"""

from __future__ import annotations

# None: today's server does this by itself, so the entry is left out.
PATHS: dict[str, str | None] = {
    "zephserver.service.clientsocket_service/StartClientSocket": "zephserver.websocket_client/WebsocketClient",
    "zephserver.service.socket_service/StartSocket": None,  # the control socket and the cluster belong to the core
    "zephserver.service.routeur_service/RouteurService": "zephserver.router/Router",
    "zephserver.service.roomhandler_service/RoomHandler": "zephserver.room_handler/RoomHandler",
    "zephserver.service.django_session_service/ZephSession": "zephserver.django.session_manager/DjangoSessionManager",
    "zephserver.service.db_service/DbService": None,  # the session manager opens and closes the connections it needs
    "zephserver.task.task_ping/TaskPing": "zephserver.task/TaskPing",
    "zephserver.task.task_interface/TaskInterface": "zephserver.task/Task",
}

SETTINGS: dict[str, str] = {"heart_beat_period": "PING_INTERVAL", "DJANGO": "DJANGO_SETTINGS_MODULE"}


def today(path: str) -> str:
    """What the service or task *path* of 2015 is called now; other paths as they are."""
    return PATHS.get(path) or path


def advice(path: str) -> str | None:
    """The warning for a 2015 *path*, None for any other."""
    if path not in PATHS:
        return None
    new = PATHS[path]
    return f"{path} is a name of 2015; write {new} now" if new else f"{path} is not needed any more; leave it out"
