"""New code for the tasks of a running server: all of it or nothing."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.zephserver.house import TASK, House, Houses, a_house  # noqa: F401 - the last is a fixture
from zephserver.access import guards_of
from zephserver.core.settings import make_settings
from zephserver.reload import TaskCode

# -- what is loaded anew --------------------------------------------------------------------------------------------


def test_nothing_is_loaded_when_nothing_has_changed(house: Houses) -> None:
    home = house()
    before = sys.modules["tasks"]

    assert home.reload() is None
    assert home.reload(touched=[home.folder / "tasks.py"]) is None  # touched, and the same text in it
    assert sys.modules["tasks"] is before


def test_a_changed_module_is_loaded_with_those_that_import_it(house: Houses) -> None:
    home = house(tasks=TASK, helpers="from base import WORD", base="WORD = 'one'", other="import sys")
    home.write(base="WORD = 'two'")

    done = home.reload()

    assert done is not None
    assert done.modules == ("base", "helpers", "tasks")
    assert 0 < done.seconds < 10
    assert home.call() == "two"
    assert home.reload() is None


def test_a_running_task_ends_on_the_old_code(house: Houses) -> None:
    home = house()
    running = home.classes["echo"]()
    home.write(helpers="WORD = 'two'")

    home.reload()

    assert (running.main(), home.call()) == ("one", "two")


def test_names_that_were_taken_out_are_gone(house: Houses) -> None:
    home = house(tasks="OLD = 1\n" + TASK, helpers="WORD = 'one'")
    home.write(tasks=TASK)

    home.reload()

    assert not hasattr(sys.modules["tasks"], "OLD")


def test_the_same_size_within_the_same_second_is_a_change(house: Houses) -> None:
    home = house()
    path = home.folder / "helpers.py"
    facts = path.stat()
    home.write(helpers="WORD = 'two'")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    home.reload()

    assert home.call() == "two"


def test_a_task_of_another_module_stays(house: Houses) -> None:
    home = house({"echo": "tasks/Echo", "other": "others/Echo"}, tasks=TASK, helpers="WORD = 'one'", others=TASK)
    before = home.classes
    home.write(tasks=TASK + "    more = True")

    home.reload()

    assert home.classes["echo"] is not before["echo"]
    assert home.classes["other"] is before["other"]


def test_a_dry_run_changes_nothing_and_says_what_it_would_do(house: Houses) -> None:
    home = house()
    home.write(helpers="WORD = 'two'")
    before = dict(sys.modules)

    tried = home.reload(dry_run=True)

    assert tried is not None
    assert tried.modules == ("helpers", "tasks")
    assert sys.modules == before
    assert home.call() == "one"
    assert home.reload() is not None


def test_a_module_that_a_task_imported_later_is_watched_from_then_on(house: Houses) -> None:
    late = "class Echo:\n    def main(self):\n        import late\n        return late.WORD"
    home = house(tasks=late, late="WORD = 'one'")
    home.write()
    home.call()
    nothing = home.reload()
    home.write(late="WORD = 'two'")

    done = home.reload()

    assert nothing is None or nothing.modules == ("late", "tasks")  # when it was written in the moment of the start
    assert done is not None
    assert home.call() == "two"


def test_a_module_that_changed_after_a_task_imported_it_is_loaded(house: Houses) -> None:
    late = "class Echo:\n    def main(self):\n        import late\n        return late.WORD"
    home = house(tasks=late, late="WORD = 'one'")
    home.call()
    time.sleep(0.01)  # a file's time moves in steps of some milliseconds
    path = home.write(late="WORD = 'two'")[0]
    os.utime(path, (1, 1))  # as a copy with the times of the original

    assert home.reload() is not None
    assert home.call() == "two"


def test_a_touched_module_that_nobody_knew_is_loaded(house: Houses, tmp_path: Path) -> None:
    home = house(tasks="class Echo:\n    def main(self):\n        import late\n        return late.WORD", late="WORD=1")
    home.call()
    path = home.write(late="WORD=2")[0]
    home.code._since = time.time() + 60  # the clock went back
    assert not home.code._is_new(home.folder / "gone.py")

    assert home.reload() is None
    home.code._digests.pop("late")
    assert home.reload(touched=[path]) is not None


def test_a_new_module_comes_with_the_save_that_imports_it(house: Houses) -> None:
    home = house()
    home.write(fresh="WORD = 'fresh'", tasks=TASK.replace("helpers", "fresh"))

    done = home.reload()

    assert done is not None
    assert done.modules == ("tasks",)
    assert home.call() == "fresh"
    home.write(fresh="WORD = 'fresher'")
    home.reload()
    assert home.call() == "fresher"


def test_a_module_may_become_a_package(house: Houses) -> None:
    home = house()
    (home.folder / "helpers.py").unlink()
    home.write(helpers____init__="from .word import WORD", helpers__word="WORD = 'two'")

    done = home.reload()

    assert done is not None
    assert home.call() == "two"


def test_a_module_that_nobody_wants_any_more_may_be_deleted(house: Houses) -> None:
    home = house()
    (home.folder / "helpers.py").unlink()
    home.write(tasks="class Echo:\n    def main(self): return 'alone'")

    assert home.reload() is not None
    assert home.call() == "alone"


def test_a_module_imported_by_its_name_in_quotes_is_a_dependency(house: Houses) -> None:
    text = "import importlib\nhelpers = importlib.import_module('helpers')\nWORD = helpers.WORD"
    home = house(tasks=TASK.replace("from helpers import WORD", text), helpers="WORD = 'one'")
    home.write(helpers="WORD = 'two'")

    home.reload()

    assert home.call() == "two"


def test_what_was_read_is_what_counts_when_a_file_is_saved_during_a_reload(house: Houses) -> None:
    home = house()
    path = home.folder / "helpers.py"
    home.write(helpers=f"WORD = 'two'\nfrom pathlib import Path\nPath({str(path)!r}).write_text('WORD = 3')")

    home.reload()

    assert home.call() == "two"
    assert home.reload() is not None
    assert home.call() == 3


def test_reloads_at_the_same_time_take_turns_and_lose_nothing(house: Houses) -> None:
    text = "class Echo:\n    def main(self): return {}"
    tasks = {"a": "a/Echo", "b": "b/Echo"}
    home = house(tasks, a=text.format(0), b=text.format(0))
    for number in range(1, 21):
        home.write(a=text.format(number))
        home.write(b=text.format(number))
        threads = [threading.Thread(target=home.reload) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (home.call("a"), home.call("b")) == (number, number)


def test_a_folder_by_a_symbolic_link_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    monkeypatch.syspath_prepend(str(link))
    home = House(link, {"echo": "linked/Echo"}, [], linked=TASK.replace("helpers", "linked_low"), linked_low="WORD = 1")
    home.write(linked_low="WORD = 2")

    done = home.reload(touched=[real / "linked_low.py"])

    assert done is not None
    assert home.call() == 2
    assert sys.modules["linked"].__file__ == str(link / "linked.py")


def test_a_module_that_is_a_link_to_elsewhere_is_the_users(house: Houses, tmp_path: Path) -> None:
    home = house()
    (home.folder / "releases").mkdir()
    home.write(releases__two="WORD = 'two'")
    (home.folder / "helpers.py").unlink()
    (home.folder / "helpers.py").symlink_to(home.folder / "releases" / "two.py")

    assert home.reload() is not None
    assert home.call() == "two"


def test_tasks_from_another_folder_are_the_users_too(
    house: Houses, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    monkeypatch.syspath_prepend(str(other))
    (other / "far_tasks.py").write_text("class Echo:\n    def main(self): return 1")
    home = house({"echo": "far_tasks/Echo"}, mine="")
    (other / "far_tasks.py").write_text("import far_low\nclass Echo:\n    def main(self): return far_low.N")
    (other / "far_low.py").write_text("N = 2")

    home.reload()

    assert home.code.roots == [home.folder, other]
    assert home.call() == 2


def test_an_empty_list_of_tasks_has_nothing_to_load(house: Houses) -> None:
    settings = make_settings({"SERVICE_LIST": []}, folder=house.folder)
    code = TaskCode(settings, guards_of)
    code.remember({})

    assert code.reload(lambda classes: None) is None
    assert not code.stale([house.folder / "a.py"])


def test_a_module_that_says_so_is_not_executed_again(house: Houses) -> None:
    task = "from models import WORD\n\nclass Echo:\n    def main(self): return WORD\n"
    home = house({"echo": "tasks/Echo"}, tasks=task, models="__zeph_once__ = True\nWORD = 'one'\n")

    changed = home.write(models="__zeph_once__ = True\nWORD = 'two'\n")

    assert home.reload(touched=changed) is None
    assert home.call() == "one"
    assert home.code.stale(changed).files == (str(home.folder / "models.py"),)
    home.write(tasks=task.replace("return WORD", "return WORD + '!'"))
    assert home.reload() is not None
    assert home.call() == "one!"
