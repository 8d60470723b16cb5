"""The typed page: defaults, paths, lines, names of the user's own, names of 2015."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zephserver.core.errors import SettingsError
from zephserver.core.lifecycle import Restart
from zephserver.core.settings import load_settings, make_settings
from zephserver.core.settings_page import Settings, default_of, page

Write = Callable[..., Path]


def test_a_list_of_services_is_all_that_is_needed(tmp_path: Path) -> None:
    settings = make_settings({"SERVICE_LIST": []}, folder=tmp_path)

    assert settings.service_list == ()
    assert settings.lock_file == tmp_path / "server.lock"
    assert settings.log_path == tmp_path / "logging.log"
    assert settings.configuration_network_interface_server == tmp_path / "interface.sock"
    assert settings.configuration_network_interface == tmp_path / "interface.sock"
    assert settings.host_zeph == "127.0.0.1"
    assert settings.cluster_node
    assert settings.warnings == ()


def test_every_setting_of_the_specification_is_on_the_page() -> None:
    names = {line.name.upper() for line in page()}

    assert names >= {
        "SERVICE_LIST", "SERVICE_OPTIONS", "TASKS_PATH", "LOCK_FILE", "LOG_LEVEL", "LOG_PATH", "LOG_FORMAT",
        "LOG_MAX_BYTES", "LOG_BACKUPS", "CONFIGURATION_NETWORK_INTERFACE_SERVER", "CONFIGURATION_NETWORK_INTERFACE",
        "CLUSTER_SERVER_LIST", "CLUSTER_NODE", "CLUSTER_ENGINE", "CLUSTER_SECRET", "MY_SESSION_HANDLER",
        "MY_ROOM_HANDLER", "SAME_DOMAIN", "DJANGO_SETTINGS_MODULE", "PORT_ZEPH", "HOST_ZEPH", "TLS_CERTIFICATE",
        "TLS_KEY", "ALLOWED_ORIGINS", "WEBSOCKET_ENGINE", "MAX_MESSAGE_BYTES", "MAX_FRAGMENTS", "HANDSHAKE_TIMEOUT",
        "IDENTIFY_TIMEOUT", "MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_USER", "MAX_CONNECTIONS_PER_ADDRESS",
        "MESSAGE_RATE", "SEND_QUEUE_BYTES", "WRITE_TIMEOUT", "PING_INTERVAL", "PING_TIMEOUT", "TASK_THREADS",
        "TASK_QUEUE", "TASKS_PER_CLIENT", "TASK_TIMEOUT", "START_TIMEOUT", "STOP_TIMEOUT", "SHUTDOWN_TIMEOUT",
        "RESTART_DELAY", "RESTART_MAX_DELAY", "RESTART_INTENSITY", "RESTART_PERIOD", "DRAIN_BATCH", "DRAIN_INTERVAL",
        "CLUSTER_QUEUE_BYTES", "METRICS_TOKEN", "TRUSTED_PROXIES", "STATIC_FOLDER",
    }  # fmt: skip


@pytest.mark.parametrize("line", page(), ids=lambda line: line.name)
def test_every_default_is_a_value_that_the_setting_would_take(line: object) -> None:
    default = default_of(line)  # type: ignore[arg-type]

    if default is not None:  # None: required, or taken from another setting
        line.metadata["kind"](default)  # type: ignore[attr-defined]


def test_a_default_that_can_be_changed_is_never_shared() -> None:
    first = make_settings({"SERVICE_LIST": []})

    first.tasks_path["Echo"] = "a/B"

    assert make_settings({"SERVICE_LIST": []}).tasks_path == {}


def test_relative_paths_are_taken_from_the_folder_of_the_file(write_settings: Write) -> None:
    path = write_settings("SERVICE_LIST = []\nLOCK_FILE = 'x.lock'\nLOG_PATH = '-'\nSTATIC_FOLDER = '.'\n")

    settings = load_settings(path)

    assert settings.lock_file == path.parent / "x.lock"
    assert settings.log_path == "-"
    assert settings.static_folder == path.parent


def test_names_of_the_users_own_stay_reachable(write_settings: Write) -> None:
    settings = load_settings(write_settings("SERVICE_LIST = []\nMY_DATABASE = {'host': 'x'}\nlower = 3\n"))

    assert settings.MY_DATABASE == {"host": "x"}
    assert settings.PORT_ZEPH == settings.port_zeph == 8080
    with pytest.raises(AttributeError, match="no setting 'lower'"):
        _ = settings.lower
    with pytest.raises(AttributeError, match="no setting 'NOBODY'"):
        _ = settings.NOBODY


def test_settings_are_frozen() -> None:
    settings = make_settings({"SERVICE_LIST": []})

    with pytest.raises(AttributeError):
        settings.port_zeph = 1  # type: ignore[misc]


def test_rows_tell_where_each_value_came_from_and_hide_secrets(write_settings: Write) -> None:
    path = write_settings("SERVICE_LIST = []\n\nPORT_ZEPH = 1\nMETRICS_TOKEN = 'hush'\nLOCK_FILE = 'a'\n")

    rows = {row["name"]: row for row in load_settings(path).rows()}

    assert (rows["PORT_ZEPH"]["value"], rows["PORT_ZEPH"]["from"]) == (1, f"{path}:3")
    assert rows["HOST_ZEPH"]["from"] == "default"
    assert rows["METRICS_TOKEN"]["value"] == "***"
    assert rows["CLUSTER_SECRET"]["value"] is None
    assert rows["LOCK_FILE"]["value"] == str(path.parent / "a")
    assert rows["SERVICE_LIST"]["value"] == []
    assert all(row["help"] for row in rows.values())


def test_secrets_are_listed_for_the_log() -> None:
    settings = make_settings({"SERVICE_LIST": [], "METRICS_TOKEN": "hush"})

    assert settings.secrets() == ["hush"]


def test_lines_are_those_of_the_last_assignment_in_any_form(write_settings: Write) -> None:
    path = write_settings(
        "A, (B, *C) = 1, (2, 3)\nD: int = 4\nD += 1\nfor E in (1,):\n    F = E\nG = H = 0\nSERVICE_LIST = []\n"
        "if True:\n    SERVICE_LIST = []\nx = {}\nx['PORT_ZEPH'] = 3\n"
    )

    lines = load_settings(path).lines

    assert "".join(f"{name}{lines[name]} " for name in "ABCDEFGH") == "A1 B1 C1 D3 E4 F5 G6 H6 "
    assert lines["SERVICE_LIST"] == 9
    assert "PORT_ZEPH" not in lines


def test_the_options_of_a_service_win_over_the_limits() -> None:
    settings = make_settings(
        {
            "SERVICE_LIST": ["a/B", "c/D"],
            "SERVICE_OPTIONS": {
                "a/B": {
                    "restart": "always", "requires": ["c/D"], "essential": True, "stop_timeout": 1, "start_timeout": 2,
                    "restart_delay": 3, "restart_max_delay": 4, "restart_intensity": 0, "restart_period": 6,
                }
            },
            "STOP_TIMEOUT": 7,
        }
    )  # fmt: skip

    special, ordinary = settings.options_of("a/B"), settings.options_of("c/D")

    assert (special.policy.restart, special.requires, special.essential) == (Restart.ALWAYS, ("c/D",), True)
    assert (special.stop_timeout, special.start_timeout) == (1.0, 2.0)
    policy = special.policy
    assert (policy.delay, policy.max_delay, policy.intensity, policy.period) == (3.0, 4.0, 0, 6.0)
    assert (ordinary.policy.restart, ordinary.requires, ordinary.essential) == (Restart.ON_FAILURE, None, None)
    assert (ordinary.stop_timeout, ordinary.start_timeout, ordinary.policy.intensity) == (7.0, 30.0, 5)


def test_the_settings_of_2015_still_work_with_one_warning_each(write_settings: Write) -> None:
    path = write_settings(
        "SERVICE_LIST = ['zephserver.service.socket_service/StartSocket',\n"
        "  'zephserver.service.routeur_service/RouteurService', 'mine/Own']\n"
        "TASKS_PATH = {'ping': 'zephserver.task.task_ping/TaskPing', 'x': 'mine/X',\n"
        "  'y': 'zephserver.service.db_service/DbService'}\n"
        "heart_beat_period = 7\nDJANGO = 'site.settings'\n"
        "SERVICE_OPTIONS = {'zephserver.service.routeur_service/RouteurService': {'essential': True}}\n"
    )

    settings = load_settings(path)

    assert settings.service_list == ("zephserver.router/Router", "mine/Own")
    assert settings.tasks_path == {"ping": "zephserver.task/TaskPing", "x": "mine/X"}
    assert settings.ping_interval == 7.0
    assert settings.django_settings_module == "site.settings"
    assert settings.options_of("zephserver.router/Router").essential is True
    assert len(settings.warnings) == 6
    assert f"{path}:5: heart_beat_period is a name of 2015; write PING_INTERVAL now" in settings.warnings


def test_a_flag_for_django_says_what_to_write_instead() -> None:
    settings = make_settings({"SERVICE_LIST": [], "DJANGO": True})

    assert settings.django_settings_module is None
    assert "name the settings module in DJANGO_SETTINGS_MODULE" in settings.warnings[0]


def test_the_name_of_today_wins_over_that_of_2015() -> None:
    settings = make_settings({"SERVICE_LIST": [], "heart_beat_period": 7, "PING_INTERVAL": 9})

    assert settings.ping_interval == 9.0


def test_a_latin_1_file_that_declares_itself_is_read(write_settings: Write) -> None:
    path = write_settings("# -*- coding: latin-1 -*-\nSERVICE_LIST = []\nMY_CITY = 'Orléans'\n".encode("latin-1"))

    assert load_settings(path).MY_CITY == "Orléans"


def test_a_latin_1_file_may_use_its_letters_in_names(write_settings: Write) -> None:
    path = write_settings("# -*- coding: latin-1 -*-\nécole = 1\nSERVICE_LIST = []\n".encode("latin-1"))

    assert load_settings(path).service_list == ()


def test_a_file_with_a_byte_order_mark_is_read(write_settings: Write) -> None:
    path = write_settings(b"\xef\xbb\xbfSERVICE_LIST = []\n")

    assert load_settings(path).lines == {"SERVICE_LIST": 1}


def test_faults_without_a_file_name_the_setting() -> None:
    with pytest.raises(SettingsError) as caught:
        make_settings({"LOG_LEVEL": "LOUD", "PORT_ZEPH": -1})

    assert caught.value.faults == [
        "settings: SERVICE_LIST is missing: services to run, in this order; [] runs none",
        "LOG_LEVEL: expected a level such as 'INFO', got 'LOUD'",
        "PORT_ZEPH: expected a port from 0 to 65535, got -1",
    ]


def test_a_long_value_is_cut_in_the_fault() -> None:
    with pytest.raises(SettingsError, match=r"got \['xxx.*\.\.\.$") as caught:
        make_settings({"SERVICE_LIST": [], "HOST_ZEPH": ["x" * 1_000]})

    assert len(str(caught.value)) < 200


def test_a_settings_object_can_be_copied() -> None:
    import copy

    settings = make_settings({"SERVICE_LIST": [], "MY_OWN": 1})

    assert copy.copy(settings).MY_OWN == 1
    assert isinstance(copy.copy(settings), Settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "unix:web.sock"])
def test_the_threaded_engine_listens_on_loopback(host: str) -> None:
    settings = make_settings({"SERVICE_LIST": [], "WEBSOCKET_ENGINE": "threaded", "HOST_ZEPH": host})

    assert settings.host_zeph == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_the_threaded_engine_listens_elsewhere_only_when_it_is_told_so(host: str) -> None:
    values = {"SERVICE_LIST": [], "WEBSOCKET_ENGINE": "threaded", "HOST_ZEPH": host}

    with pytest.raises(SettingsError, match="HOST_ZEPH: the engine 'threaded' listens on loopback only"):
        make_settings(values)

    assert make_settings(values | {"THREADED_ALLOW_REMOTE": True}).host_zeph == host
    assert make_settings(values | {"WEBSOCKET_ENGINE": "picows"}).host_zeph == host
