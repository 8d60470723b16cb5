"""Reads what `metrics` answers: the text format of Prometheus. Pure: no I/O, no clock."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")

Buckets = Mapping[float, float]  # the limit of a bucket, and how many values lie at or below it


class Metrics:
    """The samples of one answer. Lines that are none are left out."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for line in text.splitlines():
            found = _SAMPLE.fullmatch(line)
            if found is None:
                continue
            try:
                value = float(found[3])
            except ValueError:
                continue
            labels = {name: _ESCAPED.sub(_meant, said) for name, said in _LABEL.findall(found[2] or "")}
            self._samples.setdefault(found[1], []).append((labels, value))

    def value(self, name: str) -> float | None:
        """The sum of all samples of this name, None when nobody counts it."""
        samples = self._samples.get(name)
        return sum(value for _, value in samples) if samples is not None else None

    def by(self, name: str, label: str) -> dict[str, float]:
        """The sum of the samples for each value of a label; those without the label count for ''."""
        sums: dict[str, float] = {}
        for labels, value in self._samples.get(name, ()):
            key = labels.get(label, "")
            sums[key] = sums.get(key, 0.0) + value
        return sums

    def where(self, name: str, **wanted: str) -> list[tuple[dict[str, str], float]]:
        """Labels and values of the samples that have these labels."""
        samples = self._samples.get(name, ())
        return [(labels, value) for labels, value in samples if wanted.items() <= labels.items()]

    def buckets(self, name: str, **wanted: str) -> dict[float, float]:
        """The buckets of a histogram, summed over its other labels."""
        sums: dict[float, float] = {}
        for labels, value in self.where(f"{name}_bucket", **wanted):
            try:
                limit = float(labels["le"])
            except (KeyError, ValueError):
                continue
            sums[limit] = sums.get(limit, 0.0) + value
        return sums


def between(before: Buckets, after: Buckets) -> dict[float, float]:
    """What fell into the buckets since *before*."""
    return {limit: max(0.0, count - before.get(limit, 0.0)) for limit, count in after.items()}


def quantile(share: float, buckets: Buckets) -> float | None:
    """The value below which this share of all values lies, as far as buckets can tell; None without values.

    Within a bucket the values are taken to lie evenly. Below the first limit and above the last nothing is known of
    them: they count as that limit.
    """
    total = max(buckets.values(), default=0.0)
    limits = sorted(limit for limit in buckets if limit != float("inf"))
    if total <= 0 or not limits:
        return None
    rank, low, below = share * total, limits[0], 0.0
    for limit in limits:
        count = buckets[limit]
        if count >= rank and count > below:
            return low + (limit - low) * (rank - below) / (count - below)
        low, below = limit, max(below, count)
    return low


def growth(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """By how much counters grew. One that became smaller began anew, so all of it is new."""
    return {key: _grown(before.get(key, 0.0), value) for key, value in after.items()}


def _grown(before: float, after: float) -> float:
    return after - before if after >= before else after


def _meant(escaped: re.Match[str]) -> str:
    return "\n" if escaped[1] == "n" else escaped[1]
