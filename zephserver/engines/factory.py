"""The engine that WEBSOCKET_ENGINE names."""

from __future__ import annotations

from zephserver.core.settings_page import Settings
from zephserver.engines.interface import Engine, Gateway


def make_engine(settings: Settings, gateway: Gateway) -> Engine:
    """The engine for these settings. Imported when it is asked for: picows may be missing where 'threaded' is used."""
    if settings.websocket_engine == "threaded":
        from zephserver.engines.threaded.engine import ThreadedEngine

        return ThreadedEngine(settings, gateway)
    from zephserver.engines.picows.engine import PicowsEngine

    return PicowsEngine(settings, gateway)
