"""zephserver-start as user 65534, or as ZEPH_UID; a program for the tests that root runs.

Everything is imported before the privileges go, for the interpreter may live where another user cannot read.

usage: as_nobody.py ARGUMENT...
"""

from __future__ import annotations

import contextlib
import encodings.ascii
import encodings.idna  # noqa: F401 - as all of these: for later
import os
import signal  # noqa: F401
import sys

from zephctl import scripts
from zephserver.core import bootstrap, core_commands, settings, settings_file  # noqa: F401
from zephserver.engines.picows.engine import PicowsEngine  # noqa: F401
from zephserver.room_handler import RoomHandler  # noqa: F401
from zephserver.websocket_client import WebsocketClient  # noqa: F401

NOBODY = int(os.environ.get("ZEPH_UID", "65534"))

with contextlib.suppress(Exception):
    settings.load_settings(settings_file.find_settings_file())  # it imports more on its way
os.setgroups([])
os.setgid(NOBODY)
os.setuid(NOBODY)
sys.argv[0] = "zephserver-start"
status = scripts.start()
sys.stderr.flush()
os._exit(status)
