"""What an operator is answered by a server above workers. The tests share one, and leave it as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.zephserver.core.processes.conftest import lines, pids
from zephserver.core.errors import BadRequest, CommandFailed, ControlUnreachable
from zephserver.core.events import CommandServed
from zephserver.core.processes.rules import Rule, Whom
from zephserver.core.processes.supervisor import Supervisor
from zephserver.testing import wait_until

PUPPET = "house_services/Puppet"


def ask(server: Supervisor, command: str, **args: Any) -> Any:
    """As zephctl asks."""
    return server.table.find(command).call((), args)


def type_in(server: Supervisor, *words: str) -> Any:
    """As a person asks."""
    row, rest = server.table.find_words(words)
    return row.call(rest, {})


def test_the_status_is_of_all_workers(shared: Supervisor) -> None:
    status = ask(shared, "status")

    assert (status["running"], status["ready"], status["stopping"]) == (True, True, False)
    assert status["workers"] == {"total": 2, "ready": 2}
    assert status["services"] == {"total": 4, "enabled": 4, "available": 0, "ready": 4}
    assert list(status)[:5] == ["running", "ready", "stopping", "pid", "uptime"]


def test_the_list_has_a_row_for_each_worker_and_service(shared: Supervisor) -> None:
    rows = ask(shared, "services.list")

    assert [(row["worker"], row["name"], row["state"]) for row in rows] == [
        (worker, f"house_services/{name}", "ready") for worker in (1, 2) for name in ("Puppet", "Other")
    ]


def test_a_service_is_shown_once_with_its_state_in_each_worker(shared: Supervisor) -> None:
    shown = ask(shared, "services.show", name="Puppet")

    assert (shown["name"], shown["state"], shown["workers"]) == (PUPPET, "ready", {"1": "ready", "2": "ready"})


def test_a_service_is_disabled_and_enabled_in_all_workers(shared: Supervisor) -> None:
    disabled = ask(shared, "services.disable", name="Other")
    rows = ask(shared, "services.list")
    status = ask(shared, "status")
    enabled = ask(shared, "services.enable", name="Other")

    assert (disabled["changed"], disabled["state"]) == (True, "available")
    assert [row["state"] for row in rows] == ["ready", "available", "ready", "available"]
    assert (status["ready"], status["workers"]["ready"]) == (False, 0)
    assert (enabled["changed"], enabled["state"], enabled["workers"]) == (True, "ready", {"1": "ready", "2": "ready"})
    assert ask(shared, "services.enable", name="Other")["changed"] is False


def test_a_service_is_restarted_in_one_worker_after_the_other(shared: Supervisor) -> None:
    before = {row["worker"]: row["since"] for row in ask(shared, "services.list") if row["name"] == PUPPET}

    restarted = type_in(shared, "services", "restart", "Puppet")

    after = {row["worker"]: row["since"] for row in ask(shared, "services.list") if row["name"] == PUPPET}
    assert restarted["state"] == "ready"
    assert before[1] < after[1] <= after[2]


def test_a_service_that_nobody_knows_is_told_as_by_one_server(shared: Supervisor) -> None:
    with pytest.raises(CommandFailed, match=r"^no service named 'Nope'; SERVICE_LIST has: ") as refused:
        ask(shared, "services.show", name="Nope")

    assert refused.value.code == "unknown-service"


def test_a_command_that_nobody_knows_is_told_as_by_one_server(shared: Supervisor) -> None:
    for attempt in (lambda: ask(shared, "statsu"), lambda: type_in(shared, "statsu")):
        with pytest.raises(CommandFailed, match="unknown command 'statsu'; did you mean status") as refused:
            attempt()
        assert refused.value.code == "unknown-command"


def test_wrong_arguments_are_told_as_by_one_server(shared: Supervisor) -> None:
    with pytest.raises(CommandFailed, match=r"usage: services show NAME$") as refused:
        type_in(shared, "services", "show")

    assert refused.value.code == "bad-request"


def test_stacks_come_from_all_workers(shared: Supervisor) -> None:
    text = ask(shared, "services.stack", name="Puppet")

    assert text.startswith("worker 1:\n  File ")
    assert "\n\nworker 2:\n  File " in text


def test_a_service_and_the_server_can_be_waited_for(shared: Supervisor) -> None:
    assert ask(shared, "services.wait", name="Puppet", within=10)["state"] == "ready"
    assert ask(shared, "wait", within=30)["ready"] is True
    ask(shared, "services.disable", name="Other")
    try:
        with pytest.raises(CommandFailed, match="not ready: house_services/Other") as late:
            ask(shared, "wait", within=0.2)
        assert late.value.code == "timed-out"
    finally:
        ask(shared, "services.enable", name="Other")


def test_commands_of_services_are_for_the_first_worker(shared: Supervisor) -> None:
    assert ask(shared, "puppet.pid") == pids(shared)[1]
    assert type_in(shared, "puppet", "pid") == pids(shared)[1]


def test_their_streams_come_through(shared: Supervisor) -> None:
    for stream in (ask(shared, "puppet.count", to=3), type_in(shared, "puppet.count", "3")):
        assert isinstance(stream, Iterator)
        assert list(stream) == [0, 1, 2]


def test_help_is_that_of_the_workers(shared: Supervisor) -> None:
    known = {row["command"] for row in ask(shared, "help")}

    assert {"status", "services show NAME", "puppet pid"} <= known


def test_metrics_are_of_all_processes(shared: Supervisor) -> None:
    families = {family.name: family for family in text_string_to_metric_families(ask(shared, "metrics"))}

    ready = {sample.labels.get("worker"): sample.value for sample in families["zephserver_ready"].samples}
    assert ready == {None: 1.0, "1": 1.0, "2": 1.0}
    starts = {sample.labels["worker"]: sample.value for sample in families["zephserver_worker_starts"].samples}
    assert starts == {"1": 1.0, "2": 1.0}
    assert [s.value for s in families["zephserver_worker_up"].samples] == [1.0, 1.0]
    peers = {(s.labels["worker"], s.labels["peer"][-1]) for s in families["zephserver_cluster_up"].samples}
    assert peers == {("1", "2"), ("2", "1")}


def test_the_live_view_gets_one_row_a_service_and_sums(shared: Supervisor) -> None:
    answer = ask(shared, "top")

    assert [row["name"] for row in answer["services"]] == [PUPPET, "house_services/Other"]
    assert answer["status"]["workers"] == {"total": 2, "ready": 2}
    assert "\nprocess_open_fds " in answer["metrics"]
    assert f"service:{PUPPET}" in answer["threads"]


def test_there_is_nobody_to_whom_the_clients_of_all_workers_could_go(shared: Supervisor) -> None:
    with pytest.raises(BadRequest, match="no other server that could take their clients; to end them: zephctl stop"):
        ask(shared, "cluster.drain")


def test_where_a_broker_joins_them_with_others_all_workers_are_drained(
    shared: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def answer(rule: Rule, request: dict[str, Any]) -> Any:
        asked.append((rule.whom, request))
        return rule.merge({1: {"clients": 2, "servers": ["barn"]}, 2: {"clients": 3, "servers": ["barn"]}})

    monkeypatch.setitem(shared.whole.__dict__, "cluster_engine", "nats://127.0.0.1:4222")
    monkeypatch.setattr(shared.crew, "answer", answer)

    assert ask(shared, "cluster.drain") == {"clients": 5, "servers": ["barn"]}
    assert asked == [(Whom.ALL, {"command": "cluster.drain"})]


def test_settings_are_those_that_were_given(shared: Supervisor) -> None:
    values = {row["name"]: row["value"] for row in ask(shared, "settings.show")}

    assert (values["WORKERS"], values["SERVICE_LIST"]) == (2, [PUPPET, "house_services/Other"])
    assert values["LOG_PATH"] == str(shared.whole.log_path)


def test_a_log_level_is_set_in_all_processes(shared: Supervisor) -> None:
    assert ask(shared, "log.level") == {"server": "INFO"}
    try:
        assert ask(shared, "log.level", level="error", service="Puppet") == {"server": "INFO", PUPPET: "ERROR"}
        assert shared.log.levels() == {"": "INFO", PUPPET: "ERROR"}
        assert shared.plan_of(1).levels == {"": "INFO", PUPPET: "ERROR"}
        assert shared.crew.ask_all("log.level")[2] == {"server": "INFO", PUPPET: "ERROR"}
    finally:
        ask(shared, "log.level", level="INFO")
    assert shared.log.levels() == {"": "INFO"}


def test_the_log_can_be_asked_for_one_service_by_its_class(shared: Supervisor) -> None:
    found = [line for line in ask(shared, "log.tail", lines=100, service="Other") if line is not None]

    assert found
    assert {line["service"] for line in found} == {"house_services/Other"}
    assert {line["worker"] for line in found} == {1, 2}


def test_what_a_worker_cries_on_stderr_is_in_the_log(shared: Supervisor) -> None:
    ask(shared, "puppet.cry", text="help, and {braces}")

    wait_until(lambda: any(line.endswith("WARNING  worker 1: help, and {braces}") for line in lines(shared)))


def test_the_events_of_all_workers_are_one_stream(shared: Supervisor) -> None:
    past = [event for event in ask(shared, "events", after=0, follow=False) if event is not None]

    assert [event["seq"] for event in past] == list(range(1, len(past) + 1))
    ready = [event for event in past if event["kind"] == "ServerReady" and "worker" in event]
    assert {event["worker"] for event in ready} == {1, 2}
    assert all(event["text"].startswith(f"worker {event['worker']}: ready: 2 services") for event in ready)


def test_the_kinds_of_events_are_those_of_all_processes(shared: Supervisor) -> None:
    assert {"WorkerDied", "ServiceDied"} <= set(ask(shared, "events.kinds"))


def test_events_that_no_log_takes_come_while_somebody_looks(shared: Supervisor) -> None:
    served: list[dict[str, Any]] = []
    is_there = threading.Event()

    def look() -> None:
        for event in ask(shared, "events"):
            if event is None:
                is_there.set()
            elif event["kind"] == CommandServed.__name__ and event.get("worker") == 2:
                served.append(event)
                return

    thread = threading.Thread(target=look, name="looker", daemon=True)
    thread.start()
    wait_until(lambda: shared.crew.is_watching, "somebody looks")
    while thread.is_alive():  # until the worker has heard that somebody does
        shared.crew.ask_all("ping")
        thread.join(0.05)

    assert served[0]["command"] == "ping"
    assert not shared.crew.is_watching


def test_without_any_worker_a_command_says_so(shared: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    for slot in shared.crew.slots.values():
        monkeypatch.setattr(slot, "is_up", False)

    with pytest.raises(ControlUnreachable, match="no worker is there right now; see: zephctl services list"):
        ask(shared, "rooms.list")
    assert ask(shared, "status")["workers"] == {"total": 2, "ready": 0}
    assert ask(shared, "ping") == "pong"
    assert [row["name"] for row in ask(shared, "services.list")] == [
        "zephserver.core.processes/Worker1", "zephserver.core.processes/Worker2"
    ]  # fmt: skip
