"""Development mode: a save is new code, whatever the editor does."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers.api import BaseObserver

from tests.zephserver.conftest import Site, Talker
from zephserver import reloader
from zephserver.core.events import ServiceChanged
from zephserver.events import ReloadMended, ReloadRefused, RestartNeeded, TasksReloaded
from zephserver.reloader import Reloader
from zephserver.testing import wait_until

MakeSite = Callable[..., Site]
RELOADER = "zephserver.reloader/Reloader"
TASK = "from zephserver import Task\nclass Echo(Task):\n    async def main(self): self.reply({})\n"


class Workshop:
    """A site in development mode, somebody who visits it, and a folder to save files in."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.path = folder / "echoes.py"
        self.ann: Talker = site.join("ann")
        self._messages: list[dict[str, Any]] = []

    def until(self, answer: Any) -> None:
        """Wait until the task answers this, and the browser was told."""
        wait_until(lambda: self.answer() == answer, f"the task answers {answer!r}", timeout=10)

    def answer(self) -> Any:
        """What the task answers now."""
        return self.ann.ask("echo")["data"]

    def events(self, kind: type[Any]) -> list[Any]:
        """The events of a kind so far."""
        return [event for event in self.site.events if isinstance(event, kind)]

    def settle(self) -> None:
        """Wait until every save so far was seen: those of one folder come in order."""
        marker = self.folder / "static" / "marker.txt"
        marker.write_text(str(marker.exists()))
        self.ann.hear(msgtype="reloaded", pages=["/marker.txt"])


@pytest.fixture
def workshop(make_site: MakeSite, tmp_path: Path) -> Workshop:
    return open_workshop(make_site, tmp_path)


def open_workshop(make_site: MakeSite, folder: Path, more_services: tuple[str, ...] = (), **more: Any) -> Workshop:
    """A workshop whose task answers 'one'."""
    (folder / "echoes.py").write_text(TASK.replace("{}", "'one'"))
    (folder / "static").mkdir(exist_ok=True)
    values = {"TASKS_PATH": {"echo": "echoes/Echo"}, "STATIC_FOLDER": folder / "static"} | more
    return Workshop(make_site(services=(*more_services, RELOADER), **values), folder)


def text(answer: Any) -> bytes:
    """The task that answers this."""
    return TASK.replace("{}", repr(answer)).encode()


# -- how files are saved ------------------------------------------------------------------------------------------


def in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def atomic_rename(path: Path, data: bytes) -> None:
    other = path.with_name(f".{path.name}.tmp")
    other.write_bytes(data)
    os.replace(other, path)


def like_vim(path: Path, data: bytes) -> None:
    """With backupcopy=no, as it is for most files."""
    (path.parent / "4913").touch()
    (path.parent / "4913").unlink()
    backup = path.with_name(path.name + "~")
    path.rename(backup)
    path.write_bytes(data)
    backup.unlink()


def in_two_halves(path: Path, data: bytes) -> None:
    with path.open("wb", buffering=0) as file:
        file.write(data[: len(data) // 2])
        threading.Event().wait(0.08)  # longer than the moment of quiet
        file.write(data[len(data) // 2 :])


def emptied_first(path: Path, data: bytes) -> None:
    path.write_bytes(b"")
    threading.Event().wait(0.08)
    path.write_bytes(data)


@pytest.mark.parametrize("save", [in_place, atomic_rename, like_vim, in_two_halves, emptied_first])
def test_every_way_to_save_is_new_code(workshop: Workshop, save: Callable[[Path, bytes], None]) -> None:
    for answer in ("two", "six", "ten"):  # of one length, and soon after one another
        save(workshop.path, text(answer))
        workshop.until(answer)

    assert workshop.events(ReloadRefused) == []


def test_a_deleted_file_that_is_needed_is_told(workshop: Workshop) -> None:
    workshop.path.unlink()

    assert "echoes.py is gone" in workshop.site.wait(ReloadRefused).error
    assert workshop.answer() == "one"


def test_browsers_are_told_of_new_code(workshop: Workshop) -> None:
    workshop.path.write_bytes(text("two"))

    assert workshop.ann.hear(msgtype="reloaded") == {"msgtype": "reloaded", "modules": ["echoes"], "pages": []}


def test_browsers_are_told_of_new_files_of_the_page(workshop: Workshop) -> None:
    (workshop.folder / "static" / "css").mkdir()
    (workshop.folder / "static" / "css" / "a.css").write_text("a {}")

    assert workshop.ann.hear(msgtype="reloaded")["pages"] == ["/css/a.css"]


def test_a_syntax_error_is_told_once_and_the_old_code_goes_on(workshop: Workshop) -> None:
    workshop.path.write_text("def")
    refused = workshop.site.wait(ReloadRefused)
    during = workshop.answer()
    (workshop.folder / "static" / "a.css").write_text("a {}")
    page = workshop.ann.hear(msgtype="reloaded")["pages"]
    workshop.path.write_bytes(text("two"))
    workshop.until("two")

    assert (refused.line, refused.source, during) == (1, "def", "one")
    assert page == ["/a.css"]  # of which browsers are told all the same


def test_a_syntax_error_that_is_undone_is_told_as_mended(workshop: Workshop) -> None:
    workshop.path.write_bytes(text("two") + b"(")
    wait_until(lambda: workshop.events(ReloadRefused), "the error is told", timeout=10)
    workshop.path.write_bytes(text("one"))

    wait_until(lambda: workshop.events(ReloadMended), "it is told that all is well", timeout=10)
    assert workshop.answer() == "one"


def test_a_touch_is_no_change(workshop: Workshop) -> None:
    workshop.path.touch()
    workshop.path.write_bytes(workshop.path.read_bytes())
    workshop.settle()

    assert workshop.events(TasksReloaded) == []


@pytest.mark.parametrize(
    "name",
    [
        "venv/lib/a.py",
        "static/node_modules/a.js",
        "node_modules/a.py",
        "__pycache__/a.py",
        ".git/a.py",
        "static/.a.css.swp",
        "static/a.css~",
        "static/4913",
        "static/.hidden/a.css",
        "static/#a.css#",
        "static/a.css___jb_tmp___",
        "notes.txt",
        "static/a.py",
    ],
)
def test_files_that_are_not_the_users_are_not_looked_at(workshop: Workshop, name: str) -> None:
    (workshop.folder / "venv").mkdir()
    (workshop.folder / "venv" / "pyvenv.cfg").touch()
    path = workshop.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("def")
    workshop.ann.send(task="TaskPing", id="before")
    workshop.settle()
    workshop.ann.send(task="TaskPing", id="after")

    assert [m for m in workshop.ann.until(id="after") if m.get("msgtype") == "reloaded"] == []
    assert workshop.events(TasksReloaded) + workshop.events(ReloadRefused) == []


def test_the_log_and_the_socket_beside_the_pages_are_no_pages(make_site: MakeSite, tmp_path: Path) -> None:
    workshop = open_workshop(make_site, tmp_path, STATIC_FOLDER=tmp_path, LOG_LEVEL="DEBUG")
    workshop.site.join("bob")  # who makes lines in the log
    (tmp_path / "index.html").write_text("")

    assert workshop.ann.hear(msgtype="reloaded")["pages"] == ["/index.html"]


def test_pages_outside_of_the_folder_are_watched_too(
    make_site: MakeSite, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pages = tmp_path_factory.mktemp("pages")
    workshop = open_workshop(make_site, tmp_path, STATIC_FOLDER=pages)
    (pages / "index.html").write_text("")

    assert workshop.ann.hear(msgtype="reloaded")["pages"] == ["/index.html"]


def test_a_new_folder_is_watched(workshop: Workshop) -> None:
    folder = workshop.folder / "fresh"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "word.py").write_text("WORD = 'two'")
    workshop.path.write_text("from fresh.word import WORD\n" + TASK.replace("{}", "WORD"))
    workshop.until("two")
    (folder / "word.py").write_text("WORD = 'six'")

    workshop.until("six")


def test_a_folder_that_is_a_link_is_watched(
    make_site: MakeSite, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = tmp_path_factory.mktemp("shared")
    (shared / "word.py").write_text("WORD = 'one'")
    (tmp_path / "linked_words").symlink_to(shared)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "above").symlink_to(tmp_path.parent)
    (tmp_path / "again").symlink_to(shared)
    (tmp_path / "linked.py").write_text("from linked_words.word import WORD\n" + TASK.replace("{}", "WORD"))
    workshop = open_workshop(make_site, tmp_path, TASKS_PATH={"echo": "linked/Echo"})
    assert workshop.answer() == "one"
    (shared / "word.py").write_text("WORD = 'two'")

    workshop.until("two")


def test_a_changed_service_needs_a_restart(make_site: MakeSite, tmp_path: Path) -> None:
    clock = "import threading\nclass Clock:\n    def __init__(self): self.over = threading.Event()\n"
    clock += "    def main(self): self.over.wait()\n    def disable(self): self.over.set()\n"
    (tmp_path / "clocks.py").write_text(clock)
    workshop = open_workshop(make_site, tmp_path, more_services=("clocks/Clock",))
    (tmp_path / "clocks.py").write_text(clock + "# more\n")

    event = workshop.site.wait(RestartNeeded)
    assert (event.files, event.services, event.faults) == ((str(tmp_path / "clocks.py"),), ("clocks/Clock",), ())


def test_what_was_saved_before_the_folder_was_watched_is_seen(
    make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe = Reloader._watch

    def save_before(self: Reloader) -> BaseObserver:
        (tmp_path / "echoes.py").write_bytes(text("two"))
        return observe(self)

    monkeypatch.setattr(Reloader, "_watch", save_before)

    open_workshop(make_site, tmp_path).until("two")


def test_the_files_are_looked_at_again_and_again_if_the_settings_say_so(make_site: MakeSite, tmp_path: Path) -> None:
    workshop = open_workshop(make_site, tmp_path, RELOAD_POLL=0.05)
    for answer in ("two", "six"):
        atomic_rename(workshop.path, text(answer))
        workshop.until(answer)


def test_where_the_system_cannot_watch_the_files_are_looked_at(
    make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> BaseObserver:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(reloader, "Observer", full)
    monkeypatch.setattr(reloader, "FALLBACK_POLL", 0.05)
    workshop = open_workshop(make_site, tmp_path)
    workshop.path.write_bytes(text("two"))

    workshop.until("two")
    workshop.site.wait_log("the system cannot watch these folders (inotify watch limit reached)")


def test_an_observer_that_does_not_start_is_taken_down(
    make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, stopped = BaseObserver.start, []

    def fail_once(self: BaseObserver) -> None:
        if not stopped:
            stopped.append(self)
            raise OSError(24, "too many")
        start(self)

    monkeypatch.setattr(BaseObserver, "start", fail_once)
    monkeypatch.setattr(reloader, "FALLBACK_POLL", 0.05)
    workshop = open_workshop(make_site, tmp_path)
    workshop.path.write_bytes(text("two"))

    workshop.until("two")


def test_files_that_cannot_be_looked_at_do_not_end_the_service(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trip(*args: object, **more: object) -> None:
        raise RuntimeError("one foot on the other")

    with monkeypatch.context() as patch:
        patch.setattr(workshop.site.router.table, "reload", trip)
        workshop.path.write_bytes(text("two"))
        workshop.site.wait_log("the files could not be looked at")
    workshop.path.write_bytes(text("six"))

    workshop.until("six")
    assert not [e for e in workshop.events(ServiceChanged) if e.name == RELOADER and e.new == "dead"]


def test_a_reload_that_writes_the_file_itself_is_slowed_down(workshop: Workshop) -> None:
    counter = "from pathlib import Path\np = Path(__file__)\np.write_text(p.read_text() + '#')\n"
    workshop.path.write_text(counter + TASK.replace("{}", "'loop'"))

    workshop.site.wait_log("echoes.py is saved again and again; it is looked at every 1 s only")
    workshop.path.write_bytes(text("two"))
    workshop.until("two")


def test_the_service_can_be_stopped_while_it_waits_for_half_a_file(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloader, "HALF_WRITTEN", 10.0)
    workshop.path.write_text("def")
    workshop.site.on_loop(lambda: None)
    manager = workshop.site.server.services
    threading.Event().wait(0.1)

    manager.disable_service(RELOADER)
    manager.enable_service(RELOADER)
    workshop.path.write_bytes(text("two"))

    workshop.until("two")


def test_a_thousand_files_are_no_burden(make_site: MakeSite, tmp_path: Path) -> None:
    names = [f"module{number}" for number in range(1_000)]
    for name in names:
        (tmp_path / f"{name}.py").write_text("X = 1\n")
    (tmp_path / "all_of_them.py").write_text("".join(f"import {name}\n" for name in names))
    workshop = open_workshop(make_site, tmp_path)
    workshop.path.write_text("import all_of_them\n" + TASK.replace("{}", "'two'"))
    workshop.until("two")
    for answer in ("six", "ten", "two"):
        workshop.path.write_text("import all_of_them\n" + TASK.replace("{}", f"'{answer}'"))
        workshop.until(answer)

    wait_until(lambda: len(workshop.events(TasksReloaded)) == 4, "all are told")  # which is behind the first answer
    first, *reloads = workshop.events(TasksReloaded)
    assert [reload.modules for reload in reloads] == [("echoes",)] * 3
    assert min(reload.seconds for reload in reloads) < first.seconds / 3  # which loaded all of them
