"""Which settings the process above and its workers get, and which cannot be had."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from zephserver.core.lifecycle import Restart
from zephserver.core.processes.plan import (
    Plan,
    faults_of_workers,
    settings_of_parent,
    settings_of_worker,
    slot_name,
)
from zephserver.core.settings import make_settings
from zephserver.core.settings_kinds import nodes
from zephserver.core.settings_page import Settings

SECRET = "0123456789abcdef0123456789abcdef"


def settings(folder: Path, **values: Any) -> Settings:
    return make_settings({"SERVICE_LIST": ["a/B"], "CLUSTER_NODE": "house", **values}, folder=folder)


def plan(number: int = 2, **values: Any) -> Plan:
    return Plan(**{"number": number, "count": 3, "folder": "/run/d", "sockets": "/tmp/s", "port": 8123, **values})


def test_the_process_above_has_a_service_for_each_worker(tmp_path: Path) -> None:
    parent = settings_of_parent(settings(tmp_path, WORKERS=2, RESTART_PERIOD=10, SHUTDOWN_TIMEOUT=20))

    assert parent.service_list == ("zephserver.core.processes/Worker1", "zephserver.core.processes/Worker2")
    options = parent.options_of(slot_name(2))
    assert (options.essential, options.policy.restart, options.policy.period) == (True, Restart.ALWAYS, 30.0)
    assert options.start_timeout == parent.start_timeout > 30.0
    assert options.stop_timeout == 20.0


def test_the_process_above_is_in_no_cluster(tmp_path: Path) -> None:
    servers = [{"hostname": "house", "address": "127.0.0.1", "port": 1}]

    parent = settings_of_parent(settings(tmp_path, WORKERS=2, CLUSTER_SERVER_LIST=servers))

    assert parent.cluster_server_list == ()


def test_a_worker_has_files_and_sockets_of_its_own_and_the_port_of_all(tmp_path: Path) -> None:
    mine = settings_of_worker(settings(tmp_path, WORKERS=3, PORT_ZEPH=0), plan())

    assert (mine.workers, mine.port_zeph, mine.reuse_port) == (1, 8123, True)
    assert mine.lock_file == Path("/run/d/2.lock")
    assert mine.configuration_network_interface_server == Path("/tmp/s/2.sock") == mine.configuration_network_interface
    assert (mine.log_path, mine.log_format) == ("-", "json")
    assert mine.service_list == ("a/B",)


def test_a_worker_stops_before_the_process_above_would_kill_it(tmp_path: Path) -> None:
    mine = settings_of_worker(settings(tmp_path, SHUTDOWN_TIMEOUT=20), plan())

    assert mine.shutdown_timeout < 0.85 * 20


def test_the_workers_are_a_cluster_over_their_sockets(tmp_path: Path) -> None:
    mine = settings_of_worker(settings(tmp_path, CLUSTER_SECRET=SECRET), plan())

    assert mine.cluster_node == "house-2"
    assert [server["hostname"] for server in mine.cluster_server_list] == ["house-1", "house-2", "house-3"]
    assert mine.cluster_server_list[0]["address"] == "unix:/tmp/s/1.mesh"
    assert nodes(list(mine.cluster_server_list)) == mine.cluster_server_list  # as a person could write it
    assert mine.cluster_secret is None


def test_with_a_broker_each_worker_is_a_server_of_its_own_name(tmp_path: Path) -> None:
    servers = [{"hostname": name, "address": f"unix:{name}", "port": 0} for name in ("house", "barn")]
    whole = settings(tmp_path, CLUSTER_SECRET=SECRET)
    whole.__dict__["cluster_engine"] = "nats://127.0.0.1:4222"
    whole.__dict__["cluster_server_list"] = tuple(servers)

    mine = settings_of_worker(whole, plan())

    assert mine.cluster_node == "house-2"
    assert mine.cluster_engine == "nats://127.0.0.1:4222"
    assert mine.cluster_server_list == tuple(servers)
    assert mine.cluster_secret == SECRET


def test_a_new_worker_has_the_log_level_that_was_set_meanwhile(tmp_path: Path) -> None:
    mine = settings_of_worker(settings(tmp_path), plan(levels={"": "DEBUG", "a/B": "ERROR"}))

    assert mine.log_level == "DEBUG"


def test_a_plan_travels_as_json() -> None:
    one = plan(levels={"": "DEBUG"}, captures_output=True)

    assert Plan(**json.loads(json.dumps(one.as_dict()))) == one


def test_one_worker_is_always_possible(tmp_path: Path) -> None:
    servers = [{"hostname": name, "address": f"unix:{name}", "port": 0} for name in ("house", "barn")]

    alone = settings(tmp_path, WORKERS=1, HOST_ZEPH="unix:x.sock", CLUSTER_SERVER_LIST=servers)

    assert list(faults_of_workers(alone)) == []


def faults(whole: Settings) -> list[tuple[str, str]]:
    return list(faults_of_workers(whole.with_workers(2)))


def test_several_workers_cannot_share_a_unix_socket(tmp_path: Path) -> None:
    found = faults(settings(tmp_path, HOST_ZEPH="unix:x.sock"))

    assert found == [
        ("HOST_ZEPH", "several workers share a port, not a UNIX socket; name an address, or start one worker")
    ]


def test_the_mesh_joins_workers_or_machines_but_not_both(tmp_path: Path) -> None:
    servers = [{"hostname": name, "address": f"unix:{name}", "port": 0} for name in ("house", "barn")]
    whole = settings(tmp_path, CLUSTER_SERVER_LIST=servers)

    [(name, why)] = faults(whole)

    assert name == "CLUSTER_SERVER_LIST"
    assert "start one worker on each, or name a broker in CLUSTER_ENGINE" in why
    whole.__dict__["cluster_engine"] = "nats://127.0.0.1:4222"
    assert faults(whole) == []


def test_a_missing_pyzmq_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = settings(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    [(name, why)] = faults(whole)

    assert name == "WORKERS"
    assert why.endswith("needs pyzmq; install it with: pip install 'zephserver[cluster]'")
