"""What all commands share: where the server is, how long to wait for it, how to show things."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from tests.zephctl.conftest import Answer
from zephctl import app
from zephctl.app import TIMEOUT, App, common_options, output_options
from zephserver.core.errors import SettingsError
from zephserver.core.server import Server
from zephserver.core.service import load_class


def make_app(**options: Any) -> App:
    """An App as a command line without options makes it, but for these."""
    defaults: dict[str, Any] = {
        "settings": None,
        "folder": None,
        "interface": None,
        "mode": None,
        "color": "auto",
        "quiet": False,
        "timeout": None,
    }
    return App(**defaults | options)


def test_the_interface_is_the_one_that_was_named(folder: Path) -> None:
    assert make_app(interface="/run/x.sock").interface == "/run/x.sock"


def test_the_interface_is_that_of_the_settings_of_this_folder(
    folder: Path, write_settings: Callable[..., Path]
) -> None:
    write_settings(CONFIGURATION_NETWORK_INTERFACE="control.sock")

    assert make_app().interface == str(folder / "control.sock")


def test_the_interface_is_beside_the_settings_by_default(folder: Path, write_settings: Callable[..., Path]) -> None:
    write_settings()

    assert make_app().interface == str(folder / "interface.sock")


def test_the_folder_is_looked_into_for_either_name(
    folder: Path, write_settings: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings().rename(folder / "zephserversettings.py")
    monkeypatch.chdir(tmp_path)

    assert make_app(folder=str(folder)).settings_file == str(folder / "zephserversettings.py")


def test_settings_win_over_folder_over_variable_over_current_folder(
    folder: Path, write_settings: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = write_settings()
    files = {}
    for name in ("settings", "folder", "variable"):
        (tmp_path / name).mkdir()
        files[name] = tmp_path / name / "zephsettings.py"
        files[name].touch(0o644)
    monkeypatch.setenv("ZEPHSETTINGS", str(files["variable"]))
    in_folder = str(tmp_path / "folder")

    assert make_app(settings=str(files["settings"]), folder=in_folder).settings_file == str(files["settings"])
    assert make_app(folder=in_folder).settings_file == str(files["folder"])
    assert make_app().settings_file == str(files["variable"])
    monkeypatch.delenv("ZEPHSETTINGS")
    assert make_app().settings_file == str(here)


def test_a_folder_without_settings_says_where_was_looked_and_what_to_do(folder: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        _ = make_app().interface

    assert str(caught.value) == (
        f"there is no zephsettings.py in {folder}; go to its folder, name it with --settings, or make one with: "
        "zephctl new chat"
    )


def test_the_settings_are_loaded_whole(folder: Path, write_settings: Callable[..., Path]) -> None:
    write_settings(SERVICE_LIST=[], MINE=1)

    assert make_app().load_settings().MINE == 1


@pytest.mark.parametrize(("timeout", "expected"), [(None, TIMEOUT), (2.5, 2.5)])
def test_the_client_waits_as_long_as_was_asked(folder: Path, timeout: float | None, expected: float) -> None:
    assert make_app(interface="x.sock", timeout=timeout).client._timeout == expected


def test_the_app_asks_the_server(serve: Callable[..., Server], folder: Path) -> None:
    serve()
    one = make_app()

    with closing(one.client):
        assert one.call("ping") == "pong"
        assert one.call("log.level", level="debug") == {"server": "DEBUG"}


def test_a_command_gets_an_app_with_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    @click.command()
    @click.argument("word")
    @common_options
    def command(app: App, word: str) -> None:
        seen.extend([app.output.mode, app.output.quiet, app.timeout, app.interface, word])

    arguments = ["-o", "json", "-q", "--timeout", "3", "--interface", "x.sock", "hello"]
    command.main(arguments, standalone_mode=False)

    assert seen == ["json", True, 3.0, "x.sock", "hello"]
    assert app.current[0].timeout == 3.0


def test_a_command_without_a_server_has_only_the_options_of_output() -> None:
    @click.command()
    @output_options
    def command(app: App) -> None:
        raise AssertionError("not called")

    assert [parameter.name for parameter in command.params] == ["mode", "color", "quiet"]


@pytest.mark.parametrize("words", [("--timeout", "0"), ("--timeout", "-1"), ("--timeout", "soon"), ("-o", "xml")])
def test_options_that_make_no_sense_are_a_usage_error(zephctl: Callable[..., Answer], words: tuple[str, str]) -> None:
    answer = zephctl("status", *words)

    assert answer.status == 2
    assert answer.stderr.startswith("Usage: zephctl status [OPTIONS]\n")


def test_importing_the_app_imports_no_settings_page() -> None:
    assert "zephserver.core.settings" not in vars(sys.modules["zephctl.app"])


@pytest.mark.parametrize(("word", "service"), app.ANSWERED_BY.items())
def test_the_service_that_is_named_answers_such_commands(word: str, service: str) -> None:
    methods = [getattr(member, "__zeph_command__", "") for member in vars_of(load_class(service))]

    assert any(name.partition(".")[0] == word for name in methods)


def vars_of(kind: type[Any]) -> list[Any]:
    """Everything that a class has, inherited or not."""
    return [getattr(kind, name) for name in dir(kind)]
