"""Asking a running server: the client of the core, under the name that the commands use."""

from __future__ import annotations

from zephserver.core.control_client import FOR_EVER, ControlClient

__all__ = ["FOR_EVER", "ControlClient"]
