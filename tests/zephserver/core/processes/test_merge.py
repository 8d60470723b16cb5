"""How the answers of several workers become one."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from zephserver.core.processes import merge


def row(state: str = "ready", **more: Any) -> dict[str, Any]:
    return {"name": "a/B", "state": state, "available": False, "enabled": True, "since": 1.0, "restarts": 0,
            "error": None, **more}  # fmt: skip


def test_the_first_answer_stands_for_all() -> None:
    assert merge.first({2: "x", 3: "y"}) == "x"


def test_rows_stand_together_each_with_its_worker() -> None:
    assert merge.together({1: [{"a": 1}], 2: [], 3: [{"a": 2}]}) == [{"a": 1, "worker": 1}, {"a": 2, "worker": 3}]


def test_what_has_lasted_longest_comes_first() -> None:
    rows = merge.longest_first({1: [{"seconds": 1.0}], 2: [{"seconds": 3.0}, {"seconds": 0.5}]})

    assert [(row["seconds"], row["worker"]) for row in rows] == [(3.0, 2), (1.0, 1), (0.5, 2)]


def test_stacks_have_a_heading() -> None:
    assert merge.stacked({1: "x\n", 2: "y"}) == "worker 1:\nx\n\nworker 2:\ny"


# -- one service in several workers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        ({2: "slow", 1: "gone"}, "worker 1: gone; worker 2: slow"),
        ({1: "drained", 2: "drained"}, "drained"),
        ({2: "drained"}, "worker 2: drained"),
        ({}, ""),
    ],
)
def test_what_is_true_of_all_workers_is_said_once(reasons: dict[int, str], told: str) -> None:
    assert merge.in_one_line(reasons, 2) == told


def test_a_service_is_ready_when_it_is_in_all_workers() -> None:
    merged = merge.agreed({1: row(restarts=1), 2: row(restarts=2)})

    assert merged == row(restarts=3, workers={"1": "ready", "2": "ready"})


def test_where_workers_differ_the_trouble_is_told() -> None:
    failed = row("failed", enabled=False, available=True, since=7.0, error="no")

    merged = merge.agreed({1: row(), 2: failed, 3: row()})

    assert (merged["state"], merged["error"], merged["since"]) == ("failed", "no", 7.0)
    assert (merged["enabled"], merged["available"]) == (False, True)
    assert merged["workers"] == {"1": "ready", "2": "failed", "3": "ready"}


def test_a_change_in_one_worker_is_a_change() -> None:
    assert merge.agreed({1: row(changed=False), 2: row(changed=True)})["changed"]
    assert not merge.agreed({1: row(changed=False), 2: row(changed=False)})["changed"]


def test_the_live_view_has_one_row_a_service() -> None:
    rows = merge.together({1: [row(), row(name="c/D")], 2: [row("dead"), row(name="c/D")]})

    merged = merge.service_by_service(rows)

    assert [(one["name"], one["state"], one["worker"]) for one in merged] == [
        ("a/B", "dead", None), ("c/D", "ready", None)
    ]  # fmt: skip


# -- one status ------------------------------------------------------------------------------------------------------


def status(**more: Any) -> dict[str, Any]:
    return {
        "ready": True, "port": 8080, "uptime": 3.0, "connections": 2, "rooms": 4, "version": "1",
        "services": {"total": 2, "enabled": 2, "ready": 2}, "tasks": {"running": 1}, **more
    }  # fmt: skip


def test_numbers_of_a_status_are_added_up() -> None:
    merged = merge.total({1: status(), 2: status(services={"total": 2, "enabled": 1, "failed": 1})})

    assert merged["connections"] == 4
    assert merged["services"] == {"total": 4, "enabled": 3, "ready": 2, "failed": 1}
    assert merged["tasks"] == {"running": 2}


def test_what_is_the_same_for_all_is_not_added_up() -> None:
    merged = merge.total({1: status(port=None), 2: status(uptime=5.0, rooms=3)})

    assert (merged["port"], merged["uptime"], merged["rooms"], merged["version"]) == (8080, 5.0, 4, "1")


def test_all_are_ready_or_the_server_is_not() -> None:
    assert merge.total({1: status(), 2: status()})["ready"] is True
    assert merge.total({1: status(), 2: status(ready=False)})["ready"] is False
    assert merge.total({})["ready"] is False


def test_what_only_some_tell_is_kept() -> None:
    merged = merge.total({1: status(queue=3, mood="fine"), 2: status(queue=None)})

    assert (merged["queue"], merged["mood"]) == (3, "fine")
    assert merge.total({1: status(queue=None), 2: status(queue=None)})["queue"] is None


def test_numbers_by_name_are_added_up() -> None:
    assert merge.summed([{"a": 1.0, "b": 2.0}, {"a": 0.5}]) == {"a": 1.5, "b": 2.0}


# -- metrics -----------------------------------------------------------------------------------------------------------

OWN = "# HELP up Up.\n# TYPE up gauge\nup 1\n"
THEIRS = (
    "# HELP up Up.\n# TYPE up gauge\nup 1\n"
    "# HELP t_seconds Times.\n# TYPE t_seconds histogram\n"
    't_seconds_bucket{task="a b",le="+Inf"} 3\nt_seconds_sum{task="a b"} 0.5\nt_seconds_count{task="a b"} 3\n'
)


def test_samples_of_workers_have_their_number_and_our_own_have_none() -> None:
    text = merge.metrics(OWN, {1: THEIRS, 2: THEIRS})

    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert [(s.labels, s.value) for s in families["up"].samples] == [
        ({}, 1.0), ({"worker": "1"}, 1.0), ({"worker": "2"}, 1.0)
    ]  # fmt: skip
    assert [s.labels["worker"] for s in families["t_seconds"].samples] == ["1", "1", "1", "2", "2", "2"]
    assert families["t_seconds"].samples[0].labels == {"task": "a b", "le": "+Inf", "worker": "1"}


def test_help_and_type_stand_once_before_all_samples_of_a_family() -> None:
    lines = merge.metrics(OWN, {1: THEIRS, 2: THEIRS}).splitlines()

    assert lines[:5] == ["# HELP up Up.", "# TYPE up gauge", "up 1", 'up{worker="1"} 1', 'up{worker="2"} 1']
    assert lines[5] == "# HELP t_seconds Times."
    assert sum(line.startswith("#") for line in lines) == 4


def test_a_family_without_samples_is_left_out() -> None:
    assert merge.metrics("# HELP x X.\n# TYPE x counter\n", {}) == ""


def test_labels_with_braces_and_quotes_stay_as_they_are() -> None:
    text = 'x{room="a}\\" b"} 1\n'

    assert merge.metrics("", {1: text}) == 'x{room="a}\\" b",worker="1"} 1\n'


def test_for_rates_samples_are_added_up() -> None:
    added = merge.metrics_added([THEIRS, THEIRS, "what is this\n"])

    assert added == (
        'up 2.0\nt_seconds_bucket{task="a b",le="+Inf"} 6.0\nt_seconds_sum{task="a b"} 1.0\n'
        't_seconds_count{task="a b"} 6.0\n'
    )
