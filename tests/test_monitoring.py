"""The alert rules and the dashboard of docs/monitoring: what they ask for is there, and is explained."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "monitoring"
OWN = re.compile(r"\bzephserver_[a-z_]+")
SUFFIX = re.compile(r"_(bucket|sum|count)$")


def asked_of(text: str) -> set[str]:
    return {SUFFIX.sub("", name) for name in OWN.findall(text)}


def expressions(name: str) -> str:
    """What a file asks Prometheus."""
    if name.endswith(".json"):
        panels = json.loads((FOLDER / name).read_text())["panels"]
        return "\n".join(target["expr"] for panel in panels for target in panel["targets"])
    lines = (FOLDER / name).read_text().splitlines()
    return "\n".join(line for line in lines if not line.strip().startswith(("-", "summary", "action", "labels", "#")))


@pytest.mark.parametrize("name", ["alerts.yml", "grafana.json"])
def test_every_metric_that_is_asked_for_is_counted_and_explained(name: str) -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "zephserver").rglob("*.py"))
    counted = asked_of(source.replace("zephserver_task_{what}", "zephserver_task_threads"))
    explained = asked_of((ROOT / "docs" / "how-to" / "monitor.md").read_text())
    asked = asked_of(expressions(name))

    assert len(asked) > 10
    assert asked - counted == set()
    assert asked - explained == set()


def test_every_alert_says_what_to_do() -> None:
    alerts = re.split(r"- alert: ", (FOLDER / "alerts.yml").read_text())[1:]

    assert len(alerts) > 10
    for alert in alerts:
        for field in ("expr: ", "labels: {severity: ", "summary: ", "action: "):
            assert field in alert, (alert.partition("\n")[0], field)


def test_the_panels_do_not_cover_each_other() -> None:
    panels = json.loads((FOLDER / "grafana.json").read_text())["panels"]

    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in panels}) == len(panels)
