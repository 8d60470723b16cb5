"""All that `zephctl top` shows at one moment. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zephctl.drawing import Glyphs
from zephctl.top.numbers import History, Numbers
from zephctl.top.state import ViewState

MOMENTS = 180  # that a picture shows: three minutes at one a second


@dataclass
class Scene:
    """All that is to be seen."""

    glyphs: Glyphs
    state: ViewState = field(default_factory=ViewState)
    numbers: Numbers = field(default_factory=lambda: Numbers(running=False))
    history: History = field(default_factory=History)
    now: float = 0.0  # seconds since 1970
    time: str = ""  # of day
    away: str = ""  # why there are no new numbers
    notice: str = ""  # what came of the last key
    notice_style: str = ""
    log: Sequence[tuple[str, str]] = ()  # lines and their levels
    log_of: str = ""

    @property
    def gap(self) -> str:
        """What stands between two facts."""
        return f" {self.glyphs.dot} "
