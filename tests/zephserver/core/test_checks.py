"""What can be found wrong with a folder before its server is started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from zephserver.core.checks import check
from zephserver.core.settings import make_settings

if TYPE_CHECKING:
    from tests.zephserver.core.conftest import Bench


def test_services_that_can_be_imported_have_no_fault(bench: Bench) -> None:
    assert check(make_settings({"SERVICE_LIST": [bench.puppet()]})) == []


def test_every_service_that_cannot_be_imported_is_named_with_the_file(bench: Bench) -> None:
    values = {"SERVICE_LIST": ["bench/Missing", bench.puppet(), "nowhere.at.all/X"]}

    faults = check(make_settings(values, file=Path("/x/zephsettings.py")))

    assert faults == [
        "/x/zephsettings.py: SERVICE_LIST: service bench/Missing: module bench has no class 'Missing'",
        "/x/zephsettings.py: SERVICE_LIST: service nowhere.at.all/X: "
        "there is no module 'nowhere' in the settings folder or installed",
    ]


def test_a_module_that_cannot_be_imported_is_told_once_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_up_services.py").write_text("class A: pass\nclass B(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    values = {"SERVICE_LIST": ["made_up_services/A", "made_up_services/B"]}

    faults = check(make_settings(values, file=Path("/x/zephsettings.py")))

    place = f"{tmp_path}/made_up_services.py:2"
    assert faults == [f"{place}: SyntaxError: invalid syntax (services made_up_services/A, made_up_services/B)"]


def test_a_service_may_check_the_settings_itself_and_is_not_constructed(bench: Bench) -> None:
    def explode(self: object) -> None:
        raise AssertionError("constructed")

    name = bench.puppet(
        "Picky", __init__=explode, check=staticmethod(lambda settings: [f"PORT_ZEPH is {settings.port_zeph}"])
    )

    assert check(make_settings({"SERVICE_LIST": [name], "PORT_ZEPH": 1})) == ["PORT_ZEPH is 1"]
