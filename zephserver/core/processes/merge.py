"""How the answers of several workers become one. Pure: no I/O, no clock.

Each function takes the answers by the number of the worker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Answers = Mapping[int, Any]
Rows = list[dict[str, Any]]

# Of a status: what is the same for all, and what would be counted several times.
_SAME = frozenset({"port"})
_LARGEST = frozenset({"uptime", "rooms"})  # a room may have members on each
SILENT = "it does not answer"  # of a worker that is there, and hangs
_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")


def first(answers: Answers) -> Any:
    """The answer of the first one: that of the others is the same, or they were not asked."""
    return next(iter(answers.values()))


def together(answers: Answers) -> Rows:
    """The rows of all, each with its worker."""
    return [{**row, "worker": worker} for worker, rows in answers.items() for row in rows]


def longest_first(answers: Answers) -> Rows:
    """As together(), what has lasted longest first."""
    return sorted(together(answers), key=lambda row: row["seconds"], reverse=True)


def stacked(answers: Answers) -> str:
    """Texts below each other."""
    return "\n\n".join(f"worker {worker}:\n{text.rstrip()}" for worker, text in answers.items())


def agreed(answers: Answers) -> dict[str, Any]:
    """One record of many about the same service: where they differ, what an operator has to know.

    `workers` has the state in each. The state is `ready` only if it is in all, `restarts` is how many there were.
    """
    records = list(answers.values())
    worst = next((record for record in records if record.get("state") != "ready"), records[0])
    merged = {name: _agreed(name, [record.get(name) for record in records], worst) for name in records[0]}
    return merged | {"workers": {str(worker): record.get("state") for worker, record in answers.items()}}


def _agreed(name: str, values: Sequence[Any], worst: Mapping[str, Any]) -> Any:
    if name == "restarts":
        return sum(values)
    if name in ("changed", "available"):
        return any(values)
    if name == "enabled":
        return all(values)
    return worst.get(name)


def service_by_service(rows: Iterable[dict[str, Any]]) -> Rows:
    """Of rows of all workers, one for each service."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["name"], {})[row["worker"]] = row
    return [agreed(answers) | {"worker": None} for answers in found.values()]


def total(answers: Answers) -> dict[str, Any]:
    """One status of many: ready if all are, numbers added up, of anything else the first."""
    statuses = list(answers.values())
    merged = _total(statuses)
    merged["ready"] = bool(statuses) and all(status.get("ready") for status in statuses)
    return merged


def _total(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for record in records for name in record)
    return {name: _added(name, [record[name] for record in records if name in record]) for name in names}


def _added(name: str, values: Sequence[Any]) -> Any:
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, dict) for value in known):
        return _total(known)
    is_number = known and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known)
    if not is_number or name in _SAME:
        return known[0] if known else None
    return max(known) if name in _LARGEST else sum(known)


def in_one_line(reasons: Mapping[int, str], count: int) -> str:
    """What the workers say, or is said of them; what is true of all *count* of them is said once."""
    if len(reasons) == count and len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"worker {worker}: {why}" for worker, why in sorted(reasons.items()))


def summed(answers: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Numbers by name, added up."""
    sums: dict[str, float] = {}
    for numbers in answers:
        for name, value in numbers.items():
            sums[name] = sums.get(name, 0.0) + value
    return sums


def metrics(own: str, answers: Answers) -> str:
    """One text of many in the format of Prometheus: the samples of a worker get a label, *own* stay as they are.

    HELP and TYPE of a family stand once, before all of its samples.
    """
    families: dict[str, tuple[list[str], list[str]]] = {}  # heads and samples by family
    for worker, text in ((None, own), *answers.items()):
        family = ""
        for line in text.splitlines():
            if line.startswith("#"):
                family = line.split(" ")[2]
                heads, _ = families.setdefault(family, ([], []))
                if len(heads) < 2 and line not in heads:
                    heads.append(line)
            elif found := _SAMPLE.fullmatch(line):
                _, samples = families.setdefault(family, ([], []))
                samples.append(line if worker is None else _with_worker(found, worker))
    return "".join(f"{line}\n" for heads, samples in families.values() if samples for line in (*heads, *samples))


def metrics_added(texts: Iterable[str]) -> str:
    """One text of many: samples of the same name and labels are added up. For rates, not for a monitoring system."""
    sums: dict[str, float] = {}
    for text in texts:
        for line in text.splitlines():
            if found := _SAMPLE.fullmatch(line):
                what = line.removesuffix(f" {found[3]}")
                sums[what] = sums.get(what, 0.0) + float(found[3])
    return "".join(f"{what} {value!r}\n" for what, value in sums.items())


def _with_worker(sample: re.Match[str], worker: int) -> str:
    name, labels, value = sample.groups()
    labels = f"{labels}," if labels else ""
    return f'{name}{{{labels}worker="{worker}"}} {value}'
