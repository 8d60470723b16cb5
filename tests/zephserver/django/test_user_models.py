"""A project with a user model of its own: no username, and ids that are UUIDs. In a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FILES = {
    "people/__init__.py": "",
    "people/models.py": """
import uuid
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    number = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    USERNAME_FIELD = "email"
    objects = BaseUserManager()
""",
    "project.py": """
SECRET_KEY = "x"
USE_TZ = True
AUTH_USER_MODEL = "people.Person"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "zephserver.django", "people",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
ZEPHSERVER = {"SOCKET": "interface.sock"}
""",
    "tasks.py": """
from zephserver import Task

class Who(Task):
    def main(self):
        user = self.request["user"]
        self.reply([type(user).__name__, str(user.pk), user.email])
        self.say("to you", users=[user.pk], task="note")
""",
    "run.py": """
import django
django.setup()
from django.core.management import call_command
from django.test import Client
from people.models import Person
from zephserver.django import say
from zephserver.testing import connect, running_server

call_command("migrate", verbosity=0, run_syncdb=True)
ann = Person.objects.create(email="ann@example.com")
browser = Client()
browser.force_login(ann)
manager = "zephserver.django.session_manager/DjangoSessionManager"
services = [manager, "zephserver.room_handler/RoomHandler", "zephserver.router/Router",
            "zephserver.websocket_client/WebsocketClient"]
settings = {"SERVICE_LIST": services, "MY_SESSION_HANDLER": manager, "TASKS_PATH": {"who": "tasks/Who"}}
with running_server(".", DJANGO_SETTINGS_MODULE="project", **settings) as server:
    with connect(server, headers={"Cookie": "sessionid=" + browser.cookies["sessionid"].value}) as visitor:
        assert visitor.user == {"id": str(ann.pk), "username": "ann@example.com"}, visitor.user
        assert visitor.request("who") == ["Person", str(ann.pk), "ann@example.com"]
        assert visitor.hear(task="note")["data"] == "to you"
        say("news", 1, users=[ann])
        assert visitor.hear(task="news")["data"] == 1
        ann.is_active = False
        ann.save()
        try:
            visitor.hear(task="nothing")
        except AssertionError as error:
            assert "hung up with 4003" in str(error), error
        else:
            raise SystemExit("the connection lives on")
print("all is well")
""",
}


def test_a_user_model_of_ones_own(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "project"}

    done = subprocess.run(
        [sys.executable, "-W", "error", "run.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (0, "all is well\n"), done.stderr
