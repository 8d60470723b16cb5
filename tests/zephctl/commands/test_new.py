"""zephctl new: a folder with an example that runs at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.zephctl.conftest import Answer
from zephctl.commands import new
from zephctl.commands.new import FIRST, TEMPLATES

Zephctl = Callable[..., Answer]

FILES = {
    "chat": [
        "README.md",
        "archive.py",
        "chat_tasks.py",
        "static/chat.css",
        "static/chat.js",
        "static/index.html",
        "static/log.js",
        "static/view.js",
        "tests/conftest.py",
        "tests/test_chat.py",
        "zephsettings.py",
    ],
    "django": [
        "README.md",
        "chat/__init__.py",
        "chat/apps.py",
        "chat/migrations/0001_initial.py",
        "chat/migrations/__init__.py",
        "chat/models.py",
        "chat/rooms.py",
        "chat/static/chat/chat.css",
        "chat/static/chat/log.js",
        "chat/static/chat/room.js",
        "chat/static/chat/site.css",
        "chat/static/chat/view.js",
        "chat/tasks.py",
        "chat/templates/chat/base.html",
        "chat/templates/chat/logo.html",
        "chat/templates/chat/room.html",
        "chat/templates/registration/card.html",
        "chat/templates/registration/login.html",
        "chat/templates/registration/sign_up.html",
        "chat/urls.py",
        "chat/views.py",
        "compose.yaml",
        "manage.py",
        "mysite/__init__.py",
        "mysite/settings.py",
        "mysite/urls.py",
        "mysite/wsgi.py",
        "requirements.txt",
        "tests/__init__.py",
        "tests/test_chat.py",
        "zephsettings.py",
    ],
    "poll": [
        "README.md",
        "ballots.py",
        "poll_tasks.py",
        "static/index.html",
        "static/poll.css",
        "static/poll.js",
        "tests/conftest.py",
        "tests/test_poll.py",
        "zephsettings.py",
    ],
    "services": ["README.md", "tests/conftest.py", "tests/test_workers.py", "workers.py", "zephsettings.py"],
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def careless() -> Iterator[None]:
    """A umask that lets everybody write everything."""
    before = os.umask(0)
    yield
    os.umask(before)


def files_in(folder: Path) -> list[str]:
    """The files below a folder, sorted."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def check(zephctl: Zephctl, template: str, folder: str | None = None) -> Answer:
    """What `zephctl check` says. A process loads one Django project at most, so that one gets a process of its own."""
    words = ["check", "--folder", folder or template]
    if template != "django":
        return zephctl(*words)
    argv = [sys.executable, "-m", "zephctl", *words]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment)
    return Answer(done.returncode, done.stdout, done.stderr)


def test_every_template_has_its_files() -> None:
    assert set(FILES) == set(TEMPLATES)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_folder_named_after_the_template_is_made(zephctl: Zephctl, here: Path, template: str) -> None:
    answer = zephctl("new", template)

    next = FIRST.get(template, "zephctl start")
    assert answer == Answer(0, "", f"made {here / template}: {TEMPLATES[template]}\nnext: cd {template} && {next}\n")
    assert files_in(here / template) == FILES[template]


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_was_made_passes_the_check(zephctl: Zephctl, here: Path, template: str) -> None:
    zephctl("new", template)

    answer = check(zephctl, template)

    assert answer.status == 0
    assert answer.stderr.startswith(f"{here / template}/zephsettings.py is fine: ")


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_was_made_is_trusted_whatever_the_umask(
    zephctl: Zephctl, here: Path, careless: None, template: str
) -> None:
    zephctl("new", template, "deep/er")

    answer = check(zephctl, template, "deep/er")

    assert answer.status == 0
    made = [path for path in (here / "deep/er").rglob("*") if path.name != "__pycache__"]  # that is Python's own
    assert [path for path in made if path.stat().st_mode & 0o022] == []


def test_the_folder_can_be_named(zephctl: Zephctl, here: Path) -> None:
    answer = zephctl("new", "services", "a/b c")

    assert (answer.status, answer.stdout) == (0, "")
    assert files_in(here / "a" / "b c") == FILES["services"]


def test_the_next_step_can_be_pasted_into_a_shell(zephctl: Zephctl) -> None:
    answer = zephctl("new", "services", "b c")

    assert answer.stderr.splitlines()[-1] == "next: cd 'b c' && zephctl start"


def test_an_empty_folder_is_filled(zephctl: Zephctl, here: Path) -> None:
    (here / "mine").mkdir()

    assert zephctl("new", "services", "mine").status == 0
    assert files_in(here / "mine") == FILES["services"]


def test_the_current_folder_may_be_filled(zephctl: Zephctl, here: Path) -> None:
    answer = zephctl("new", "services", ".")

    assert answer.status == 0
    assert answer.stderr == f"made {here}: {TEMPLATES['services']}\nnext: zephctl start\n"


@pytest.mark.parametrize("kind", ["folder", "file", "hidden"])
def test_what_is_there_is_not_touched(zephctl: Zephctl, here: Path, kind: str) -> None:
    there = here / "chat"
    if kind == "file":
        there.write_text("mine")
    else:
        there.mkdir()
        (there / (".git" if kind == "hidden" else "mine")).write_text("mine")

    answer = zephctl("new", "chat")

    assert answer == Answer(1, "", f"zephctl: {there} exists and is not empty; name another folder\n")
    assert files_in(here) == {"file": ["chat"], "folder": ["chat/mine"], "hidden": ["chat/.git"]}[kind]


def test_a_folder_that_cannot_be_made_is_a_failure_in_one_line(zephctl: Zephctl, here: Path) -> None:
    (here / "file").write_text("mine")

    answer = zephctl("new", "chat", "file/chat")

    assert (answer.status, answer.stdout) == (1, "")
    assert answer.stderr == f"zephctl: {here}/file/chat cannot be made: Not a directory\n"


def test_an_unknown_template_is_a_usage_error_with_those_there_are(zephctl: Zephctl, here: Path) -> None:
    answer = zephctl("new", "shop")

    assert answer.status == 2
    assert "'shop' is not one of 'chat', 'django', 'poll', 'services'" in answer.stderr
    assert files_in(here) == []


def test_the_answer_in_json(zephctl: Zephctl, here: Path) -> None:
    answer = zephctl("new", "services", "-q", "-o", "json")

    assert answer.stderr == ""
    assert answer.json == {"schema": 1, "folder": str(here / "services"), "template": "services"}


def test_nothing_is_said_when_quiet(zephctl: Zephctl) -> None:
    assert zephctl("new", "services", "-q") == Answer(0, "", "")


PLACE = Path(new.__file__).parent.parent / "templates"
PAGES = [path for path in PLACE.rglob("*") if path.suffix in (".html", ".css", ".js")]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(PLACE)))
def test_the_pages_never_read_text_as_html_and_fetch_nothing_from_elsewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")

    found = re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|<[^>]*\son\w+=|https?://|\beval\b", text
    )

    assert found == []
