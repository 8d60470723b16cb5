"""Imports run one way: zephctl -> zephserver.core <- zephserver; and each library lives in one place."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for top in ("zephserver", "zephctl") for path in (ROOT / top).rglob("*.py"))
TEMPLATES = ROOT / "zephctl" / "templates"  # copied into a user's folder, never imported
HOMES = {
    "click": "zephctl/",
    "rich": "zephctl/",
    "watchdog": "zephserver/reloader.py",
    "msgspec": ("zephserver/messages.py", "zephserver/cluster/notes.py"),
    "picows": "zephserver/engines/picows/",
    "websocket_server": "zephserver/engines/threaded/package.py",
    "jwt": "zephserver/tokens.py",
    "zmq": "zephserver/core/cluster/mesh/",
    "nats": "zephserver/core/cluster/nats/",
    "redis": "zephserver/core/cluster/redis/",
    "django": "zephserver/django/",
    "asgiref": "zephserver/django/",
}
# What a pure file has nothing to do with: the system, the clock, threads and chance.
IMPURE = {"os", "socket", "time", "threading", "random", "asyncio", "subprocess"}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere, also inside functions; `from a import b` counts as a and as a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            module = node.module or ""
            yield module
            if (ROOT / module.replace(".", "/")).is_dir():
                yield from (f"{module}.{name.name}" for name in node.names)


def is_within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def files(path: str) -> list[pytest.ParameterSet]:  # type: ignore[name-defined]
    """The files below a folder, as parameters."""
    chosen = [file for file in FILES if file.is_relative_to(ROOT / path) and not file.is_relative_to(TEMPLATES)]
    return [pytest.param(file, id=str(file.relative_to(ROOT))) for file in chosen]


@pytest.mark.parametrize("path", files("zephserver/core"))
def test_the_core_knows_nothing_but_itself_and_the_standard_library(path: Path) -> None:
    for module in imports(path):
        top = module.partition(".")[0]
        if top == "zephserver":
            assert is_within(module, "zephserver.core", "zephserver.version") or module == "zephserver"
        else:
            assert top in sys.stdlib_module_names or str(path.relative_to(ROOT)).startswith(HOMES.get(top, "nowhere"))


@pytest.mark.parametrize("path", files("zephserver"))
def test_the_server_does_not_know_its_operator(path: Path) -> None:
    assert not [module for module in imports(path) if is_within(module, "zephctl")]


@pytest.mark.parametrize("path", files("zephctl"))
def test_the_operator_knows_the_core_and_the_version_only(path: Path) -> None:
    for module in imports(path):
        if is_within(module, "zephserver"):
            assert module == "zephserver" or is_within(module, "zephserver.core", "zephserver.version")


@pytest.mark.parametrize("path", [*files("zephserver"), *files("zephctl")])
def test_each_library_lives_in_one_place(path: Path) -> None:
    here = str(path.relative_to(ROOT))
    for module in imports(path):
        home = HOMES.get(module.partition(".")[0])
        assert home is None or here.startswith(home), f"{module} lives in {home}"


@pytest.mark.parametrize("path", [*files("zephserver"), *files("zephctl")])
def test_a_file_that_says_it_is_pure_is(path: Path) -> None:
    first_line = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]

    if "Pure:" in first_line:
        assert not {module.partition(".")[0] for module in imports(path)} & IMPURE
