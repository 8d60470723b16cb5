"""zephctl reload: new code for the tasks of a running server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.zephctl.conftest import Answer
from tests.zephserver.conftest import Site

Zephctl = Callable[..., Answer]
MODULE = "from zephserver import Task\nfrom zephserver.session_manager import SimpleSessionManager\n"
TASK = MODULE + "class Word(Task):\n    async def main(self):\n        self.reply({})\n"


@pytest.fixture
def reload_site(open_site: Callable[..., Site], folder: Path) -> Site:
    """A server whose task `word` answers 1."""
    (folder / "words.py").write_text(TASK.replace("{}", "1"))
    return open_site("zephserver.session_manager/SimpleSessionManager", TASKS_PATH={"word": "words/Word"})


def answer_of(site: Site) -> object:
    """What the task answers now."""
    return site.join("ann", None).ask("word")["data"]


def without_time(text: str) -> str:
    """The text, with its milliseconds as N."""
    words = text.split()
    return " ".join("N" if after == "ms" else word for word, after in zip(words, [*words[1:], ""], strict=True))


def test_without_a_change_nothing_is_done(zephctl: Zephctl, reload_site: Site) -> None:
    assert zephctl("reload") == Answer(0, "", "nothing has changed\n")


def test_changed_code_is_loaded_and_named(zephctl: Zephctl, reload_site: Site, folder: Path) -> None:
    (folder / "words.py").write_text(TASK.replace("{}", "2"))

    answer = zephctl("reload")

    assert (answer.status, answer.stdout) == (0, "")
    assert without_time(answer.stderr) == "reloaded words in N ms"
    assert answer_of(reload_site) == 2


def test_it_is_a_command_of_the_tasks_too(zephctl: Zephctl, reload_site: Site, folder: Path) -> None:
    (folder / "words.py").write_text(TASK.replace("{}", "2"))

    assert without_time(zephctl("tasks", "reload", "--dry-run").stderr) == "would reload words in N ms"
    assert without_time(zephctl("tasks", "reload").stderr) == "reloaded words in N ms"
    assert answer_of(reload_site) == 2


def test_a_dry_run_only_says_what_it_would_do(zephctl: Zephctl, reload_site: Site, folder: Path) -> None:
    (folder / "words.py").write_text(TASK.replace("{}", "2"))

    answer = zephctl("reload", "--dry-run")

    assert without_time(answer.stderr) == "would reload words in N ms"
    assert answer_of(reload_site) == 1


def test_code_that_does_not_work_is_a_failure_with_its_place(zephctl: Zephctl, reload_site: Site, folder: Path) -> None:
    (folder / "words.py").write_text("x = 1\nif True:\n    def x(:\n")

    answer = zephctl("reload")

    assert (answer.status, answer.stdout) == (1, "")
    assert answer.stderr.splitlines() == [
        f"zephctl: {folder}/words.py:3: SyntaxError: invalid syntax; the old code goes on",
        "zephctl:     def x(:",
        "zephctl:           ^",
    ]
    assert answer_of(reload_site) == 1


def test_code_that_does_not_work_is_one_sentence_in_json(zephctl: Zephctl, reload_site: Site, folder: Path) -> None:
    (folder / "words.py").write_text("def")

    answer = zephctl("reload", "-o", "json")

    text = f"{folder}/words.py:1: SyntaxError: invalid syntax; the old code goes on"
    assert json.loads(answer.stderr)["error"] == {"code": "reload-failed", "message": text}


def test_changed_services_are_named_with_what_to_do(
    zephctl: Zephctl, open_site: Callable[..., Site], folder: Path
) -> None:
    (folder / "words.py").write_text(TASK.replace("{}", "1"))
    (folder / "mine.py").write_text(MODULE + "class Mine(SimpleSessionManager): pass\n")
    open_site("mine/Mine", TASKS_PATH={"word": "words/Word"})
    (folder / "mine.py").write_text(MODULE + "class Mine(SimpleSessionManager): pass\n# more\n")

    answer = zephctl("reload")

    told = f"{folder}/mine.py changed; to use that in mine/Mine: zephctl restart"
    assert answer == Answer(0, "", f"no code of the tasks has changed\n{told}\n")


def test_the_last_reload_can_be_undone(zephctl: Zephctl, reload_site: Site, folder: Path) -> None:
    (folder / "words.py").write_text(TASK.replace("{}", "2"))
    zephctl("reload")

    answer = zephctl("reload", "--rollback")

    text = "the tasks run the code from before the last reload; the files are as they were\n"
    assert answer == Answer(0, "", text)
    assert answer_of(reload_site) == 1
    assert zephctl("reload", "--rollback") == Answer(1, "", "zephctl: there is no reload to undo\n")


def test_services_that_go_on_with_the_old_code_are_named(
    zephctl: Zephctl, open_site: Callable[..., Site], folder: Path
) -> None:
    (folder / "words.py").write_text(TASK.replace("{}", "1") + "class Mine(SimpleSessionManager): pass\n")
    open_site("words/Mine", TASKS_PATH={"word": "words/Word"})
    (folder / "words.py").write_text(TASK.replace("{}", "2") + "class Mine(SimpleSessionManager): pass\n")

    lines = zephctl("reload").stderr.splitlines()

    assert lines[1] == "services that go on with the old code until zephctl restart: words/Mine"


def test_the_answer_in_json(zephctl: Zephctl, reload_site: Site, folder: Path) -> None:
    (folder / "words.py").write_text(TASK.replace("{}", "2"))

    answer = zephctl("reload", "-o", "json")

    assert answer.stderr == ""
    assert answer.json.pop("seconds") > 0
    assert {k: v for k, v in answer.json.items() if k != "seconds"} == {
        "schema": 1,
        "modules": ["words"],
        "keep_old": [],
        "stale": {"files": [], "services": [], "settings": None},
    }


def test_nothing_is_said_when_quiet(zephctl: Zephctl, reload_site: Site) -> None:
    assert zephctl("reload", "-q") == Answer(0, "", "")


def test_both_wishes_at_once_are_a_usage_error(zephctl: Zephctl, no_server: None) -> None:
    answer = zephctl("reload", "--dry-run", "--rollback")

    assert answer.status == 2
    assert "Choose one of --dry-run and --rollback." in answer.stderr


def test_without_a_server_there_is_nothing_to_reload(zephctl: Zephctl, no_server: None) -> None:
    assert zephctl("reload").status == 5


def test_a_server_without_tasks_cannot_reload_any(zephctl: Zephctl, other_server: object) -> None:
    assert zephctl("reload").status == 1
