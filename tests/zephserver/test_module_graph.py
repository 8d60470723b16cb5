"""Which modules of a user's folders import which."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from zephserver.module_graph import (
    Source,
    dependants,
    found_again,
    imports_of,
    is_ours,
    local_modules,
    reachable,
    roots_of,
    source_of,
)


def imports(text: str, name: str = "shop.tasks", *, is_package: bool = False) -> set[str]:
    return imports_of(name, text.encode(), is_package=is_package)


def loaded(monkeypatch: pytest.MonkeyPatch, name: str, file: Path | str | None) -> None:
    """Have a module be loaded from a file."""
    module = ModuleType(name)
    if file is not None:
        module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, name, module)


# -- imports_of ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import a", {"a"}),
        ("import a.b.c", {"a", "a.b", "a.b.c"}),
        ("import a.b as c, d", {"a", "a.b", "d"}),
        ("from a import b, c", {"a", "a.b", "a.c"}),
        ("from a.b import *", {"a.b", "a.b.*"}),
        ("from . import b", {"shop", "shop.b"}),
        ("from .b import c", {"shop.b", "shop.b.c"}),
        ("from .. import b", set()),
        ("def f():\n    import late", {"late"}),
        ("if TYPE_CHECKING:\n    import types_only", {"types_only"}),
        ("import importlib\nx = importlib.import_module('a.b')", {"importlib", "a.b"}),
        ("x = import_module('.b', __package__)", {"shop.b"}),
        ("x = import_module('..far', __package__)", set()),
        ("x = import_module(name)\ny = import_module()\nz = import_module(1)", set()),
        ("f()\ng.h()", set()),
    ],
)
def test_what_a_module_imports_is_read_from_its_source(text: str, found: set[str]) -> None:
    assert imports(text) == found


def test_a_package_imports_relatively_to_itself() -> None:
    assert imports("from . import b", "shop", is_package=True) == {"shop", "shop.b"}


def test_a_file_that_is_no_python_is_told() -> None:
    with pytest.raises(SyntaxError):
        imports("def")


# -- dependants, reachable ----------------------------------------------------------------------------------------

GRAPH = {
    "tasks": {"base", "shop.cart"},
    "base": {"const"},
    "const": set(),
    "shop": set(),
    "shop.cart": {"round"},
    "round": {"shop.cart"},
    "alone": {"const"},
}


@pytest.mark.parametrize(
    ("changed", "affected"),
    [
        ({"tasks"}, {"tasks"}),
        ({"const"}, {"const", "base", "tasks", "alone"}),
        ({"shop.cart"}, {"shop.cart", "shop", "round", "tasks"}),
        ({"unknown"}, {"unknown"}),
        (set(), set()),
    ],
)
def test_what_imports_a_changed_module_is_affected_with_its_packages(changed: set[str], affected: set[str]) -> None:
    assert dependants(GRAPH, changed) == affected


@pytest.mark.parametrize(
    ("start", "found"),
    [
        ({"tasks"}, {"tasks", "base", "const", "shop", "shop.cart", "round"}),
        ({"const", "unknown"}, {"const"}),
        ({"round"}, {"round", "shop", "shop.cart"}),
    ],
)
def test_what_a_module_imports_is_reachable_from_it(start: set[str], found: set[str]) -> None:
    assert reachable(GRAPH, start) == found


# -- files --------------------------------------------------------------------------------------------------------


def test_a_source_is_told_apart_by_its_text(tmp_path: Path) -> None:
    one, other = tmp_path / "a.py", tmp_path / "b.py"
    one.write_text("a = 1")
    other.write_text("a = 2")

    assert Source.read(one).text == b"a = 1"
    assert Source.read(one).digest != Source.read(other).digest
    assert Source.read(tmp_path / "gone.py") == Source(tmp_path / "gone.py", b"", "")


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("tasks.py", True),
        ("shop/cart.py", True),
        (".hidden.py", False),
        (".git/hook.py", False),
        (".#tasks.py", False),
        ("node_modules/a/b.py", False),
        ("__pycache__/a.py", False),
        ("env/lib/a.py", False),
        ("shop/env/a.py", False),
        ("lib/site-packages/a.py", False),
        ("../elsewhere.py", False),
    ],
)
def test_a_file_is_the_users_unless_it_is_in_an_environment_or_hidden(tmp_path: Path, path: str, ours: bool) -> None:
    for environment in ("env", "shop/env"):
        (tmp_path / environment).mkdir(parents=True)
        (tmp_path / environment / "pyvenv.cfg").touch()

    assert is_ours(Path(tmp_path, path).resolve(), tmp_path) is ours


def test_the_loaded_modules_below_a_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(monkeypatch, "mine", tmp_path / "mine.py")
    loaded(monkeypatch, "installed", tmp_path / "lib" / "site-packages" / "installed.py")
    loaded(monkeypatch, "compiled", tmp_path / "compiled.so")
    loaded(monkeypatch, "built_in", None)
    loaded(monkeypatch, "zephserver.of_the_test", tmp_path / "zephserver" / "of_the_test.py")
    loaded(monkeypatch, "elsewhere", tmp_path.parent / "elsewhere.py")

    assert local_modules([tmp_path]) == {"mine": tmp_path / "mine.py"}


def test_a_folder_and_its_files_may_be_reached_by_symbolic_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    (tmp_path / "shared.py").touch()
    (real / "shared.py").symlink_to(tmp_path / "shared.py")
    loaded(monkeypatch, "by_link", link / "by_link.py")
    loaded(monkeypatch, "by_name", real / "by_name.py")
    loaded(monkeypatch, "shared", real / "shared.py")

    assert set(local_modules([link])) == {"by_link", "by_name", "shared"}


def test_a_lazy_module_is_not_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy:
        def __getattr__(self, name: str) -> str:
            raise RuntimeError("woken")

    monkeypatch.setitem(sys.modules, "lazy", Lazy())  # type: ignore[arg-type]

    assert "lazy" not in local_modules([Path("/")])


def test_only_a_module_with_a_python_file_has_a_source() -> None:
    assert source_of(sys.modules[__name__]) == Path(__file__)
    assert [source_of(module) for module in (sys, pytest, None, 3)] == [None] * 4


def test_a_module_that_became_a_package_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "shop_of_test").mkdir()
    (tmp_path / "shop_of_test" / "__init__.py").touch()

    assert found_again("shop_of_test") == tmp_path / "shop_of_test" / "__init__.py"
    assert found_again("no_shop_of_test") is None
    assert found_again("no_shop_of_test.cart") is None


def test_the_folders_of_the_user_are_that_of_the_settings_and_those_of_tasks_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = tmp_path / "site", tmp_path / "other"
    loaded(monkeypatch, "mine", folder / "mine.py")
    loaded(monkeypatch, "shop", other / "shop" / "__init__.py")
    loaded(monkeypatch, "shop.cart", other / "shop" / "cart.py")
    loaded(monkeypatch, "installed", other / "site-packages" / "installed.py")

    names = ["mine", "shop.cart", "shop", "installed", "zephserver.task", "not_loaded"]

    assert roots_of(folder, names) == [folder, other]
