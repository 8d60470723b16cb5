"""What a service is, and how its class is found."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from zephserver.core.errors import ServiceNotLoaded, UnknownService
from zephserver.core.service import Service, ServicePath, load_class, load_service


class Notes:
    """A manager that takes notes."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def ready(self) -> None:
        self.said.append("ready")

    def status(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An importable module."""
    module = ModuleType("made_up")
    monkeypatch.setitem(sys.modules, "made_up", module)
    return module


def test_a_path_is_taken_apart() -> None:
    assert ServicePath.parse("a.b_c.d/E") == ServicePath("a.b_c.d", "E")


@pytest.mark.parametrize(
    "name", ["", "a", "a/", "/B", "a.b.C", "a/B/C", "a..b/C", "a-b/C", "a/B C", "a/1", "os/system()"]
)
def test_a_path_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected 'path.to.module/ClassName', got "):
        ServicePath.parse(name)


@pytest.mark.parametrize("name", [None, 3, b"a/B", ["a/B"]])
def test_what_is_no_text_is_refused(name: object) -> None:
    with pytest.raises(ValueError, match=r"expected text like 'path.to.module/ClassName', got "):
        ServicePath.parse(name)


def test_a_class_is_found_by_its_path(module: ModuleType) -> None:
    module.Mine = Service  # type: ignore[attr-defined]

    assert load_class("made_up/Mine") is Service
    assert load_service("made_up/Mine") is Service


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("made_up/Missing", "module made_up has no class 'Missing'"),
        ("made_up/function", "module made_up has no class 'function'"),
        ("nowhere.at.all/X", "there is no module 'nowhere' in the settings folder or installed"),
        ("json.nowhere/X", "there is no module 'json.nowhere' in the settings folder or installed"),
    ],
)
def test_a_class_that_is_not_there_is_told(module: ModuleType, name: str, why: str) -> None:
    module.function = lambda: None  # type: ignore[attr-defined]

    with pytest.raises(ServiceNotLoaded, match=f"service {name} is not loaded: .*{why}"):
        load_class(name)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import nowhere_at_all", "1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("raise ModuleNotFoundError('odd')", "1: ModuleNotFoundError: odd"),
        ("\n1 / 0", "2: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "1: SystemExit: 3"),
        ("\n\ndef broken(:", "3: SyntaxError: invalid syntax"),
        ("raise ValueError('of\\ntwo lines')", "1: ValueError: of two lines"),
        ("from zephserver.core.lifecycle import nothing", "1: ImportError: cannot import name 'nothing' from"),
    ],
)
def test_a_module_that_raises_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, why: str
) -> None:
    (tmp_path / "made_up_and_broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ServiceNotLoaded) as caught:
        load_class("made_up_and_broken/X")

    assert caught.value.why.startswith(f"{tmp_path}/made_up_and_broken.py:{why}")
    assert caught.value.__cause__ is not None


def test_an_interrupt_while_importing_goes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_up_and_slow.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(KeyboardInterrupt):
        load_class("made_up_and_slow/X")


def test_a_service_needs_main_and_disable(module: ModuleType) -> None:
    module.Empty = type("Empty", (), {"main": 3})  # type: ignore[attr-defined]

    with pytest.raises(ServiceNotLoaded, match="class Empty has no method main and no disable"):
        load_service("made_up/Empty")


def test_a_service_speaks_to_its_manager() -> None:
    service, notes = Service(), Notes()
    service.ready()  # outside main() there is nobody to tell
    service.status("alone")

    service._notifier = notes
    service.ready()
    service.status("busy")

    assert notes.said == ["ready", "busy"]
    assert service.disable() is None  # type: ignore[func-returns-value]


def test_a_service_without_main_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"Mine has no main\(\)"):
        type("Mine", (Service,), {})().main()


def test_the_errors_about_services_name_the_service() -> None:
    assert UnknownService("a/B", []).name == ServiceNotLoaded("a/B", "x").name == "a/B"
