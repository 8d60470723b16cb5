"""zephctl new: a folder with an example that runs at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.zephctl.conftest import Answer
from zephctl.commands.new import TEMPLATES

Zephctl = Callable[..., Answer]

FILES = {
    "chat": ["README.md", "chat_tasks.py", "static/index.html", "zephsettings.py"],
    "services": ["README.md", "workers.py", "zephsettings.py"],
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


def test_every_template_has_its_files() -> None:
    assert set(FILES) == set(TEMPLATES)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_folder_named_after_the_template_is_made(zephctl: Zephctl, here: Path, template: str) -> None:
    answer = zephctl("new", template)

    assert answer == Answer(
        0, "", f"made {here / template}: {TEMPLATES[template]}\nnext: cd {template} && zephctl start\n"
    )
    assert files_in(here / template) == FILES[template]


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_was_made_passes_the_check(zephctl: Zephctl, here: Path, template: str) -> None:
    zephctl("new", template)

    answer = zephctl("check", "--folder", template)

    assert answer.status == 0
    assert answer.stderr.startswith(f"{here / template}/zephsettings.py is fine: ")


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_was_made_is_trusted_whatever_the_umask(
    zephctl: Zephctl, here: Path, careless: None, template: str
) -> None:
    zephctl("new", template, "deep/er")

    answer = zephctl("check", "--folder", "deep/er")

    assert answer.status == 0
    assert [path for path in (here / "deep/er").rglob("*") if path.stat().st_mode & 0o022] == []


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
    assert "'shop' is not one of 'chat', 'services'" in answer.stderr
    assert files_in(here) == []


def test_the_answer_in_json(zephctl: Zephctl, here: Path) -> None:
    answer = zephctl("new", "services", "-q", "-o", "json")

    assert answer.stderr == ""
    assert answer.json == {"schema": 1, "folder": str(here / "services"), "template": "services"}


def test_nothing_is_said_when_quiet(zephctl: Zephctl) -> None:
    assert zephctl("new", "services", "-q") == Answer(0, "", "")
