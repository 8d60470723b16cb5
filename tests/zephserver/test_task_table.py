"""Name -> task: what clients can call, and how it changes while the server runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.zephserver.conftest import ROUTER, Site
from zephserver.core.errors import CommandFailed, ReloadFailed
from zephserver.events import ReloadMended, ReloadRefused, TasksReloaded

MakeSite = Callable[..., Site]
TASK = "from zephserver import Task\nclass Echo(Task):\n    async def main(self): self.reply({})\n"


@pytest.fixture
def site(make_site: MakeSite, tmp_path: Path) -> Site:
    """A site whose task `echo` answers 'one'."""
    write(tmp_path, "'one'")
    return make_site(TASKS_PATH={"echo": "echoes/Echo"})


def write(folder: Path, answer: str) -> None:
    """Save the task, so that it answers this."""
    (folder / "echoes.py").write_text(TASK.replace("{}", answer))


def test_the_next_message_runs_the_new_code_on_the_same_connection(site: Site, tmp_path: Path) -> None:
    ann = site.join("ann")
    before = ann.ask("echo")["data"]
    write(tmp_path, "'two'")

    done = site.router.reload_tasks()

    assert (before, ann.ask("echo")["data"]) == ("one", "two")
    assert (done["modules"], done["keep_old"]) == (["echoes"], [])
    assert 0 < done["seconds"] < 10


def test_a_reload_is_an_event(site: Site, tmp_path: Path) -> None:
    write(tmp_path, "'two'")
    site.router.reload_tasks()

    event = site.wait(TasksReloaded)

    assert (event.modules, event.running, event.keep_old) == (("echoes",), 0, ())


def test_without_a_change_there_is_no_event(site: Site) -> None:
    assert site.router.reload_tasks() == {
        "modules": [],
        "seconds": 0.0,
        "keep_old": [],
        "stale": {"files": (), "services": (), "settings": None},
    }
    assert not [event for event in site.events if isinstance(event, TasksReloaded)]


def test_a_dry_run_is_no_event(site: Site, tmp_path: Path) -> None:
    write(tmp_path, "'two'")

    assert site.router.reload_tasks(dry_run=True)["modules"] == ["echoes"]
    assert not [event for event in site.events if isinstance(event, TasksReloaded)]
    assert site.join("ann").ask("echo")["data"] == "one"


def test_code_that_does_not_work_is_an_event_with_its_place(site: Site, tmp_path: Path) -> None:
    write(tmp_path, "'two'")
    with (tmp_path / "echoes.py").open("a") as file:
        file.write("  oh dear\n")

    with pytest.raises(ReloadFailed):
        site.router.reload_tasks()

    event = site.wait(ReloadRefused)
    assert (event.file, event.line, event.source) == (str(tmp_path / "echoes.py"), 4, "  oh dear")
    assert site.join("ann").ask("echo")["data"] == "one"


def test_a_fault_that_was_taken_back_is_told_once(site: Site, tmp_path: Path) -> None:
    write(tmp_path, "(")
    with pytest.raises(ReloadFailed):
        site.router.reload_tasks()
    write(tmp_path, "'one'")

    for _ in range(2):
        assert site.router.reload_tasks()["modules"] == []

    assert site.wait(ReloadMended).file == str(tmp_path / "echoes.py")
    assert len([event for event in site.events if isinstance(event, ReloadMended)]) == 1


def test_a_fault_that_new_code_took_the_place_of_is_only_a_reload(site: Site, tmp_path: Path) -> None:
    write(tmp_path, "(")
    with pytest.raises(ReloadFailed):
        site.router.reload_tasks()
    write(tmp_path, "'two'")

    for _ in range(2):
        site.router.reload_tasks()

    site.wait(TasksReloaded)
    assert not [event for event in site.events if isinstance(event, ReloadMended)]


def test_sighup_loads_what_has_changed_and_survives_what_does_not_work(site: Site, tmp_path: Path) -> None:
    ann = site.join("ann")
    write(tmp_path, "'two'")
    site.server.reload()
    second = ann.ask("echo")["data"]
    write(tmp_path, "(")
    site.server.reload()

    assert (second, ann.ask("echo")["data"]) == ("two", "two")
    site.wait(ReloadRefused)


def test_a_rollback_serves_the_old_code_again(site: Site, tmp_path: Path) -> None:
    ann = site.join("ann")
    write(tmp_path, "'two'")
    site.router.reload_tasks()
    second = ann.ask("echo")["data"]

    assert site.router.roll_tasks_back() is True
    assert (second, ann.ask("echo")["data"]) == ("two", "one")
    with pytest.raises(CommandFailed, match="there is no reload to undo"):
        site.router.roll_tasks_back()


def test_what_a_task_says_of_itself_is_looked_up_anew(site: Site, tmp_path: Path) -> None:
    text = TASK.replace("async ", "").replace("    def", "    timeout, concurrent = 0.01, True\n    def")
    (tmp_path / "echoes.py").write_text(text.replace("{}", "'two'"))

    site.router.reload_tasks()

    row = site.router.table.rows["echo"]
    assert (row.is_async, row.is_instant, row.is_concurrent, row.timeout) == (False, False, True, 0.01)


def test_ping_is_always_there(site: Site, tmp_path: Path) -> None:
    write(tmp_path, "'two'")
    site.router.reload_tasks()

    assert site.join("ann").ask("TaskPing")["data"] == "pong"
    assert set(site.router.table.rows) == {"TaskPing", "echo"}


def test_a_class_that_cannot_be_looked_up_is_refused_whole(site: Site, tmp_path: Path) -> None:
    before = sys.modules["echoes"]
    trap = "class Trap(type):\n    @property\n    def timeout(cls): raise RuntimeError('trapped')\n"
    write(tmp_path, "'two'")
    path = tmp_path / "echoes.py"
    path.write_text(trap + path.read_text().replace("(Task)", "(metaclass=Trap)"))

    with pytest.raises(ReloadFailed, match="RuntimeError: trapped"):
        site.router.reload_tasks()

    assert sys.modules["echoes"] is before
    assert site.join("ann").ask("echo")["data"] == "one"


def test_the_folder_of_the_settings_is_the_users(site: Site, tmp_path: Path) -> None:
    assert site.router.table.roots == [tmp_path]
    assert site.server.get_service(ROUTER) is site.router
