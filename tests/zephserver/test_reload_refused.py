"""What a reload refuses, how it is undone, and what only a restart does."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

from tests.zephserver.house import TASK, Houses, a_house  # noqa: F401 - the last is a fixture
from zephserver.access import guards_of
from zephserver.core.errors import ReloadFailed
from zephserver.reload import Stale

# -- what is refused ------------------------------------------------------------------------------------------------


def test_a_syntax_error_is_told_with_its_place(house: Houses) -> None:
    home = house()
    home.write(helpers="WORD = 'two'\nif WORD\n    pass\n")

    failed = home.refused()

    path = str(home.folder / "helpers.py")
    assert tuple(failed.facts.values()) == (path, 2, "if WORD", 8)
    assert str(failed) == f"{path}:2: SyntaxError: expected ':'; the old code goes on"
    assert home.call() == "one"


@pytest.mark.parametrize("text", ["x = 1\0", "(" * 5_000, "# coding: nonsense\n"])
def test_a_file_that_is_hardly_a_program_is_named(house: Houses, text: str) -> None:
    home = house()
    home.write(helpers=text)

    failed = home.refused()

    assert (failed.origin.file, failed.origin.line) == (str(home.folder / "helpers.py"), 1)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("\nx = 1 / 0", "ZeroDivisionError: division by zero"),
        ("\nimport zz_missing", "ModuleNotFoundError: No module named 'zz_missing'"),
        ("\nraise SystemExit", "SystemExit"),
        ("\nraise KeyboardInterrupt", "KeyboardInterrupt"),
        ("\neval('1 +')", "SyntaxError: invalid syntax (<string>, line 1)"),
    ],
)
def test_an_exception_half_way_leaves_everything_as_it_was(house: Houses, text: str, what: str) -> None:
    home = house()
    home.write(helpers=f"import fresh{text}", fresh="WORD = 'fresh'")

    failed = home.refused()

    assert (failed.origin.what, failed.origin.line, failed.origin.source) == (what, 2, text.strip())
    assert failed.origin.file == str(home.folder / "helpers.py")
    assert "fresh" not in sys.modules


def test_the_line_of_a_fault_is_that_of_the_file_now(house: Houses) -> None:
    home = house()
    for number in (1, 2):
        home.write(helpers=f"x = {number} / 0")
        assert home.refused().origin.source == f"x = {number} / 0"


def test_a_fault_in_a_new_module_is_told_with_its_place(house: Houses) -> None:
    home = house()
    home.write(helpers="import fresh", fresh="x = (")

    assert home.refused().origin.file == str(home.folder / "fresh.py")


def test_a_fault_without_a_place_is_told_without(house: Houses) -> None:
    home = house()
    home.write(helpers="WORD = 'two'")

    def install(classes: dict[str, type[Any]]) -> None:
        raise RuntimeError("no room")

    before = dict(sys.modules)
    with pytest.raises(ReloadFailed) as raised:
        home.code.reload(install)

    assert (raised.value.origin.what, raised.value.origin.file) == ("RuntimeError: no room", None)
    assert sys.modules == before


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("class Eco: pass", "task 'echo': module tasks has no class Echo"),
        ("Echo = 3", "task 'echo': module tasks has no class Echo"),
        ("class Echo: pass", "task 'echo': class Echo has no method main"),
        ("class Echo:\n    main = 3", "task 'echo': class Echo has no method main"),
        (
            "class Echo:\n    timeout = '5'\n    def main(self): pass",
            "task 'echo': timeout of class Echo: expected seconds above 0, or None, got '5'",
        ),
    ],
)
def test_a_task_that_is_none_any_more_is_refused(house: Houses, text: str, what: str) -> None:
    home = house()
    home.write(tasks=text)

    failed = home.refused()

    assert failed.origin.what == what


def test_a_deleted_module_that_is_needed_is_told(house: Houses) -> None:
    home = house()
    (home.folder / "helpers.py").unlink()

    failed = home.refused()

    assert str(failed) == f"{home.folder}/helpers.py is gone, the file of module helpers; the old code goes on"
    assert home.call() == "one"


GUARDED = """
from zephserver import Task, login_required, user_passes_test
class Echo(Task):
    @login_required
    @user_passes_test(lambda user: user.id == 1)
    def __init__(self, request): super().__init__(request)
    def main(self): pass
"""


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ("    @login_required\n", "", "login_required"),
        ("    @user_passes_test(lambda user: user.id == 1)\n", "", "user_passes_test"),
        ("def __init__", "def __init", "login_required, user_passes_test"),
        ("class Echo(Task):", "class Safe(Task):", None),
    ],
)
def test_a_guarded_task_never_becomes_open(house: Houses, old: str, new: str, lost: str | None) -> None:
    home = house(tasks=GUARDED)
    home.write(tasks=GUARDED.replace(old, new) + ("class Echo(Safe): pass" if lost is None else ""))

    if lost is None:
        assert home.reload() is not None  # it inherits its guards
        return
    assert home.refused().origin.what == (
        f"task 'echo' would lose {lost}; a reload never opens a guarded task: restart the server if you mean it"
    )


def test_a_task_may_become_guarded(house: Houses) -> None:
    home = house(tasks=GUARDED.replace("    @login_required\n", ""))
    home.write(tasks=GUARDED)

    assert home.reload() is not None
    assert guards_of(home.classes["echo"]) == {"login_required", "user_passes_test"}


def test_what_was_refused_is_tried_again_with_the_next_save(house: Houses) -> None:
    home = house(tasks=TASK, helpers="WORD = 'one'", base="")
    home.write(helpers="WORD =")
    home.refused()
    home.write(helpers="WORD = 'three'")

    assert home.reload() is not None
    assert home.call() == "three"


# -- rollback -------------------------------------------------------------------------------------------------------


def test_the_last_reload_can_be_undone_once(house: Houses) -> None:
    home = house()
    before, classes = dict(sys.modules), home.classes
    home.write(helpers="WORD = 'two'\nimport fresh", fresh="")
    nothing = home.code.rollback(home.install)
    home.reload()

    assert not nothing
    assert home.code.rollback(home.install)
    assert dict(sys.modules) == before
    assert home.classes == classes
    assert not home.code.rollback(home.install)


def test_what_was_rolled_back_comes_again_with_the_next_change_only(house: Houses) -> None:
    home = house()
    home.write(helpers="WORD = 'two'", tasks=TASK + "    two = True")
    home.reload()
    home.code.rollback(home.install)

    assert home.reload() is None  # as for a SIGHUP of logrotate
    home.write(tasks=TASK + "    three = True")
    done = home.reload()
    assert done is not None
    assert done.modules == ("helpers", "tasks")
    assert home.call() == "two"


def test_a_rollback_goes_back_to_the_reload_before(house: Houses) -> None:
    home = house()
    for word in ("two", "three"):
        home.write(helpers=f"WORD = {word!r}")
        home.reload()

    home.code.rollback(home.install)

    assert home.call() == "two"


# -- what needs a restart -------------------------------------------------------------------------------------------

SERVICE = "from helpers import WORD\nclass Clock: pass"


def test_services_that_use_a_reloaded_module_are_named(house: Houses) -> None:
    home = house(services=("clocks/Clock",), tasks=TASK, helpers="WORD = 'one'", clocks=SERVICE)
    home.write(helpers="WORD = 'two'")

    done = home.reload()

    assert done is not None
    assert done.modules == ("helpers", "tasks")
    assert done.keep_old == ("clocks/Clock",)
    assert sys.modules["clocks"].WORD == "one"


def test_a_changed_service_needs_a_restart(house: Houses) -> None:
    files = {"clocks": "import gears\nclass Clock: pass", "gears": "", "more": "class Other: pass"}
    home = house(services=("clocks/Clock", "more/Other"), tasks=TASK, helpers="WORD = 'one'", **files)
    paths = [home.folder / "gears.py"]
    untouched = home.code.stale(paths)
    home.write(gears="TEETH = 3")

    assert home.reload() is None
    assert not untouched
    assert home.code.stale(paths) == home.code.stale() == Stale((str(paths[0]),), ("clocks/Clock",), None)
    assert not home.code.stale([home.folder / "more.py"])


def test_a_changed_settings_file_needs_a_restart_of_the_server(house: Houses) -> None:
    home = house()
    paths = [home.folder / "zephsettings.py"]
    untouched = home.code.stale(paths)
    paths[0].write_text("SERVICE_LIST = []\nLEAVE_DELAY = 1\n")

    assert not untouched
    assert home.code.stale(paths) == home.code.stale() == Stale((), (), str(paths[0]))
    assert not home.code.stale([home.folder / "tasks.py"])


def test_a_module_that_nobody_is_seen_to_import_needs_a_restart_of_the_server(house: Houses) -> None:
    home = house(tasks=TASK, helpers="WORD = 'one'", plugin="", never="")
    importlib.import_module("plugin")
    home.code.remember(home.classes)
    home.write(plugin="x = 1", never="x = 1")

    assert home.code.stale([home.folder / "plugin.py"]) == Stale((str(home.folder / "plugin.py"),), (), None)
    assert not home.code.stale([home.folder / "never.py", home.folder / "helpers.py"])
