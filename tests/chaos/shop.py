"""A Django project in a server's folder, with many users who are logged in, and clients who act for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.chaos.askers import Asker
from tests.chaos.peers import Crowd

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder, Process

PAUSE = 0.05  # seconds after an error, before the next request

SETTINGS = """
MY_SESSION_HANDLER = "zephserver.django.session_manager/DjangoSessionManager"
DJANGO_SETTINGS_MODULE = "shop_settings"
SERVICE_LIST = [
    MY_SESSION_HANDLER,
    "zephserver.room_handler/RoomHandler",
    "zephserver.router/Router",
    "zephserver.websocket_client/WebsocketClient",
]
TASKS_PATH = {"who": "shop_tasks/Who", "who_async": "shop_tasks/WhoAsync", "sleep": "shop_tasks/Sleep"}
TASK_THREADS = 16
TASK_TIMEOUT = 4.5
MESSAGE_RATE = None
"""
DJANGO_SETTINGS = """
    SECRET_KEY = "the secret of the row"
    USE_TZ = True
    TIME_ZONE = "UTC"
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    INSTALLED_APPS = [
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "zephserver.django",
    ]
    MIDDLEWARE = []
    DATABASES = {"default": %r}
"""
TASKS = """
    from django.contrib.auth import get_user_model
    from django.db import connection
    from zephserver import Task
    from zephserver.django import in_thread


    def name_of(number):
        return get_user_model().objects.get(pk=number).username


    class Who(Task):
        def main(self):
            user = self.request["user"]
            self.reply([user.pk, user.username, name_of(user.pk), self.data])


    class WhoAsync(Task):
        async def main(self):
            user = self.request["user"]
            self.reply([user.pk, user.username, await in_thread(name_of)(user.pk), self.data])


    class Sleep(Task):
        def main(self):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(%s)", [self.data])
            self.reply("slept")
"""
PEOPLE = """
    import json, sys
    import django
    django.setup()
    from datetime import timedelta
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.core.management import call_command
    from django.utils import timezone
    from django.utils.crypto import get_random_string

    call_command("migrate", verbosity=0)
    User = get_user_model()
    User.objects.bulk_create(User(username=f"user-{n}", password=f"!{n}") for n in range(int(sys.argv[1])))
    end = timezone.now() + timedelta(days=1)
    store, sessions, found = SessionStore(), [], []
    for user in User.objects.all():
        key = get_random_string(32)
        data = {
            SESSION_KEY: str(user.pk),
            BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
            HASH_SESSION_KEY: user.get_session_auth_hash(),
        }
        sessions.append(Session(session_key=key, session_data=store.encode(data), expire_date=end))
        found.append([user.pk, user.username, key])
    Session.objects.bulk_create(sessions)
    print(json.dumps(found))
"""


class Customer(Asker):
    """Somebody with a session cookie, who asks again when it has its answer; every answer is noted."""

    def __init__(self, id: int, name: str, key: str, task: str = "who") -> None:
        super().__init__(None, f"Cookie: csrftoken=x; sessionid={key}")
        self.id, self.name, self.task = id, name, task
        self.is_asking = False
        self.outcomes: list[tuple[str, float, float]] = []  # code of the error, seconds, when
        self.mixed_up: list[Any] = []
        self._asked_at, self._due = 0.0, 0.0

    def heard(self, payload: bytes) -> None:
        """An answer."""
        said, now = json.loads(payload), time.monotonic()
        if "id" not in said:
            super().heard(payload)
            return
        code = said.get("error", {}).get("code", "")
        if not code and said["data"] != [self.id, self.name, self.name, self._asked_at]:
            self.mixed_up.append(said)
        self.outcomes.append((code, now - self._asked_at, now))
        self._asked_at, self._due = 0.0, now + (PAUSE if code else 0.0)
        self.step(now)

    def step(self, now: float) -> None:
        """Ask when it is time."""
        if self.is_asking and self.welcome and not self._asked_at and now >= self._due:
            self._asked_at = now
            self.ask(self.task, len(self.outcomes), now)


class Shop:
    """The server of the project, and its customers."""

    def __init__(self, folder: Folder, database: dict[str, Any], people: int, settings: str = "") -> None:
        self.folder = folder
        folder.configure(SETTINGS + settings)
        folder.write("shop_settings.py", DJANGO_SETTINGS % database)
        folder.write("shop_tasks.py", TASKS)
        script = folder.write("people.py", PEOPLE)
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": "shop_settings"}
        words = [sys.executable, str(script), str(people)]
        made = subprocess.run(words, cwd=folder.path, env=environment, capture_output=True, text=True, timeout=120)
        assert made.returncode == 0, made.stderr
        self.people: list[tuple[int, str, str]] = [tuple(one) for one in json.loads(made.stdout)]
        self.process: Process = folder.start(env=environment)
        self.port: int = folder.call("status")["port"]


def serve(crowd: Crowd, customers: Sequence[Customer], seconds: float) -> None:
    """Let them ask for so long."""
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        for customer in customers:
            customer.step(now)
        crowd.turn(0.02)


def finish(crowd: Crowd, customers: Sequence[Customer], within: float) -> None:
    """No more questions; wait for the answers that are due."""
    for customer in customers:
        customer.is_asking = False
    crowd.run(lambda: not any(customer._asked_at for customer in customers), "every request is answered", within)
