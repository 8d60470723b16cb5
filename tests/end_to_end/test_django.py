"""The Django example as a person runs it: with manage.py and zephctl, behind a real nginx, and with faults."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests import django_versions
from tests.end_to_end import nginx
from tests.end_to_end.nginx import NAME, Front, MakeFront, hear
from tests.postgres import running_postgres
from tests.scale import at_most
from tests.zephserver.conftest import PATIENCE
from zephserver.testing import wait_until

BIN = Path(sys.executable).parent
PAGE = nginx.PAGE.with_name("django.md")
FAST = 'PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]\n'

# fixtures
make_front = nginx.make_front
certificate = nginx.certificate


class Project:
    """The example in a folder, and the processes that were started there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if k not in ("DJANGO_SETTINGS_MODULE", "ZEPHSETTINGS")}
        self.environment["PORT"] = "0"
        self.processes: list[subprocess.Popen[str]] = []
        done = subprocess.run([BIN / "zephctl", "new", "-q", "django", folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.append("mysite/settings.py", FAST)

    def append(self, name: str, text: str) -> None:
        """Write more at the end of a file."""
        path = self.folder / name
        path.write_text(f"{path.read_text()}\n{text}")

    def run(self, *words: str, status: int = 0) -> str:
        """Run a program to its end; what it said."""
        done = subprocess.run(
            [BIN / words[0], *words[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def manage(self, *words: str, status: int = 0) -> str:
        """Run a command of manage.py."""
        return self.run("python", "manage.py", *words, status=status)

    def spawn(self, *words: str) -> subprocess.Popen[str]:
        """Start a program that stays; what it says is in said()."""
        with open(self.folder / f"output.{len(self.processes)}", "w") as output:
            process = subprocess.Popen(
                [BIN / words[0], *words[1:]],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
            )
        self.processes.append(process)
        return process

    def said(self, number: int = -1) -> str:
        """What a process that was started has said."""
        number = number % len(self.processes)
        return (self.folder / f"output.{number}").read_text()

    @property
    def log(self) -> str:
        """The log of the server."""
        return (self.folder / "logging.log").read_text()

    def serve(self, *words: str) -> subprocess.Popen[str]:
        """manage.py zephserver; returns when it is ready."""
        process = self.spawn("python", "manage.py", "zephserver", *words)
        wait_until(
            lambda: "zephserver is ready" in self.said() or process.poll() is not None,
            "it is ready",
            timeout=PATIENCE * 3,
        )
        assert process.poll() is None, self.said()
        return process

    def make_user(self, name: str) -> None:
        """A user whose password is 'a good one'."""
        model = "from django.contrib.auth import get_user_model as model"
        self.manage("shell", "-c", f"{model}; model().objects.create_user({name!r}, password='a good one')")

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """The example, without tables."""
    project = Project(tmp_path / "site")
    yield project
    project.close()


@pytest.fixture
def migrated(project: Project) -> Project:
    """The example, with tables."""
    project.manage("migrate")
    return project


# -- manage.py ---------------------------------------------------------------------------------------------------------


def test_manage_py_is_the_server_until_a_signal_stops_it(migrated: Project) -> None:
    process = migrated.serve()

    status = json.loads(migrated.run("zephctl", "status", "-o", "json"))
    process.send_signal(signal.SIGTERM)

    assert status["pid"] == process.pid
    assert process.wait(PATIENCE) == 0


def test_in_development_a_changed_task_is_loaded(migrated: Project) -> None:
    migrated.serve("--dev")

    tasks = migrated.folder / "chat" / "tasks.py"
    tasks.write_text(tasks.read_text().replace("SHOWN = 50", "SHOWN = 51"))

    wait_until(lambda: re.search(r"reloaded .*chat\.tasks", migrated.log), "it is loaded", timeout=PATIENCE)

    models = migrated.folder / "chat" / "models.py"
    models.write_text(models.read_text().replace("max_length=40", "max_length=41"))

    said = "models.py changed: stop the server and start it again to use that"
    wait_until(lambda: said in migrated.log, "it is told", timeout=PATIENCE)
    assert not re.search(r"reloaded .*chat\.models", migrated.log)
    assert "Traceback" not in migrated.log


def test_the_check_of_django_and_ours_find_nothing(migrated: Project) -> None:
    assert "no issues" in migrated.manage("check")
    assert "is fine: 4 services, 2 tasks" in migrated.run("zephctl", "check")
    assert "No changes detected" in migrated.manage("makemigrations", "--check", "--dry-run")


@pytest.mark.parametrize("version", ["", *django_versions.others()])
def test_the_tests_of_the_example_pass(project: Project, version: str) -> None:
    if version:
        project.environment["PYTHONPATH"] = django_versions.folder_of(version)

    assert re.search(r"Ran 5 tests.*\n\nOK\n", project.manage("test"))


def test_the_example_works_with_postgresql(project: Project) -> None:
    with running_postgres() as postgres:
        place = postgres.settings
        names = {"POSTGRES_HOST": place["HOST"], "POSTGRES_DB": place["NAME"], "POSTGRES_USER": place["USER"]}
        project.environment |= names

        assert re.search(r"Ran 5 tests.*\n\nOK\n", project.manage("test", "--noinput"))
        project.manage("migrate")
        project.serve()
        project.make_user("ann")

        status = json.loads(project.run("zephctl", "status", "-o", "json"))
        project.run("zephctl", "stop")
    assert status["ready"] is True
    assert not (project.folder / "db.sqlite3").exists()


# -- faults ------------------------------------------------------------------------------------------------------------

MANAGER = "service zephserver.django.session_manager/DjangoSessionManager"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("DJANGO_SETTINGS_MODULE = None", "DJANGO_SETTINGS_MODULE: not set; name the settings of the Django project, "),
        (
            "DJANGO_SETTINGS_MODULE = 'mysite.setings'",
            "DJANGO_SETTINGS_MODULE: 'mysite.setings': there is no module 'mysite.setings' in the settings folder",
        ),
        ("DJANGO_SETTINGS_MODULE = 'zephsettings'", "INSTALLED_APPS: users need 'django.contrib.auth'; add it"),
        ("ALLOWED_ORIGINS = ['*']", "ALLOWED_ORIGINS: '*' would let every web page act for its visitors"),
        ("SAME_DOMAIN, ALLOWED_ORIGINS = False, None", "ALLOWED_ORIGINS: with SAME_DOMAIN = False a session is taken"),
    ],
)
def test_a_fault_is_told_without_a_traceback_and_nothing_is_left_running(
    project: Project, line: str, fault: str
) -> None:
    project.append("zephsettings.py", line)

    said = project.run("zephctl", "start", status=6)

    assert said.startswith(f"zephctl: {project.folder}/zephsettings.py: {fault}"), said
    assert all(line.startswith("zephctl: ") for line in said.splitlines())
    assert "Traceback" not in (project.folder / "logging.log").read_text()
    assert project.run("zephctl", "status", status=3)


def test_a_database_without_tables_is_told_with_what_makes_them(project: Project) -> None:
    said = project.run("zephctl", "start", status=1)

    fault = "the database has no table 'auth_user'; make it with: python manage.py migrate"
    assert re.fullmatch(f"zephctl: {MANAGER}( is not loaded)?: {re.escape(fault)}\n", said), said
    assert project.run("zephctl", "status", status=3)


def test_a_fault_in_the_project_names_it(project: Project) -> None:
    project.append("chat/models.py", "import nothing_of_that_name")

    said = project.run("zephctl", "start", status=6)

    assert "ModuleNotFoundError" in said.splitlines()[0]
    assert "models.py:50: ModuleNotFoundError: No module named 'nothing_of_that_name'" in said


def test_a_project_whose_settings_end_the_process_is_told_so(project: Project) -> None:
    project.append("mysite/settings.py", "raise SystemExit(3)")

    said = project.run("zephctl", "check", status=6)

    assert "DJANGO_SETTINGS_MODULE: 'mysite.settings': loading the project raised SystemExit(3)" in said


def test_manage_py_without_a_settings_file_says_where_it_looked(project: Project) -> None:
    (project.folder / "zephsettings.py").unlink()

    said = project.manage("zephserver", "--skip-checks", status=6)

    assert said == f"CommandError: there is no settings file {project.folder}/zephsettings.py\n"


# -- behind nginx ------------------------------------------------------------------------------------------------------


class Browser:
    """Cookies, and requests through nginx."""

    def __init__(self, front: Front) -> None:
        self.front, self.cookies = front, dict[str, str]()

    @property
    def cookie(self) -> str:
        """The header."""
        return "Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def request(self, method: str, path: str, **form: str) -> tuple[http.client.HTTPResponse, str]:
        """Send a request; the answer and its text."""
        body = urlencode(form | {"csrfmiddlewaretoken": self.cookies.get("csrftoken", "")}) if form else ""
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {NAME}:{self.front.nginx.port}",
            f"Origin: {self.front.url}",
            f"Referer: {self.front.url}/",
            self.cookie,
            "Content-Type: application/x-www-form-urlencoded",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        wire = self.front.wire()
        wire.send("\r\n".join([*lines, "", body]).encode())
        with http.client.HTTPResponse(wire.socket) as response:
            response.begin()
            text = response.read().decode()
        for header in response.headers.get_all("Set-Cookie") or []:
            name, _, value = header.partition(";")[0].partition("=")
            assert value == '""' or "secure" in header.lower(), header
            self.cookies[name] = value.strip('"')
        return response, text

    def log_in(self, name: str) -> None:
        """Through the form."""
        self.request("GET", "/login")
        response, text = self.request("POST", "/login", username=name, password="a good one")
        assert response.status == 302, text


@pytest.fixture
def front(migrated: Project, make_front: MakeFront) -> Front:
    """nginx with the configuration of the page, Django and zephserver behind it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    changes = {"server 127.0.0.1:8000;": f"server 127.0.0.1:{port};"}
    front = make_front(f"unix:{migrated.folder}/zeph.sock", changes=changes, page=PAGE)
    migrated.append("zephsettings.py", 'HOST_ZEPH = "unix:zeph.sock"\nTRUSTED_PROXIES = ["unix"]')
    migrated.environment |= {"SECRET_KEY": "x" * 60, "ALLOWED_HOSTS": NAME, "SITE_ORIGIN": front.url}
    for name in ("ann", "bob"):
        migrated.make_user(name)
    migrated.manage("collectstatic", "--noinput")
    for path in (migrated.folder / "static").rglob("*"):
        if path.is_file():
            target = front.nginx.folder / "static" / path.relative_to(migrated.folder / "static")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    migrated.serve()
    migrated.spawn("python", "-u", "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}")

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, "Django listens", timeout=PATIENCE * 3)
    return front


def test_page_login_and_websocket_have_one_origin(front: Front) -> None:
    ann, bob = Browser(front), Browser(front)
    ann.log_in("ann"), bob.log_in("bob")
    home, _ = ann.request("GET", "/")
    path = home.headers["Location"]
    _, page = ann.request("GET", path)
    room = json.loads(re.search(r'<script id="page"[^>]*>(.*?)</script>', page)[1])["room"]  # type: ignore[index]

    wires = {}
    for name, browser in (("ann", ann), ("bob", bob)):
        wire, head = front.knock(f"Origin: {front.url}", browser.cookie)
        assert head.startswith("HTTP/1.1 101 ")
        wire.say(session_id=None, room=room)
        assert hear(wire, msgtype="welcome")["user"]["username"] == name
        hear(wire, msgtype="joined")
        wires[name] = wire
    wires["ann"].say(task="chat", data={"text": "hello"})

    assert f'data-url="wss://{NAME}:{front.nginx.port}/ws"' in page
    assert hear(wires["bob"], task="chat")["data"]["from"] == "ann"
    assert ann.request("GET", "/static/chat/room.js")[0].headers["Server"].startswith("nginx")
    assert front.knock("Origin: https://evil.example", ann.cookie)[1].startswith("HTTP/1.1 403 ")

    began = time.monotonic()
    response, _ = ann.request("POST", "/logout", x="")
    code, seconds = wires["ann"].close_code(), time.monotonic() - began

    assert response.status == 302
    assert (code, seconds < at_most(2.0)) == (4003, True)
    wires["bob"].say(task="TaskPing", id=1)
    assert hear(wires["bob"], id=1)["data"] == "pong"


def test_who_is_not_logged_in_is_refused(front: Front) -> None:
    wire, _ = front.knock(f"Origin: {front.url}")

    wire.say(session_id=None)

    assert wire.close_code() == 4003


def test_the_settings_on_the_page_are_good(migrated: Project) -> None:
    (block,) = [block for block in nginx.page_blocks("python", PAGE) if block.startswith("# zephsettings.py")]
    (migrated.folder / "zephsettings.py").write_text(block.replace('{"rename": "shop.tasks/Rename"}', "{}"))

    assert "is fine: 4 services, 0 tasks" in migrated.run("zephctl", "check")
