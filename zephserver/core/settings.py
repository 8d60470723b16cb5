"""From a settings file, or names in a dict, to a checked page: read once, at the door, and every fault at once."""

from __future__ import annotations

import ast
import difflib
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zephserver.core import legacy
from zephserver.core.errors import SettingsError
from zephserver.core.settings_file import run_settings_file
from zephserver.core.settings_page import Settings, default_of, page
from zephserver.core.settings_together import advice_together, faults_together


def load_settings(path: str | os.PathLike[str]) -> Settings:
    """Run and check a settings file. Raises SettingsError with every fault at once, each with file:line."""
    path = os.path.abspath(path)
    folder = Path(path).parent
    shadows = _shadows(folder)
    if shadows:
        raise SettingsError(shadows)
    names, source = run_settings_file(path)
    values = {name: value for name, value in names.items() if name.isupper() or name in legacy.SETTINGS}
    return make_settings(values, folder=folder, file=Path(path), lines=_lines(source))


def make_settings(
    values: Mapping[str, Any],
    *,
    folder: Path | str = ".",
    file: Path | None = None,
    lines: Mapping[str, int] | None = None,
) -> Settings:
    """Settings from upper-case names, as in a file; for programs that embed a server, and for tests.

    Relative paths are taken from *folder*. Raises SettingsError with every fault at once.
    """
    folder = Path(folder).absolute()
    lines = dict(lines or {})
    faults: list[str] = []
    faulty: set[str] = set()
    warnings: list[str] = []

    def where(name: str) -> str:
        if file is None:
            return name
        return f"{file}:{lines[name]}: {name}" if name in lines else f"{file}: {name}"

    values = _from_2015(dict(values), where, warnings)
    lines |= {new: lines[old] for old, new in legacy.SETTINGS.items() if old in lines and new not in lines}
    known = {line.name.upper(): line for line in page()}
    parsed: dict[str, Any] = {}
    for name, line in known.items():
        if name in values:
            try:
                parsed[line.name] = line.metadata["kind"](values[name])
            except ValueError as error:
                is_told = "got" in str(error) or line.metadata["hidden"]
                got = "" if is_told else f", got {_excerpt(values[name])}"
                faulty.add(name)
                faults.append(f"{where(name)}: {error}{got}")
        elif line.metadata["required"]:
            faulty.add(name)
            faults.append(f"{file or 'settings'}: {name} is missing: {line.metadata['help']}; [] runs none")
    own = {name: value for name, value in values.items() if name not in known}
    for name in own:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if near:
            faults.append(f"{where(name)}: unknown setting; did you mean {near[0]}?")
    settings = Settings(**_complete(parsed, folder), folder=folder, file=file, lines=lines, own=own)
    faults += [f"{where(name)}: {fault}" for name, fault in faults_together(settings, faulty)]
    if faults:
        raise SettingsError(faults)
    warnings += [f"{where(name)}: {advice}" for name, advice in advice_together(settings)]
    return replace(settings, warnings=tuple(warnings))


def _complete(parsed: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Defaults that depend on other settings, and paths made absolute."""
    complete = {line.name: default_of(line) for line in page()} | {"service_list": ()} | parsed
    if complete["configuration_network_interface"] is None:
        complete["configuration_network_interface"] = complete["configuration_network_interface_server"]
    if complete["cluster_node"] is None:
        complete["cluster_node"] = platform.node() or "localhost"
    return {name: folder / value if isinstance(value, Path) else value for name, value in complete.items()}


def _from_2015(values: dict[str, Any], where: Callable[[str], str], warnings: list[str]) -> dict[str, Any]:
    """Replace the names of the 2015 project; one warning each."""
    for old, new in legacy.SETTINGS.items():
        if old not in values:
            continue
        value = values.pop(old)
        if old == "DJANGO" and not isinstance(value, str):
            warnings.append(f"{where(old)} is a name of 2015; name the settings module in DJANGO_SETTINGS_MODULE now")
            continue
        values.setdefault(new, value)
        warnings.append(f"{where(old)} is a name of 2015; write {new} now")

    def renew(name: str, path: Any) -> Any:
        advice = legacy.advice(path) if isinstance(path, str) else None
        if advice is None:
            return path
        warnings.append(f"{where(name)}: {advice}")
        return legacy.PATHS[path]

    services = values.get("SERVICE_LIST")
    if isinstance(services, (list, tuple)):
        values["SERVICE_LIST"] = [new for path in services if (new := renew("SERVICE_LIST", path)) is not None]
    tasks = values.get("TASKS_PATH")
    if isinstance(tasks, dict):
        values["TASKS_PATH"] = {
            task: new for task, path in tasks.items() if (new := renew("TASKS_PATH", path)) is not None
        }
    options = values.get("SERVICE_OPTIONS")
    if isinstance(options, dict):
        values["SERVICE_OPTIONS"] = {
            legacy.today(path) if isinstance(path, str) else path: given for path, given in options.items()
        }
    return values


def _lines(source: bytes) -> dict[str, int]:
    """The line of the last assignment to each name."""
    lines: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            for name in ast.walk(target) if target is not None else ():
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    lines[name.id] = max(name.lineno, lines.get(name.id, 0))
    return lines


def _shadows(folder: Path) -> list[str]:
    """Modules of the folder that would hide one of Python's own from every library."""
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists())
    except OSError:
        return []
    return [
        f"{path}: hides Python's own module {path.stem!r} from every library; rename it"
        for path in found
        if path.stem in sys.stdlib_module_names
    ]


def _excerpt(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) <= 120 else text[:117] + "..."
