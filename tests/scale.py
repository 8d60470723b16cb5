"""How much of the reliability plan is tried: a short form with every `make test`, all of it with `make chaos`."""

from __future__ import annotations

import os

FULL = os.environ.get("ZEPH_CHAOS") == "full"
