"""What `zephctl bench` says at the end. Pure: no I/O, no clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from zephctl.drawing import Glyphs, amount, bar, per_second, percent, short_time

BESIDE = 39  # cells of a row that are no bar
ROWS = 16  # of a histogram, at most
STEPS = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.3, 8.0)  # ten to a decade
BUSY = 0.9  # of a core: above this the load generator measures itself
WHAT = {"echo": "answers", "fanout": "messages heard", "connect": "connections"}


def histogram(buckets: Sequence[tuple[float, int]], rows: int = ROWS) -> list[tuple[float, int]]:
    """The buckets in a few rows: the upper limit of each, in seconds, and how many lie below it.

    The limits are round numbers, as close to each other as *rows* allow; what is behind the last one counts for it.
    """
    if not buckets:
        return []
    for every in (1, 2, 5, 10, 20):
        limits = _limits(buckets[0][0], buckets[-1][0], every)
        if len(limits) <= rows:
            break
    counts = dict.fromkeys(limits, 0)
    for limit, count in buckets:
        # The buckets are finer than the rows: one that reaches over a limit belongs below it with its larger part.
        middle = limit * 0.99
        counts[next((edge for edge in limits if middle <= edge), limits[-1])] += count
    return list(counts.items())


def draw_histogram(buckets: Sequence[tuple[float, int]], width: int, glyphs: Glyphs) -> list[tuple[str, str, str]]:
    """Rows of a limit, a bar, and how many; the longest bar leaves room for the rest within *width*."""
    rows = histogram(buckets)
    most = max((count for _, count in rows), default=0)
    total = sum(count for _, count in rows)
    room = max(4, min(60, width - BESIDE))
    return [
        (
            f"{'up to ' + short_time(limit):>16}  ",
            bar(count / most if most else 0.0, room, glyphs).ljust(room),
            f"  {percent(count / total):>7} {amount(count):>10}" if count else "",
        )
        for limit, count in rows
    ]


def summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The facts of a load, a label and a line each."""
    mode = result["mode"]
    rate = f"{per_second(result['per_second'])}/s"
    facts = [("rate", f"{rate}  ({amount(result['received'])} {WHAT[mode]} in {result['seconds']:.1f} s)")]
    latency = result["latency"]
    if latency["p50"] is not None:
        facts.append(("latency", "   ".join(f"{name} {short_time(latency[name])}" for name in QUANTILES)))
    if result["server_cpu"] is not None:
        each = result["cpu_per_message"]
        per = "connection" if mode == "connect" else "message"
        facts.append(("server", f"{percent(result['server_cpu'])} of a core" + (_each(each, per))))
    facts.append(("client", f"{percent(result['client_cpu'])} of a core"))
    return facts


QUANTILES = ("p50", "p90", "p99", "p99.9", "max")


def warnings(result: dict[str, Any]) -> list[str]:
    """What one has to know before one believes the figures."""
    found = []
    if result["interrupted"]:
        found.append(f"stopped after {result['seconds']:.1f} s; these are the figures until then")
    if result["client_cpu"] > BUSY:
        cpu = percent(result["client_cpu"])
        found.append(f"the load generator itself was the bottleneck ({cpu} of a core): the server can do more")
    if result["rate_limited"]:
        times = f"{amount(result['rate_limited'])} times"
        limit = f"MESSAGE_RATE{_rate_of(result['message_rate'])}"
        found.append(f"{limit} held the load back {times}; use more clients, or set it to None")
    if result["refused"]:
        wanted = result["clients"]
        found.append(f"{amount(wanted - result['connected'])} of {amount(wanted)} clients did not get in: "
                     f"{_counts(result['refused'])}")  # fmt: skip
    if result["lost"]:
        found.append(f"the server ended connections: {_counts(result['lost'])}")
    if result["errors"]:
        found.append(f"answers that were errors: {_counts(result['errors'])}")
    if result["unanswered"] and result["mode"] != "connect":
        found.append(f"{amount(result['unanswered'])} messages got no whole answer")
    if result["unsent"]:
        found.append(f"{amount(result['unsent'])} messages were not sent: the server was slower than --rate")
    if result["others"]:
        found.append(f"{amount(result['others'])} other clients were connected and felt the load")
    return found


def _each(seconds: float | None, what: str) -> str:
    return f", {short_time(seconds)} a {what}" if seconds is not None else ""


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {amount(count)}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _rate_of(limit: Any) -> str:
    return f" ({limit[0]:g}/s a client)" if limit else ""


def _limits(low: float, high: float, every: int) -> list[float]:
    """Round numbers from just above *low* to *high* or above."""
    limits = []
    decade = math.floor(math.log10(low)) - 1
    steps = [step * 10.0**power for power in range(decade, decade + 12) for step in STEPS]
    for limit in steps[::every]:
        if limit >= low * 0.99:
            limits.append(limit)
            if limit >= high * 0.99:
                break
    return limits
