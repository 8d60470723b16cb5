"""New versions of modules, made beside the old ones and put in their place all at once or not at all."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, cast

from zephserver.module_graph import Source, is_package

_one_at_a_time = threading.Lock()  # there is one __import__ for all servers of a process


class Staging:
    """Executes modules anew from their sources. One thread.

    While it runs, what this thread imports are the new versions; every other thread goes on with the old ones.
    """

    def __init__(self, sources: Mapping[str, Source], is_local: Callable[[Path], bool]) -> None:
        self.sources = dict(sources)
        self.modules: dict[str, ModuleType] = {}  # the new versions
        self._is_local = is_local
        self._codes: dict[str, CodeType] = {}
        self._specs: dict[str, ModuleSpec] = {}
        self._thread = 0  # the one that builds
        self._old: dict[str, ModuleType] = {}  # sys.modules as the others see it
        self._load: Callable[..., ModuleType] = importlib.import_module
        self._replaced: dict[str, ModuleType] = {}
        self._added: list[str] = []  # names that were in no version before

    def build(self, also: Iterable[str] = ()) -> None:
        """Compile everything, then execute everything, and *also* modules that may never have been loaded before.

        Raises SyntaxError, or whatever a module raises.
        """
        for name in list(self.sources):
            self._compile(name)
        importlib.invalidate_caches()  # a module that was saved just now is in no listing of its folder
        with _one_at_a_time:
            original, self._load = builtins.__import__, importlib.import_module
            self._old = sys.modules
            self._thread = threading.get_ident()
            builtins.__import__ = lambda *words, **more: self._import(original, *words, **more)
            importlib.import_module = self._import_module
            sys.modules = cast("dict[str, ModuleType]", _Modules(self._old, self.modules, self._thread))
            try:
                for name in list(self.sources):  # imports may add to it
                    self._stage(name)
                for name in sorted(also):
                    self._import_module(name)
            finally:
                self._thread = 0
                sys.modules = self._old
                builtins.__import__, importlib.import_module = original, self._load

    def commit(self) -> None:
        """Put the new versions in place of the old ones."""
        self._replaced = {name: sys.modules[name] for name in self.modules if name in sys.modules}
        self._added = [name for name in self.modules if name not in sys.modules]
        _install(self.modules, instead_of=self._replaced)

    def undo(self) -> None:
        """Put the old versions back."""
        _install(self._replaced, instead_of=self.modules)
        for name in self._added:
            sys.modules.pop(name, None)

    def _compile(self, name: str) -> None:
        # From the source, never from cached bytecode: that is told apart by size and second only.
        source = self.sources[name]
        try:
            self._codes[name] = compile(source.text, str(source.path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, SyntaxError) and error.filename is not None:
                raise
            why = str(error) or "too complex to be compiled"  # null bytes, a wrong encoding, a thousand brackets
            raise SyntaxError(why, (str(source.path), 1, None, "")) from error
        places = [str(source.path.parent)] if is_package(source.path) else None
        spec = importlib.util.spec_from_file_location(name, source.path, submodule_search_locations=places)
        assert spec is not None
        self._specs[name] = spec

    def _stage(self, name: str) -> ModuleType:
        """The new version of a module, made when it is first asked for; half-made within a circle of imports."""
        parent, _, child = name.rpartition(".")
        if name not in self.modules and self._is_staged(parent):
            self._stage(parent)  # which may import this module
        if name in self.modules:
            return self.modules[name]
        module = self.modules[name] = importlib.util.module_from_spec(self._specs[name])
        for other, loaded in list(self._old.items()):
            if other.rpartition(".")[0] == name and not self._is_staged(other):
                setattr(module, other.rpartition(".")[2], loaded)  # as importing it did to the old version
        if parent in self.modules:
            setattr(self.modules[parent], child, module)  # now, for `from . import` in a circle
        if name in self._codes:
            exec(self._codes[name], module.__dict__)
        return self.modules[name]

    def _is_staged(self, name: str) -> bool:
        """Whether a module belongs to the transaction; a package without a file does when it is asked for."""
        if name in self._specs or not any(other.startswith(f"{name}.") for other in self.sources):
            return name in self._specs
        spec = getattr(self._old.get(name), "__spec__", None)
        if spec is not None and _is_bare_folder(spec):
            self._specs[name] = spec
        return name in self._specs

    def _import(
        self,
        original: Callable[..., Any],
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if threading.get_ident() != self._thread:
            return original(name, globals, locals, fromlist, level)
        full = name
        if level:
            full = importlib.util.resolve_name("." * level + name, (globals or {}).get("__package__") or "")
        parts = full.split(".")
        wanted = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
        is_ours = [self._notice(one) for one in wanted + [f"{full}.{part}" for part in fromlist or ()]]
        if not any(is_ours):
            return original(name, globals, locals, fromlist, level)
        if full not in sys.modules:
            self._load(full)  # raises if it is not there
        if not fromlist and not level:
            return sys.modules[parts[0]]
        if fromlist and "*" in fromlist:
            for part in getattr(sys.modules[full], "__all__", ()):
                self._notice(f"{full}.{part}")
        return sys.modules[full]

    def _import_module(self, name: str, package: str | None = None) -> ModuleType:
        if threading.get_ident() == self._thread:
            name = importlib.util.resolve_name(name, package)
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                self._notice(".".join(parts[:length]))
            if name in self.modules:
                return self.modules[name]
        return self._load(name, package)

    def _notice(self, name: str) -> bool:
        """Stage a module that is to be imported, and say whether it belongs to the transaction.

        One of the user's that was never loaded belongs to it too, so that a failure drops it.
        """
        parent, _, child = name.rpartition(".")
        if not self._is_staged(name) and name not in sys.modules:
            holder = sys.modules.get(parent)
            path = getattr(holder, "__path__", None)
            if parent and (path is None or hasattr(holder, child)):
                return False  # a name in a module
            finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
            spec = next((spec for finder in finders if (spec := finder.find_spec(name, path))), None)
            if spec is None:
                return False
            if spec.origin is not None and spec.origin.endswith(".py") and self._is_local(Path(spec.origin)):
                self.sources[name] = Source.read(Path(spec.origin))
                self._compile(name)
            elif _is_bare_folder(spec) and any(self._is_local(Path(p)) for p in spec.submodule_search_locations or ()):
                self._specs[name] = spec
            elif self._is_staged(parent):
                self._load(name)
        if not self._is_staged(name):
            return False
        self._stage(name)
        return True


def _is_bare_folder(spec: ModuleSpec) -> bool:
    """Whether it is a package without an __init__.py."""
    return spec.origin is None and spec.submodule_search_locations is not None


class _Modules(MutableMapping[str, ModuleType]):
    """sys.modules while new versions are made: their thread finds them in it, as dataclasses and typing want it."""

    def __init__(self, old: dict[str, ModuleType], new: dict[str, ModuleType], thread: int) -> None:
        self._old, self._new, self._thread = old, new, thread
        # Whole, for list(sys.modules.items()) of another thread must not meet a change half-way.
        self.keys, self.items, self.values, self.copy = old.keys, old.items, old.values, old.copy  # type: ignore[method-assign]

    def __getitem__(self, name: str) -> ModuleType:
        return self._new[name] if self._is_new(name) else self._old[name]

    def __setitem__(self, name: str, module: ModuleType) -> None:
        (self._new if self._is_new(name) else self._old)[name] = module  # a module may put another in its own place

    def __delitem__(self, name: str) -> None:
        if not self._is_new(name):
            del self._old[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._old)

    def __len__(self) -> int:
        return len(self._old)

    def _is_new(self, name: str) -> bool:
        return name in self._new and threading.get_ident() == self._thread


def _install(modules: Mapping[str, ModuleType], *, instead_of: Mapping[str, ModuleType]) -> None:
    sys.modules.update(modules)
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        package = sys.modules.get(parent)
        # A package that was made anew has what it wants; `from .chat import chat` wants no module of that name.
        if package is None or parent in modules:
            continue
        if getattr(package, child, ...) is instead_of.get(name, ...):
            setattr(package, child, module)
