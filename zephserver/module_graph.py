"""Which modules of a user's folders import which. Reads source files, runs nothing."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zephserver.core.origin import is_library

_NOT_OURS = frozenset({"site-packages", "dist-packages", "node_modules", "__pycache__"})
_PRODUCT = frozenset({"zephserver", "zephctl"})  # it may lie below the folder of who works on it


@dataclass(frozen=True, slots=True)
class Source:
    """The file of a module as it was read, once: what is looked at is what is run."""

    path: Path  # as it was imported, with the symbolic links on the way
    text: bytes
    digest: str  # '' for a file that is gone

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read a file; one that cannot be read counts as gone."""
        try:
            text = path.read_bytes()
        except OSError:
            return cls(path, b"", "")
        return cls(path, text, hashlib.blake2b(text, digest_size=16).hexdigest())


def local_modules(roots: Iterable[Path]) -> dict[str, Path]:
    """The modules that are loaded from below *roots*, by name: the user's own, not those of an environment there."""
    folders = {form for root in roots for form in (root, root.resolve())}
    found = {}
    for name, module in list(sys.modules.items()):
        path = source_of(module)
        if path is None or name.partition(".")[0] in _PRODUCT:
            continue
        # The path first: to resolve all of them takes as long as everything else of a reload.
        if any(is_ours(path, folder) for folder in folders) or any(is_ours(path.resolve(), f) for f in folders):
            found[name] = path
    return found


def source_of(module: object) -> Path | None:
    """The source file of a module; None for one without, and for those of the standard library and of packages."""
    file = getattr(module, "__dict__", {}).get("__file__")  # no getattr(): a lazy module would be loaded by that
    if not isinstance(file, str) or not file.endswith(".py"):
        return None
    if is_library(file):
        return None
    return Path(os.path.abspath(file))


def is_ours(path: Path, folder: Path) -> bool:
    """Whether a file lies below a folder, and neither in an environment nor in a hidden folder there."""
    if not path.is_relative_to(folder):
        return False
    parts = path.relative_to(folder).parts
    if _NOT_OURS.intersection(parts) or any(part.startswith(".") for part in parts):
        return False
    return not any(
        os.path.exists(folder.joinpath(*parts[:depth], "pyvenv.cfg")) for depth in range(1, len(parts))
    )  # os.path: a folder that may not be read is no error


def is_package(path: Path) -> bool:
    """Whether a source file is that of a package."""
    return path.name == "__init__.py"


def imports_of(name: str, source: bytes, *, is_package: bool) -> set[str]:
    """The full names of what a module imports, and of what it takes from there, which may be modules too.

    Raises SyntaxError, or ValueError, RecursionError or MemoryError for what is hardly a program.
    """
    package = name if is_package else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    found |= {alias.name, *_parents(alias.name)}  # `import a.b` binds a
            case ast.ImportFrom(module=module, names=names, level=level):
                base = _resolved("." * level + (module or ""), package)
                if base is not None:
                    found |= {base, *(f"{base}.{alias.name}" for alias in names)}
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"), args=args):
                if args and isinstance(args[0], ast.Constant) and isinstance(args[0].value, str):
                    base = _resolved(args[0].value, package)
                    if base is not None:
                        found.add(base)
    return found


def dependants(graph: Mapping[str, set[str]], changed: Iterable[str]) -> set[str]:
    """*changed*, and whatever imports one of them, directly or not, with the packages that they are in."""
    affected: set[str] = set()
    waiting = list(changed)
    while waiting:
        name = waiting.pop()
        if name in affected:
            continue
        affected.add(name)
        waiting += [other for other, imported in graph.items() if name in imported]
        parent = name.rpartition(".")[0]
        if parent in graph:
            waiting.append(parent)
    return affected


def reachable(graph: Mapping[str, set[str]], start: Iterable[str]) -> set[str]:
    """*start* and whatever these import, directly or not, as far as the graph knows it."""
    found: set[str] = set()
    waiting = [name for name in start if name in graph]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [other for other in graph[name] if other in graph]
            waiting += [parent for parent in _parents(name) if parent in graph]
    return found


def found_again(name: str) -> Path | None:
    """Where the file of a loaded module is now that it is not where it was: a module may become a package."""
    parent = sys.modules.get(name.rpartition(".")[0])
    if parent is None and "." in name:
        return None
    importlib.invalidate_caches()
    spec = importlib.machinery.PathFinder.find_spec(name, getattr(parent, "__path__", None))
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def roots_of(folder: Path, tasks: Iterable[str]) -> list[Path]:
    """The folders whose modules are the user's: that of the settings, and those that tasks come from elsewhere."""
    roots = [folder]
    for name in tasks:
        path = source_of(sys.modules.get(name))
        if path is None or name.partition(".")[0] in _PRODUCT:
            continue
        root = path.parents[name.count(".") + is_package(path)]
        if not any(is_ours(path, known) for known in (*roots, folder.resolve())):
            roots.append(root)
    return roots


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _resolved(name: str, package: str) -> str | None:
    """The full name of what may be a relative one; None when it leads nowhere."""
    try:
        return importlib.util.resolve_name(name, package)
    except ImportError:
        return None
