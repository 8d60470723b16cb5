"""python -m zephserver: a server in the foreground, for the settings file of the current folder or the one named."""

from __future__ import annotations

import sys

from zephserver.core.bootstrap import run
from zephserver.core.errors import SettingsError, ZephError

try:
    sys.exit(run(sys.argv[1] if len(sys.argv) > 1 else None))
except ZephError as error:
    print(f"zephserver: {error}", file=sys.stderr)
    sys.exit(6 if isinstance(error, SettingsError) else 1)
