"""zephctl settings show: every setting, its value and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.zephctl.conftest import Answer, Terminal
from zephserver.core.settings_page import page

Zephctl = Callable[..., Answer]
Write = Callable[..., Path]


def test_a_setting_is_shown_with_its_origin(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings(SERVICE_LIST=[], PORT_ZEPH=0)

    answer = zephctl("settings", "show", "PORT_ZEPH", "LOG_LEVEL")

    assert answer == Answer(0, f"LOG_LEVEL\tINFO\tdefault\nPORT_ZEPH\t0\t{path}:2\n", "")


def test_the_case_of_a_name_does_not_matter(zephctl: Zephctl, write_settings: Write) -> None:
    write_settings(SERVICE_LIST=[])

    assert zephctl("settings", "show", "port_zeph") == Answer(0, "PORT_ZEPH\t8080\tdefault\n", "")


def test_all_settings_are_shown_in_the_order_of_the_page(zephctl: Zephctl, write_settings: Write) -> None:
    write_settings(SERVICE_LIST=[])

    names = zephctl("settings", "show", "-o", "name").stdout.split()

    assert names == [line.name.upper() for line in page()]


def test_a_setting_in_json(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings(SERVICE_LIST=["workers/Puppet"])

    answer = zephctl("settings", "show", "SERVICE_LIST", "-o", "json")

    assert answer.json == {
        "schema": 1,
        "settings": [
            {
                "name": "SERVICE_LIST",
                "value": ["workers/Puppet"],
                "from": f"{path}:1",
                "help": "services to run, in this order",
            }
        ],
    }


def test_an_empty_value_is_a_dash(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings(SERVICE_LIST=[], TASKS_PATH={})

    answer = zephctl("settings", "show", "SERVICE_LIST", "TASKS_PATH", "TLS_KEY")

    assert answer.stdout == f"SERVICE_LIST\t-\t{path}:1\nTASKS_PATH\t-\t{path}:2\nTLS_KEY\t-\tdefault\n"


def test_a_mapping_is_shown_so_that_it_can_be_read(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings(SERVICE_LIST=[], TASKS_PATH={"echo": "tasks/Echo"})

    answer = zephctl("settings", "show", "TASKS_PATH")

    assert answer.stdout == f'TASKS_PATH\t{{"echo": "tasks/Echo"}}\t{path}:2\n'


def test_secrets_are_starred(zephctl: Zephctl, write_settings: Write) -> None:
    write_settings(SERVICE_LIST=[], CLUSTER_SECRET="pst" * 20)

    for mode in ("plain", "json", "table"):
        answer = zephctl("settings", "show", "-o", mode)
        assert "pst" not in answer.stdout + answer.stderr
        assert "***" in answer.stdout


def test_a_secret_that_is_wrong_is_not_shown_either(zephctl: Zephctl, write_settings: Write) -> None:
    write_settings(SERVICE_LIST=[], CLUSTER_SECRET="pst", METRICS_TOKEN=["pst"])

    answer = zephctl("settings", "show")

    assert answer.status == 6
    assert "CLUSTER_SECRET" in answer.stderr
    assert "METRICS_TOKEN" in answer.stderr
    assert "pst" not in answer.stdout + answer.stderr


def test_a_table_on_a_terminal(zephctl: Zephctl, write_settings: Write) -> None:
    write_settings(SERVICE_LIST=[])

    answer = zephctl("settings", "show", "LOG_LEVEL", "PORT_ZEPH", "--color", "never", terminal=Terminal())

    assert [line.rstrip() for line in answer.stdout.splitlines()] == [
        "NAME        VALUE   FROM",
        "───────────────────────────",
        "LOG_LEVEL   INFO    default",
        "PORT_ZEPH   8080    default",
    ]


def test_a_name_that_is_none_is_told_with_one_that_is_close(zephctl: Zephctl, write_settings: Write) -> None:
    write_settings(SERVICE_LIST=[])

    answer = zephctl("settings", "show", "PORT_ZEF")

    assert (answer.status, answer.stdout) == (4, "")
    assert answer.stderr == "zephctl: there is no setting PORT_ZEF; did you mean PORT_ZEPH?\n"


def test_warnings_are_told(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings(SERVICE_LIST=[], heart_beat_period=30)

    answer = zephctl("settings", "show", "PING_INTERVAL")

    assert answer.stdout.startswith("PING_INTERVAL\t30\t")
    assert answer.stderr == f"warning: {path}:2: heart_beat_period is a name of 2015; write PING_INTERVAL now\n"


def test_a_setting_of_2015_tells_the_line_it_comes_from(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings(SERVICE_LIST=[], heart_beat_period=30)

    assert zephctl("settings", "show", "PING_INTERVAL", "-q") == Answer(0, f"PING_INTERVAL\t30\t{path}:2\n", "")


def test_broken_settings_are_exit_6(zephctl: Zephctl, write_settings: Write) -> None:
    path = write_settings("SERVICE_LIST = [\n")

    answer = zephctl("settings", "show")

    assert answer == Answer(6, "", f"zephctl: {path}:1: '[' was never closed: SERVICE_LIST = [\n")


def test_no_server_is_needed(zephctl: Zephctl, write_settings: Write, folder: Path) -> None:
    write_settings(SERVICE_LIST=[])

    assert zephctl("settings", "show").status == 0
    assert not (folder / "server.lock").exists()
