"""New versions of modules, made beside the old ones."""

from __future__ import annotations

import builtins
import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.zephserver.house import snapshot
from zephserver.module_graph import Source
from zephserver.staging import Staging


class Shelf:
    """Modules in a folder, named by their files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, files: dict[str, str]) -> None:
        """Write files by their names."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def load(self, files: dict[str, str], *names: str) -> list[ModuleType]:
        """Write files and import modules."""
        self.write(files)
        importlib.invalidate_caches()
        return [importlib.import_module(name) for name in names]

    def stage(self, *names: str) -> Staging:
        """What would make these modules anew."""
        sources = {name: Source.read(Path(str(sys.modules[name].__file__))) for name in names}
        return Staging(sources, lambda path: path.is_relative_to(self.folder))

    def renew(self, *names: str) -> Staging:
        """Make these modules anew and use them."""
        staging = self.stage(*names)
        staging.build()
        staging.commit()
        return staging


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Shelf(tmp_path)
    ours = {path.name.removesuffix(".py") for path in tmp_path.iterdir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
        del sys.modules[name]


def test_the_new_version_comes_when_it_is_committed_and_goes_when_it_is_undone(shelf: Shelf) -> None:
    (old,) = shelf.load({"a.py": "x = 1\ny = 1"}, "a")
    shelf.write({"a.py": "x = 2"})

    staging = shelf.stage("a")
    staging.build()
    before = sys.modules["a"]
    staging.commit()
    new = sys.modules["a"]
    staging.undo()

    assert (before, sys.modules["a"]) == (old, old)
    assert vars(new)["x"] == 2
    assert not hasattr(new, "y")  # a name that was taken out of the file is gone
    assert new.__file__ == old.__file__


def test_the_same_size_within_the_same_second_is_another_version(shelf: Shelf) -> None:
    (old,) = shelf.load({"a.py": "x = 1"}, "a")
    for number in range(2, 9):
        shelf.write({"a.py": f"x = {number}"})
        shelf.renew("a")
        assert sys.modules["a"].x == number
    assert old.x == 1


@pytest.mark.parametrize(
    "text",
    ["x = 2\nraise ValueError", "x = 2\nimport zz_not_there", "raise SystemExit", "from b import zz", "x = (", "\0"],
)
def test_a_failure_leaves_everything_as_it_was(shelf: Shelf, text: str) -> None:
    shelf.load({"a.py": "x = 1\nimport b", "b.py": "y = 1"}, "a")
    shelf.write({"a.py": f"import fresh\n{text}", "fresh.py": "z = 1", "b.py": "y = 2"})
    hooks = builtins.__import__, importlib.import_module, sys.modules
    before = snapshot()

    with pytest.raises(BaseException) as raised:  # noqa: PT011 - any of them
        shelf.stage("b", "a").build()

    assert isinstance(raised.value, (ValueError, ImportError, SystemExit, SyntaxError))
    assert snapshot() == before
    assert (builtins.__import__, importlib.import_module, sys.modules) == hooks


def test_a_module_that_is_new_belongs_to_the_version(shelf: Shelf) -> None:
    shelf.load({"a.py": ""}, "a")
    shelf.write({"a.py": "import fresh.deep", "fresh/__init__.py": "", "fresh/deep.py": "z = 1"})

    staging = shelf.stage("a")
    staging.build()
    early = "fresh" in sys.modules
    staging.commit()
    fresh = sys.modules["fresh.deep"]
    staging.undo()

    assert not early
    assert fresh.z == 1
    assert "fresh" not in sys.modules
    assert "fresh.deep" not in sys.modules


def test_dependants_see_the_new_version(shelf: Shelf) -> None:
    files = {"const.py": "C = 1", "mid.py": "from const import C", "a.py": "import mid\nx = mid.C"}
    shelf.load(files, "a")
    shelf.write({"const.py": "C = 2"})

    shelf.renew("a", "const", "mid")

    assert sys.modules["a"].x == 2


PACKAGE = {
    "pkg/__init__.py": "from .low import low\nfrom . import high",
    "pkg/low.py": "N = 1\ndef low(): return N",
    "pkg/high.py": "from .low import N as H\nfrom . import low as f",
    "pkg/late.py": "L = 1",
    "user.py": "import pkg.high as h, pkg.late, pkg\nfrom pkg import *\nx = (h.H, pkg.low(), pkg.late.L)",
}


def test_packages_are_made_anew_with_relative_imports_and_submodules(shelf: Shelf) -> None:
    shelf.load(PACKAGE, "user")
    shelf.write({"pkg/low.py": "N = 2\ndef low(): return N"})

    shelf.renew("pkg", "pkg.low", "pkg.high", "user")

    assert sys.modules["user"].x == (2, 2, 1)
    assert sys.modules["pkg"].low() == 2  # the function, not the module of that name
    assert sys.modules["pkg"].high is sys.modules["pkg.high"]
    assert sys.modules["pkg"].late is sys.modules["pkg.late"]  # it was loaded before, and is not asked for again


def test_a_submodule_alone_takes_its_place_in_a_package_that_stays(shelf: Shelf) -> None:
    package, old = shelf.load({"pkg/__init__.py": "", "pkg/low.py": "N = 1"}, "pkg", "pkg.low")
    shelf.write({"pkg/low.py": "N = 2"})

    staging = shelf.renew("pkg.low")
    new = package.low
    staging.undo()

    assert (new.N, package.low) == (2, old)


def test_a_name_of_a_package_that_hides_a_submodule_stays(shelf: Shelf) -> None:
    package, _ = shelf.load({"pkg/__init__.py": "from .low import low", "pkg/low.py": "low = 1"}, "pkg", "pkg.low")

    shelf.renew("pkg.low")

    assert package.low == 1


def test_circular_imports_work_as_they_do_at_the_start(shelf: Shelf) -> None:
    files = {
        "ring/__init__.py": "from . import one",
        "ring/one.py": "from . import two\nN = 1\ndef f(): return two.g()",
        "ring/two.py": "from . import one\ndef g(): return one.N",
        "left.py": "import right\nN = 1",
        "right.py": "import left\ndef f(): return left.N",
    }
    shelf.load(files, "ring", "left")
    shelf.write({"ring/one.py": files["ring/one.py"].replace("N = 1", "N = 2"), "left.py": "import right\nN = 2"})

    shelf.renew("ring", "ring.one", "ring.two", "left", "right")

    assert sys.modules["ring"].one.f() == 2
    assert sys.modules["right"].f() == 2


def test_a_folder_without_init_is_a_package_too(shelf: Shelf) -> None:
    files = {"bare/deep/low.py": "N = 1", "bare/other.py": "O = 1", "user.py": "import bare.deep.low, bare.other"}
    files["user.py"] += "\nx = (bare.deep.low.N, bare.other.O)"
    shelf.load(files, "user")
    old = sys.modules["bare"]
    shelf.write({"bare/deep/low.py": "N = 2\nimport nude.one as one", "nude/one.py": "M = 3"})

    shelf.renew("bare.deep.low", "user")

    assert sys.modules["user"].x == (2, 1)
    assert old.deep.low.N == 1  # who has the old one keeps it
    assert sys.modules["bare.deep.low"].one.M == 3


def test_what_is_imported_by_name_at_run_time_is_new_too(shelf: Shelf) -> None:
    text = "import importlib\nx = importlib.import_module('low').N\n"
    shelf.load({"a.py": text, "low.py": "N = 1"}, "a")
    shelf.write({"low.py": "N = 2"})

    shelf.renew("a", "low")

    assert sys.modules["a"].x == 2
    assert sys.modules["a"].importlib.import_module("low") is sys.modules["low"]


def test_a_star_takes_the_submodules_that_a_package_names(shelf: Shelf) -> None:
    shelf.load({"pkg/__init__.py": "", "a.py": ""}, "pkg", "a")
    shelf.write({"pkg/__init__.py": "__all__ = ['low']", "pkg/low.py": "N = 1", "a.py": "from pkg import *\nx = low.N"})

    shelf.renew("pkg", "a")

    assert sys.modules["a"].x == 1


def test_a_submodule_that_is_not_python_is_imported_as_ever(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            if name != "pkg.compiled":
                return None
            return importlib.util.spec_from_loader(name, self, origin="compiled.so")  # type: ignore[arg-type]

        def create_module(self, spec: object) -> None:
            return None

        def exec_module(self, module: ModuleType) -> None:
            module.C = 1  # type: ignore[attr-defined]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(), object()])
    shelf.load({"pkg/__init__.py": ""}, "pkg")
    shelf.write({"pkg/__init__.py": "from . import compiled\nimport pkg.compiled as c\nx = compiled.C + c.C"})

    shelf.renew("pkg")
    monkeypatch.delitem(sys.modules, "pkg.compiled")

    assert sys.modules["pkg"].x == 2


def test_a_missing_submodule_is_an_import_error(shelf: Shelf) -> None:
    shelf.load({"pkg/__init__.py": ""}, "pkg")
    shelf.write({"pkg/__init__.py": "import pkg.nothing"})

    with pytest.raises(ModuleNotFoundError, match=r"No module named 'pkg\.nothing'"):
        shelf.stage("pkg").build()


# A name that only the new version has: dataclasses, typing and msgspec look for it in sys.modules.
ANNOTATED = """
from __future__ import annotations
import dataclasses, sys, typing as t
class Inner: pass
@dataclasses.dataclass
class Order:
    count: t.ClassVar[int] = 0
    inner: Inner
    name: str = ""
hints = t.get_type_hints(Order)
fields = [field.name for field in dataclasses.fields(Order)]
itself = sys.modules[__name__].Order is Order and __name__ in sys.modules and len(sys.modules) > 10
"""


@pytest.mark.parametrize("is_new", [True, False])
def test_annotations_as_text_are_understood(shelf: Shelf, is_new: bool) -> None:
    shelf.load({"a.py": "", "orders.py": ""}, "a", *([] if is_new else ["orders"]))
    shelf.write({"a.py": "import orders", "orders.py": ANNOTATED})

    shelf.renew("a", *([] if is_new else ["orders"]))

    orders = sys.modules["orders"]
    assert orders.fields == ["inner", "name"]
    assert orders.hints["inner"] is orders.Inner
    assert orders.itself


def test_a_module_may_put_another_in_its_own_place(shelf: Shelf) -> None:
    text = "import sys, types\nnew = types.ModuleType('a')\nnew.x = {}\nsys.modules[__name__] = new\n"
    shelf.load({"a.py": text.replace("{}", "1"), "b.py": "import a\ny = a.x"}, "b")
    shelf.write({"a.py": text.replace("{}", "2")})

    sources = {"a": Source.read(shelf.folder / "a.py"), "b": Source.read(shelf.folder / "b.py")}
    staging = Staging(sources, lambda path: True)
    staging.build()
    staging.commit()

    assert sys.modules["b"].y == 2


def test_a_module_may_take_itself_and_others_out(shelf: Shelf) -> None:
    shelf.load({"a.py": "", "low.py": ""}, "a", "low")
    shelf.write({"a.py": "import sys\ndel sys.modules['low']\ndel sys.modules[__name__]\nlist(sys.modules)"})

    shelf.renew("a")

    assert "a" in sys.modules
    assert "low" not in sys.modules


def test_other_threads_go_on_with_the_old_version(shelf: Shelf) -> None:
    shelf.load({"a.py": "x = 1", "seen.py": "answers = []\nimport threading"}, "a", "seen")
    look = (
        "import a, fresh, importlib, seen, threading\n"
        "def look():\n"
        "    import sys, zlib\n"
        "    import a\n"
        "    seen.answers.append((a.x, sys.modules['a'].x, importlib.import_module('a').x, 'fresh' in sys.modules))\n"
        "thread = threading.Thread(target=look)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    shelf.load({"b.py": ""}, "b")
    shelf.write({"a.py": "x = 2", "fresh.py": "", "b.py": look})

    shelf.renew("a", "b")

    assert sys.modules["seen"].answers == [(1, 1, 1, False)]


def test_threads_that_import_meanwhile_are_not_disturbed(shelf: Shelf) -> None:
    names = [f"lazy{number}" for number in range(50)]
    shelf.load({f"{name}.py": "import a\nx = a.x" for name in names} | {"a.py": "x = 0"}, "a")
    wrong: list[object] = []
    stop = threading.Event()

    def import_all() -> None:
        try:
            for name in names:
                wrong.extend([] if isinstance(importlib.import_module(name).x, int) else [name])
            while not stop.is_set():
                wrong.extend([] if len(list(sys.modules.items())) > 10 and __import__("a").x >= 0 else ["a"])
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=import_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, 31):
        shelf.write({"a.py": f"x = {number}"})
        shelf.renew("a")
    stop.set()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert sys.modules["a"].x == 30


def test_two_servers_of_a_process_take_turns(shelf: Shelf) -> None:
    shelf.load({"a.py": "x = 1", "b.py": "x = 1"}, "a", "b")
    hooks = builtins.__import__, importlib.import_module, sys.modules
    stagings = [shelf.stage(name) for name in ("a", "b") * 50]
    threads = [threading.Thread(target=staging.build) for staging in stagings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (builtins.__import__, importlib.import_module, sys.modules) == hooks
    assert [len(staging.modules) for staging in stagings] == [1] * 100


@pytest.mark.parametrize(("text", "what"), [("(" * 5_000, "too many nested parentheses"), ("x = 1\0", "null byte")])
def test_what_cannot_be_compiled_is_a_syntax_error_in_its_file(shelf: Shelf, text: str, what: str) -> None:
    shelf.load({"a.py": ""}, "a")
    shelf.write({"a.py": text})

    with pytest.raises(SyntaxError, match=what) as raised:
        shelf.stage("a").build()

    assert raised.value.filename == str(shelf.folder / "a.py")
