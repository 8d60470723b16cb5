"""Small pictures made of text: lines over time, bars, and numbers for people. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Values = Sequence[float | None]  # None: nothing is known of that moment


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The signs that pictures are made of."""

    levels: str  # from nothing to a full cell, upwards
    parts: str  # from nothing to a full cell, to the right
    rule: str
    dot: str
    more: str
    left: str  # of a bar that shows progress: what is still to come


UNICODE = Glyphs(levels=" ▁▂▃▄▅▆▇█", parts=" ▏▎▍▌▋▊▉█", rule="─", dot="·", more="…", left="░")
ASCII = Glyphs(levels=" .:-=+*#@", parts=" #", rule="-", dot="|", more="~", left=".")


def glyphs_for(encoding: str | None) -> Glyphs:
    """The nicest that an encoding can write."""
    try:
        (UNICODE.levels + UNICODE.parts + UNICODE.rule + UNICODE.dot + UNICODE.more + UNICODE.left).encode(
            encoding or "ascii"
        )
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def resample(values: Values, width: int, span: int, count: int) -> list[float | None]:
    """The last *span* values in *width* cells, each the mean of as many; empty cells stand for what is not known yet.

    *count* is how many values there ever were: cells begin at whole multiples, so that a picture moves by a cell at a
    time and does not flicker.
    """
    each = max(1, -(-span // width)) if width else 1
    newest = count // each if count % each else count // each - 1  # number of the last cell
    sums: dict[int, list[float]] = {}
    for index, value in enumerate(values, count - len(values)):
        if value is not None:
            sums.setdefault(index // each, []).append(value)
    cells = range(newest - width + 1, newest + 1)
    return [sum(found) / len(found) if (found := sums.get(cell)) else None for cell in cells]


def chart(values: Values, height: int, glyphs: Glyphs, *, least: float = 0.0) -> list[str]:
    """The values as columns of *height* lines, scaled to the greatest of them, or to *least* when all are smaller.

    What is above nothing is seen: it gets the lowest sign at least.
    """
    steps = len(glyphs.levels) - 1
    top = max([least, *(value for value in values if value is not None)])
    heights = [_cells(value, top, steps * height) for value in values]
    return [
        "".join(glyphs.levels[min(steps, max(0, tall - row * steps))] for tall in heights)
        for row in reversed(range(height))
    ]


def sparkline(values: Values, glyphs: Glyphs, *, least: float = 0.0) -> str:
    """A chart of one line."""
    return chart(values, 1, glyphs, least=least)[0]


def bar(share: float, width: int, glyphs: Glyphs) -> str:
    """A bar to the right, as long as *share* of *width*; more than nothing is seen."""
    steps = len(glyphs.parts) - 1
    eighths = _cells(share, 1.0, steps * width)
    full, part = divmod(eighths, steps)
    return glyphs.parts[-1] * full + (glyphs.parts[part] if part else "")


def progress(share: float, width: int, glyphs: Glyphs) -> str:
    """A bar of the whole *width*, filled as far as the work is done."""
    done = min(width, int(share * width))
    return glyphs.parts[-1] * done + glyphs.left * (width - done)


def amount(value: float | None) -> str:
    """A count, as in 12,345; a dash for what is not known."""
    return "-" if value is None else f"{value:,.0f}"


def per_second(value: float | None) -> str:
    """A rate, as in 0.5, 12.3, 1,204; a dash for what is not known."""
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """As in 12.4 %; one core is 100 %."""
    return "-" if share is None else f"{share * 100:.1f} %"


def short_time(seconds: float | None) -> str:
    """A time that one does not wait for, as in 85 us, 1.24 ms, 3.5 s."""
    if seconds is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        value = seconds / size
        if value >= 0.9995 or (unit == "ms" and value >= 0.1):
            return f"{value:.{_decimals(value)}f} {unit}"
    return f"{seconds * 1e6:.0f} us"


def size(count: float | None) -> str:
    """Bytes, as in 812 B, 54 MB."""
    if count is None:
        return "-"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            value = count / factor
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return f"{count:.0f} B"


def _decimals(value: float) -> int:
    return 2 if value < 9.995 else 1 if value < 99.95 else 0


def _cells(value: float | None, top: float, most: int) -> int:
    if value is None or value <= 0 or top <= 0:
        return 0
    return max(1, min(most, round(value / top * most)))
