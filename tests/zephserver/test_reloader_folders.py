"""Which folders the development mode watches."""

from __future__ import annotations

import queue
from pathlib import Path

from watchdog.events import DirCreatedEvent, DirMovedEvent

from zephserver.core.settings import make_settings
from zephserver.reloader import LARGE_TREE, _Handler, _Scope


class Notes:
    """An observer that takes notes."""

    def __init__(self) -> None:
        self.watched: dict[str, bool] = {}

    def schedule(self, handler: object, path: str, *, recursive: bool, event_filter: object) -> None:
        if path.endswith("forbidden"):
            raise PermissionError(13, "Permission denied")
        self.watched[path] = recursive


def handler_of(folder: Path, events: queue.SimpleQueue[Path | None] | None = None) -> tuple[_Handler, Notes]:
    """A handler for a folder, and what it asks to be watched."""
    notes = Notes()
    settings = make_settings({"SERVICE_LIST": []}, folder=folder)
    scope = _Scope(settings, [folder])
    return _Handler(events or queue.SimpleQueue(), notes, scope), notes  # type: ignore[arg-type]


def test_a_small_tree_is_watched_whole(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    handler, notes = handler_of(tmp_path)

    handler.watch(tmp_path)

    assert notes.watched == {str(tmp_path): True}


def test_a_large_tree_is_watched_without_its_environments(tmp_path: Path) -> None:
    for number in range(LARGE_TREE + 1):
        (tmp_path / "front" / "node_modules" / str(number)).mkdir(parents=True)
    (tmp_path / "front" / "src" / "deep").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / "shop").mkdir()
    (tmp_path / "a.py").touch()
    handler, notes = handler_of(tmp_path)

    handler.watch(tmp_path)

    assert {Path(path).name: whole for path, whole in notes.watched.items()} == {
        tmp_path.name: False,
        "front": False,
        "src": True,
        "shop": True,
    }


def test_a_new_folder_in_a_large_tree_is_watched_and_its_files_are_new(tmp_path: Path) -> None:
    events: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
    handler, notes = handler_of(tmp_path, events)
    handler._alone.add(tmp_path)
    for name in ("fresh", ".git", "forbidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").touch()
        handler.on_any_event(DirCreatedEvent(str(tmp_path / name)))
    handler.on_any_event(DirMovedEvent(str(tmp_path / "fresh"), str(tmp_path / "gone")))

    assert notes.watched == {str(tmp_path / "fresh"): True}
    assert events.get_nowait() == tmp_path / "fresh" / "a.py"
