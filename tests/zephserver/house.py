"""A folder with tasks that were loaded, for the tests of reloading."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zephserver.access import guards_of
from zephserver.core.errors import ReloadFailed
from zephserver.core.settings import make_settings
from zephserver.reload import Reloaded, TaskCode

TASK = """
from helpers import WORD

class Echo:
    def main(self): return WORD
"""


class House:
    """A folder with tasks and services that were loaded, and what clients would get now."""

    def __init__(self, folder: Path, paths: dict[str, str], services: list[str], /, **files: str) -> None:
        self.folder = folder
        self.write(**files)
        (folder / "zephsettings.py").write_text("SERVICE_LIST = []\n")
        values: dict[str, Any] = {"SERVICE_LIST": services, "TASKS_PATH": paths}
        settings = make_settings(values, folder=folder, file=folder / "zephsettings.py")
        self.code = TaskCode(settings, guards_of)
        for service in services:
            importlib.import_module(service.partition("/")[0])
        self.classes: dict[str, type[Any]] = {}
        for name, path in paths.items():
            module, _, class_name = path.partition("/")
            self.classes[name] = getattr(importlib.import_module(module), class_name)
        self.code.remember(self.classes)

    def write(self, **files: str) -> list[Path]:
        """Write files: `a=...` is a.py, `b__a=...` is b/a.py."""
        paths = []
        for name, text in files.items():
            path = self.folder / f"{name.replace('__', '/', 1)}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            paths.append(path)
        importlib.invalidate_caches()
        return paths

    def install(self, classes: dict[str, type[Any]]) -> None:
        self.classes = classes

    def reload(self, **options: Any) -> Reloaded | None:
        return self.code.reload(self.install, **options)

    def refused(self, **options: Any) -> ReloadFailed:
        """What a reload that does not work says; nothing is different after it."""
        before = snapshot(), self.classes
        with pytest.raises(ReloadFailed) as raised:
            self.reload(**options)
        assert (snapshot(), self.classes) == before
        return raised.value

    def call(self, name: str = "echo") -> Any:
        """What a task answers."""
        return self.classes[name]().main()


class Houses:
    """Makes houses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, paths: dict[str, str] | None = None, /, *, services: tuple[str, ...] = (), **files: str
    ) -> House:
        if not files:
            files = {"tasks": TASK, "helpers": "WORD = 'one'"}
        return House(self.folder, paths or {"echo": "tasks/Echo"}, list(services), **files)


@pytest.fixture(name="house")
def a_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Houses]:
    """`house(paths, services=..., **files)`; without any, a task `echo` that answers WORD of helpers.py."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Houses(tmp_path)
    ours = {path.name.removesuffix(".py") for path in tmp_path.iterdir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
        del sys.modules[name]


def snapshot() -> dict[str, object]:
    """Every module that is loaded, and what is in those that are no library's: libraries change while they are used."""
    libraries = (sys.prefix, sys.base_prefix)
    found: dict[str, object] = {}
    for name, module in list(sys.modules.items()):
        is_library = str(getattr(module, "__file__", sys.prefix)).startswith(libraries)
        found[name] = module if is_library else (module, dict(vars(module)))
    return found
