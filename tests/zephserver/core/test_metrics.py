"""Numbers as text: what a monitoring system reads of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from zephserver.core import metrics
from zephserver.core.metrics import Family, Histogram
from zephserver.core.service import Service
from zephserver.testing import running_server


def parsed(text: str) -> dict[str, Any]:
    """The families by name, as Prometheus reads them."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def written(*families: Family) -> str:
    """The families as text."""
    return "".join(metrics._lines(families))


def read(*families: Family) -> list[tuple[str, dict[str, str], float]]:
    """The samples of the families, written and read again."""
    return [
        (sample.name, sample.labels, sample.value)
        for family in parsed(written(*families)).values()
        for sample in family.samples
    ]


def test_a_gauge_is_one_sample() -> None:
    assert written(metrics.gauge("rooms", "Rooms.", 3)) == "# HELP rooms Rooms.\n# TYPE rooms gauge\nrooms 3\n"


def test_a_counter_is_one_sample() -> None:
    assert read(metrics.counter("seen_total", "Seen.", 3)) == [("seen_total", {}, 3.0)]


def test_counters_have_a_label_each() -> None:
    samples = read(metrics.counters("closes_total", "Closes.", "code", {"1000": 2, "1001": 1}))

    assert samples == [("closes_total", {"code": "1000"}, 2.0), ("closes_total", {"code": "1001"}, 1.0)]


def test_counters_without_values_have_no_samples() -> None:
    assert read(metrics.counters("closes_total", "Closes.", "code", {})) == []


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\nb", "\\n", "é🙂", "", "{}", 'a\\"b', ","])
def test_a_label_may_be_any_text(text: str) -> None:
    assert read(metrics.counters("n_total", "N.", "what", {text: 1})) == [("n_total", {"what": text}, 1.0)]


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-9, 1e300, 2**53, -1.5, math.inf, -math.inf, 1 / 3])
def test_a_value_arrives_as_it_was(value: float) -> None:
    assert read(metrics.gauge("g", "G.", value)) == [("g", {}, value)]


def test_not_a_number_arrives_as_that() -> None:
    [(_, _, value)] = read(metrics.gauge("g", "G.", math.nan))

    assert math.isnan(value)


def test_a_help_of_two_lines_stays_one_line() -> None:
    text = written(metrics.gauge("g", "First.\nsecond_line 1\\2", 1))

    assert [line.split()[0] for line in text.splitlines()] == ["#", "#", "g"]
    assert parsed(text)["g"].documentation == "First.\nsecond_line 1\\2"


def test_a_histogram_counts_what_fell_into_its_buckets() -> None:
    histogram = Histogram((1.0, 2.5))
    for value in (0.5, 1.0, 1.1, 2.5, 99.0):
        histogram.observe(value)

    family = Family("seconds", "histogram", "Seconds.", histogram.samples((("task", "a"),)))

    assert read(family) == [
        ("seconds_bucket", {"task": "a", "le": "1"}, 2.0),
        ("seconds_bucket", {"task": "a", "le": "2.5"}, 4.0),
        ("seconds_bucket", {"task": "a", "le": "+Inf"}, 5.0),
        ("seconds_sum", {"task": "a"}, 104.1),
        ("seconds_count", {"task": "a"}, 5.0),
    ]


def test_a_histogram_without_values_is_all_zero() -> None:
    samples = Histogram().samples()

    assert len(samples) == len(metrics.SECONDS) + 3
    assert {value for _, _, value in samples} == {0.0}


def test_a_histogram_is_read_while_it_counts() -> None:
    histogram, ended = Histogram(), threading.Event()

    def count() -> None:
        while not ended.is_set():
            histogram.observe(0.01)

    counting = threading.Thread(target=count)
    counting.start()
    try:
        for _ in range(200):
            samples = histogram.samples()
            buckets = [value for suffix, _, value in samples if suffix == "_bucket"]
            assert buckets == sorted(buckets)
            assert buckets[-1] == samples[-1][2]
    finally:
        ended.set()
        counting.join()


class Counting(Service):
    """A service that takes part."""

    def __init__(self) -> None:
        self._disabled = threading.Event()

    def main(self) -> None:
        self._disabled.wait()

    def disable(self) -> None:
        self._disabled.set()

    def metrics(self) -> Any:
        """Its numbers."""
        yield metrics.gauge("my_number", "Mine.", 42)


class Raising(Counting):
    """One whose numbers cannot be had."""

    def metrics(self) -> Any:
        """Begins well."""
        yield metrics.gauge("half", "Half.", 1)
        raise RuntimeError("no numbers today")


class Otherwise(Counting):
    """One whose metrics() has nothing to do with us."""

    def metrics(self) -> Any:
        """As it was long before."""
        return {"cpu": 0.5}


class Words(Counting):
    """One that yields words where numbers belong."""

    def metrics(self) -> Any:
        """Nearly right."""
        yield metrics.gauge("words", "Words.", "many")  # type: ignore[arg-type]


class Attribute(Counting):
    """One that has something else under that name."""

    metrics = 5  # type: ignore[assignment]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Any]:
    """The page of a server with these services."""
    open_servers = []

    def make(*services: type) -> str:
        names = [f"{service.__module__}/{service.__qualname__}" for service in services]
        running = running_server(tmp_path, SERVICE_LIST=names)
        server = running.__enter__()
        open_servers.append(running)
        return metrics.write(server)

    yield make
    for running in open_servers:
        running.__exit__(None, None, None)


def test_the_page_has_the_process_the_core_and_the_services(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _as_module(monkeypatch, Counting)

    page = parsed(write(Counting))

    assert page["my_number"].samples[0].value == 42
    assert page["zephserver_ready"].samples[0].value == 1
    [state] = page["zephserver_service_state"].samples
    assert (state.labels["service"].rpartition("/")[2], state.value) == ("Counting", 1.0)
    assert page["zephserver_service_restarts"].samples[0].value == 0
    assert page["process_cpu_seconds"].samples[0].value > 0
    assert page["process_resident_memory_bytes"].samples[0].value > 1_000_000
    assert 0 < page["process_open_fds"].samples[0].value < page["process_max_fds"].samples[0].value
    assert page["process_start_time_seconds"].samples[0].value > 1e9
    assert all(family.documentation for family in page.values())


@pytest.mark.parametrize("other", [Raising, Otherwise, Words, Attribute])
def test_a_service_that_cannot_tell_its_numbers_spoils_no_others(
    write: Any, monkeypatch: pytest.MonkeyPatch, other: type
) -> None:
    _as_module(monkeypatch, Counting, other)

    page = parsed(write(other, Counting))

    assert page["my_number"].samples[0].value == 42
    assert "half" not in page


def test_a_system_without_proc_has_no_such_numbers(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(metrics.os, "listdir", no_proc)
    families = {family.name for family in metrics._of_process()}

    assert "process_open_fds" not in families
    assert "process_cpu_seconds_total" in families


def _as_module(monkeypatch: pytest.MonkeyPatch, *services: type) -> None:
    """Make the services importable by the names that they have."""
    import sys
    from types import ModuleType

    module = ModuleType("services_with_numbers")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for service in services:
        monkeypatch.setattr(service, "__module__", module.__name__)
        setattr(module, service.__name__, service)
