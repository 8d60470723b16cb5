"""manage.py zephserver: the server of this project, in the foreground."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from zephserver.core.errors import SettingsError
from zephserver.django import options, project


class Command(BaseCommand):
    """Becomes the server: signals reach it, and its exit status is the command's."""

    help = "Start the WebSocket server of this project; Ctrl-C stops it. zephctl operates it while it runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Its options."""
        parser.add_argument("--dev", action="store_true", help="load changed tasks while it runs")
        parser.add_argument(
            "--zephsettings", metavar="FILE", help="its zephsettings.py; without, that of ZEPHSERVER or of this folder"
        )

    def handle(self, *args: Any, **given: Any) -> None:
        """Find the settings and run the server's own program in this process."""
        try:
            file = project.settings_file(given["zephsettings"] or options.read().settings)
        except SettingsError as error:
            raise CommandError(str(error), returncode=6) from None
        program = os.path.join(os.path.dirname(sys.executable), "zephserver-start")
        words = ["zephserver-start", *(["--dev"] if given["dev"] else []), "--settings", file]
        sys.stdout.flush(), sys.stderr.flush()
        if os.access(program, os.X_OK):
            os.execv(program, words)
        os.execv(sys.executable, [sys.executable, "-c", _START, *words[1:]])


# Where zephserver is on the path but its programs are not installed beside Python.
_START = "import sys; from zephctl.scripts import start; sys.argv[0] = 'zephserver-start'; sys.exit(start())"
